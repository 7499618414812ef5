"""The folder of a run: what ended, what is finished so far, and whose it is."""

from __future__ import annotations

import json
import logging
import os

import pandas as pd
import pytest

from tablevault.engine.checkpoint import (
    FileCheckpoint,
    NoCheckpoint,
    Part,
    owner_of,
    read_note,
    sweep_folder,
)
from tablevault.errors import TVTableError

PARTS = (
    Part(name="t_index", columns=("k",), primary_key=("k",)),
    Part(name="o", columns=("x", "y"), dtypes={"x": "Int8"}),
)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints" / "c"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def opened(folder, process="p"):
    made = FileCheckpoint(folder, process)
    made.begin(PARTS)
    return made


def test_rows_are_there_for_the_same_process_and_for_no_other(folder):
    with opened(folder) as first:
        assert first.rows("o", ("x", "y")) == {}
        first.append("o", 2, (1, "a"))
        first.append("o", 0, (None, "b"))
    assert owner_of(folder) == "p"
    with opened(folder) as again:
        assert again.rows("o", ("x", "y")) == {2: (1, "a"), 0: (None, "b")}
    with opened(folder, "other") as other:
        assert other.rows("o", ("x", "y")) == {}
    with opened(folder) as late:
        assert late.rows("o", ("x", "y")) == {}


def test_rows_can_be_kept_without_asking_for_earlier_ones(folder):
    with opened(folder) as first:
        first.append("o", 1, (1, 2))
    with opened(folder) as again:
        again.append("o", 0, (3, 4))
        assert again.rows("o", ("x", "y")) == {1: (1, 2)}
    with opened(folder) as last:
        assert last.rows("o", ("x", "y")) == {1: (1, 2), 0: (3, 4)}


def test_a_builder_that_ended_has_its_columns_and_no_rows(folder):
    columns = {
        "x": pd.Series([1, None], dtype="Int8"),
        "y": pd.Series([["a"], None], dtype=object),
    }
    with opened(folder) as first:
        first.append("o", 1, (1, 2))
        assert first.finished("o") is None
        first.finish("o", columns)
        assert names(folder) == ["o.parquet", "run.json"]
    with opened(folder) as again:
        found = again.finished("o")
        assert found is not None
        assert list(found) == ["x", "y"]
        pd.testing.assert_frame_equal(pd.DataFrame(found), pd.DataFrame(columns))
        assert again.rows("o", ("x", "y")) == {}


def test_a_builder_without_columns_can_end(folder):
    with opened(folder) as first:
        assert first.finished("o") is None
        first.finish("o", {})
    assert opened(folder).finished("o") == {}


def test_a_damaged_file_of_columns_means_that_the_builder_runs_again(folder, caplog):
    with opened(folder) as first:
        first.finish("o", {"x": pd.Series([1])})
    (folder / "o.parquet").write_bytes(b"PAR1")
    with caplog.at_level(logging.WARNING, logger="tablevault"):
        assert opened(folder).finished("o") is None
    assert '"o" runs again' in caplog.text


@pytest.mark.parametrize("change", ["columns", "name", "damage"])
def test_another_index_builder_means_other_rows(folder, change):
    with opened(folder) as first:
        first.finish("t_index", {"k": pd.Series(["a", "b"])})
        first.append("o", 1, (1, 2))
        first.finish("p", {"z": pd.Series([1, 2])})
    index = {
        "columns": Part(name="t_index", columns=("k", "n")),
        "name": Part(name="u_index", columns=("k",)),
        "damage": PARTS[0],
    }[change]
    if change == "damage":
        (folder / "t_index.parquet").write_bytes(b"")
    with FileCheckpoint(folder, "p") as again:
        again.begin([index, PARTS[1]])
        assert again.finished(index.name) is None
        assert again.rows("o", ("x", "y")) == {}
        assert again.finished("p") is None


def test_columns_that_cannot_be_stored_are_an_error_that_names_the_builder(folder):
    with opened(folder) as first, pytest.raises(TVTableError, match=r'Builder "o": Column "x"'):
        first.finish("o", {"x": pd.Series([object()])})
    assert names(folder) == ["run.json"]


def test_the_note_says_who_runs_which_builders(folder):
    opened(folder)
    note = read_note(folder)
    assert (note["process_id"], note["pid"]) == ("p", os.getpid())
    assert note["builders"] == [
        {"name": "t_index", "columns": ["k"], "dtypes": {}, "primary_key": ["k"]},
        {"name": "o", "columns": ["x", "y"], "dtypes": {"x": "Int8"}, "primary_key": []},
    ]


@pytest.mark.parametrize("content", [None, b"", b"[]", b"{", b"\xff"])
def test_without_a_note_the_rows_belong_to_nobody(folder, content):
    with opened(folder) as first:
        first.append("o", 1, (1, 2))
    (folder / "run.json").unlink()
    if content is not None:
        (folder / "run.json").write_bytes(content)
    assert owner_of(folder) == ""
    assert opened(folder).rows("o", ("x", "y")) == {}
    assert json.loads((folder / "run.json").read_text())["process_id"] == "p"


def test_a_swept_folder_is_gone(folder):
    opened(folder).append("o", 1, (1, 2))
    sweep_folder(folder)
    assert not folder.exists()
    sweep_folder(folder)


def test_what_is_appended_is_synced_about_once_a_second(folder, monkeypatch):
    synced, now = [], [100.0]
    real = os.fdatasync
    monkeypatch.setattr(
        "tablevault.engine.row_log._sync", lambda file: synced.append(now[0]) or real(file)
    )
    monkeypatch.setattr("tablevault.engine.checkpoint.time.monotonic", lambda: now[0])
    with opened(folder) as first:
        for step in range(101):
            now[0] = 100 + step / 40
            first.append("o", step, (step, None))
        assert synced == [100.0, 101.0, 102.0]
    assert len(synced) == 4


def test_no_checkpoint_keeps_nothing():
    nothing = NoCheckpoint()
    nothing.begin(PARTS)
    nothing.append("o", 1, (1, 2))
    nothing.finish("o", {"x": pd.Series([1])})
    assert nothing.finished("o") is None
    assert nothing.rows("o", ("x",)) == {}


KILLED = """
import os, sys
from pathlib import Path
from tablevault.engine.checkpoint import FileCheckpoint, Part
with FileCheckpoint(Path(sys.argv[1]), "p") as kept:
    kept.begin([Part(name="o", columns=("x", "y"))])
    row = len(kept.rows("o", ("x", "y")))
    while True:
        kept.append("o", row, (row, "x" * (row % 300)))
        os.write(1, b"%d\\n" % row)
        row += 1
"""


def test_a_killed_process_loses_no_row_that_it_was_told_is_kept(folder, python):
    before = 0
    for wanted in (1, 50, 1000, 3):
        process = python(KILLED, folder)
        told = [int(process.stdout.readline()) for _ in range(wanted)]
        process.kill()
        told += map(int, process.stdout.read().split())
        process.wait()
        with FileCheckpoint(folder, "p") as kept:
            rows = kept.rows("o", ("x", "y"))
        assert told[0] == before
        assert rows == {row: (row, "x" * (row % 300)) for row in range(len(rows))}
        assert len(rows) in (told[-1] + 1, told[-1] + 2)
        before = len(rows)
