"""The LFS filter for machines without git-lfs: ``clean``, ``smudge`` and ``process``.

Git runs it in the top folder of the working tree (gitattributes(5), "filter" and "Long Running
Filter Process"). A setting that an earlier ``git lfs install`` left for ``process`` cannot be
unset from the vault's own configuration, only replaced: hence all three.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import BinaryIO, cast

from tablevault.drivers import pktline
from tablevault.errors import TableVaultError
from tablevault.history.git.git_config import storage_settings
from tablevault.lfs.pointer import LONGEST_POINTER, decode_pointer
from tablevault.lfs.store import ObjectStore

_BLOCK = 1 << 20
_OWNER = "filter"


def clean(store: ObjectStore, source: BinaryIO, sink: BinaryIO) -> None:
    """Store the content as an object and give its pointer; a pointer stays what it is."""
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
    pktline.read_lines(source)
    pktline.write_lines(sink, "git-filter-server", "version=2")
    pktline.read_lines(source)
    pktline.write_lines(sink, *(f"capability={name}" for name in _ACTIONS))
    while True:
        try:
            request = dict(line.partition("=")[::2] for line in pktline.read_lines(source))
        except EOFError:
            return
        _serve(store, request, source, sink)


def _serve(store: ObjectStore, request: dict[str, str], source: BinaryIO, sink: BinaryIO) -> None:
    """Answer one request: a status, the content, and a status that may still be an error."""
    content = io.BufferedReader(pktline.PacketReader(source), _BLOCK)
    made = store.scratch_file()
    try:
        with made:
            _ACTIONS[request["command"]](store, cast("BinaryIO", content), made)
            made.seek(0)
            pktline.write_lines(sink, "status=success")
            writer = pktline.PacketWriter(sink)
            while block := made.read(_BLOCK):
                writer.write(block)
    except (TableVaultError, OSError) as error:
        while content.read(_BLOCK):
            pass
        sys.stderr.write(f"tablevault: {request.get('pathname', '')}: {error}\n")
        pktline.write_lines(sink, "status=error")
        return
    pktline.write_lines(sink)
    pktline.write_lines(sink)


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
