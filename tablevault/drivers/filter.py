"""The LFS filter for machines without git-lfs: ``clean``, ``smudge`` and ``process``.

Git runs it in the top folder of the working tree (gitattributes(5), "filter" and "Long Running
Filter Process"). A setting that an earlier ``git lfs install`` left for ``process`` cannot be
unset from the vault's own configuration, only replaced: hence all three.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from tablevault.errors import TableVaultError, reason_of
from tablevault.history.git.git_config import storage_settings
from tablevault.lfs.pointer import LONGEST_POINTER, decode_pointer
from tablevault.lfs.store import ObjectStore

LONGEST_DATA = 65516
"""Bytes that one packet may carry."""
_BLOCK = 1 << 20
_OWNER = "filter"


def read_packet(source: BinaryIO) -> bytes | None:
    """Read one packet; None for a flush packet.

    Raises
    ------
    EOFError
        The other side has closed the pipe.
    """
    head = source.read(4)
    if len(head) < 4:  # noqa: PLR2004 - the length field
        raise EOFError
    length = int(head, 16)
    return None if length == 0 else source.read(length - 4)


def read_packets(source: BinaryIO) -> Iterator[bytes]:
    """Read packets up to the next flush packet."""
    while (packet := read_packet(source)) is not None:
        yield packet


def read_lines(source: BinaryIO) -> list[str]:
    """Read a list of text lines up to the next flush packet."""
    return [
        packet.decode("utf-8", "surrogateescape").rstrip("\n") for packet in read_packets(source)
    ]


def write_lines(sink: BinaryIO, *lines: str) -> None:
    """Write a list of text lines and a flush packet."""
    for line in lines:
        _write(sink, f"{line}\n".encode("utf-8", "surrogateescape"))
    sink.write(b"0000")
    sink.flush()


class PacketReader(io.RawIOBase):
    """A file with the data of packets up to the next flush packet."""

    def __init__(self, source: BinaryIO) -> None:
        super().__init__()
        self._packets = read_packets(source)
        self._rest = b""

    def readable(self) -> bool:
        """Return that bytes can be read."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # any buffer, as io.RawIOBase takes it
        """Fill `buffer`; 0 after the flush packet."""
        while not self._rest:
            packet = next(self._packets, None)
            if packet is None:
                return 0
            self._rest = packet
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


class PacketWriter(io.RawIOBase):
    """A file whose data goes out as packets; the caller writes the flush packet."""

    def __init__(self, sink: BinaryIO) -> None:
        super().__init__()
        self._sink = sink

    def writable(self) -> bool:
        """Return that bytes can be written."""
        return True

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]  # as above
        """Write `data`, cut into packets."""
        view = memoryview(data)
        for start in range(0, len(view), LONGEST_DATA):
            _write(self._sink, bytes(view[start : start + LONGEST_DATA]))
        return len(view)


def _write(sink: BinaryIO, data: bytes) -> None:
    """Write one packet."""
    sink.write(f"{len(data) + 4:04x}".encode("ascii") + data)


def clean(store: ObjectStore, source: BinaryIO, sink: BinaryIO) -> None:
    """Store the content as an object and write its pointer; a pointer stays a pointer."""
    head = source.read(LONGEST_POINTER)
    if len(head) < LONGEST_POINTER and decode_pointer(head) is not None:
        sink.write(head)
        return
    with store.draft(_OWNER) as draft:
        draft.write(head)
        while block := source.read(_BLOCK):
            draft.write(block)
    with store.locked():
        store.keep([draft])
    sink.write(draft.pointer.encode())


def smudge(store: ObjectStore, source: BinaryIO, sink: BinaryIO) -> None:
    """Return the content behind a pointer; the pointer itself when the object is not here."""
    head = source.read(LONGEST_POINTER)
    pointer = decode_pointer(head) if len(head) < LONGEST_POINTER else None
    if pointer is None or not store.has(pointer):
        sink.write(head)
        while block := source.read(_BLOCK):
            sink.write(block)
        return
    with store.file(pointer).open("rb") as file:
        while block := file.read(_BLOCK):
            sink.write(block)


_ACTIONS = {"clean": clean, "smudge": smudge}


def process(store: ObjectStore, source: BinaryIO, sink: BinaryIO) -> None:
    """Serve many files over one pipe, until git closes it."""
    read_lines(source)
    write_lines(sink, "git-filter-server", "version=2")
    read_lines(source)
    write_lines(sink, *(f"capability={name}" for name in _ACTIONS))
    while True:
        try:
            request = dict(line.partition("=")[::2] for line in read_lines(source))
        except EOFError:
            return
        _serve(store, request, source, sink)


def _serve(store: ObjectStore, request: dict[str, str], source: BinaryIO, sink: BinaryIO) -> None:
    """Answer one request: a status, the content, and a status that may still be an error."""
    content = io.BufferedReader(PacketReader(source), _BLOCK)
    made = store.scratch_file()
    try:
        with made:
            _ACTIONS[request["command"]](store, cast("BinaryIO", content), made)
            made.seek(0)
            write_lines(sink, "status=success")
            writer = PacketWriter(sink)
            while block := made.read(_BLOCK):
                writer.write(block)
    except (TableVaultError, OSError) as error:
        while content.read(_BLOCK):
            pass
        sys.stderr.write(f"tablevault: {request.get('pathname', '')}: {reason_of(error)}\n")
        write_lines(sink, "status=error")
        return
    write_lines(sink)
    write_lines(sink)


def main(arguments: list[str]) -> int:
    """Run ``clean PATH``, ``smudge PATH`` or ``process``; a path is only for messages."""
    if not arguments or arguments[0] not in {*_ACTIONS, "process"}:
        sys.stderr.write("usage: python -m tablevault.drivers.filter clean|smudge|process [PATH]\n")
        return 2
    git = Path(os.environ.get("GIT_DIR", ".git")).absolute()
    store = ObjectStore(storage_settings(git).lfs, git / "tablevault" / "tmp")
    try:
        action = _ACTIONS.get(arguments[0], process)
        action(store, sys.stdin.buffer, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except TableVaultError as error:
        sys.stderr.write(f"tablevault: {' '.join(arguments[1:])}: {error}\n")
        return 1
    finally:
        store.discard(_OWNER)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
