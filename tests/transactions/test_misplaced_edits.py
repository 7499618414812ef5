"""Builders that are edited in the folder of an instance: noticed, and never lost."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tablevault import TableVault
from tablevault.history.checkout.worktree import WorkTree
from tests.drivers.test_hooks import CODE, INDEX, paste

OTHER = INDEX.replace("n: 2", "n: 3")


@pytest.fixture
def folder(vault: TableVault, vault_path: Path) -> Path:
    """Make an instance by a builder, and return the folder of its builders."""
    vault.create_code_module("work", text=CODE)
    vault.create_table("t")
    vault.create_instance("t", builders={"t_index": INDEX})
    vault.execute_instance("t")
    return vault_path / "tables/t/base/builders"


def warnings(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize("name", ["t_index", "added"])
def test_the_next_operation_names_the_command_that_takes_the_edit_in(vault, folder, caplog, name):
    (folder / f"{name}.yaml").write_text(OTHER)
    vault.create_table("u")
    (said,) = warnings(caplog)
    assert said.startswith(f"tables/t/base/builders/{name}.yaml was edited")
    assert (folder / f"{name}.yaml").read_text() == OTHER
    paste(said.split("makes a temporary instance of it: ")[1])
    assert (folder.parents[3] / f"temp/t/base/builders/{name}.yaml").read_text() == OTHER
    caplog.clear()
    vault.create_table("w")
    assert warnings(caplog) == []
    assert vault.verify() == []


def test_a_temporary_instance_that_is_there_takes_the_edit_in(vault, folder, caplog):
    vault.create_instance("t", copy=True)
    (folder / "t_index.yaml").write_text(OTHER)
    vault.create_table("u")
    paste(warnings(caplog)[0].split("makes a temporary instance of it: ")[1])
    vault.execute_instance("t")
    assert len(vault.get_dataframe("t")[0]) == 3
    assert vault.verify() == []


def test_who_takes_the_edit_in_is_not_warned(vault, folder, caplog):
    (folder / "t_index.yaml").write_text(OTHER)
    vault.create_instance("t", copy=True, builders=[str(folder / "t_index.yaml")])
    assert warnings(caplog) == []
    assert (folder / "t_index.yaml").read_text() == INDEX


def test_an_edit_stays_until_it_is_taken_in(vault, folder, caplog):
    (folder / "t_index.yaml").write_text(OTHER)
    vault.create_instance("t", copy=True)
    vault.create_table("u")
    assert len(warnings(caplog)) == 2
    assert (folder / "t_index.yaml").read_text() == OTHER


def test_verify_names_the_same_command(vault, folder, caplog):
    (folder / "t_index.yaml").write_text(OTHER)
    vault.create_table("u")
    (problem,) = vault.verify()
    assert problem.where == "tables/t/base/builders/t_index.yaml"
    assert problem.advice.split(": ", 1)[1] == warnings(caplog)[0].split(" of it: ")[1]


@pytest.mark.parametrize("name", ["._t_index.yaml", "t_index.yaml~", "notes.txt"])
def test_what_is_no_builder_is_no_edit(vault, folder, caplog, name):
    (folder / name).write_bytes(b"\0")
    vault.create_table("u")
    assert warnings(caplog) == []
    assert vault.verify() == []


def test_nothing_is_noticed_while_another_branch_is_checked_out(vault, folder, caplog, git):
    vault.create_instance("t", copy=True)
    git(folder.parents[3], "checkout", "-q", "temp/t/base")
    (folder / "t_index.yaml").write_text(OTHER)
    vault.create_table("u")
    assert warnings(caplog) == []


def test_an_edit_that_the_temporary_instance_has_already_is_put_back(vault, folder, caplog):
    vault.create_instance("t", copy=True, builders={"t_index": OTHER})
    (folder / "t_index.yaml").write_text(OTHER)
    vault.create_table("u")
    assert warnings(caplog) == []
    assert (folder / "t_index.yaml").read_text() == INDEX


def test_a_look_that_fails_fails_no_operation(vault, folder, caplog, monkeypatch):
    (folder / "t_index.yaml").write_text(OTHER)
    parts, real = vault._vault.parts, WorkTree.refresh
    failures = [OSError("no")]

    def refresh(worktree, target):
        if failures:
            raise failures.pop()
        real(worktree, target)

    monkeypatch.setattr(WorkTree, "refresh", refresh)
    vault.create_table("u")
    assert "were not checked" in warnings(caplog)[0]
    assert parts.worktree.follows_main()
