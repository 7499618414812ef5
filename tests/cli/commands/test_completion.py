"""What a shell is told that it may complete."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from tablevault.cli.command import commands
from tests.cli.conftest import ROOT


class TestCompletion:
    """What a shell is told that it may complete."""

    def ask(self, run, *words: str) -> list[str]:
        code, out, err = run("__complete", *words)
        assert (code, err) == (0, "")
        return out.splitlines()

    def test_commands(self, vault, run):
        assert self.ask(run, "create-t") == ["create-table"]
        assert self.ask(run, "") == list(commands())
        assert "--db-dir" in self.ask(run, "--")

    def test_tables_and_instances(self, vault, run):
        vault.create_table("apples")
        vault.create_table("pears")
        vault.create_instance("pears", version="green")
        assert self.ask(run, "delete-table", "a") == ["apples"]
        assert self.ask(run, "delete-instance", "pears", "") == ["TEMP_green"]
        assert self.ask(run, "get-descriptions", "--table-name", "") == ["apples", "pears"]
        assert self.ask(run, "get-descriptions", "--table-name", "pears", "--instance-id", "T") == [
            "TEMP_green"
        ]
        assert self.ask(run, "diff", "pears", "TEMP_x", "") == ["TEMP_green"]
        assert self.ask(run, "delete-table", "apples", "") == []

    def test_several_tables(self, vault, run):
        for name in ("apples", "pears", "plums"):
            vault.create_table(name)
        for words in ([], ["pears"], ["pears", "apples"]):
            assert self.ask(run, "refresh", *words, "") == ["apples", "pears", "plums"]

    def test_modules_options_and_files(self, vault, run):
        vault.create_code_module("m", text="A = 1\n")
        assert self.ask(run, "delete-code-module", "") == ["m"]
        assert self.ask(run, "create-table", "--mul") == ["--multiple-artifacts"]
        assert self.ask(run, "compress", "") == [":files"]
        assert self.ask(run, "compress", "--preset", "9") == ["9"]
        assert self.ask(run, "completion", "") == ["bash", "zsh", "fish"]
        assert self.ask(run, "calls", "t", "--outcome", "e") == ["error"]

    def test_elsewhere(self, vault, run, monkeypatch, tmp_path):
        vault.create_table("apples")
        monkeypatch.chdir(tmp_path)
        assert self.ask(run, "delete-table", "") == []
        assert self.ask(run, "--db-dir", "v", "delete-table", "") == ["apples"]

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_scripts_are_printed(self, run, shell):
        assert "__complete" in run("completion", shell)[1]

    @pytest.fixture
    def shell(self, vault, run, tmp_path) -> Callable[..., str]:
        """Run lines in a shell in which tablevault is on the path."""
        (tmp_path / "bin").mkdir()
        program = tmp_path / "bin" / "tablevault"
        program.write_text(
            f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m tablevault "$@"\n', "utf-8"
        )
        program.chmod(0o755)

        def call(*words: str) -> str:
            done = subprocess.run(
                words,
                capture_output=True,
                text=True,
                check=True,
                env={**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"},
            )
            assert done.stderr == ""
            return done.stdout

        return call

    def test_bash_completes(self, vault, shell):
        vault.create_table("apples")
        vault.create_instance("apples", version="two words")
        complete = (
            "; COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=(); _tablevault; "
            'for each in ${COMPREPLY[@]+"${COMPREPLY[@]}"}; do echo "[$each]"; done; echo'
        )
        typed = {
            "(tablevault delete-table a)": "[apples]\n",
            "(tablevault delete-instance apples T)": "[TEMP_two\\ words]\n",
            "(tablevault delete-instance apples 'TEMP_two\\ w')": "[TEMP_two\\ words]\n",
            "(tablevault delete-instance apples '\"TEMP_t')": "[TEMP_two words]\n",
            "(tablevault delete-table nothing)": "",
        }
        lines = [f"COMP_WORDS={words}{complete}" for words in typed]
        shown = shell(
            "bash", "-u", "-c", "\n".join(["source <(tablevault completion bash)", *lines])
        )
        assert shown == "".join(f"{found}\n" for found in typed.values())

    @pytest.mark.parametrize("last", ["TEMP_t", "TEMP_two\\\\ w"])
    def test_zsh_completes_as_documented(self, vault, shell, program, last):
        vault.create_table("apples")
        vault.create_instance("apples", version="two words")
        shown = shell(
            program("zsh"),
            "-fu",
            "-c",
            'eval "$(tablevault completion zsh)"; print ${_comps[tablevault]}; '
            'compadd() { print -rl -- "$@" }; '
            f"words=(tablevault delete-instance apples {last}); CURRENT=4; _tablevault",
        )
        assert shown == "_tablevault\n--\nTEMP_two words\n"
