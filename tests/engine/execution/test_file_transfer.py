"""Files of a vault on their way to workers: in pieces, and in one state."""

from __future__ import annotations

from pathlib import Path

import pytest

from tablevault.engine.execution import file_transfer
from tablevault.engine.execution.file_transfer import (
    Links,
    NewFile,
    VaultHome,
    fetch,
    file_at,
    pieces,
    send,
)
from tablevault.errors import TVExecutorError
from tablevault.paths import is_hidden


def home(folder: Path) -> VaultHome:
    (folder / "HEAD").write_text("main")
    (folder / "artifacts").mkdir()
    return VaultHome.of(folder, folder / "artifacts", folder / "HEAD")


def here(function, *args):
    return function(*args)


def test_pieces_are_all_bytes_of_all_files_and_no_larger_than_allowed():
    files = [NewFile(str(size), size, False) for size in (0, 3, 10, 25, 0, 7)]
    parts = list(pieces(files, most=10))
    assert all(0 <= sum(length for *_, length in each) <= 10 for each in parts)
    for file in files:
        own = [(at, length) for each in parts for one, at, length in each if one is file]
        assert own[0][0] == 0
        assert sum(length for _, length in own) == file.size


def test_a_vault_is_recognised_by_its_marker(tmp_path):
    vault = home(tmp_path)
    assert vault.is_seen
    (tmp_path / "HEAD").unlink()
    assert not vault.is_seen
    (tmp_path / "HEAD").write_text("main, of another vault")
    assert not vault.is_seen


def test_texts_that_name_files_of_the_vault_are_linked_and_others_are_not(tmp_path):
    link = Links(home(tmp_path))
    path = tmp_path / "a b.txt"
    path.write_text("x")
    assert link(str(path)).files == (file_at(str(path)),)
    assert link(f"see {tmp_path / 'HEAD'} twice").files == (file_at(str(tmp_path / "HEAD")),)
    assert link(f"{tmp_path / 'artifacts'}/new").files == ()
    assert link(str(tmp_path / "nothing")) is None
    assert link("text") is None


def test_what_was_written_is_fetched_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(file_transfer, "_PIECE", 4)
    (tmp_path / "there" / "sub").mkdir(parents=True)
    (tmp_path / "there" / "sub" / "x").write_bytes(bytes(range(11)))
    fetch(str(tmp_path / "there"), [NewFile("sub/x", 11, True)], tmp_path / "here", here)
    assert (tmp_path / "here" / "sub" / "x").read_bytes() == bytes(range(11))
    assert (tmp_path / "here" / "sub" / "x").stat().st_mode & 0o111
    assert [path.name for path in (tmp_path / "here" / "sub").iterdir()] == ["x"]


def test_files_of_a_worker_that_dies_meanwhile_get_no_name(tmp_path, monkeypatch):
    monkeypatch.setattr(file_transfer, "_PIECE", 4)
    requests = iter([here, here])

    def dying(function, *args):
        try:
            return next(requests)(function, *args)
        except StopIteration:
            raise EOFError from None

    (tmp_path / "there").mkdir()
    for name in ("x", "y"):
        (tmp_path / "there" / name).write_bytes(bytes(6))
    files = [NewFile(name, 6, False) for name in ("x", "y")]
    (tmp_path / "here").mkdir()
    with pytest.raises(EOFError):
        fetch(str(tmp_path / "there"), files, tmp_path / "here", dying)
    (part,) = (tmp_path / "here").glob("*1.part")
    assert part.stat().st_size == 2
    assert all(is_hidden(path.name) for path in (tmp_path / "here").iterdir())


def test_a_file_that_changes_while_it_is_sent_ends_the_execution(tmp_path):
    vault = home(tmp_path)
    path = tmp_path / "x"
    path.write_text("before")
    file = file_at(str(path))
    path.write_text("after that")
    with pytest.raises(TVExecutorError, match="changed while it was sent"):
        send(vault, [file], lambda function, *args: [file])
