"""Transfers to a bucket beside obstore alone, and lazy clones; the server is localbucket."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from obstore.store import S3Store
from pairs import Row, from_times, timed
from remotes import MEGABYTE, lazy_clones

from tablevault.lfs.pointer import Pointer
from tablevault.lfs.store import ObjectStore
from tablevault.remotes.lfs.transfer import open_transport, receive, send

THREADS = 8
_SERVER = """
import sys
from http.server import ThreadingHTTPServer
from pathlib import Path
from localbucket import S3Handler
S3Handler.log_message = lambda *_: None
S3Handler.data_root = Path(sys.argv[1])
server = ThreadingHTTPServer(("127.0.0.1", 0), S3Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


def against_obstore(folder: Path, pairs: int) -> list[Row]:
    """Send 1,000 objects of 1 MB and fetch them (50 with few pairs), and clone lazily."""
    os.environ |= {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    count = 1000 if pairs > 5 else 50
    with _serving(folder / "served") as endpoint:
        rows = _transfers(folder, endpoint, count, max(3, pairs // 8))

        def bucket(size: int) -> str:
            (folder / "served" / f"lazy{size}").mkdir()
            return f"s3://lazy{size}?endpoint={endpoint}"

        return [*rows, lazy_clones(folder / "growing", max(6, pairs // 4), bucket)]


def _transfers(folder: Path, endpoint: str, count: int, rounds: int) -> list[Row]:
    """Send and fetch by turns, each time with a bucket that is new."""
    here, pointers = _repository(folder / "here"), []
    store = _store(here)
    source = np.random.default_rng(0)
    for _ in range(count):
        with store.draft("benchmark") as draft:
            draft.write(source.bytes(MEGABYTE))
            draft.close(sync=False)
        pointers.append(draft.pointer)
        with store.locked():
            store.keep([draft])
    times: dict[str, tuple[list[float], list[float]]] = {"send": ([], []), "fetch": ([], [])}
    for number in range(rounds + 1):
        ours, theirs = (folder / "served" / f"{side}{number}" for side in ("ours", "theirs"))
        ours.mkdir()
        theirs.mkdir()
        there = _repository(folder / "there")
        url = f"s3://{ours.name}?endpoint={endpoint}"
        raw = _raw(theirs.name, endpoint)
        taken = [
            timed(lambda _, url=url: _moved(here, url, "upload", pointers), 0),
            timed(lambda _, raw=raw: _put(raw, store, pointers), 0),
            timed(lambda _, url=url, there=there: _moved(there, url, "download", pointers), 0),
            timed(lambda _, raw=raw: _fetch(raw, folder / "raw", pointers), 0),
        ]
        if number:  # the first round does not count
            for position, what in enumerate(times):
                times[what][0].append(taken[2 * position])
                times[what][1].append(taken[2 * position + 1])
        for path in (ours, theirs, there, folder / "raw"):
            shutil.rmtree(path)
    names = {
        "send": f"send {count:,} x 1 MB: obstore alone",
        "fetch": f"fetch {count:,} x 1 MB: obstore, neither hashed nor synced",
    }
    return [
        from_times(names[what], *sides, aim="1.25" if what == "send" else "-")
        for what, sides in times.items()
    ]


@contextlib.contextmanager
def _serving(root: Path) -> Iterator[str]:
    """Serve buckets that are folders."""
    root.mkdir()
    command = [sys.executable, "-c", _SERVER, str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.kill()


def _repository(path: Path) -> Path:
    """Make a repository."""
    subprocess.run(["git", "init", "-q", str(path)], check=True)
    return path


def _store(path: Path) -> ObjectStore:
    """Return the store of a repository."""
    return ObjectStore(path / ".git/lfs", path / ".git/tablevault/tmp")


def _moved(path: Path, url: str, operation: str, pointers: list[Pointer]) -> None:
    """Send or receive objects."""
    (path / ".git/tablevault").mkdir(exist_ok=True)
    transport = open_transport(path, url, operation)
    move = send if operation == "upload" else receive
    move(transport, pointers, _store(path)).check()
    transport.close()


def _raw(bucket: str, endpoint: str) -> S3Store:
    """Return what obstore has for a bucket."""
    options = {"allow_http": True}
    return S3Store(bucket, endpoint=endpoint, region="us-east-1", client_options=options)


def _put(raw: S3Store, store: ObjectStore, pointers: list[Pointer]) -> None:
    """Put files, as many at once as we do."""
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda pointer: raw.put(pointer.oid, store.file(pointer)), pointers))


def _fetch(raw: S3Store, folder: Path, pointers: list[Pointer]) -> None:
    """Write files, as many at once as we do."""
    folder.mkdir()

    def fetch(pointer: Pointer) -> None:
        (folder / pointer.oid).write_bytes(raw.get(pointer.oid).bytes())

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(fetch, pointers))
