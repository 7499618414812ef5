"""Read and overwrite small files with few system calls."""

from __future__ import annotations

import os

_BLOCK = 1 << 16


def read_note(path: str) -> bytes:
    """Read a small file; the built-in ``open`` takes twice as many calls."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        parts = [os.read(descriptor, _BLOCK)]
        while parts[-1]:
            parts.append(os.read(descriptor, _BLOCK))
    finally:
        os.close(descriptor)
    return b"".join(parts)


def write_note(path: str, data: bytes) -> None:
    """Write `data` over the first bytes of a file, which is made when it is not there.

    Who reads has to know where the note ends: what was there before is not cut off. A few bytes
    within one block are there wholly or not at all after a kill; a new file beside the old one
    would be written out at once by ext4 when it is renamed (auto_da_alloc), as is a file cut off.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        os.pwrite(descriptor, data, 0)
    finally:
        os.close(descriptor)
