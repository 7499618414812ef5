"""Builders that were edited in the folder of an instance, which never changes."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tablevault.filenames import is_hidden
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.repository import Repository
from tablevault.history.git.stamps import StampedFiles
from tablevault.names import (
    DEFAULT_VERSION,
    SHARED_ARTIFACTS,
    TABLES_DIR,
    BlobId,
    TempRef,
    builder_of_path,
    builders_dir,
    temp_of_builder,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MisplacedBuilders:
    """Builders in the working tree of ``main`` that are not those of the instance there."""

    temp: TempRef
    """The temporary instance that they should be part of."""
    blobs: Mapping[str, BlobId]
    """Git id of each, by its path."""


class InstanceBuilders:
    """The folders ``tables/<table>/<version>/builders`` on disk."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files = StampedFiles()

    def misplaced(self, snapshot: Snapshot) -> list[MisplacedBuilders]:
        """Find builders that were edited or added; what is missing is no edit of anybody's."""
        found = []
        for temp in self._folders(snapshot):
            tracked = snapshot.builders(temp.table, temp.version)
            there = self._on_disk(builders_dir(temp.table, temp.version))
            edited = {
                path: blob
                for path, blob in there.items()
                if tracked.get(builder_of_path(path)) != blob
            }
            if edited:
                found.append(MisplacedBuilders(temp=temp, blobs=edited))
        return found

    def _folders(self, snapshot: Snapshot) -> Iterator[TempRef]:
        """Walk the folders of versions, for which there may be no instance yet."""
        for table in snapshot.table_names():
            for entry in _scan(f"{self._root}/{TABLES_DIR}/{table}"):
                if entry.name != SHARED_ARTIFACTS and entry.is_dir(follow_symlinks=False):
                    temp = temp_of_builder(f"{TABLES_DIR}/{table}/{entry.name}/builders/x.yaml")
                    if temp is not None:
                        yield temp

    def _on_disk(self, folder: str) -> dict[str, BlobId]:
        """Return the git ids of the builder files in a folder, by path."""
        found = {}
        for entry in _scan(f"{self._root}/{folder}"):
            path = f"{folder}/{entry.name}"
            is_builder = temp_of_builder(path) is not None and not is_hidden(entry.name)
            if is_builder and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(OSError):  # gone meanwhile, or nobody's to read
                    found[path] = self._files.identify(entry)[0]
        return found


def make_temporary(repository: Repository, temp: TempRef, paths: Sequence[str]) -> str:
    """Write the shell command that puts builders into a temporary instance.

    Parameters
    ----------
    repository : Repository
        Of the vault.
    temp : TempRef
        Where they should be. When it is there already, it takes them in.
    paths : sequence of str
        Tracked paths below ``tables/``.

    Returns
    -------
    str
        To be pasted, from whichever folder.
    """
    start = ["tablevault", "--db-dir", str(repository.path)]
    version = [] if temp.version == DEFAULT_VERSION else [f"--version={temp.version}"]
    files = [str(repository.path / path) for path in paths]
    if repository.tip(temp.ref) is None:
        builders = [f"--builder={file}" for file in files]
        return shlex.join([*start, "create-instance", temp.table, *version, "--copy", *builders])
    commands = [
        [*start, "create-builder-file", temp.table, *version, f"--copy-dir={file}"]
        for file in files
    ]
    return " && ".join(shlex.join(words) for words in commands)


def _scan(folder: str) -> list[os.DirEntry[str]]:
    """List a folder, sorted; empty where there is none, or none that can be read."""
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return []
