"""The modules in ``code/`` as they are on disk, and how they differ from those of a commit."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from tablevault.errors import TVArgumentError, TVFileError
from tablevault.history.git.stamps import StampedFiles
from tablevault.history.git.trees import Edit, Put, Remove
from tablevault.names import CODE_DIR, BlobId, check_module_name, code_path


class CodeFolder:
    """The folder in which people edit."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files = StampedFiles()

    def edits(self, tracked: Mapping[str, BlobId]) -> list[Edit]:
        """Return how the modules on disk differ from those of a commit, by name."""
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
        """Return whether it leads elsewhere: somebody else may have committed it."""
        return os.path.islink(f"{self._root}/{CODE_DIR}")  # noqa: PTH114 - quicker

    def _edit(self, path: str, data: bytes | None) -> Put:
        """Take in a working file, whose text may be known."""
        file = self._root / path
        content = data if data is not None else file.read_bytes()
        return Put(path=path, data=content, executable=bool(file.stat().st_mode & 0o100))

    def on_disk(self) -> dict[str, tuple[BlobId, bytes | None]]:
        """Return the modules in ``code/`` with their git ids; text only where it was just read."""
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
                found[module] = self._files.identify(entry)
        return found
