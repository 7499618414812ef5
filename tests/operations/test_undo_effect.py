"""What was changed after an operation, and keeps it from being undone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tablevault import TableVault
from tablevault.errors import TVProcessError
from tests.looking import check_clean, git
from tests.operations.undoing import (
    CODE,
    column_builder,
    index_builder,
    latest,
    picture,
    refused,
)

Do = Callable[[TableVault], str]

Two = tuple[Do, Do]

BLOCKED: dict[str, Two] = {
    "module written again": (
        lambda v: v.create_code_module("made", text="x = 1\n"),
        lambda v: v.create_code_module("made", text="x = 2\n"),
    ),
    "builder written again": (
        lambda v: v.create_builder_file("t", text=index_builder(3)),
        lambda v: v.create_builder_file("t", text=index_builder(4)),
    ),
    "builder in a new instance": (
        lambda v: v.create_instance("t", version="new"),
        lambda v: v.create_builder_file("t", "x", version="new", text=column_builder()),
    ),
    "builder of what is executed": (
        lambda v: v.create_builder_file("t", text=index_builder(3)),
        lambda v: v.execute_instance("t"),
    ),
    "builder of what is deleted": (
        lambda v: v.create_builder_file("t", text=index_builder(3)),
        lambda v: v.delete_instance("TEMP_base", "t"),
    ),
    "builder in a table with a new name": (
        lambda v: v.create_builder_file("t", text=index_builder(3)),
        lambda v: v.rename_table("renamed", "t"),
    ),
    "deleted and created again": (
        lambda v: v.delete_instance("TEMP_base", "t"),
        lambda v: v.create_instance("t"),
    ),
    "executed twice": (
        lambda v: v.execute_instance("t", force_execute=True),
        lambda v: v.create_instance("t", copy=True),
    ),
    "executed and deactivated": (
        lambda v: v.execute_instance("acts", force_execute=True),
        lambda v: (
            v.create_instance("acts", version="v2", builders={"acts_index": index_builder()}),
            v.execute_instance("acts", version="v2"),
        )[1],
    ),
    "executed and deleted": (
        lambda v: v.execute_instance("t", force_execute=True),
        lambda v: v.delete_instance(latest(v, "t"), "t"),
    ),
    "instance in a new table": (
        lambda v: v.create_table("new"),
        lambda v: v.create_instance("new"),
    ),
    "new table with a new name": (
        lambda v: v.create_table("new"),
        lambda v: v.rename_table("newer", "new"),
    ),
    "old name is taken": (
        lambda v: v.rename_table("renamed", "t"),
        lambda v: v.create_table("t"),
    ),
    "renamed twice": (
        lambda v: v.rename_table("renamed", "t"),
        lambda v: v.rename_table("third", "renamed"),
    ),
    "name of a deleted table is taken": (
        lambda v: v.delete_table("empty"),
        lambda v: v.create_table("empty"),
    ),
    "undone": (
        lambda v: v.create_code_module("made", text="x = 1\n"),
        lambda v: v.undo(v.create_code_module("made", text="x = 3\n")),
    ),
}


@pytest.mark.parametrize("kind", [kind for kind in BLOCKED if kind != "undone"])
def test_what_was_changed_since_is_named_with_the_way_out(
    full: TableVault, vault_path: Path, kind: str
) -> None:
    first, second = BLOCKED[kind]
    done = first(full)
    blocking = second(full)
    error = refused(full, vault_path, done)
    assert error.blocking == blocking
    assert error.author == "Ana Lund"
    assert error.at
    assert f"undo({blocking!r})" in str(error)
    if kind != "executed and deleted":
        full.undo(blocking)
        full.undo(done)
        check_clean(vault_path)


def test_what_was_changed_and_changed_back_is_undone(full: TableVault, vault_path: Path) -> None:
    before = picture(vault_path)
    first, second = BLOCKED["undone"]
    done = first(full)
    second(full)
    full.undo(done)
    assert picture(vault_path) == before


def test_other_paths_may_change_meanwhile(full: TableVault, vault_path: Path) -> None:
    first = full.create_code_module("one", text="1\n")
    second = full.create_builder_file("t", "x", text=column_builder())
    full.create_code_module("two", text="2\n")
    full.create_builder_file("t", "y", text=column_builder())
    full.create_table("another")
    full.undo(first)
    full.undo(second)
    assert full.get_code_modules_list() == ["made", "two"]
    assert full.get_builders_list("t") == ["t_index", "y"]
    check_clean(vault_path)


def test_deleted_data_is_not_to_be_had_again(full: TableVault, vault_path: Path) -> None:
    kept = latest(full, "t")
    for done in (full.delete_instance(latest(full, "free"), "free"), full.delete_table("files")):
        assert "deleted for good" in str(refused(full, vault_path, done))
    assert latest(full, "t") == kept


def test_the_beginning_of_an_execution_is_undone_with_it(
    full: TableVault, vault_path: Path
) -> None:
    done = full.execute_instance("acts", force_execute=True)
    first = git(
        vault_path,
        "log",
        "-2",
        "--first-parent",
        "--format=%(trailers:key=Vault-Process,valueonly)",
    ).split()[-1]
    assert refused(full, vault_path, first).blocking == done


def test_an_execution_whose_functions_used_the_vault_names_them(
    full: TableVault, vault_path: Path
) -> None:
    full.create_code_module(
        "inner",
        text=(
            "import pandas as pd\nfrom tablevault import TableVault\n\n\n"
            "def make(path):\n"
            "    vault = TableVault(path, 'function')\n"
            "    vault.create_table('inside')\n"
            "    vault.create_code_module('inside', text='1')\n"
            "    return pd.DataFrame({'n': [1]})\n"
        ),
    )
    full.create_instance(
        "t",
        builders={
            "t_index": (
                "builder_type: IndexBuilder\nchanged_columns: [n]\npython_function: make\n"
                f"code_module: inner\nis_custom: true\narguments: {{path: {vault_path}}}\n"
            )
        },
    )
    before = picture(vault_path)
    done = full.execute_instance("t")
    error = refused(full, vault_path, done)
    assert "create_table" in str(error)
    assert "create_code_module" in str(error)
    full.undo(error.blocking)
    full.undo(refused(full, vault_path, done).blocking)
    full.undo(done)
    assert picture(vault_path) == before


def test_edits_by_hand_are_not_lost(full: TableVault, vault_path: Path) -> None:
    done = full.create_code_module("made", text="x = 1\n")
    (vault_path / "code/made.py").write_text("x = 2\n")
    with pytest.raises(TVProcessError, match="edit by hand"):
        full.undo(done)
    assert (vault_path / "code/made.py").read_text() == "x = 2\n"
    done = full.create_builder_file("t", text=index_builder(7))
    edited = vault_path / "temp/t/base/builders/t_index.yaml"
    edited.write_text(index_builder(8))
    with pytest.raises(TVProcessError, match="edited by hand since"):
        full.undo(done)
    assert edited.read_text() == index_builder(8)
    edited.write_text(index_builder(7))
    full.undo(done)
    assert edited.read_text() == index_builder(2)
    done = full.create_instance("free", external_edit=True)
    drawing = vault_path / "temp/free/base/artifacts/drawing.png"
    drawing.write_bytes(b"hours of work")
    with pytest.raises(TVProcessError, match=r"drawing\.png"):
        full.undo(done)
    drawing.unlink()
    full.undo(done)


def test_a_plain_commit_is_named_with_the_way_out(full: TableVault, vault_path: Path) -> None:
    done = full.create_code_module("made", text="x = 1\n")
    (vault_path / "code/made.py").write_text("x = 2\n")
    git(vault_path, "commit", "-qam", "mine")
    with pytest.raises(TVProcessError, match="git revert"):
        full.undo(done)
    git(vault_path, "revert", "--no-edit", "HEAD")
    full.undo(done)
    assert full.get_code_module_str("made") == CODE
