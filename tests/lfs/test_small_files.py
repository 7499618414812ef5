"""Small files that are read whole and written over."""

from __future__ import annotations

import pytest

from tablevault.lfs.small_files import read_note, write_note


@pytest.mark.parametrize("size", [0, 1, 1 << 16, (1 << 16) + 1, 200_000])
def test_a_note_is_read_whole(tmp_path, size):
    path = tmp_path / "note"
    path.write_bytes(b"x" * size)
    assert read_note(str(path)) == b"x" * size


def test_a_note_is_made_and_written_over(tmp_path):
    path = tmp_path / "note"
    write_note(str(path), b"abc")
    write_note(str(path), b"d")
    assert path.read_bytes() == b"dbc"


def test_a_missing_note_and_a_missing_folder_are_errors(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_note(str(tmp_path / "note"))
    with pytest.raises(FileNotFoundError):
        write_note(str(tmp_path / "folder/note"), b"x")
