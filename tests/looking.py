"""How tests look at a vault: stock git, and everything that must not change."""

from __future__ import annotations

import subprocess
from pathlib import Path

_NOT_STATE = (
    "index.sqlite",
    "objects.sqlite",
    "commit.lock",
    "journal.lock",
    "objects.lock",
    "pack.lock",
    "tablevault/moving",  # a note of what was being moved, over what was noted before
    "checkpoints/",  # what an execution that failed has made stays to be looked at
)


def git(path: Path, *arguments: str) -> str:
    """Run stock git in a folder and give what it printed."""
    done = subprocess.run(
        ["git", "-C", str(path), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def state_of(path: Path) -> dict[str, object]:
    """Take down refs, working files with their modes, objects and records of a vault."""
    refs = git(path, "for-each-ref", "--format=%(refname) %(objectname)")
    files: dict[str, object] = {}
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path).as_posix()
        if name.startswith(".git/") and not name.startswith((".git/lfs", ".git/tablevault")):
            continue
        if name.startswith(".git/tablevault/") and (
            any(part in name for part in _NOT_STATE) or name.endswith("history.jsonl")
        ):
            continue
        files[name] = "folder" if file.is_dir() else (file.stat().st_mode, file.read_bytes())
    # The store keeps folders of objects that came and went.
    kept = {
        name: what
        for name, what in files.items()
        if not (what == "folder" and name.startswith(".git/"))
    }
    status = git(path, "status", "--porcelain")
    return {"refs": refs, "head": git(path, "rev-parse", "HEAD"), "status": status, **kept}


def check_clean(path: Path) -> None:
    """Check with stock tools that a vault is sound, and that nothing was left behind."""
    git(path, "fsck", "--strict", "--no-dangling")
    assert git(path, "status", "--porcelain") == ""
    git(path, "lfs", "fsck")
    left = [
        name.relative_to(path).as_posix()
        for name in path.rglob("*")
        if name.name.endswith((".lock", ".tmp"))
        and name.name not in _NOT_STATE
        and not name.is_relative_to(path / "tables")
    ]
    assert left == []
    assert list((path / ".git/tablevault/processes").iterdir()) == []
    scratch = path / ".git/tablevault/tmp"
    assert [file for file in scratch.rglob("*") if file.is_file()] == []
