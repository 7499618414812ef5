"""Undo in random histories: there and back, all the way back, and out of order."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tablevault import TableVault
from tablevault.errors import TableVaultError, TVProcessError
from tests.looking import check_clean, git
from tests.operations.undoing import CODE, column_builder, drawing_builder, index_builder, picture

pytestmark = [pytest.mark.property, pytest.mark.timeout(1200)]
AUTHOR = "Ana Lund <ana@example.org>"
KINDS = (
    "create_table",
    "rename_table",
    "delete_table",
    "create_external",
    "create_with_builders",
    "create_with_builders",
    "delete_temp",
    "delete_latest",
    "write",
    "execute",
    "execute",
    "create_builder",
    "delete_builder",
    "create_module",
    "delete_module",
    "set_config",
    "fail",
)
STEPS = st.tuples(
    st.sampled_from(KINDS),
    st.sampled_from(["red", "green"]),
    st.sampled_from(["base", "v 2"]),
    st.integers(1, 3),
)


def do(vault: TableVault, step: tuple[str, str, str, int]) -> str:
    """Try one operation; "" when it is refused."""
    kind, table, version, number = step
    rows = index_builder if number != 3 else drawing_builder
    builders = {f"{table}_index": rows(number), "m": column_builder()}
    other = {"red": "green", "green": "red"}[table]
    calls = {
        "create_table": lambda: vault.create_table(
            table, has_side_effects=number == 2, allow_multiple_artifacts=number == 1
        ),
        "rename_table": lambda: vault.rename_table(other, table),
        "delete_table": lambda: vault.delete_table(table),
        "create_external": lambda: vault.create_instance(
            table, version=version, external_edit=True, copy=number == 1
        ),
        "create_with_builders": lambda: vault.create_instance(
            table, version=version, builders=builders
        ),
        "delete_temp": lambda: vault.delete_instance(f"TEMP_{version}", table),
        "delete_latest": lambda: vault.delete_instance(
            ([*vault.get_table_instances(table, version)] or ["none"])[-1], table
        ),
        "write": lambda: vault.write_instance(
            pd.DataFrame({"n": range(number)}), table, version=version
        ),
        "execute": lambda: vault.execute_instance(
            table, version=version, force_execute=number != 1
        ),
        "create_builder": lambda: vault.create_builder_file(
            table, f"b{number}", version=version, text=column_builder().replace("[m]", "[k]")
        ),
        "delete_builder": lambda: vault.delete_builder_file("m", table, version=version),
        "create_module": lambda: vault.create_code_module(f"m{number}", text=f"x = {number}\n"),
        "delete_module": lambda: vault.delete_code_module(f"m{number}"),
        "set_config": lambda: vault.set_config(f"prices.{table}", {"input": number, "output": 1}),
        "fail": lambda: vault.create_table("no/name"),
    }
    try:
        return calls[kind]()
    except TableVaultError:
        return ""


def there_and_back(vault: TableVault, path: Path, done: str, before: object) -> str:
    """Undo, and undo that; give the process that made what is there."""
    after = picture(path)
    try:
        undone = vault.undo(done)
    except TVProcessError as error:
        assert "deleted for good" in str(error), error  # noqa: PT017 - else it is undone
        assert picture(path) == after
        return done
    assert picture(path) == before
    redone = vault.undo(undone)
    assert picture(path) == after
    return redone


@pytest.mark.sweep
@given(steps=st.lists(STEPS, min_size=4, max_size=14), data=st.data())
@settings(max_examples=8)
def test_undo_is_the_inverse_of_whatever_was_done(steps, data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vault"
        vault = TableVault(path, AUTHOR, create=True)
        vault.create_code_module("made", text=CODE)
        pictures, processes = [picture(path)], []
        for step in steps:
            done = do(vault, step)
            if not done:
                assert picture(path) == pictures[-1]
                continue
            if data.draw(st.booleans(), label="there and back"):
                done = there_and_back(vault, path, done, pictures[-1])
            processes.append(done)
            pictures.append(picture(path))
        if processes:
            out_of_order(vault, path, data.draw(st.sampled_from(processes), label="out of order"))
        end = pictures[-1]
        assert picture(path) == end
        (path / ".git/tablevault/index.sqlite").unlink()
        assert picture(path) == end
        undo_all(vault, path, processes, pictures)
        check_clean(path)


def out_of_order(vault: TableVault, path: Path, done: str) -> None:
    """Undo something in the middle of history; what is refused changes nothing."""
    before = picture(path)
    try:
        undone = vault.undo(done)
    except TVProcessError as error:
        assert picture(path) == before
        assert "deleted for good" in str(error) or error.blocking  # noqa: PT017 - says why
        return
    check_clean(path)
    (path / ".git/tablevault/index.sqlite").unlink()
    vault.undo(undone)
    assert picture(path) == before


def undo_all(
    vault: TableVault, path: Path, processes: list[str], pictures: list[dict[str, object]]
) -> None:
    """Take everything back, the newest first, until something is gone for good."""
    commits = git(path, "rev-list", "main").split()
    for done, before in zip(reversed(processes), reversed(pictures[:-1]), strict=True):
        try:
            vault.undo(done)
        except TVProcessError as error:
            assert "deleted for good" in str(error), error  # noqa: PT017 - else it is undone
            return
        assert picture(path) == before
    assert set(commits) <= set(git(path, "rev-list", "main").split())
