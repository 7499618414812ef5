"""Leftovers of crashed processes on this machine, and old files in quarantine."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from tablevault.history.git.object_files import files_below
from tablevault.history.git.repack import stale_files
from tablevault.lfs.quarantine import Aside
from tablevault.names import record_file
from tablevault.transactions.parts import VaultParts

_LEFT_S = 3600.0
"""So long nobody leaves a file that is being written."""


def stale(parts: VaultParts, instances: Collection[str], older_than_s: float) -> Iterator[Path]:
    """List files and folders that nobody needs.

    Parameters
    ----------
    parts : VaultParts
        The vault's.
    instances : collection of str
        Ids of the instances that are not deleted.
    older_than_s : float
        Age in seconds of what was set aside, damaged or edited: the last copy, perhaps.
    """
    git_dir, state = parts.repository.git_dir, parts.state
    yield from stale_files(git_dir)
    records = {record_file(record.process_id) for record in parts.files.every()}
    for path in _older(state / "tmp", _LEFT_S):
        if path.name not in records:
            yield path
    yield from _older(state / "incomplete", max(older_than_s, _LEFT_S))
    for name, age_s in (("tmp", max(older_than_s, _LEFT_S)), ("bad", older_than_s)):
        yield from _older(git_dir / "lfs" / name, age_s)
    yield from _older(git_dir / "lfs" / "incomplete", max(older_than_s, _LEFT_S))
    for path in _older(parts.store.drafts, _LEFT_S):
        if path.name not in records and path.parent != state / "tmp":
            yield path
    yield from Aside(state).older_than(older_than_s)
    yield from parts.checkpoints.strays()
    for path in _older(state / "artifacts", _LEFT_S):
        if path.name not in instances:
            yield path


def size_of(path: Path) -> int:
    """Sum the bytes of a file, or of all files in a folder; a hard link frees nothing."""
    is_folder = path.is_dir() and not path.is_symlink()
    files = list(files_below(path)) if is_folder else [path]
    total = 0
    for file in files:
        with contextlib.suppress(OSError):
            status = file.lstat()
            total += status.st_size if file.is_file() and status.st_nlink == 1 else 0
    return total


def remove(path: Path) -> None:
    """Remove a file or a folder; who is faster is welcome."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def _older(folder: Path, age_s: float) -> Iterator[Path]:
    """List what lies in a folder and was changed or moved so long ago."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        with contextlib.suppress(FileNotFoundError):
            status = entry.stat(follow_symlinks=False)
            if time.time() - max(status.st_mtime, status.st_ctime) >= age_s:
                yield Path(entry.path)
