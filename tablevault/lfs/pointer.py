"""The Git LFS pointer, version 1; encode and decode (git-lfs docs/spec.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tablevault.names import ObjectId

LONGEST_POINTER = 1024
"""A blob of this many bytes or more is no pointer."""

EMPTY = ObjectId("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
"""sha256 of no bytes: such an object is never stored, and its pointer is the empty blob."""

_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize (\d{1,19})\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """Stands in a git tree for a file of `size` bytes whose sha256 is `oid`."""

    oid: ObjectId
    size: int

    def encode(self) -> bytes:
        """Return the one canonical text of this pointer."""
        if self.size == 0:
            return b""
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.oid}\n"
        return f"{text}size {self.size}\n".encode("ascii")


def decode_pointer(blob: bytes) -> Pointer | None:
    """Read a canonical pointer; None when `blob` is something else.

    Extensions and the two older version strings are not read: nothing in a vault writes them.
    """
    if not blob:
        return Pointer(oid=EMPTY, size=0)
    if len(blob) >= LONGEST_POINTER or not (found := _POINTER.fullmatch(blob)):
        return None
    return Pointer(oid=ObjectId(found[1].decode("ascii")), size=int(found[2]))
