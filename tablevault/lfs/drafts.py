"""Objects on their way into the store: written here, or received in pieces."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from pathlib import Path
from typing import IO, BinaryIO, Self

from filelock import lock_descriptor, unlock_descriptor

from tablevault.files import links
from tablevault.lfs.pointer import Pointer
from tablevault.names import ObjectId

_BLOCK = 1 << 20


class Draft(io.RawIOBase, IO[bytes]):
    """A file being written that knows its sha256 when it is closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._file = path.open("xb")
        self._hash = hashlib.sha256()
        self._size = 0

    def writable(self) -> bool:
        """Return that bytes may be written."""
        return True

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]  # any buffer, as io.RawIOBase takes it
        """Append `data`."""
        self._hash.update(data)
        self._file.write(data)
        length = memoryview(data).nbytes
        self._size += length
        return length

    def tell(self) -> int:
        """Return the number of bytes written so far."""
        return self._size

    def flush(self) -> None:
        """Hand what is buffered to the operating system."""
        if not self._file.closed:
            self._file.flush()

    def close(self, *, sync: bool = True) -> None:
        """Flush, sync and close; further writes fail. With ``sync=False`` the caller syncs it."""
        if not self._file.closed:
            self._file.flush()
            if sync:
                os.fsync(self._file.fileno())
            self._file.close()
        super().close()

    @property
    def pointer(self) -> Pointer:
        """The pointer of what was written."""
        return Pointer(oid=ObjectId(self._hash.hexdigest()), size=self._size)

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


class Partial:
    """The first bytes of an object, in a file that one writer at a time has locked.

    Nothing in it is trusted: :meth:`finish` checks the sha256 of all bytes.

    Parameters
    ----------
    path : Path
        Where the bytes are kept until they are all there.
    pointer : Pointer
        The object.
    """

    def __init__(self, path: Path, pointer: Pointer) -> None:
        self.path = path
        self.pointer = pointer
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()
        self._size = 0

    def claim(self) -> bool:
        """Open the file and become its only writer; return False if it has one already."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        file = os.fdopen(descriptor, "r+b")
        # The last writer may have finished: then the file is gone, or another one has its name.
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
        """Discard all bytes."""
        file = self._open_file()
        file.seek(0)
        file.truncate()
        self._hash, self._size = hashlib.sha256(), 0

    def clone(self, source: BinaryIO) -> bool:
        """Share the blocks of `source`, copy-on-write; return False if that is impossible."""
        if self._size or not links.clone(source.fileno(), self._open_file().fileno()):
            return False
        self._reread()
        return True

    def finish(self) -> bool:
        """Sync the bytes if their hash is right; otherwise discard them. Return which."""
        file = self._open_file()
        if self._size != self.pointer.size or self._hash.hexdigest() != self.pointer.oid:
            self.restart()
            return False
        file.flush()
        os.fsync(file.fileno())
        return True

    def close(self) -> None:
        """Let others write; bytes stay, an empty file does not."""
        if self._file is None:
            return
        if not self._size:
            # Before the lock is released: no other process can have written into it.
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
