"""A cache of texts made from objects, by their sha256; a text is removed with its object."""
# ruff: noqa: PTH103, PTH105, PTH108, PTH123 - git starts a program for each dataframe that it shows; pathlib costs it 5 ms

from __future__ import annotations

import contextlib
import os

_FOLDER = "texts"
_HEAD = b"tablevault text 2 "
_HEAD_BYTES = 40
_LIMIT_BYTES = 256 << 20
"""Size of all texts together, beyond which the oldest are removed."""


def read_text(state: str, oid: str) -> bytes | None:
    """Return the cached text of an object; None if there is no complete one.

    `state` is the folder ``.git/tablevault``. Nothing is synced, so a crash may leave a part.
    """
    try:
        with open(f"{state}/{_FOLDER}/{oid}", "rb") as file:
            head = file.read(_HEAD_BYTES)
            text = file.read()
    except OSError:
        return None
    return text if head == _head(text) else None


def keep_text(state: str, oid: str, text: bytes) -> None:
    """Cache the text of an object; if that fails, the text is made again the next time."""
    folder = f"{state}/{_FOLDER}"
    path = f"{folder}/{oid}"
    beside = f"{path}.{os.getpid()}.tmp"
    with contextlib.suppress(OSError):
        os.makedirs(folder, exist_ok=True)
        _make_room(folder, len(text))
        try:
            with open(beside, "xb") as file:
                file.write(_head(text) + text)
            os.replace(beside, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(beside)
            raise


def drop_text(state: str, oid: str) -> None:
    """Remove the cached text of an object."""
    with contextlib.suppress(OSError):
        os.unlink(f"{state}/{_FOLDER}/{oid}")


def _head(text: bytes) -> bytes:
    """Format the line before a text: its form, and how long it is."""
    return (_HEAD + b"%d" % len(text)).ljust(_HEAD_BYTES - 1) + b"\n"


def _make_room(folder: str, size: int) -> None:
    """Remove the oldest texts until `size` more bytes fit."""
    with os.scandir(folder) as entries:
        stats = sorted((e.stat().st_mtime_ns, e.stat().st_size, e.path) for e in entries)
    total = size + sum(length for _, length, _ in stats)
    for _, length, path in stats:
        if total <= _LIMIT_BYTES:
            return
        with contextlib.suppress(OSError):
            os.unlink(path)
        total -= length
