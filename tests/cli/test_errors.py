"""Hints name calls; a prompt shows them as commands that its own parser takes."""

from __future__ import annotations

import ast
import contextlib
import errno
import functools
import inspect
import os
import re
import shlex
import sqlite3
from pathlib import Path

import pygit2
import pytest

import tablevault
from tablevault import TableVault
from tablevault.cli.command import commands
from tablevault.cli.context import CommandContext
from tablevault.cli.errors import at_prompt, command_for, described, in_shell
from tablevault.cli.main import build_parser
from tablevault.wording import (
    BLANK,
    Blank,
    Call,
    OperationName,
    Parameter,
    Wording,
)
from tests.sources import PACKAGE, parsed

OPERATIONS = {
    name
    for name, _ in inspect.getmembers(TableVault, inspect.isfunction)
    if "_" in name and not name.startswith("_")
} | {"clone_vault", "compress_vault", "decompress_vault", "delete_vault"}

ODD = "it's -a name"


@functools.cache
def sites() -> list[tuple[str, ast.Call]]:
    """Find where the package makes a part of a hint whose operation stands there."""
    return [
        (f"{path.relative_to(PACKAGE)}:{node.lineno}", node)
        for path, tree in parsed().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"Call", "Parameter", "OperationName"}
        and node.args
        and isinstance(node.args[0], ast.Constant)
    ]


def value_of(node: ast.expr) -> object:
    """Return the value of an argument, or an odd one for what only a run decides."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name) and node.id == "BLANK":
        return BLANK
    if isinstance(node, ast.Dict):
        return {ODD: getattr(node.values[0], "value", "ours")}
    return ODD


def call_at(node: ast.Call) -> Call:
    """Make the call that a place in the package makes."""
    named = {each.arg: value_of(each.value) for each in node.keywords if each.arg}
    return Call(node.args[0].value, **named)  # type: ignore[attr-defined]


def calls() -> dict[str, Call]:
    """Return the calls in hints, by the places in the package that make them."""
    return {
        place: call_at(node)
        for place, node in sites()
        if node.func.id == "Call" and "/cli/" not in f"/{place}"  # type: ignore[attr-defined]
    }


def signature_of(operation: str) -> inspect.Signature:
    owner = tablevault if hasattr(tablevault, operation) else TableVault
    return inspect.signature(getattr(owner, operation))


def test_a_call_in_a_hint_is_one_of_the_python_api():
    assert len(calls()) > 50
    for place, call in calls().items():
        parameters = [each for each in signature_of(call.operation).parameters if each != "self"]
        assert set(call.arguments) <= set(parameters), place
        if isinstance(next(iter(call.arguments.values()), True), str | Blank):
            assert next(iter(call.arguments)) == parameters[0], place


def test_the_command_of_a_hint_is_read_by_the_parser_as_it_was_meant():
    parser, write = build_parser(commands()), at_prompt(["--db-dir", "my vault"])
    for place, call in calls().items():
        program, *words = shlex.split(write(call).strip("`"))
        given = parser.parse_args(words)
        assert program == "tablevault"
        read: list[object] = []
        for value in vars(given).values():
            read += value if isinstance(value, list) else [value]
        fixed = command_for(commands(), call)[1].arguments
        for name, value in call.arguments.items():
            wanted = next(iter(value)) if isinstance(value, dict) else value
            wanted = True if name == "data" else wanted  # a switch stands for it
            assert name in fixed or value is BLANK or wanted in read, place


def test_what_else_a_hint_names_has_a_name_at_the_prompt():
    write = at_prompt()
    for place, node in sites():
        values = [each.value for each in node.args if isinstance(each, ast.Constant)]
        match node.func.id:  # type: ignore[attr-defined]
            case "OperationName":
                assert not re.search("[a-z]_", write(OperationName(values[0]))), place
            case "Parameter":
                assert not re.search("[a-z]_", write(Parameter(*values))), place


def test_no_text_names_an_operation_as_python_does():
    """Who writes a call into a text by hand writes it for Python alone."""
    python = re.compile(rf"\b({'|'.join(OPERATIONS)})\b|\b(verify|undo|push|pull|gc|diff)\(|=True")
    found = []
    for path, tree in parsed().items():
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        found += [
            f"{path.relative_to(PACKAGE)}:{node.lineno}: {node.value}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and " " in node.value.strip()
            and id(node) not in docs
            and python.search(node.value)
        ]
    assert found == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("`git reset`", "`git -C {} reset`"),
        ("`tablevault verify`", "`tablevault --db-dir {} verify`"),
        ("`git init --bare`", "`git init --bare`"),
        ("`git config --global a b`", "`git config --global a b`"),
        (
            Wording("`git fsck`, ", Call("push")),
            "`git -C {0} fsck`, `tablevault --db-dir {0} push`",
        ),
    ],
)
def test_each_command_of_a_text_acts_on_the_vault_that_was_named(vault, text, wanted):
    tell = in_shell(CommandContext(db_dir="../v"))
    assert tell(text) == wanted.format("../v").replace("git -C ../v", "git")
    Path("../my vault").symlink_to("/")
    tell = in_shell(CommandContext(db_dir="../my vault"))
    assert tell(text) == wanted.format("'../my vault'")


@pytest.mark.parametrize("name", ["-x", "--force", "$HOME", "a\nb", "'", "ü"])
def test_any_name_comes_through_the_shell(name):
    tell = in_shell(CommandContext(db_dir=name, named_author=name))
    hint = Wording(Call("stop_process", to_stop_process_id=name, process_id=name))
    _, *words = shlex.split(tell(hint).strip("`"))
    given = build_parser(commands()).parse_args(words)
    assert (given.to_stop_process_id, given.process_id) == (name, name)
    assert (given.db_dir, given.author) == (name, name)


def full_database() -> sqlite3.OperationalError:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("PRAGMA max_page_count = 1")
        with pytest.raises(sqlite3.OperationalError) as caught:
            connection.execute("CREATE TABLE t (a)")
    return caught.value


@pytest.mark.parametrize("kind", ["system", "sqlite", "git"])
def test_a_full_disk_is_an_error_that_says_so(kind):
    reason = os.strerror(errno.ENOSPC)
    error = {
        "system": OSError(errno.ENOSPC, reason, "x"),
        "sqlite": full_database(),
        "git": pygit2.GitError(f"failed to write: {reason}"),
    }[kind]
    line = "TableVault error: The disk is full. Free some space, then repeat the command."
    assert described(error, str) == line
