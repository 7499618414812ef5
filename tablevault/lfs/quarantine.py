"""Quarantine: damaged files are moved there and kept for a while."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

_FOLDER = "aside"


class Aside:
    """Folders ``aside/<time>-<random>/`` below `state`, one for each file that was moved."""

    def __init__(self, state: Path) -> None:
        self._root = state / _FOLDER

    def take(self, path: Path) -> Path | None:
        """Move a file or folder out of the way; give its new place, None if there is nothing."""
        folder = self._root / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(4).hex()}"
        if self._root.exists() and not self._root.is_dir():
            self._root.unlink()
        folder.mkdir(parents=True)
        try:
            shutil.move(path, folder / path.name)  # to another disk, too
        except OSError:
            folder.rmdir()
            if os.path.lexists(path):
                raise
            return None
        os.utime(folder)
        return folder / path.name

    def older_than(self, age_s: float) -> Iterator[Path]:
        """List the folders that were made before."""
        with contextlib.suppress(OSError):
            for folder in sorted(self._root.iterdir()):
                if time.time() - folder.lstat().st_mtime >= age_s:
                    yield folder

    def remove(self, folder: Path) -> None:
        """Remove what was kept, for good."""
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._root.rmdir()
