"""Git's index file: read, changed entry by entry with the stat of each file, written whole.

libgit2's index API cannot do what is needed here. It has no way to hand in the stat of a file
whose blob is an LFS pointer, and before it writes, it reads every file that changed since the
index was written (``truncate_racily_clean``), dataframes of any size included. Without the stat,
stock ``git status`` runs the LFS filter over each of them.

The format is Documentation/gitformat-index.txt: versions 2, 3 and 4 are read, 2 and 3 written,
optional extensions are dropped (git makes them again).
"""

from __future__ import annotations

import hashlib
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from tablevault.errors import TVFileError

_BESIDE = "index.tablevault"
_HEADER = struct.Struct(">4sII")
_FIXED = struct.Struct(">10I20sH")
_EXTENDED = 0x4000
_INTENT_TO_ADD = 0x20
_SKIP_WORKTREE = 0x40
_NAME_MASK = 0x0FFF
_CHECKSUM = 20
_VERSION_WITH_PREFIXES = 4


class GitIndexBusyError(Exception):
    """Another program writes git's index just now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """What git's index says of one path."""

    blob: bytes
    """Twenty bytes: the git id."""
    stat: tuple[int, ...]
    """ctime s, ns, mtime s, ns, dev, ino, mode, uid, gid, size; each 32 bits."""
    flags: int = 0
    extended: bytes = b""


Key = tuple[bytes, int]
"""Path and merge stage: git's sort order."""


class GitIndex:
    """The entries of an index file, in memory."""

    def __init__(
        self, entries: dict[Key, IndexEntry], source: os.stat_result | None = None
    ) -> None:
        self.entries = entries
        self._source = source

    def blob(self, path: str) -> str | None:
        """Git id that is staged for `path`, None when none is.

        An intention to add (``git add -N``) stages nothing.
        """
        entry = self.entries.get((os.fsencode(path), 0))
        if entry is None or (entry.extended and entry.extended[0] & _INTENT_TO_ADD):
            return None
        return entry.blob.hex()

    def is_fresh(self, path: str, status: os.stat_result) -> bool:
        """Return whether the file still has the stat it had when it was staged.

        A file that is not older than the index may have changed after that within one tick of
        the clock (git's "racy" problem), so it is not taken for fresh.
        """
        entry = self.entries.get((os.fsencode(path), 0))
        return (
            entry is not None
            and self._source is not None
            and status.st_mtime_ns < self._source.st_mtime_ns
            and _same_file(entry.stat, stat_fields(status))
        )

    def is_unmerged(self, path: str) -> bool:
        """Return whether the user has a conflict to resolve in `path`."""
        return any((os.fsencode(path), stage) in self.entries for stage in (1, 2, 3))

    def is_skipped(self, path: str) -> bool:
        """Return whether a sparse checkout keeps the file out of the working tree."""
        entry = self.entries.get((os.fsencode(path), 0))
        return (
            entry is not None and bool(entry.extended) and bool(entry.extended[0] & _SKIP_WORKTREE)
        )

    def put(self, path: str, blob: str, status: os.stat_result | None, *, executable: bool) -> None:
        """Stage `blob` for `path`; without a stat git will compare the content itself."""
        mode = 0o100755 if executable else 0o100644
        fields = (0,) * 10 if status is None else stat_fields(status)
        fields = (*fields[:6], mode, *fields[7:])
        self.entries[os.fsencode(path), 0] = IndexEntry(blob=bytes.fromhex(blob), stat=fields)

    def remove(self, path: str) -> None:
        """Unstage `path`."""
        for stage in range(4):
            self.entries.pop((os.fsencode(path), stage), None)

    def write(self, path: Path) -> None:
        """Write beside, rename: git's own protocol, with its lock file.

        Take the commit lock before. The lock is made as a second name of a file of ours: one that
        a crash of ours has left is known by that, and is no obstacle.

        Raises
        ------
        GitIndexBusyError
            Another program holds ``index.lock``, or wrote the index since it was read.
        """
        free(path)
        lock, beside = path.with_name("index.lock"), path.with_name(_BESIDE)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with os.fdopen(descriptor, "wb") as file:
                _lock(beside, lock)
                try:
                    self._check_unchanged(path)
                    file.write(self.encode())
                    file.flush()
                    lock.replace(path)
                except BaseException:
                    lock.unlink(missing_ok=True)
                    raise
        finally:
            beside.unlink(missing_ok=True)

    def _check_unchanged(self, path: Path) -> None:
        """Raise GitIndexBusyError if the index was written since it was read."""
        try:
            found = path.stat()
        except FileNotFoundError:
            found = None
        if _writing(found) != _writing(self._source):
            raise GitIndexBusyError

    def encode(self) -> bytes:
        """Encode the index file."""
        version = 3 if any(entry.extended for entry in self.entries.values()) else 2
        parts = [_HEADER.pack(b"DIRC", version, len(self.entries))]
        for (name, stage), entry in sorted(self.entries.items(), key=lambda item: item[0]):
            flags = (entry.flags & 0x8000) | (stage << 12) | min(len(name), _NAME_MASK)
            if entry.extended:
                flags |= _EXTENDED
            raw = _FIXED.pack(*entry.stat, entry.blob, flags) + entry.extended + name
            parts.append(raw + b"\0" * (8 - len(raw) % 8))
        body = b"".join(parts)
        return body + hashlib.sha1(body, usedforsecurity=False).digest()


