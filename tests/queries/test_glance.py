"""Answers without opening git: the same, or none when something has to be looked up first."""

from __future__ import annotations

import operator
import sqlite3

import pandas as pd
import pytest

from tablevault import TableVault, queries
from tablevault.errors import TableVaultError
from tablevault.queries import glance
from tests.conftest import AUTHOR
from tests.looking import git


def answers(path):
    """Give the tables, the instances of each, and the log, as far as they are answered."""
    tables = glance.table_instances(path, "", "")
    return (
        tables,
        [glance.table_instances(path, name, "", include_temp=True) for name in tables or ()],
        glance.entries(path, "", None),
    )


@pytest.fixture
def told(vault):
    """A vault with two tables, instances, one that is deleted, a failure, and a draft."""
    vault.create_table("words")
    vault.create_table("a-number")
    for number in range(3):
        vault.create_instance("words", external_edit=True, version=f"v{number % 2}")
        vault.write_instance(pd.DataFrame({"n": [number]}), "words", version=f"v{number % 2}")
    vault.delete_instance(vault.get_table_instances("words", "v0")[0], "words")
    vault.rename_table("numbers", "a-number")
    vault.create_instance("words", external_edit=True)
    with pytest.raises(TableVaultError):
        vault.write_instance(pd.DataFrame(), "words")
    vault.create_instance("numbers", version="draft")
    return vault


def truth(vault):
    tables = vault.get_table_instances()
    return (
        tables,
        [vault.get_table_instances(name, "", include_temp=True) for name in tables],
        queries.log.entries(vault._vault, "", "", None),
    )


def test_answers_are_those_of_an_opened_vault(told, vault_path):
    expected = truth(told)
    assert answers(vault_path) == expected
    assert glance.table_instances(vault_path, "words", "v1") == expected[1][0][:1]
    assert glance.table_instances(vault_path, "numbers", "draft", include_temp=True) == [
        "TEMP_draft"
    ]
    words = queries.log.entries(told._vault, "words", "", 2)
    assert glance.entries(vault_path, "words", 2) == words
    assert len(words) == 2


def test_refs_that_git_has_packed_are_read(told, vault_path):
    expected = truth(told)
    git(vault_path, "pack-refs", "--all")
    assert answers(vault_path) == expected
    told.create_table("more")
    expected = truth(told)
    assert answers(vault_path) == expected


def test_nothing_is_said_of_what_has_to_be_looked_up(told, vault_path):
    truth(told)
    assert glance.table_instances(vault_path, "unknown", "") is None
    assert glance.table_instances(vault_path, "a-number", "") is None
    assert glance.table_instances(vault_path, "words", "no_version") is None
    assert glance.entries(vault_path, "unknown", None) is None


def _commit(path):
    (path / "notes.txt").write_text("by hand")
    git(path, "add", "notes.txt")
    git(path, "commit", "-qm", "notes")


def _damage(path):
    for ending in ("-wal", "-shm"):
        (path / f".git/tablevault/index.sqlite{ending}").unlink(missing_ok=True)
    (path / ".git/tablevault/index.sqlite").write_bytes(b"no database" * 1000)


def _rewrite_form(path):
    with sqlite3.connect(path / ".git/tablevault/index.sqlite") as connection:
        connection.execute("PRAGMA user_version = 7")


@pytest.mark.parametrize(
    "change",
    {
        "a draft": lambda path: TableVault(path, AUTHOR).create_instance("words", version="other"),
        "a commit": _commit,
        "damage": _damage,
        "another release": _rewrite_form,
        "no index": lambda path: (path / ".git/tablevault/index.sqlite").unlink(),
        "refs in a table": lambda path: (path / ".git/reftable").mkdir(),
        "symbolic": lambda path: (path / ".git/refs/heads/main").write_text("ref: refs/heads/x\n"),
        "dead process": lambda path: (path / ".git/tablevault/processes/p.json").write_text("{}"),
    }.items(),
    ids=operator.itemgetter(0),
)
def test_nothing_is_said_of_what_is_not_up_to_date(told, vault_path, change):
    truth(told)
    assert answers(vault_path)[0] is not None
    change[1](vault_path)
    assert answers(vault_path) == (None, [], None)


def test_a_paused_process_has_to_be_looked_up(vault, vault_path):
    vault.create_table("t")
    vault.create_code_module("m", text="def boom():\n    raise RuntimeError('boom')\n")
    vault.create_instance("t")
    vault.create_builder_file(
        "t",
        "t_index",
        text="builder_type: IndexBuilder\nchanged_columns: [a]\ncode_module: m\n"
        "python_function: boom\nis_custom: true\narguments: {}\n",
    )
    with pytest.raises(RuntimeError, match="boom"):
        vault.execute_instance("t", process_id="p")
    truth(vault)
    assert answers(vault_path) == (None, [], None)


def test_a_table_of_the_same_name_is_another_one(told, vault_path):
    first = truth(told)
    told.delete_table("words")
    told.create_table("words")
    expected = truth(told)
    assert expected[0] == ["numbers", "words"]
    assert expected[1][1] == []
    assert first[1][0] != []
    assert answers(vault_path) == expected


def test_a_branch_that_is_ahead_of_what_was_seen_of_main(told, vault_path):
    """The look at branches comes after the look at main, which may have moved on between."""
    index = told._vault.journal.index
    tip = git(vault_path, "rev-parse", "main").strip()
    told.delete_table("words")
    told.create_table("words")
    told.create_instance("words")
    later = git(vault_path, "rev-parse", "main").strip()
    git(vault_path, "update-ref", "refs/heads/main", tip)
    index.read("SELECT 1", ())
    git(vault_path, "update-ref", "refs/heads/main", later)
    expected = truth(told)
    assert expected[1][0] == ["TEMP_base"] or expected[1][1] == ["TEMP_base"]
    assert answers(vault_path) == expected
