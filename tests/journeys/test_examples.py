"""The examples run, offline and by themselves, and leave what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tablevault import TableVault
from tests.looking import check_clean, git

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTHING_OLD = ("-W", "error::DeprecationWarning", "-W", "error::FutureWarning")


def run(name: str, folder: Path) -> str:
    """Run an example in a folder, and give what it printed."""
    done = subprocess.run(
        [sys.executable, *NOTHING_OLD, str(EXAMPLES / name), str(folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder.parent,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stderr.splitlines() if "is not kept in the vault" not in line]
    assert told == []
    return done.stdout


def test_the_quickstart(tmp_path):
    printed = run("quickstart.py", tmp_path / "v")
    vault = TableVault(tmp_path / "v", "Ana")
    first, second = (
        vault.get_dataframe("ranking", each)[0] for each in vault.get_table_instances("ranking")
    )
    assert first["words"].iloc[0] > second["words"].iloc[0]
    assert f"words: {len(vault.get_dataframe('functions')[0])} rows made, argument" in printed
    check_clean(tmp_path / "v")


@pytest.mark.sweep
def test_no_question_is_paid_twice(tmp_path):
    printed = run("document_questions.py", tmp_path / "v")
    vault = TableVault(tmp_path / "v", "Ana")
    answers, _ = vault.get_dataframe("answers")
    assert len(answers) == 100
    assert answers["certainty"].between(0, 1).all()
    assert printed.index("BadRequestError") < printed.index("is paused")
    assert printed.rindex("answers paid: 0") > printed.rindex("answers-4 is done")
    assert "the others are the 100 answers in the table" in printed
    assert not vault.get_active_processes()
    check_clean(tmp_path / "v")


@pytest.mark.sweep
def test_two_collaborators(tmp_path):
    run("two_collaborators.py", tmp_path / "v")
    for name in ("ana", "bo"):
        check_clean(tmp_path / "v" / name)
    git(tmp_path / "v" / "hub.git", "fsck", "--strict")
    ana, bo = (TableVault(tmp_path / "v" / name, name) for name in ("ana", "bo"))
    assert ana.get_dataframe("counts")[0].equals(bo.get_dataframe("counts")[0])
    assert (
        len(
            ana.lineage("counts", ana.get_table_instances("counts")[-1]).upstream(
                ana.get_table_instances("counts")[-1]
            )
        )
        == 2
    )
    heads = {git(tmp_path / "v" / name, "rev-parse", "main") for name in ("ana", "bo", "hub.git")}
    assert len(heads) == 1


@pytest.mark.sweep
def test_duckdb_and_polars(tmp_path):
    printed = run("duckdb_and_polars.py", tmp_path / "v")
    vault = TableVault(tmp_path / "v", "Ana")
    letters = int((vault.get_dataframe("characters", columns=["kind"])[0]["kind"] == "L").sum())
    assert printed.count(str(letters)) == 3  # as each of the three programs counts them
    check_clean(tmp_path / "v")


@pytest.mark.parametrize("name", ["quickstart.py", "document_questions.py"])
def test_what_is_there_is_not_touched(name, tmp_path):
    (tmp_path / "mine").write_text("mine", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), str(tmp_path / "mine")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f'"{tmp_path / "mine"}" is there already. Name another folder.\n'
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
