"""Objects of a repository on this machine, copied into and out of its own LFS folder."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from tablevault.errors import TVTransferError
from tablevault.history.remotes import LocalRepository
from tablevault.objects import links
from tablevault.objects.partial import Partial
from tablevault.objects.pointer import Pointer
from tablevault.objects.store import sync_folder
from tablevault.remotes.attempt import Limits
from tablevault.remotes.lfs import Offer, Operation, Refusal
from tablevault.remotes.tally import Meter

_BLOCK = 1 << 20
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
# Left by who died. git-lfs removes such files after an hour; a slow disk may need longer.
_OLD_S = 86_400.0
_TEMPORARY = re.compile(r"[0-9a-f]{64}-tablevault-[0-9a-f]{16}")


class LocalTransport:
    """Copies between a store and a repository on this machine.

    Copies, or shares blocks copy-on-write, and never makes a hard link: two vaults with one inode
    would both be damaged by one slip.
    """

    def __init__(self, repository: LocalRepository, operation: Operation, limits: Limits) -> None:
        self.operation: Operation = operation
        self.limits = limits
        self.where = f'The repository "{repository.git_dir}"'
        self._objects = repository.lfs / "objects"
        self._temporary = repository.lfs / "tmp"
        self._shared = repository.shared
        if operation == "upload":
            self._sweep()

    def ask(self, pointers: Sequence[Pointer]) -> list[Offer]:
        """Look which objects are there; like git-lfs by size, for to hash all would take long."""
        return [self._offer(pointer) for pointer in pointers]

    def put(self, offer: Offer, source: Path, meter: Meter) -> None:
        """Copy an object into the repository: beside, synced, checked, renamed."""
        pointer = offer.pointer
        beside = self._temporary / f"{pointer.oid}-tablevault-{os.urandom(8).hex()}"
        try:
            changed = self._make(self._temporary)
            target = self._path(pointer)
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

    def get(self, offer: Offer, partial: Partial, meter: Meter) -> None:
        """Copy an object out of the repository, from where an earlier try stopped."""
        with self._opened(offer.pointer) as file:
            if partial.clone(file):
                meter.add(partial.size)
                return
            file.seek(partial.size)
            while block := self._read(file, offer.pointer):
                partial.write(block)
                meter.add(len(block))

    def close(self) -> None:
        """Nothing is kept open."""

    def damaged(self, pointer: Pointer) -> Path | None:
        """Return the file of an object whose bytes are not those that its name says."""
        path = self._path(pointer)
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise self._unreadable(error, pointer) from error
        return None if found == pointer.oid else path

    def _offer(self, pointer: Pointer) -> Offer:
        """Tell what is to be done with one object."""
        try:
            status = self._path(pointer).stat()
            there = stat.S_ISREG(status.st_mode) and status.st_size == pointer.size
        except (FileNotFoundError, NotADirectoryError):
            there = False
        except OSError as error:
            hidden = Refusal(code=403, message=str(error.strerror))
            return Offer(pointer=pointer, is_wanted=False, refusal=hidden)
        if self.operation == "upload":
            return Offer(pointer=pointer, is_wanted=not there)
        refusal = None if there else Refusal(code=404, message="")
        return Offer(pointer=pointer, is_wanted=there, refusal=refusal)

    def _copy(self, source: Path, beside: Path, pointer: Pointer, meter: Meter) -> None:
        """Copy a file and check its bytes; it is durable afterwards."""
        meter.start(0)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with source.open("rb") as reader, os.fdopen(os.open(beside, flags, 0o666), "r+b") as writer:
            # Which bytes are here is found by reading, so those that arrived are read, not ours.
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
                    f"Object {pointer.oid} changed while it was copied.",
                    "Try again; `git lfs fsck` names objects that are damaged.",
                    oid=pointer.oid,
                )
            writer.flush()
            self._share(writer.fileno())
            os.fsync(writer.fileno())

    def _opened(self, pointer: Pointer) -> BinaryIO:
        """Open an object of theirs."""
        try:
            return self._path(pointer).open("rb")
        except OSError as error:
            raise self._unreadable(error, pointer) from error

    def _read(self, file: BinaryIO, pointer: Pointer) -> bytes:
        """Read a block of an object of theirs; our own disk is another matter."""
        try:
            return file.read(_BLOCK)
        except OSError as error:
            raise self._unreadable(error, pointer) from error

    def _share(self, descriptor: int) -> None:
        """Give a file the permissions that the repository wants files to have."""
        if self._shared:
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
            os.fchmod(descriptor, mode | self._shared)

    def _make(self, folder: Path) -> list[Path]:
        """Make a folder as the repository wants them; give those in which there is a new name."""
        if folder.is_dir():
            return []
        changed = self._make(folder.parent)
        try:
            folder.mkdir()
        except FileExistsError:
            return changed
        if self._shared:
            # Who may read a folder may enter it; and the group of what is made in it is its own.
            bits = self._shared | (self._shared & 0o044) >> 2 | stat.S_ISGID
            folder.chmod(stat.S_IMODE(folder.stat().st_mode) | bits)
        return [*changed, folder.parent]

    def _path(self, pointer: Pointer) -> Path:
        """Give the place of an object."""
        return self._objects / pointer.oid[:2] / pointer.oid[2:4] / pointer.oid

    def _sweep(self) -> None:
        """Remove what earlier processes left when they died."""
        with contextlib.suppress(OSError):
            for entry in os.scandir(self._temporary):
                old = time.time() - entry.stat().st_mtime > _OLD_S
                if old and _TEMPORARY.fullmatch(entry.name):
                    Path(entry.path).unlink()

    def _unreadable(self, error: OSError, pointer: Pointer) -> TVTransferError:
        """Make the error of an object that is there and cannot be read."""
        return TVTransferError(
            f"{self.where} has object {pointer.oid}, but it cannot be read: {error.strerror}.",
            "Ask its owner for permission to read.",
            oid=pointer.oid,
        )

    def _refused(self, error: OSError, pointer: Pointer) -> TVTransferError:
        """Make the error of a repository that cannot be written."""
        hint = "Ask its owner for permission to write, or to share it: `git init --shared=group`."
        if error.errno in _FULL:
            hint = "Free some space on its disk."
        return TVTransferError(
            f"{self.where} did not take object {pointer.oid} ({pointer.size:,} bytes):"
            f" {error.strerror}.",
            hint,
            oid=pointer.oid,
        )
