"""An object that is being received; a transfer that broke off is resumed."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import BinaryIO, Self

from filelock import lock_descriptor, unlock_descriptor

from tablevault.lfs import file_links
from tablevault.lfs.pointer import Pointer

_BLOCK = 1 << 20


class Partial:
    """The first bytes of an object, in a file of its own that one writer at a time holds.

    Nothing in it is trusted: :meth:`finish` looks at the sha256 of all bytes, whoever wrote them.

    Parameters
    ----------
    path : Path
        Where the bytes are kept until they are all there.
    pointer : Pointer
        What they have to become.
    """

    def __init__(self, path: Path, pointer: Pointer) -> None:
        self.path = path
        self.pointer = pointer
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()
        self._size = 0

    def claim(self) -> bool:
        """Open the file and become its only writer; False when somebody else writes it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        file = os.fdopen(descriptor, "r+b")
        # Who held it until now may have finished: then the name is gone, or another file's.
        if not (lock_descriptor(descriptor, blocking=False) and _is_at(self.path, descriptor)):
            file.close()
            return False
        self._file = file
        self._reread()
        return True

    @property
    def size(self) -> int:
        """The number of bytes that are here."""
        return self._size

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append `data`."""
        self._open_file().write(data)
        self._hash.update(data)
        self._size += memoryview(data).nbytes

    def restart(self) -> None:
        """Throw away what is here."""
        file = self._open_file()
        file.seek(0)
        file.truncate()
        self._hash, self._size = hashlib.sha256(), 0

    def clone(self, source: BinaryIO) -> bool:
        """Share the blocks of `source`, copy-on-write; False where the file system cannot."""
        if self._size or not file_links.clone(source.fileno(), self._open_file().fileno()):
            return False
        self._reread()
        return True

    def finish(self) -> bool:
        """Make the bytes durable when they are the right ones; else throw them away."""
        file = self._open_file()
        if self._size != self.pointer.size or self._hash.hexdigest() != self.pointer.oid:
            self.restart()
            return False
        file.flush()
        os.fsync(file.fileno())
        return True

    def close(self) -> None:
        """Let others write; what is here stays, an empty file does not."""
        if self._file is None:
            return
        if not self._size:
            # Before the lock is let go: nobody else can have written into it.
            self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            unlock_descriptor(self._file.fileno())  # a fork has the descriptor, too
            self._file.close()
        self._file = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def _open_file(self) -> BinaryIO:
        """Return the file of a claimed object."""
        assert self._file is not None, "claim it first"
        return self._file

    def _reread(self) -> None:
        """Hash what is here; bytes beyond the size that it should have are no beginning of it."""
        file = self._open_file()
        file.seek(0)
        self._hash, self._size = hashlib.sha256(), 0
        while block := file.read(_BLOCK):
            self._hash.update(block)
            self._size += len(block)
        if self._size > self.pointer.size:
            self.restart()


def _is_at(path: Path, descriptor: int) -> bool:
    """Return whether an open file is the one that has a name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
