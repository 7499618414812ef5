"""A process of its own that transfers objects, so that a test can kill it.

python -m tests.remotes.child send|receive FOLDER REMOTE OID:SIZE...
"""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

from tablevault.lfs.pointer import Pointer
from tablevault.lfs.store import ObjectStore
from tablevault.names import ObjectId
from tablevault.remotes.lfs import transfer


def main(direction, folder, remote, *objects):
    path = Path(folder)
    parts = [text.split(":") for text in objects]
    pointers = [Pointer(oid=ObjectId(oid), size=int(size)) for oid, size in parts]
    store = ObjectStore(path / ".git/lfs", path / ".git/tablevault/tmp")
    operation = {"send": "upload", "receive": "download"}[direction]
    with closing(transfer.open_transport(path, remote, operation)) as transport:
        report = getattr(transfer, direction)(transport, pointers, store)
    report.check()
    print(report.objects, report.bytes, report.present)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
