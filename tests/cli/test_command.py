"""What every command has: help, options, arguments that its operation takes."""

from __future__ import annotations

import inspect
import json
import pkgutil
from pathlib import Path

from tablevault.cli.command import commands


def test_output_and_json_stand_before_or_after_every_command(vault, run):
    vault.create_table("t")
    for words in (
        ("--json", "-o", "../out", "get-table-instances"),
        ("get-table-instances", "--json", "--output", "../out"),
    ):
        assert run(*words)[:2] == (0, "")
        assert json.loads(Path("../out").read_text("utf-8")) == ["t"]
    assert run("get-table-instances", "-o", "-")[:2] == (0, "t\n")
    assert json.loads(run("create-table", "u", "--json")[1])


def test_every_command_can_be_asked_for_help(run):
    _, listed, _ = run("--help")
    for name, command in commands().items():
        assert name in listed
        code, out, _ = run(name, "--help")
        assert (code, out.split()[:3]) == (0, ["usage:", "tablevault", name])
        assert "--no-no-" not in out
        assert all(argument.options["help"] for argument in command.arguments)


def test_what_a_command_names_takes_a_value_for_each_of_its_arguments():
    for command in commands().values():
        if isinstance(command.run, str):
            called = pkgutil.resolve_name(f"tablevault.{command.run}")
            taken = set(inspect.signature(called).parameters)
            given = {each.parameter for each in command.arguments}
            if isinstance(called, type):
                assert len(given - taken) == 1, command.name  # the id of the process
            else:
                assert given == taken - {"vault"}, command.name