def is_left_locked(path: Path) -> bool:
    """Return whether the index at `path` is being written, or a crash interrupted that."""
    return os.path.lexists(path.with_name(_BESIDE))


def free(path: Path) -> None:
    """Remove the lock that a crash left on the index; take the commit lock before."""
    lock, beside = path.with_name("index.lock"), path.with_name(_BESIDE)
    if lock.exists() and beside.exists() and lock.samefile(beside):
        lock.unlink()
    beside.unlink(missing_ok=True)


def _lock(beside: Path, lock: Path) -> None:
    """Take git's lock by a second name of `beside`; by renaming it where there are no links."""
    try:
        try:
            os.link(beside, lock)
        except FileExistsError:
            raise
        except OSError:
            os.close(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            beside.replace(lock)
    except FileExistsError as error:
        raise GitIndexBusyError from error


def read_index(path: Path) -> GitIndex:
    """Read an index file; a missing one is empty.

    Raises
    ------
    TVFileError
        The file is damaged, or uses a split or sparse index.
    """
    try:
        with path.open("rb") as file:
            data, source = file.read(), os.fstat(file.fileno())
    except FileNotFoundError:
        return GitIndex({})
    try:
        return GitIndex(_decode(data), source)
    except (struct.error, IndexError, ValueError) as error:
        raise TVFileError(
            f'Git\'s index "{path}" cannot be read: {error}.',
            "Delete it and run `git reset`: nothing but staged changes is lost.",
        ) from error


def stat_fields(status: os.stat_result) -> tuple[int, ...]:
    """Return the ten stat fields of an index entry, cut to 32 bits as git cuts them."""
    ctime, mtime = divmod(status.st_ctime_ns, 10**9), divmod(status.st_mtime_ns, 10**9)
    fields = (
        *ctime,
        *mtime,
        status.st_dev,
        status.st_ino,
        status.st_mode,
        status.st_uid,
        status.st_gid,
        status.st_size,
    )
    return tuple(value & 0xFFFFFFFF for value in fields)


def _writing(status: os.stat_result | None) -> tuple[int, int, int] | None:
    """Return what identifies one writing of the index; git writes each as a file of its own."""
    return None if status is None else (status.st_ino, status.st_size, status.st_mtime_ns)


def _same_file(left: tuple[int, ...], right: tuple[int, ...]) -> bool:
    """Compare mtime, inode and size; a new hard link changes ctime, not the bytes."""
    return left[2:4] == right[2:4] and left[5] == right[5] and left[9] == right[9]


def _decode(data: bytes) -> dict[Key, IndexEntry]:
    """Read all entries, then make sure that no extension changes their meaning."""
    magic, version, count = _HEADER.unpack_from(data)
    if magic != b"DIRC" or version not in (2, 3, 4):
        raise ValueError(f"not an index of version 2 to 4 (magic {magic!r}, version {version})")
    entries: dict[Key, IndexEntry] = {}
    offset, previous = _HEADER.size, b""
    for _ in range(count):
        start = offset
        *stat, blob, flags = _FIXED.unpack_from(data, offset)
        offset += _FIXED.size
        extended = data[offset : offset + 2] if flags & _EXTENDED else b""
        offset += len(extended)
        if version == _VERSION_WITH_PREFIXES:
            strip, offset = _varint(data, offset)
            end = data.index(b"\0", offset)
            name = previous[: len(previous) - strip] + data[offset:end]
            offset = end + 1
        else:
            end = data.index(b"\0", offset)
            name = data[offset:end]
            offset = start + ((end - start) // 8 + 1) * 8
        previous = name
        entries[name, (flags >> 12) & 3] = IndexEntry(
            blob=blob, stat=tuple(stat), flags=flags, extended=extended
        )
    _check_extensions(data, offset)
    return entries


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    """Read a number in the encoding of pack offsets; give it and the next offset."""
    byte = data[offset]
    value = byte & 0x7F
    while byte & 0x80:
        offset += 1
        byte = data[offset]
        value = ((value + 1) << 7) | (byte & 0x7F)
    return value, offset + 1


def _check_extensions(data: bytes, offset: int) -> None:
    """Refuse extensions that one must understand: their names begin with a small letter."""
    while offset < len(data) - _CHECKSUM:
        name = data[offset : offset + 4]
        if name[:1].islower():
            raise ValueError(f"extension {name.decode('ascii', 'replace')!r} is not supported")
        (size,) = struct.unpack_from(">I", data, offset + 4)
        offset += 8 + size
