"""Many files into one git tree: with one pack instead of a loose object for each."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from struct import pack

from pygit2.enums import FileMode, ObjectType

from tablevault.errors import TVImplementationError
from tablevault.filenames import is_plain_path
from tablevault.history.tree import Put
from tablevault.names import BlobId
from tablevault.objects.store import sync_file, sync_folder

_Folder = dict[str, "tuple[bytes, int] | _Folder"]
"""Names with the binary id and mode of a file, or with a folder."""
_KINDS = {int(ObjectType.BLOB): b"blob", int(ObjectType.TREE): b"tree"}
_LARGEST_PACK = 1 << 31  # beyond, an index needs offsets of eight bytes


class Bulk:
    """The blobs and trees of a folder with many files, made in memory.

    Parameters
    ----------
    files : iterable of Put
        Paths relative to the folder. No path is also the folder of another one.

    Attributes
    ----------
    tree : str
        Git id of the folder.
    """

    def __init__(self, files: Iterable[Put]) -> None:
        self._objects: dict[bytes, tuple[int, bytes]] = {}
        root: _Folder = {}
        for file in files:
            self._enter(root, file)
        self.tree = self._tree(root).hex()

    def write(self, objects: Path, known: Collection[BlobId]) -> None:
        """Write what is not `known` as one pack below the folder `objects`, synced.

        Dies before the index has its name: nobody sees the pack, and ``git gc`` removes it.
        """
        entries = {name: entry for name, entry in self._objects.items() if name.hex() not in known}
        if not entries:
            return
        folder = objects / "pack"
        folder.mkdir(exist_ok=True)
        data, offsets = _pack(list(entries.values()))
        if len(data) >= _LARGEST_PACK:
            raise TVImplementationError("The names of the artifacts take more than 2 GiB.")
        index = _index(list(entries), data, offsets)
        name = f"pack-{data[-20:].hex()}"
        # The pack before its index, by which git finds it.
        for ending, content in ((".pack", data), (".idx", index)):
            beside = folder / f"tmp_pack_{os.urandom(8).hex()}"
            try:
                beside.write_bytes(content)
                sync_file(beside)
                beside.chmod(0o444)
                beside.replace(folder / (name + ending))
            except BaseException:
                beside.unlink(missing_ok=True)
                raise
        sync_folder(folder)

    def __len__(self) -> int:
        """Count the objects."""
        return len(self._objects)

    def _enter(self, folder: _Folder, file: Put) -> None:
        """Note one file."""
        if not is_plain_path(file.path):
            raise TVImplementationError(f"Path {file.path!r} cannot enter a tree.", path=file.path)
        *folders, name = file.path.split("/")
        for inner in folders:
            found = folder.setdefault(inner, {})
            assert isinstance(found, dict), "a file, and the folder of another one"
            folder = found
        mode = FileMode.BLOB_EXECUTABLE if file.executable else FileMode.BLOB
        folder[name] = (self._object(ObjectType.BLOB, file.data), int(mode))

    def _tree(self, folder: _Folder) -> bytes:
        """Make the tree of a folder, inner ones first; git sorts a folder as if it ended in "/"."""
        lines = []
        for name, entry in folder.items():
            text = name.encode()
            if isinstance(entry, dict):
                lines.append((text + b"/", b"40000 %s\0%s" % (text, self._tree(entry))))
            else:
                lines.append((text, b"%o %s\0%s" % (entry[1], text, entry[0])))
        return self._object(ObjectType.TREE, b"".join(line for _, line in sorted(lines)))

    def _object(self, kind: ObjectType, data: bytes) -> bytes:
        """Give the id of an object, and remember it."""
        header = b"%s %d\0" % (_KINDS[int(kind)], len(data))
        name = hashlib.sha1(header + data, usedforsecurity=False).digest()
        self._objects[name] = (int(kind), data)
        return name


def _pack(entries: Sequence[tuple[int, bytes]]) -> tuple[bytes, list[int]]:
    """Make a pack (gitformat-pack, version 2), and tell where each object begins."""
    parts = [b"PACK" + pack(">II", 2, len(entries))]
    parts.extend(_head(kind, len(data)) + zlib.compress(data) for kind, data in entries)
    offsets = list(accumulate(len(part) for part in parts))
    body = b"".join(parts)
    return body + hashlib.sha1(body, usedforsecurity=False).digest(), offsets


def _head(kind: int, size: int) -> bytes:
    """Spell type and size: four bits of the size, then seven a byte while there are more."""
    head = [kind << 4 | size & 15]
    size >>= 4
    while size:
        head[-1] |= 128
        head.append(size & 127)
        size >>= 7
    return bytes(head)


def _index(names: Sequence[bytes], data: bytes, offsets: Sequence[int]) -> bytes:
    """Make the index of a pack (version 2): names in order, checksums, where each object is."""
    ends = dict(pairwise(offsets))
    rows = sorted(zip(names, offsets, strict=False))
    body = b"".join(
        (
            b"\xfftOc\x00\x00\x00\x02",
            *(pack(">I", count) for count in _fanout(names)),
            *(name for name, _ in rows),
            *(pack(">I", zlib.crc32(data[at : ends[at]])) for _, at in rows),
            *(pack(">I", at) for _, at in rows),
            data[-20:],
        )
    )
    return body + hashlib.sha1(body, usedforsecurity=False).digest()


def _fanout(names: Iterable[bytes]) -> Iterator[int]:
    """Count, for each first byte, the names that begin with it or a smaller one."""
    counts = [0] * 256
    for name in names:
        counts[name[0]] += 1
    return accumulate(counts)
