"""Files that people edit in the working tree: code modules, and builders of instances."""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pygit2

from tablevault.errors import TVArgumentError, TVFileError
from tablevault.files.disk import entries_of
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.repository import Repository
from tablevault.history.git.trees import Edit, Put, Remove
from tablevault.names import (
    CODE_DIR,
    DEFAULT_VERSION,
    SHARED_ARTIFACTS,
    TABLES_DIR,
    BlobId,
    TempRef,
    builder_of_path,
    builders_dir,
    check_module_name,
    code_path,
)
from tablevault.paths import is_hidden, temp_of_builder

_TICK_NS = 2 * 10**9


class StampedFiles:
    """Remembers what it has hashed by inode, size and mtime."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[tuple[int, int, int], BlobId]] = {}

    def identify(self, entry: os.DirEntry[str]) -> tuple[BlobId, bytes | None]:
        """Return the git id of a file, and its text where that was just read."""
        status = entry.stat(follow_symlinks=False)
        stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
        known = self._seen.get(entry.path)
        if known is not None and known[0] == stamp:
            return known[1], None
        data = Path(entry.path).read_bytes()
        blob = BlobId(str(pygit2.hash(data)))
        # Two edits within one tick of the clock have one stamp (git's "racy" problem): what
        # changed just now is read again next time.
        if time.time_ns() - status.st_mtime_ns > _TICK_NS:
            self._seen[entry.path] = (stamp, blob)
        return blob, data


class CodeFolder:
    """The folder in which people edit."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files = StampedFiles()

    def edits(self, tracked: Mapping[str, BlobId]) -> list[Edit]:
        """Return how the modules on disk differ from those of a commit, by name."""
        if self._is_link():
            return []
        found = self.on_disk()
        edits: list[Edit] = [
            self._edit(code_path(module), data)
            for module, (blob, data) in found.items()
            if tracked.get(module) != blob
        ]
        # What is on disk under a tracked name but is no module of ours, a link say, stays.
        gone = [code_path(module) for module in tracked if module not in found]
        edits.extend(Remove(path=path) for path in gone if not os.path.lexists(self._root / path))
        return edits

    def _is_link(self) -> bool:
        """Return whether it is a link, which any commit may contain."""
        return (self._root / CODE_DIR).is_symlink()

    def _edit(self, path: str, data: bytes | None) -> Put:
        """Take in a working file, whose text may be known."""
        file = self._root / path
        content = data if data is not None else file.read_bytes()
        return Put(path=path, data=content, executable=bool(file.stat().st_mode & 0o100))

    def on_disk(self) -> dict[str, tuple[BlobId, bytes | None]]:
        """Return the modules in ``code/`` with their git ids; text only where it was just read."""
        found: dict[str, tuple[BlobId, bytes | None]] = {}
        if self._is_link():
            return found
        try:
            entries = sorted(os.scandir(f"{self._root}/{CODE_DIR}"), key=lambda entry: entry.name)
        except FileNotFoundError:
            return found
        except NotADirectoryError as error:
            raise TVFileError(
                f'"{self._root / CODE_DIR}" is a file, where the folder of code modules should be.',
                "Move it away; `git checkout main -- code` brings the modules back.",
            ) from error
        for entry in entries:
            module = entry.name.removesuffix(".py")
            if module == entry.name or not entry.is_file(follow_symlinks=False):
                continue
            with contextlib.suppress(TVArgumentError, FileNotFoundError):
                check_module_name(module)
                found[module] = self._files.identify(entry)
        return found


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
            for entry in entries_of(f"{self._root}/{TABLES_DIR}/{table}"):
                if entry.name != SHARED_ARTIFACTS and entry.is_dir(follow_symlinks=False):
                    temp = temp_of_builder(f"{TABLES_DIR}/{table}/{entry.name}/builders/x.yaml")
                    if temp is not None:
                        yield temp

    def _on_disk(self, folder: str) -> dict[str, BlobId]:
        """Return the git ids of the builder files in a folder, by path."""
        found = {}
        for entry in entries_of(f"{self._root}/{folder}"):
            path = f"{folder}/{entry.name}"
            is_builder = temp_of_builder(path) is not None and not is_hidden(entry.name)
            if is_builder and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(OSError):  # gone meanwhile, or not readable
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
