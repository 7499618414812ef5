"""The folder of a whole vault: built beside its place, and moved there when it is complete."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import lock_descriptor

from tablevault.errors import TVArgumentError, TVFileError

_BUILT = re.compile(r"\.[0-9a-f-]{36}\.new")
_NOT_EMPTY = (errno.ENOTEMPTY, errno.EEXIST)
_MOUNTED = (errno.EBUSY, errno.EXDEV)


def target_of(path: Path) -> Path:
    """Return the target of a symbolic link; any other `path` as it is.

    Raises
    ------
    TVArgumentError
        The link leads to a place where no folder can be made.
    """
    if not path.is_symlink():
        return path
    target = Path(os.path.realpath(path))
    if target.is_symlink() or not target.parent.is_dir():
        raise TVArgumentError(
            f'"{path}" is a symbolic link to "{target}", and the folder of that does not exist.',
            "Mount or make that folder, or choose another path.",
            path=str(path),
        )
    return target


def is_free(path: Path) -> bool:
    """Return whether nothing is at `path`, or a folder without content.

    What a crash left of a folder that was being built there does not count.
    """
    if not path.is_dir():
        return not os.path.lexists(path)
    return all(_BUILT.fullmatch(entry.name) for entry in path.iterdir())


@contextmanager
def building(path: Path) -> Iterator[Path]:
    """Yield an empty folder in which to build what :func:`put_in_place` then moves to `path`.

    It is in `path` itself where that is a folder, which keeps its owner, mode and mount, and may
    be somebody's current folder; else beside it. A crash leaves the folder, with a name that
    begins with a dot; the next one that builds there removes it.

    Raises
    ------
    TVFileError
        No folder can be made there.
    """
    if path.is_dir() and is_free(path):
        _remove_leftovers(path)
        built = path / f".{uuid.uuid4()}.new"
    else:
        built = path.with_name(f".{uuid.uuid4()}.new")
    try:
        built.mkdir(parents=True)
    except OSError as error:
        raise TVFileError(
            f'A vault cannot be made at "{path}": {error.strerror}.',
            f'Make sure that you may write to the folder "{built.parent}", or choose another path.',
            path=str(path),
        ) from error
    descriptor = os.open(built, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # NFS locks no folder
            lock_descriptor(descriptor, blocking=False)
        yield built
    finally:
        os.close(descriptor)
        if built.exists():
            remove_tree(built)


def put_in_place(built: Path, path: Path) -> None:
    """Move a folder that was built to `path`, which is missing or has no content.

    A crash amid the moves into a folder that was there leaves no ``.git`` in it: it comes last.

    Raises
    ------
    TVFileError
        Somebody else has put something there meanwhile, or the file system refuses.
    """
    try:
        if built.is_relative_to(path):
            for each in sorted(built.iterdir(), key=lambda each: each.name == ".git"):
                each.rename(path / each.name)
        else:
            built.rename(path)
    except OSError as error:
        if error.errno in _NOT_EMPTY:
            raise TVFileError(
                f'"{path}" was made by another process meanwhile; it was not touched.',
                "Open it if it is the vault that you want, or choose another path.",
            ) from error
        raise TVFileError(
            f'The new vault cannot be put at "{path}": {error.strerror}.', "Choose another path."
        ) from error


def move_folder(old: Path, new: Path) -> None:
    """Rename a folder within its parent.

    Raises
    ------
    TVFileError
        It cannot be moved; it is where it was.
    """
    try:
        old.rename(new)
    except OSError as error:
        if error.errno in _MOUNTED:
            reason, hint = "it is a mount point", "Choose another path, or a folder inside it."
        else:
            reason = str(error.strerror)
            hint = f'Make sure that you may write to the folder "{old.parent}".'
        raise TVFileError(
            f'"{old}" cannot be moved out of the way: {reason}. Nothing was changed.', hint
        ) from error


def remove_tree(path: Path) -> None:
    """Remove a folder although git and the object store write read-only files."""

    def make_writable(function: Callable[[str], object], name: str, _: object) -> None:
        parent = Path(name).parent
        parent.chmod(parent.stat().st_mode | stat.S_IWUSR | stat.S_IXUSR)
        function(name)

    shutil.rmtree(path, onerror=make_writable)


def _remove_leftovers(path: Path) -> None:
    """Remove what crashed processes left in `path`: its lock is free."""
    for entry in path.iterdir():
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            descriptor = os.open(entry, os.O_RDONLY | os.O_DIRECTORY)
            try:
                if lock_descriptor(descriptor, blocking=False):
                    remove_tree(entry)
            except OSError:
                pass  # it cannot be locked or removed, and does no harm
            finally:
                os.close(descriptor)
