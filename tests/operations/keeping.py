"""Everything that a vault keeps, as bytes: for tests of what it must not keep."""

from __future__ import annotations

import subprocess
from pathlib import Path


def kept(vault_path: Path) -> bytes:
    """Return all files of a vault, and all objects of git in it, written out."""
    files = [path.read_bytes() for path in sorted(vault_path.rglob("*")) if path.is_file()]
    objects = subprocess.run(
        ["git", "cat-file", "--batch-all-objects", "--batch", "--unordered"],
        cwd=vault_path,
        capture_output=True,
        check=True,
    ).stdout
    return b"\0".join([*files, objects])
