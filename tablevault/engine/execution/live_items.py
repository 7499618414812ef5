"""Items of a generator on their way from a worker, while the generator goes on.

Workers of Dask are asked for them. A worker process of this machine writes them into a file that
the execution has made for it, so that also its death costs none.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from tablevault.engine.calls.usage import UsageReport
from tablevault.engine.execution.parcels import packed, unpacked

_HEAD: Final = 8
"""Bytes before each item in a file, which say how many it has."""


class Item(NamedTuple):
    """One item of what a function returned, and what it reported before it."""

    value: object
    used: Sequence[UsageReport]


# -- in the worker ------------------------------------------------------------------------------


_live: Final[dict[str, list[Item]]] = {}
"""Items of generators that are called here, and that were not taken yet, by the task."""
_taking = threading.Lock()


def live_items(task: str) -> list[Item]:
    """Return a list for the items of a task, from which `take_items` takes them."""
    return _live.setdefault(task, [])


def take_items(task: str) -> list[Item]:
    """Return the items of a task that have come since this was called last."""
    with _taking:
        items = _live.get(task, [])
        taken = items[:]
        del items[: len(taken)]
    return taken


def rest_of(task: str, items: list[Item]) -> list[Item]:
    """Return the items of a task that has ended, and that were not taken."""
    if isinstance(items, FileItems):
        items.close()
    with _taking:
        _live.pop(task, None)
        return list(items)


class FileItems(list[Item]):
    """Items that go to a file; it keeps those that do not: where it is not found, or has no room.

    Once it is opened it has no name any more, so that nothing stays when everybody is killed.

    Parameters
    ----------
    path : str
        Of an `ItemFile`.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._number = -1
        with contextlib.suppress(OSError):
            self._number = os.open(path, os.O_WRONLY)
            os.unlink(path)  # noqa: PTH108 - as os.open

    def append(self, item: Item) -> None:
        """Add an item."""
        if self._number >= 0:
            data = packed(item)
            left = memoryview(len(data).to_bytes(_HEAD) + data)
            try:
                while left:
                    left = left[os.write(self._number, left) :]
            except OSError:
                self.close()
            else:
                return
        super().append(item)

    def close(self) -> None:
        """Close the file."""
        if self._number >= 0:
            os.close(self._number)
        self._number = -1


# -- in the process that executes ---------------------------------------------------------------


class ItemFile:
    """A file for the items of one task.

    Attributes
    ----------
    path : str
        Where a worker finds it, and that the task is called in `live_items`.
    """

    def __init__(self) -> None:
        number, self.path = tempfile.mkstemp(prefix="tablevault-items-")
        self._file: BinaryIO = open(number, "rb")  # noqa: SIM115, PTH123 - `close` closes it

    def close(self) -> None:
        """Remove it, unless a worker has."""
        self._file.close()
        Path(self.path).unlink(missing_ok=True)

    def take(self) -> list[Item]:
        """Return the items that have come since this was called last."""
        return [*take_items(self.path), *self._read()]

    def _read(self) -> Iterator[Item]:
        """Yield the items that are there as a whole."""
        while True:
            start = self._file.tell()
            head = self._file.read(_HEAD)
            size = int.from_bytes(head)
            if len(head) < _HEAD or len(data := self._file.read(size)) < size:
                self._file.seek(start)
                return
            yield unpacked(data)
