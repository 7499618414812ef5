"""Reads an object that is sent, and checks its hash."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tablevault.errors import TVFileError
from tablevault.lfs.pointer import Pointer
from tablevault.remotes.lfs.transfer import TransferMeter

_BLOCK = 1 << 16


def blocks_of(file: BinaryIO, pointer: Pointer, size: int = _BLOCK) -> Iterator[bytes]:
    """Return the bytes of an object in blocks of `size`; the last one only if the hash is right."""
    found, left = hashlib.sha256(), pointer.size
    file.seek(0)
    while left:
        block = file.read(min(size, left))
        left -= len(block)
        found.update(block)
        if not block or (not left and found.hexdigest() != pointer.oid):
            raise TVFileError(
                f"Object {pointer.oid} changed during the upload.",
                "Try again; `git lfs fsck` names objects that are damaged.",
                oid=pointer.oid,
            )
        yield block


def counted_blocks(file: BinaryIO, pointer: Pointer, meter: TransferMeter) -> Iterator[bytes]:
    """Return the bytes of an object as :func:`blocks_of`, and count them as they leave."""
    meter.start(0)
    for block in blocks_of(file, pointer):
        yield block
        meter.add(len(block))


@contextlib.contextmanager
def opened(source: Path, pointer: Pointer) -> Iterator[BinaryIO]:
    """Open an object; failures of our own disk are not the server's."""
    try:
        file = source.open("rb")
    except OSError as error:
        raise TVFileError(
            f"Object {pointer.oid} cannot be read: {error.strerror}.", oid=pointer.oid
        ) from error
    with file:
        yield file
