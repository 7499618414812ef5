"""Git ids of small files on disk; unchanged files are not read again."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pygit2

from tablevault.names import BlobId

_TICK_NS = 2 * 10**9


class StampedFiles:
    """Remembers what it has hashed by inode, size and mtime."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[tuple[int, int, int], BlobId]] = {}

    def identify(self, entry: os.DirEntry[str]) -> tuple[BlobId, bytes | None]:
        """Return the git id of a file, and its text where that was just read."""
        status = entry.stat(follow_symlinks=False)
        stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
        known = self._seen.get(entry.path)
        if known is not None and known[0] == stamp:
            return known[1], None
        data = Path(entry.path).read_bytes()
        blob = BlobId(str(pygit2.hash(data)))
        # Two edits within one tick of the clock have one stamp (git's "racy" problem): what
        # changed just now is read again next time.
        if time.time_ns() - status.st_mtime_ns > _TICK_NS:
            self._seen[entry.path] = (stamp, blob)
        return blob, data
