"""Copies objects to and from the LFS folder of a repository on this machine."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from tablevault.errors import TVRemoteError, TVTransferError
from tablevault.files import links
from tablevault.files.disk import matching, sync_folder
from tablevault.history.git.git_config import LfsStorage
from tablevault.lfs.drafts import Partial
from tablevault.lfs.pointer import Pointer
from tablevault.names import ObjectId
from tablevault.remotes.http.retry import TransferLimits
from tablevault.remotes.lfs.batch_api import Offer, Operation, Refusal, offer_by_presence
from tablevault.remotes.lfs.transport import StoredObject, TransferMeter

_BLOCK = 1 << 20
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
# Leftovers of a crash. git-lfs removes such files after an hour; a slow disk may need longer.
_OLD_S = 86_400.0
_OID = re.compile(r"[0-9a-f]{64}")
_TEMPORARY = re.compile(r"[0-9a-f]{64}-tablevault-[0-9a-f]{16}")


class LocalTransport:
    """Copies between a store and a repository on this machine.

    It copies, or shares blocks copy-on-write, and never makes a hard link: one slip would damage
    two vaults with one inode.
    """

    def __init__(
        self, repository: LfsStorage, operation: Operation, limits: TransferLimits
    ) -> None:
        self.operation: Operation = operation
        self.limits = limits
        self.where = f'The repository "{repository.git_dir}"'
        self._objects = repository.lfs / "objects"
        self._temporary = repository.lfs / "tmp"
        self._shared = repository.shared
        if operation == "upload":
            self._sweep()

    def ask(self, pointers: Sequence[Pointer]) -> list[Offer]:
        """Return which objects are there, by size as git-lfs does: hashing all takes too long."""
        return [self._offer(pointer) for pointer in pointers]

    def put(self, offer: Offer, source: Path, meter: TransferMeter) -> None:
        """Copy an object into the repository: write beside, check, sync, rename."""
        pointer = offer.pointer
        beside = self._temporary / f"{pointer.oid}-tablevault-{os.urandom(8).hex()}"
        try:
            changed = self._make(self._temporary)
            target = self._path(pointer.oid)
            try:
                self._copy(source, beside, pointer, meter)
                changed += self._make(target.parent)
                beside.replace(target)
            finally:
                beside.unlink(missing_ok=True)
            for folder in (target.parent, *changed):
                sync_folder(folder)
        except OSError as error:
            raise self._refused(error, pointer) from error

    def get(self, offer: Offer, partial: Partial, meter: TransferMeter) -> None:
        """Copy an object out of the repository, from where an earlier attempt stopped."""
        with self._opened(offer.pointer) as file:
            if partial.clone(file):
                meter.add(partial.size)
                return
            file.seek(partial.size)
            while block := self._read(file, offer.pointer):
                partial.write(block)
                meter.add(len(block))

    def close(self) -> None:
        """Do nothing: no connection is open."""

    def damaged(self, pointer: Pointer) -> str:
        """Return the file of an object whose hash is not its name; "" if it is sound."""
        path = self._path(pointer.oid)
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise self._unreadable(error, pointer) from error
        return "" if found == pointer.oid else str(path)

    def every(self) -> Iterator[StoredObject]:
        """List the objects of the repository; files of other names are none."""
        for path in matching(self._objects, "??/??/*"):
            if _OID.fullmatch(path.name) and path == self._path(path.name):
                with contextlib.suppress(FileNotFoundError):
                    status = path.lstat()
                    yield StoredObject(
                        oid=ObjectId(path.name),
                        size=status.st_size,
                        modified_at=max(status.st_mtime, status.st_ctime),
                    )

    def delete(self, stored: StoredObject) -> None:
        """Delete an object."""
        try:
            self._path(stored.oid).unlink(missing_ok=True)
        except OSError as error:
            raise TVRemoteError(
                f"{self.where} does not let object {stored.oid} be deleted: {error.strerror}.",
                "Ask its owner for permission to write.",
                oid=stored.oid,
            ) from error

    def _offer(self, pointer: Pointer) -> Offer:
        """Return the offer for one object."""
        try:
            status = self._path(pointer.oid).stat()
            there = stat.S_ISREG(status.st_mode) and status.st_size == pointer.size
        except (FileNotFoundError, NotADirectoryError):
            there = False
        except OSError as error:
            hidden = Refusal(code=403, message=str(error.strerror))
            return Offer(pointer=pointer, is_wanted=False, refusal=hidden)
        return offer_by_presence(self.operation, pointer, is_there=there)

    def _copy(self, source: Path, beside: Path, pointer: Pointer, meter: TransferMeter) -> None:
        """Copy a file, check its hash, and sync it."""
        meter.start(0)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with source.open("rb") as reader, os.fdopen(os.open(beside, flags, 0o666), "r+b") as writer:
            # Read the copy where there is one: its bytes are the ones that count.
            cloned = links.clone(reader.fileno(), writer.fileno())
            found, size = hashlib.sha256(), 0
            while block := (writer if cloned else reader).read(_BLOCK):
                found.update(block)
                size += len(block)
                if not cloned:
                    writer.write(block)
                meter.add(len(block))
            if (size, found.hexdigest()) != (pointer.size, pointer.oid):
                raise TVTransferError(
                    f"Object {pointer.oid} changed during the copy.",
                    "Try again; `git lfs fsck` names objects that are damaged.",
                    oid=pointer.oid,
                )
            writer.flush()
            self._share(writer.fileno())
            os.fsync(writer.fileno())

    def _opened(self, pointer: Pointer) -> BinaryIO:
        """Open an object of the repository."""
        try:
            return self._path(pointer.oid).open("rb")
        except OSError as error:
            raise self._unreadable(error, pointer) from error

    def _read(self, file: BinaryIO, pointer: Pointer) -> bytes:
        """Read a block of an object of the repository; failures of our own disk pass."""
        try:
            return file.read(_BLOCK)
        except OSError as error:
            raise self._unreadable(error, pointer) from error

    def _share(self, descriptor: int) -> None:
        """Set the permissions that the repository wants for files."""
        if self._shared:
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
            os.fchmod(descriptor, mode | self._shared)

    def _make(self, folder: Path) -> list[Path]:
        """Make a folder with the permissions of the repository; return the folders to sync."""
        if folder.is_dir():
            return []
        changed = self._make(folder.parent)
        try:
            folder.mkdir()
        except FileExistsError:
            return changed
        if self._shared:
            # Whoever may read a folder may enter it; new files in it belong to its group.
            bits = self._shared | (self._shared & 0o044) >> 2 | stat.S_ISGID
            folder.chmod(stat.S_IMODE(folder.stat().st_mode) | bits)
        return [*changed, folder.parent]

    def _path(self, oid: str) -> Path:
        """Return the path of an object."""
        return self._objects / oid[:2] / oid[2:4] / oid

    def _sweep(self) -> None:
        """Remove leftovers of crashed processes."""
        with contextlib.suppress(OSError):
            for entry in os.scandir(self._temporary):
                old = time.time() - entry.stat().st_mtime > _OLD_S
                if old and _TEMPORARY.fullmatch(entry.name):
                    Path(entry.path).unlink()

    def _unreadable(self, error: OSError, pointer: Pointer) -> TVTransferError:
        """Return the error of an object that cannot be read."""
        return TVTransferError(
            f"{self.where} has object {pointer.oid}, but it cannot be read: {error.strerror}.",
            "Ask its owner for permission to read.",
            oid=pointer.oid,
        )

    def _refused(self, error: OSError, pointer: Pointer) -> TVTransferError:
        """Return the error of a repository that cannot be written."""
        hint = "Ask its owner for permission to write, or to share it: `git init --shared=group`."
        if error.errno in _FULL:
            hint = "Free some space on its disk."
        return TVTransferError(
            f"{self.where} did not take object {pointer.oid} ({pointer.size:,} bytes):"
            f" {error.strerror}.",
            hint,
            oid=pointer.oid,
        )
