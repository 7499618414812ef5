"""An undo is an operation like any other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tablevault import TableVault
from tablevault.errors import TVArgumentError, TVLockError
from tests.looking import git, state_of
from tests.operations.undoing import (
    column_builder,
    latest,
    refused,
)


def test_undo_is_one_commit_that_says_what_it_undid(full: TableVault, vault_path: Path) -> None:
    done = full.execute_instance("t", force_execute=True)
    made = latest(full, "t")
    undone = full.undo(done, undo_process_id="take-it-back")
    assert undone == "take-it-back"
    message = git(vault_path, "log", "-1", "--format=%B", "main")
    assert message.startswith("undo: t/base: execute, 2 rows")
    told = dict(
        line.split(": ", 1)
        for line in git(vault_path, "log", "-1", "--format=%(trailers:only)").splitlines()
        if line
    )
    assert told["Vault-Operation"] == "undo"
    assert told["Vault-Undoes"] == done
    assert told["Vault-Withdraws"] == made
    assert full.get_process_completion("take-it-back")
    full.undo(undone)
    assert git(vault_path, "log", "-1", "--format=%s", "main").startswith("redo: t/base: execute")


def test_what_is_undone_is_not_undone_again(full: TableVault, vault_path: Path) -> None:
    done = full.create_code_module("more", text="1\n")
    undone = full.undo(done)
    error = refused(full, vault_path, done)
    assert error.blocking == undone
    redone = full.undo(undone)
    refused(full, vault_path, undone)
    full.undo(done)
    assert "more" not in full.get_code_modules_list()
    refused(full, vault_path, redone)


@pytest.mark.parametrize("wrong", ["", "nobody", "../x", "a" * 500])
def test_an_unknown_process_is_one_clear_error(
    full: TableVault, vault_path: Path, wrong: str
) -> None:
    before = state_of(vault_path)
    with pytest.raises(TVArgumentError, match="There is no process"):
        full.undo(wrong)
    assert state_of(vault_path) == before


def test_an_undo_waits_for_nobody_who_does_not_touch_the_same(full: TableVault) -> None:
    """Another process holds the temporary instance: the undo of its builder names it."""
    done = full.create_builder_file("t", "m", text=column_builder("fail"))
    module = full.create_table("unrelated")
    with pytest.raises(LookupError):
        full.execute_instance("t", process_id="holder")
    with pytest.raises(TVLockError, match="holder"):
        full.undo(done)
    full.undo(module)
    full.stop_process("holder")
    full.undo(done)
    assert full.get_builders_list("t") == ["t_index"]
