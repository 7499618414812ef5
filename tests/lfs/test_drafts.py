"""Objects that come in pieces: kept over deaths, held by one, trusted only when whole."""

from __future__ import annotations

import hashlib
import os

import pytest

from tablevault.files import links
from tablevault.lfs.pointer import Pointer
from tablevault.lfs.store import ObjectStore
from tablevault.names import ObjectId

CONTENT = bytes(range(256)) * 20


def pointer_of(content):
    return Pointer(oid=ObjectId(hashlib.sha256(content).hexdigest()), size=len(content))


@pytest.fixture
def store(tmp_path):
    (tmp_path / "state/tmp").mkdir(parents=True)
    return ObjectStore(tmp_path / "lfs", tmp_path / "state/tmp")


@pytest.fixture
def partial(store):
    with store.partial(pointer_of(CONTENT)) as partial:
        assert partial.claim()
        yield partial


def test_what_is_whole_goes_into_the_store(store, partial):
    partial.write(CONTENT[:100])
    partial.write(memoryview(CONTENT)[100:])
    assert partial.finish()
    with store.locked():
        store.keep([partial])
    partial.close()
    assert store.file(partial.pointer).read_bytes() == CONTENT
    assert store.file(partial.pointer).stat().st_mode & 0o777 == 0o444
    assert not partial.path.exists()


def test_who_comes_later_goes_on_where_the_last_one_stopped(store, partial):
    partial.write(CONTENT[:1000])
    partial.close()
    again = store.partial(partial.pointer)
    assert again.claim()
    assert again.size == 1000
    again.write(CONTENT[1000:])
    assert again.finish()
    again.close()


def test_wrong_bytes_are_thrown_away(partial):
    partial.write(bytes(len(CONTENT)))
    assert not partial.finish()
    assert partial.size == 0
    partial.write(CONTENT)
    assert partial.finish()


def test_too_few_bytes_are_not_taken_for_all(partial):
    partial.write(CONTENT[:-1])
    assert not partial.finish()


def test_more_bytes_than_there_can_be_are_no_beginning(store, partial):
    partial.write(CONTENT + b"x")
    partial.close()
    again = store.partial(partial.pointer)
    assert again.claim()
    assert again.size == 0
    again.close()


def test_only_one_writes(store, partial):
    other = store.partial(partial.pointer)
    assert not other.claim()
    partial.write(b"abc")
    partial.close()
    assert other.claim()
    assert other.size == 3
    other.close()


def test_who_waited_for_one_that_finished_does_not_get_its_file(store, partial, monkeypatch):
    partial.write(CONTENT)
    assert partial.finish()
    opened = os.open

    def late(path, *arguments, **more):
        descriptor = opened(path, *arguments, **more)
        if str(path) == str(partial.path):
            monkeypatch.undo()
            with store.locked():
                store.keep([partial])
            partial.close()
        return descriptor

    monkeypatch.setattr(os, "open", late)
    assert not store.partial(partial.pointer).claim()
    assert store.has(partial.pointer)


def test_nothing_is_left_of_one_without_bytes(partial):
    assert partial.path.exists()
    partial.close()
    assert not partial.path.exists()


def test_a_copy_on_write_is_hashed_like_everything_else(partial, tmp_path, monkeypatch):
    source = tmp_path / "source"
    source.write_bytes(CONTENT)

    def clone(reader, writer):
        os.sendfile(writer, reader, 0, len(CONTENT))
        return True

    monkeypatch.setattr(links, "clone", clone)
    with source.open("rb") as reader:
        assert partial.clone(reader)
        assert partial.finish()
        assert not partial.clone(reader), "there are bytes already"


def test_a_file_system_without_copy_on_write_says_so(partial, tmp_path, monkeypatch):
    monkeypatch.setattr(links, "clone", lambda *_: False)
    source = tmp_path / "source"
    source.write_bytes(CONTENT)
    with source.open("rb") as reader:
        assert not partial.clone(reader)
    assert partial.size == 0
