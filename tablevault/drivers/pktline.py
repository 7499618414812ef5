"""Git's packet lines (gitprotocol-common): four hexadecimal digits of length, then the data."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

LONGEST_DATA = 65516
"""Bytes that one packet may carry."""


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
    """A file that gives the data of packets up to the next flush packet."""

    def __init__(self, source: BinaryIO) -> None:
        super().__init__()
        self._packets = read_packets(source)
        self._rest = b""

    def readable(self) -> bool:
        """Tell that bytes may be read."""
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
        """Tell that bytes may be written."""
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
