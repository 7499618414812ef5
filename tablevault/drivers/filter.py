"""The LFS filter for machines without git-lfs: ``clean`` and ``smudge``, one file a call.

Git runs it in the top folder of the working tree (gitattributes(5), "filter"): the content comes
on standard input, what git stores or lays out goes to standard output.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import BinaryIO

from tablevault.errors import TableVaultError
from tablevault.objects.pointer import LONGEST_POINTER, decode_pointer
from tablevault.objects.store import ObjectStore

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
    """Give the content behind a pointer; the pointer itself when the object is not here."""
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


def main(arguments: list[str]) -> int:
    """Run ``clean PATH`` or ``smudge PATH`` for git; the path is only for messages."""
    actions = {"clean": clean, "smudge": smudge}
    if len(arguments) < 1 or arguments[0] not in actions:
        sys.stderr.write("usage: python -m tablevault.drivers.filter clean|smudge PATH\n")
        return 2
    git = Path(os.environ.get("GIT_DIR", ".git")).absolute()
    store = ObjectStore(git / "lfs", git / "tablevault" / "tmp")
    try:
        actions[arguments[0]](store, sys.stdin.buffer, sys.stdout.buffer)
    except TableVaultError as error:
        sys.stderr.write(f"tablevault: {' '.join(arguments[1:])}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
