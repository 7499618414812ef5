"""Share the bytes of a file: reflink, else hard link, else copy."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

_FICLONE = 0x40049409  # linux/fs.h
_CAP_DAC_OVERRIDE = 1 << 1  # linux/capability.h
_CAPABILITIES = re.compile(r"^CapEff:\s*([0-9a-f]+)$", re.MULTILINE)
READ_ONLY = 0o444
_BLOCK = 1 << 20


def may_link() -> bool:
    """Return whether permission bits keep this process from writing to a read-only file.

    Root writes to it all the same, and so does a process with CAP_DAC_OVERRIDE: through a hard
    link such a process would change the object of the store.
    """
    return not _overrides_modes(os.geteuid())


@cache
def _overrides_modes(user: int) -> bool:
    """Return whether the processes of `user` ignore permission bits; looked up once."""
    if user == 0:
        return True
    try:
        found = _CAPABILITIES.search(Path("/proc/self/status").read_text("ascii", "replace"))
    except OSError:
        return False
    return found is not None and bool(int(found[1], 16) & _CAP_DAC_OVERRIDE)


def place(
    source: Path,
    target: Path,
    *,
    executable: bool = False,
    beside: Path | None = None,
    may_clone: bool = True,
) -> bool:
    """Put the bytes of `source` at `target`, read-only, replacing what is there.

    The new name appears in one step, so a reader of `target` sees the old file or the new one.
    A hard link shares the inode, mode included: use it only within one vault, and never for an
    executable, nor where :func:`may_link` forbids it. It is made as `beside` first, a name in the
    same file system that nobody else uses; by default one in the folder of `target`.

    Returns
    -------
    bool
        Whether it is a reflink. Where one cannot be had, others of the same file system need not
        be tried (`may_clone`): that costs more than the hard link.
    """
    mode = READ_ONLY | (0o111 if executable else 0)
    beside = beside or _temporary(target)
    # Left by a crash: it may be a link to an object, and must not be written into.
    beside.unlink(missing_ok=True)
    try:
        is_clone = may_clone and _reflink(source, beside)
        if not is_clone:
            _link_or_copy(source, beside, links=not executable and may_link())
        if (beside.stat().st_mode & 0o777) != mode:
            beside.chmod(mode)
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    # rename(2) does nothing when both names are links to one inode: the extra name stays behind.
    beside.unlink(missing_ok=True)
    return is_clone


def replace_link(path: Path) -> None:
    """Replace a file by a copy of it that shares its inode with no other name."""
    with _beside(path) as copy:
        shutil.copyfile(path, copy)
        copy.chmod(path.stat().st_mode & 0o777)
        _copy_mtime(path, copy)


def copy_file(source: Path, target: Path, *, executable: bool = False) -> None:
    """Put the bytes of `source` at `target`, replacing what is there, in a file of its own.

    Its owner may write to it, which changes nothing else. The name appears in one step.
    """
    with _beside(target) as copy:
        with source.open("rb") as reader, copy.open("xb") as writer:
            if not clone(reader.fileno(), writer.fileno()):
                shutil.copyfileobj(reader, writer, _BLOCK)
        if executable:
            copy.chmod(copy.stat().st_mode | 0o111)


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """Yield the name of a file to write, which takes the place of `target` in the end."""
    path = _temporary(target)
    try:
        yield path
        path.replace(target)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _temporary(target: Path) -> Path:
    """Return a name in the folder of `target` that nobody else uses."""
    return target.with_name(f".{os.getpid()}.{os.urandom(4).hex()}.tmp")


def _link_or_copy(source: Path, target: Path, *, links: bool) -> None:
    """Share the inode where that is allowed and the file system can, else copy."""
    if links:
        try:
            os.link(source, target)
        except OSError:
            pass
        else:
            return
    shutil.copyfile(source, target)
    _copy_mtime(source, target)


def _reflink(source: Path, target: Path) -> bool:
    """Share the blocks of `source` copy-on-write, where the file system can (btrfs, xfs)."""
    with source.open("rb") as reader:
        try:
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            return False
        try:
            cloned = clone(reader.fileno(), descriptor)
        finally:
            os.close(descriptor)
    if not cloned:
        target.unlink()
        return False
    _copy_mtime(source, target)
    return True


def clone(source: int, target: int) -> bool:
    """Share the blocks of `source` with the open file `target`; False where that cannot be done."""
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def _copy_mtime(source: Path, target: Path) -> None:
    """Keep the time, by which git knows without reading that the file is unchanged."""
    with contextlib.suppress(OSError):
        status = source.stat()
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
