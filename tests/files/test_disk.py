"""Small files that are written in one step."""

from __future__ import annotations

import os

import pytest

from tablevault.files.disk import replace_file


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_made_and_replaced_whole(tmp_path, durable):
    path = tmp_path / "file"
    for data in (b"abc", b"", b"x" * 100_000):
        replace_file(path, data, durable=durable)
        assert path.read_bytes() == data
    assert list(tmp_path.iterdir()) == [path]


def test_who_has_the_file_open_keeps_what_it_was(tmp_path):
    path = tmp_path / "file"
    replace_file(path, b"before")
    with path.open("rb") as reader:
        replace_file(path, b"after")
        assert reader.read() == b"before"


def test_a_failure_leaves_what_was_there_and_nothing_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "file"
    replace_file(path, b"before")

    def refuse(descriptor):
        raise OSError("no")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="no"):
        replace_file(path, b"after", durable=True)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_crash_left_beside_it_is_written_over(tmp_path):
    (tmp_path / ".file.tmp").write_bytes(b"x" * 100)
    replace_file(tmp_path / "file", b"abc")
    assert (tmp_path / "file").read_bytes() == b"abc"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "folder/file", b"x")
