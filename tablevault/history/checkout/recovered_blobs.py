"""Recover lost git blobs from working files and LFS pointers."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path

import pygit2

from tablevault.history.git.repository import Repository
from tablevault.history.git.trees import write_object
from tablevault.lfs.pointer import LONGEST_POINTER, Pointer
from tablevault.lfs.store import ObjectStore
from tablevault.names import FACES_DIR

_LARGEST_TEXT = 1 << 20


def restore_blobs(repository: Repository, store: ObjectStore, wanted: Collection[str]) -> None:
    """Write those of the `wanted` blobs again whose content lies somewhere in the vault."""
    found = find_blobs(repository, store, wanted)
    handle = pygit2.Repository(str(repository.git_dir))
    for data in found.values():
        write_object(partial(handle.create_blob, data))


def find_blobs(
    repository: Repository, store: ObjectStore, wanted: Collection[str]
) -> dict[str, bytes]:
    """Return the content of those of the `wanted` blobs that lies somewhere in the vault."""
    if not wanted:
        return {}
    found = ((str(pygit2.hash(data)), data) for data in _candidates(repository.path, store))
    return {name: data for name, data in found if name in wanted}


def _candidates(root: Path, store: ObjectStore) -> Iterator[bytes]:
    """Return the content of small working files, and the pointer of every object."""
    for oid, status in store.every():
        yield Pointer(oid=oid, size=status.st_size).encode()
    yield b""
    for folder in (root, root / FACES_DIR):
        for path in folder.rglob("*"):
            if ".git" in path.relative_to(root).parts:
                continue
            with contextlib.suppress(OSError):
                if path.is_file() and path.stat().st_size < max(_LARGEST_TEXT, LONGEST_POINTER):
                    yield path.read_bytes()
