"""Does a vault hold work that would be lost with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.object_files import files_below, read_refs
from tablevault.history.git.repository import Repository
from tablevault.names import MAIN, TABLES_DIR

_OF_EVERY_VAULT = frozenset({"vault.yaml", ".gitattributes", ".gitignore"})


def holds_work(path: Path) -> bool:
    """Return whether the vault at `path` holds more than descriptions of tables.

    Work is an instance, temporary or not, a builder, a code module, an object, a process that is
    not finished, a branch, or a file that is not committed. A vault that cannot be read counts
    as one with work.
    """
    try:
        return any(_signs_of_work(path))
    except Exception:  # noqa: BLE001 - damage takes any form, and what cannot be read is kept
        return True


def _signs_of_work(path: Path) -> Iterator[bool]:
    """Look at one place after the other."""
    git_dir = path / ".git"
    state = git_dir / "tablevault"
    yield read_refs(git_dir).targets.keys() != {MAIN}
    kept = (git_dir / "lfs", state / "processes", state / "checkpoints", state / "aside")
    yield any(True for folder in kept for _ in files_below(folder))
    repository = Repository(path)
    snapshot = Snapshot(repository, repository.main())
    tracked = set()
    for top in snapshot.entries(""):
        inner = snapshot.files(top.name) if top.is_folder else ()
        tracked.update([f"{top.name}/{file.name}" for file in inner] or [top.name])
    yield any(not _is_of_every_vault(name) for name in tracked)
    for folder, folders, names in os.walk(path):
        if ".git" in folders:
            folders.remove(".git")
        inside = Path(folder).relative_to(path)
        yield any((inside / name).as_posix() not in tracked for name in names)


def _is_of_every_vault(name: str) -> bool:
    """Return whether a file is one that the vault made by itself, or the settings of a table."""
    parts = name.split("/")
    return name in _OF_EVERY_VAULT or (parts[0] == TABLES_DIR and parts[2:] == ["table.yaml"])
