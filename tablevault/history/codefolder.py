"""The modules in ``code/`` as they are on disk, and how they differ from those of a commit."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

import pygit2

from tablevault.errors import TVArgumentError, TVFileError
from tablevault.history.tree import Edit, Put, Remove
from tablevault.names import CODE_DIR, BlobId, check_module_name, code_path


class CodeFolder:
    """The folder in which people edit; remembers what it has hashed by inode, size and mtime."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen: dict[str, tuple[tuple[int, int, int], BlobId]] = {}

    def edits(self, tracked: Mapping[str, BlobId]) -> list[Edit]:
        """Say how the modules on disk differ from those of a commit, by name."""
        if self._is_link():
            return []
        found = self.on_disk()
        edits: list[Edit] = [
            self._edit(code_path(module), data)
            for module, (blob, data) in found.items()
            if tracked.get(module) != blob
        ]
        # What is on disk under a tracked name but is no module of ours, a link say, stays.
        gone = [code_path(module) for module in tracked if module not in found]
        edits.extend(Remove(path=path) for path in gone if not os.path.lexists(self._root / path))
        return edits

    def _is_link(self) -> bool:
        """Tell whether it leads elsewhere: somebody else may have committed it."""
        return os.path.islink(f"{self._root}/{CODE_DIR}")  # noqa: PTH114 - quicker

    def _edit(self, path: str, data: bytes | None) -> Put:
        """Take in a working file, whose text may be known."""
        file = self._root / path
        content = data if data is not None else file.read_bytes()
        return Put(path=path, data=content, executable=bool(file.stat().st_mode & 0o100))

    def on_disk(self) -> dict[str, tuple[BlobId, bytes | None]]:
        """Give the modules in ``code/`` with their git ids; text only where it was just read."""
        found: dict[str, tuple[BlobId, bytes | None]] = {}
        if self._is_link():
            return found
        try:
            entries = sorted(os.scandir(f"{self._root}/{CODE_DIR}"), key=lambda entry: entry.name)
        except FileNotFoundError:
            return found
        except NotADirectoryError as error:
            raise TVFileError(
                f'"{self._root / CODE_DIR}" is a file, where the folder of code modules should be.',
                "Move it away; `git checkout main -- code` brings the modules back.",
            ) from error
        for entry in entries:
            module = entry.name.removesuffix(".py")
            if module == entry.name or not entry.is_file(follow_symlinks=False):
                continue
            with contextlib.suppress(TVArgumentError, FileNotFoundError):
                check_module_name(module)
                found[module] = self._identify(entry)
        return found

    def _identify(self, entry: os.DirEntry[str]) -> tuple[BlobId, bytes | None]:
        """Give the git id of a small file, without reading it when its stat is known."""
        status = entry.stat(follow_symlinks=False)
        stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
        known = self._seen.get(entry.path)
        if known is not None and known[0] == stamp:
            return known[1], None
        data = Path(entry.path).read_bytes()
        blob = BlobId(str(pygit2.hash(data)))
        # Two edits within one tick of the clock have one stamp (git's "racy" problem): what
        # changed just now is read again next time.
        if time.time_ns() - status.st_mtime_ns > 2 * 10**9:
            self._seen[entry.path] = (stamp, blob)
        return blob, data
