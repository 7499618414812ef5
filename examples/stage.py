"""Where the examples play: in a new folder; and the lines between their acts."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path


def new_folder(name: str) -> Path:
    """Return a folder that does not exist yet: the one named, or a temporary one."""
    if len(sys.argv) == 1:
        return Path(tempfile.mkdtemp(prefix=f"tablevault-{name}-")) / name
    folder = Path(sys.argv[1]).absolute()
    if folder.exists():
        sys.exit(f'"{folder}" is there already. Name another folder.')
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder


def heading(text: str) -> None:
    """Print a line between two acts."""
    print(f"\n-- {text}\n", flush=True)


def git(folder: Path, *arguments: str) -> None:
    """Show a git command and what it prints."""
    print(f"$ git {' '.join(arguments)}", flush=True)
    subprocess.run(["git", "--no-pager", "-C", str(folder), *arguments], check=True)
