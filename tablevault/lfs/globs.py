"""List paths that match a pattern, while others create and remove folders."""

from __future__ import annotations

from pathlib import Path

_TRIES = 100


def matching(folder: Path, pattern: str) -> list[Path]:
    """List what matches `pattern` below `folder`, sorted; "pathlib" raises when a folder goes."""
    for _ in range(_TRIES):
        try:
            return sorted(folder.glob(pattern))
        except (FileNotFoundError, NotADirectoryError):
            continue
    return sorted(folder.glob(pattern))
