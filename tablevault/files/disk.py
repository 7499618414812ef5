"""Files and folders: write in one step, sync, hash, list, remove."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tablevault.names import ObjectId

_TRIES = 100
_MANY = 64
_SYNCING = 8
_QUARANTINE = "quarantine"


def replace_file(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Write a small file; who reads it sees what it was, or what it is now.

    One writes it at a time. A crash may leave ``.<name>.tmp``, which the next one writes over.

    Parameters
    ----------
    path : Path
        The file, which need not be there; its folder must.
    data : bytes
        All that it is to hold.
    durable : bool, default False
        Whether it is synced, with its name, so that it survives a loss of power.
    """
    beside = path.with_name(f".{path.name}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
    if durable:
        sync_folder(path.parent)


def sync_file(path: str | Path) -> None:
    """Make the bytes of a file durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: str | Path) -> None:
    """Make the names in `folder` durable, where the file system lets us."""
    with contextlib.suppress(OSError):
        sync_file(folder)


def sync_all(paths: Sequence[Path], sync: Callable[[Path], None] = sync_file) -> None:
    """Make many files or folders durable; from a few threads, whom the disk serves together."""
    if len(paths) < _MANY:
        for path in paths:
            sync(path)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_SYNCING) as pool:
        for _ in pool.map(sync, paths):
            pass


def hash_file(path: Path) -> ObjectId:
    """Compute the sha256 of the bytes of a file."""
    with path.open("rb") as reader:
        return ObjectId(hashlib.file_digest(reader, "sha256").hexdigest())


def matching(folder: Path, pattern: str) -> list[Path]:
    """List what matches `pattern` below `folder`, sorted, while others create and remove folders.

    ``Path.glob`` raises when a folder goes.
    """
    for _ in range(_TRIES):
        try:
            return sorted(folder.glob(pattern))
        except (FileNotFoundError, NotADirectoryError):
            continue
    return sorted(folder.glob(pattern))


def entries_of(folder: str | Path) -> list[os.DirEntry[str]]:
    """List a folder, sorted; empty where there is none, or none that can be read."""
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return []


def files_below(folder: Path) -> Iterator[Path]:
    """Walk the files below a folder, in order, while others may take some of it away."""
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            yield from files_below(path)
        else:
            yield path


def size_of(path: Path) -> int:
    """Sum the bytes of a file, or of all files in a folder; a hard link frees nothing."""
    is_folder = path.is_dir() and not path.is_symlink()
    total = 0
    for file in files_below(path) if is_folder else (path,):
        with contextlib.suppress(OSError):
            status = file.lstat()
            total += status.st_size if file.is_file() and status.st_nlink == 1 else 0
    return total


def written_at(path: Path) -> float:
    """Return when a file was written last (Unix s); now, if it is gone."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def remove(path: Path) -> None:
    """Remove a file or a folder; ignore that it is gone already, or cannot be removed."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


class Quarantine:
    """Folders ``quarantine/<time>-<random>/`` below `state`, one for each file that was moved."""

    def __init__(self, state: Path) -> None:
        self._root = state / _QUARANTINE

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
