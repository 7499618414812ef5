"""The object store: add a file, find it by its sha256, check it, delete it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import sqlite3
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from tablevault.errors import TVFileError
from tablevault.files import links
from tablevault.files.disk import hash_file, matching, sync_all, sync_folder
from tablevault.files.locks import locked
from tablevault.files.sqlite_cache import Disposable
from tablevault.lfs.drafts import Draft, Partial
from tablevault.lfs.pointer import Pointer
from tablevault.lfs.text_cache import drop_text
from tablevault.names import ObjectId

_BLOCK = 1 << 20
# Stock git takes a file for "racily clean", and hashes it anew at each `git status`, when its
# mtime lies in the second in which git's index was written. Nobody needs the mtime of an
# object, so it is set back a little and `git status` stays fast however large the file is.
_BACKDATE_NS = 3_000_000_000
_OID = re.compile(r"[0-9a-f]{64}")


Stamp = tuple[int, int, int]
"""Inode, size in bytes, mtime in nanoseconds."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS hashed (
    oid TEXT PRIMARY KEY, ino INTEGER, size INTEGER, mtime INTEGER
) WITHOUT ROWID;
"""


class Fetch(Protocol):
    """Fetches an object that is missing here."""

    def __call__(self, pointer: Pointer) -> None:
        """Fetch the object of `pointer` into the store, or raise."""


class ObjectStore:
    """Objects at ``<root>/objects/<aa>/<bb>/<sha256>``, read-only, each kept once.

    Parameters
    ----------
    root : Path
        The LFS folder: ``.git/lfs``, or what ``lfs.storage`` says.
    scratch : Path
        ``.git/tablevault/tmp``, folder for temporary files. The store has its own for these when
        it is not in the git directory: it may be in another file system.
    fetch : Fetch, optional
        Asked for an object that is missing or damaged.
    """

    def __init__(self, root: Path, scratch: Path, fetch: Fetch | None = None) -> None:
        git_dir = scratch.parent.parent
        self.is_shared = not root.is_relative_to(git_dir)
        """Whether ``lfs.storage`` is outside the repository: others may need its objects, too."""
        self._objects = root / "objects"
        # Renamed into the store: so in its file system, wherever links lead.
        home = Path(os.path.realpath(self._objects)).parent
        is_beside = Path(os.path.realpath(scratch)).parents[1] == home.parent
        self.drafts = scratch if is_beside else home / "tmp" / "tablevault"
        """Folder for files that become objects."""
        # Where objects were before "lfs.storage" was set, by us or by git-lfs.
        self._former = git_dir / "lfs" / "objects"
        self._bad = root / "bad"
        self._scratch = scratch
        self._incomplete = self.drafts.parent / "incomplete"
        self._fetch = fetch
        self._hashed = HashCache(scratch.parent / "objects.sqlite")
        self._no_links = scratch.parent / "no-links"
        self._replacing = scratch.parent / "no-links.new"
        self._may_clone = True

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the store against additions and removals; lock it last, for milliseconds only.

        New needs of objects are recorded under this lock, and a deletion checks needs under it: so
        no object is deleted between the check that it is here and the commit that names it.
        """
        with locked(self._scratch.parent / "objects.lock"):
            yield

    def draft(self, owner: str) -> Draft:
        """Open a new temporary file of `owner`, the file name of a process, to write into."""
        folder = self.drafts / owner
        folder.mkdir(parents=True, exist_ok=True)
        return Draft(folder / os.urandom(8).hex())

    def drafts_of(self, sources: Iterable[Path], owner: str) -> list[Draft]:
        """Copy files into drafts, closed.

        Raises
        ------
        OSError
            A file cannot be read, is no regular one, or changes meanwhile; ``filename`` names
            it.
        """
        drafts = []
        for source in sources:
            with self.draft(owner) as draft:
                try:
                    _copy_whole(source, draft)
                except OSError:
                    draft.path.unlink()  # another attempt needs the room
                    raise
                draft.close(sync=False)
            drafts.append(draft)
        sync_all([draft.path for draft in drafts])
        return drafts

    def scratch_file(self) -> BinaryIO:
        """Open a nameless temporary file in the file system of the store."""
        self.drafts.mkdir(parents=True, exist_ok=True)
        return cast("BinaryIO", tempfile.TemporaryFile(dir=self.drafts))

    def discard(self, owner: str) -> None:
        """Remove the temporary files of `owner`."""
        shutil.rmtree(self.drafts / owner, ignore_errors=True)

    def partial(self, pointer: Pointer) -> Partial:
        """Return the place where an object that comes from elsewhere is brought together."""
        return Partial(self._incomplete / pointer.oid, pointer)

    def missing(self, drafts: Iterable[Draft]) -> list[ObjectId]:
        """Return the objects that :meth:`keep` would add; call it within :meth:`locked`."""
        pointers = (draft.pointer for draft in drafts)
        return [pointer.oid for pointer in pointers if not self.has(pointer)]

    def keep(self, files: Sequence[Draft | Partial]) -> None:
        """Move finished files into the store; call it within :meth:`locked`."""
        folders: set[Path] = set()
        kept: dict[ObjectId, Stamp] = {}
        for file in files:
            pointer = file.pointer
            target = self._place(pointer.oid)
            is_here = not pointer.size or (target.exists() and self.is_sound(pointer))
            if pointer.oid in kept or is_here:
                file.path.unlink(missing_ok=True)
                continue
            if not target.parent.is_dir():
                target.parent.mkdir(parents=True, exist_ok=True)
                # The names of new folders have to last as well.
                folders.update((target.parent.parent, self._objects))
            file.path.chmod(links.READ_ONLY)
            back = time.time_ns() - _BACKDATE_NS
            os.utime(file.path, ns=(back, back))
            file.path.replace(target)
            folders.add(target.parent)
            kept[pointer.oid] = _stamp(target)
        sync_all(list(folders), sync_folder)
        self._hashed.remember(kept.items())

    def has(self, pointer: Pointer) -> bool:
        """Return whether the object is here with the right size; its bytes are not read."""
        if pointer.size == 0:
            return True
        try:
            return self.path(pointer.oid).stat().st_size == pointer.size
        except OSError:
            return False

    def file(self, pointer: Pointer) -> Path:
        """Return a read-only file with the bytes of `pointer`, checked when its stat changed.

        Raises
        ------
        TVFileError
            The object is missing or damaged, and cannot be fetched.
        """
        if pointer.size == 0:
            return self._empty_file()
        if self.is_sound(pointer):
            return self.path(pointer.oid)
        damaged = self.set_aside(pointer.oid)
        if self._fetch is not None:
            self._fetch(pointer)
            if self.is_sound(pointer):
                return self.path(pointer.oid)
        if damaged:
            raise TVFileError(
                f"Object {pointer.oid} is damaged; it was moved to {damaged}.",
                "Restore the file from a backup or another copy of the vault.",
                oid=pointer.oid,
            )
        raise TVFileError(
            f"Object {pointer.oid} ({pointer.size:,} bytes) is not in this vault.",
            "Bring it with `git lfs fetch`, or restore it from another copy of the vault.",
            oid=pointer.oid,
        )

    def every(self) -> Iterator[tuple[ObjectId, os.stat_result]]:
        """List the files of the store that have the name of an object, sound or not."""
        folders = dict.fromkeys((self._objects, self._former))
        for path in (path for folder in folders for path in matching(folder, "??/??/*")):
            if _OID.fullmatch(path.name) and path == self.path(ObjectId(path.name)):
                with contextlib.suppress(FileNotFoundError):
                    yield ObjectId(path.name), path.lstat()

    def stat(self, oid: ObjectId) -> os.stat_result | None:
        """Return the stat of the file of an object; None if there is none."""
        try:
            return self.path(oid).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def digest(self, oid: ObjectId) -> ObjectId:
        """Return the hash of the file of an object.

        Raises
        ------
        OSError
            It is gone, is no regular file, or cannot be read.
        """
        digest = hashlib.sha256()
        with _open_regular(self.path(oid)) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
        return ObjectId(digest.hexdigest())

    def make_read_only(self, oid: ObjectId) -> None:
        """Protect an object against being written to by mistake."""
        self.path(oid).chmod(links.READ_ONLY)

    def damaged(self, oid: ObjectId) -> Path | None:
        """Return the path of a damaged object that was moved away; None if there is none."""
        path = self._bad / oid
        return path if path.exists() else None

    def check_out(
        self,
        pointer: Pointer,
        target: Path,
        *,
        executable: bool = False,
        beside: Path | None = None,
    ) -> None:
        """Put the file of `pointer` at `target`, read-only, by reflink, hard link or copy."""
        if links.may_link():
            # Before the link: a crash in between costs a needless search.
            for note in (self._replacing, self._no_links):
                note.unlink(missing_ok=True)
        self._may_clone = links.place(
            self.file(pointer),
            target,
            executable=executable,
            beside=beside,
            may_clone=self._may_clone,
        )

    def has_unsafe_links(self) -> bool:
        """Return whether this process could change objects through hard links made by others."""
        if links.may_link() or self._no_links.exists():
            return False
        return os.access(self._scratch.parent, os.W_OK)

    @contextmanager
    def links_replaced(self) -> Iterator[None]:
        """Record that no hard link is left once the body, which replaces them, has ended.

        The record is renamed into place last, and each new link removes it: after a crash, or a
        new link, the next opening searches again.
        """
        self._replacing.touch()
        yield
        with contextlib.suppress(FileNotFoundError):
            self._replacing.replace(self._no_links)

    def delete(self, oids: Iterable[ObjectId], *, needed: Callable[[ObjectId], bool]) -> None:
        """Remove objects that are not needed; takes :meth:`locked` itself.

        Nothing is removed from a shared store: this vault does not know who needs it.
        """
        if self.is_shared:
            return
        with self.locked():
            for oid in oids:
                if not needed(oid):
                    drop_text(str(self._scratch.parent), oid)
                    with contextlib.suppress(OSError):
                        self.path(oid).unlink(missing_ok=True)

    def is_sound(self, pointer: Pointer) -> bool:
        """Return whether the object is here, with the right bytes; hashed when its stat changed.

        Mode bits prove nothing.
        """
        if pointer.size == 0:
            return True
        path = self.path(pointer.oid)
        try:
            stamp = _stamp(path)
        except OSError:
            return False
        if stamp[1] != pointer.size:
            return False
        if self._hashed.knows(pointer.oid, stamp):
            return True
        try:
            is_right = hash_file(path) == pointer.oid
        except FileNotFoundError:
            return False
        if is_right:
            self._hashed.remember([(pointer.oid, stamp)])
        return is_right

    def is_object(self, path: Path, oid: ObjectId) -> bool:
        """Return whether `path` is a hard link to the object `oid`, checked earlier."""
        try:
            stamp = _stamp(path)
            return _stamp(self.path(oid)) == stamp and self._hashed.knows(oid, stamp)
        except OSError:
            return False

    def set_aside(self, oid: ObjectId) -> Path | None:
        """Move a damaged object to where git-lfs would move it, and return its new place."""
        path, target = self.path(oid), self._bad / oid
        if not os.path.lexists(path):  # a vault that may only be read is not written to
            return target if target.exists() else None
        try:
            self._bad.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                target = target.with_name(f"{target.name}.{os.urandom(4).hex()}")
            path.replace(target)
        except FileNotFoundError:
            # Another reader was faster, and reports it.
            return target if target.exists() else None
        return target

    def _empty_file(self) -> Path:
        """Return a file of no bytes; LFS never stores one."""
        path = self._scratch.parent / "empty"
        try:
            if not path.stat().st_size:
                return path
        except FileNotFoundError:
            pass
        # Somebody wrote into a hard link to it: that file stays theirs, and this is a new one.
        path.unlink(missing_ok=True)
        path.touch(links.READ_ONLY)
        return path

    def path(self, oid: ObjectId) -> Path:
        """Return the path of an object, sound or not, here or not."""
        path = self._place(oid)
        if self._objects != self._former and not path.exists():
            former = self._former / oid[:2] / oid[2:4] / oid
            return former if former.exists() else path
        return path

    def _place(self, oid: ObjectId) -> Path:
        """Return the path at which an object is added."""
        return self._objects / oid[:2] / oid[2:4] / oid


