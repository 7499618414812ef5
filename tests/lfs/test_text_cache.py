"""Texts that are kept for objects: lost without harm, and gone when the object goes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tablevault.lfs import text_cache
from tablevault.lfs.store import ObjectStore
from tablevault.names import ObjectId


@pytest.fixture
def state(tmp_path):
    return str(tmp_path / "tablevault")


def test_a_text_is_given_back_as_it_was(state):
    for number, text in enumerate([b"", b"a\nb", b"x" * 100_000]):
        text_cache.keep_text(state, str(number), text)
        assert text_cache.read_text(state, str(number)) == text
    assert text_cache.read_text(state, "unknown") is None


@pytest.mark.parametrize("left", [0, 10, 39, 40, 45])
def test_a_text_that_a_crash_cut_off_is_none(state, left):
    text_cache.keep_text(state, "a", b"whole text")
    os.truncate(f"{state}/texts/a", left)
    assert text_cache.read_text(state, "a") is None


def test_a_text_in_another_form_is_none(state):
    text_cache.keep_text(state, "a", b"text")
    path = Path(f"{state}/texts/a")
    path.write_bytes(path.read_bytes().replace(b"text 2 ", b"text 1 "))
    assert text_cache.read_text(state, "a") is None


def test_the_oldest_texts_make_room(state, monkeypatch):
    monkeypatch.setattr(text_cache, "_LIMIT_BYTES", 400)
    for number in range(5):
        text_cache.keep_text(state, str(number), b"x" * 100)
        os.utime(f"{state}/texts/{number}", ns=(number, number))
    kept = [text_cache.read_text(state, str(number)) is not None for number in range(5)]
    assert kept == [False, False, True, True, True]


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path):
    (tmp_path / "texts").write_text("in the way")
    text_cache.keep_text(str(tmp_path), "a", b"text")
    assert text_cache.read_text(str(tmp_path), "a") is None


def test_a_text_goes_with_its_object(tmp_path):
    store = ObjectStore(tmp_path / "lfs", tmp_path / "tablevault/tmp")
    with store.draft("p") as draft:
        draft.write(b"bytes")
    with store.locked():
        store.keep([draft])
    oid = draft.pointer.oid
    state = str(tmp_path / "tablevault")
    text_cache.keep_text(state, oid, b"text")
    store.delete([oid], needed=lambda _: True)
    assert text_cache.read_text(state, oid) == b"text"
    store.delete([oid, ObjectId("0" * 64)], needed=lambda _: False)
    assert text_cache.read_text(state, oid) is None
