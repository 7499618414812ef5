"""Items of generators in a file between two processes."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tablevault.engine.calls.usage import UsageReport
from tablevault.engine.execution.live_items import (
    FileItems,
    Item,
    ItemFile,
    live_items,
    rest_of,
    take_items,
)

ITEMS = [Item(n, [UsageReport("m", n)]) for n in range(3)]


@pytest.fixture
def file():
    with closing(ItemFile()) as file:
        yield file


def test_items_are_taken_once_they_are_there_as_a_whole(file):
    with Path(file.path).open("r+b") as other:
        items = FileItems(file.path)
        items.append(ITEMS[0])
        items.append(ITEMS[1])
        written = other.read()
        assert file.take() == ITEMS[:2]
        items.append(ITEMS[2])
        whole = other.read()
        other.seek(len(written))
        other.truncate()
        for size in (1, 9, len(whole) - 1):
            other.write(whole[other.tell() - len(written) : size])
            other.flush()
            assert file.take() == []
        other.write(whole[-1:])
        other.flush()
        assert file.take() == ITEMS[2:]
        assert rest_of(file.path, items) == []


def test_a_file_that_is_open_in_the_worker_has_no_name_any_more(file):
    items = FileItems(file.path)
    assert not Path(file.path).exists()
    assert rest_of(file.path, items) == []


def test_items_stay_where_there_is_no_file(tmp_path):
    items = FileItems(str(tmp_path / "elsewhere"))
    items.append(ITEMS[0])
    assert rest_of("", items) == ITEMS[:1]


def test_items_stay_from_the_first_on_for_which_the_disk_has_no_room(tmp_path):
    (tmp_path / "full").symlink_to("/dev/full")
    items = FileItems(str(tmp_path / "full"))
    for item in ITEMS:
        items.append(item)
    assert rest_of("", items) == ITEMS


def test_items_of_this_process_are_taken_as_they_are(file):
    item = Item(object(), [])  # could not be pickled, if it were a lock
    live_items(file.path).append(item)
    assert file.take() == [item]
    assert take_items(file.path) == []
    assert rest_of(file.path, live_items(file.path)) == []