class HashCache:
    """Remembers stamps; an unknown or changed one only means that the object is hashed again."""

    def __init__(self, path: Path) -> None:
        self._file = Disposable(path, _SCHEMA)

    def knows(self, oid: ObjectId, stamp: Stamp) -> bool:
        """Return whether `oid` was hashed when its file had this `stamp`."""
        try:
            row = (
                self._file.connection()
                .execute("SELECT ino, size, mtime FROM hashed WHERE oid = ?", (oid,))
                .fetchone()
            )
        except sqlite3.Error:
            self._file.discard()
            return False
        return bool(row == stamp)

    def remember(self, entries: Iterable[tuple[ObjectId, Stamp]]) -> None:
        """Remember the stamp that each object had when it was hashed."""
        rows = [(oid, *stamp) for oid, stamp in entries]
        try:
            with self._file.write() as connection:
                connection.executemany("INSERT OR REPLACE INTO hashed VALUES (?, ?, ?, ?)", rows)
        except sqlite3.Error:
            self._file.discard()


def _copy_whole(source: Path, draft: Draft) -> None:
    """Copy a file; raise OSError if it changes meanwhile."""
    with _open_regular(source) as reader:
        before = _stamp_of(os.fstat(reader.fileno()))
        # One that grows as fast as it is read would never end.
        while draft.tell() <= before[1] and (block := reader.read(_BLOCK)):
            draft.write(block)
        if _stamp_of(os.fstat(reader.fileno())) != before or draft.tell() != before[1]:
            raise OSError(errno.EBUSY, "it changes while it is read", str(source))


def _open_regular(path: Path) -> BinaryIO:
    """Open a regular file to read it; raise OSError for any other kind, without a wait."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return os.fdopen(descriptor, "rb")


def _stamp(path: Path) -> Stamp:
    """Return what changes when the bytes of a file are changed."""
    return _stamp_of(path.stat())


def _stamp_of(status: os.stat_result) -> Stamp:
    """Take a stamp from a stat."""
    # Some file systems number inodes by a hash of 64 bits; SQLite's integers have a sign.
    return status.st_ino & (2**63 - 1), status.st_size, status.st_mtime_ns
