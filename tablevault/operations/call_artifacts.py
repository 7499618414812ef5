"""The artifacts of calls, between the folder of a temporary instance and the object store."""

from __future__ import annotations

import contextlib
import errno
import stat
import threading
import time
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from tablevault.engine.calls.records import KeptFile
from tablevault.errors import TableVaultError, TVTableError
from tablevault.files.disk import hash_file
from tablevault.files.links import copy_file
from tablevault.history.commits.snapshot import Snapshot, TreeEntry
from tablevault.lfs.drafts import Draft
from tablevault.lfs.pointer import Pointer
from tablevault.names import BlobId, ObjectId
from tablevault.operations.artifacts import (
    earlier_files,
    file_in_folder,
    missing_artifact,
    unstorable_artifact,
)
from tablevault.paths import check_artifact_name
from tablevault.transactions.transaction import EditedBranch, Transaction
from tablevault.vault import Vault

_ATTEMPTS: Final = 3
_TURNS: Final = 64
_SETTLED_NS: Final = 3_000_000_000
"""A file that was changed so shortly before it was read may change again without a new time."""
_IN_THE_WAY: Final = (FileExistsError, NotADirectoryError, IsADirectoryError, FileNotFoundError)
_Stamp = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """A file that was kept, and by what one knows that it is still the same."""

    stamp: _Stamp
    is_settled: bool
    file: KeptFile


class ArtifactFolder:
    """The artifact folder of one execution; for several threads.

    Implements :class:`tablevault.engine.calls.artifacts.ArtifactFiles`.

    Parameters
    ----------
    vault : Vault
        The vault.
    tx : Transaction
        The execution.
    draft : EditedBranch
        The temporary instance.
    origin_id : str
        Id of the instance that it starts from, "" for none.
    """

    def __init__(self, vault: Vault, tx: Transaction, draft: EditedBranch, origin_id: str) -> None:
        self._vault = vault
        self._tx = tx
        self._draft = draft
        self._origin_id = origin_id
        self._folder = vault.temp_folders.artifacts(draft.temp)
        self._seen: dict[str, _Seen] = {}
        self._known: dict[str, KeptFile] = {}
        self._is_offline = False
        self._lock = threading.Lock()
        self._turns = [threading.Lock() for _ in range(_TURNS)]

    @contextmanager
    def kept(self, names: Collection[str]) -> Iterator[Mapping[str, KeptFile] | None]:
        """Keep the files that go by these names; they stay at least as long as the body runs.

        The objects of a call are needed by its record, and by nothing else. So the record is
        written under the lock of the object store, under which others look what is needed.
        """
        paths = {name: self._find(name) for name in names}
        found = {name: self._inherited(name) for name, path in paths.items() if path is None}
        for name, file in found.items():
            if file is None:
                raise missing_artifact(name, self._folder, self._draft.temp.table)
        kept = {name: file for name, file in found.items() if file is not None}
        fresh = {name: path for name, path in paths.items() if path is not None}
        with self._turn(fresh):
            drafts = self._drafts(fresh, kept)
            if drafts is None:
                yield None
                return
            with self._vault.store.locked():
                # Crashes here or below: nothing needs the objects, and `gc` removes them.
                self._vault.store.keep(drafts)
                yield kept

    @contextmanager
    def _turn(self, names: Collection[str]) -> Iterator[None]:
        """Keep other threads from keeping these files meanwhile.

        Of a file that many calls write to, a later record thus never holds an older state.
        """
        with ExitStack() as stack:
            for number in sorted({hash(name) % len(self._turns) for name in names}):
                stack.enter_context(self._turns[number])
            yield

    def _drafts(self, paths: Mapping[str, Path], kept: dict[str, KeptFile]) -> list[Draft] | None:
        """Copy files, and add them to `kept`; None when others write to one all the time."""
        drafts = []
        for name, path in paths.items():
            seen = self._seen.get(name)
            if seen is not None and seen.is_settled and seen.stamp == _stamp(path):
                kept[name] = seen.file
                continue
            made = self._copied(name, path)
            if made is None:
                return None
            draft, seen = made
            drafts.append(draft)
            kept[name] = seen.file
            with self._lock:
                self._seen[name] = seen
                self._known[name] = seen.file
        return drafts

    def inherited(self, names: Collection[str]) -> Mapping[str, KeptFile] | None:
        """Return the files that earlier instances have by these names; None if some are missing."""
        found = {name: self._inherited(name) for name in names}
        kept = {name: file for name, file in found.items() if file is not None}
        return kept if len(kept) == len(found) else None

    def show(self, names: Collection[str]) -> None:
        """Put the files of earlier instances into the artifact folder that are not there.

        One that cannot be had is missed by the function that reads it.
        """
        for name in names:
            with contextlib.suppress(TableVaultError, *_IN_THE_WAY):
                file = self._inherited(name) if self._find(name) is None else None
                if file is not None:
                    self._place(name, file)
                    self._known[name] = file

    def bring(self, files: Mapping[str, KeptFile]) -> Mapping[str, str]:
        """Put files into the artifact folder, and return of those that cannot be had why not."""
        lost = {}
        for name, file in files.items():
            try:
                self._place(name, file)
                self._known[name] = file
            except TableVaultError as error:
                lost[name] = str(error)
            except _IN_THE_WAY as error:
                lost[name] = f"{error.strerror}."
        return lost

    @property
    def pointers(self) -> Mapping[str, Pointer]:
        """Files that were kept or brought, by name; they may have been written over since."""
        return {
            name: Pointer(oid=ObjectId(file.oid), size=file.size)
            for name, file in self._known.items()
        }

    # -- the folder -----------------------------------------------------------------------------

    def _find(self, name: str) -> Path | None:
        """Return the file that a value names; None when it is not in the folder."""
        found = file_in_folder(self._folder, check_artifact_name(name))
        if found is not None or name.isascii():
            return found
        # HFS+ lists it in another Unicode normal form, and archives from a Mac hold it so.
        parent, wanted = (self._folder / name).parent, unicodedata.normalize("NFC", name)
        for path in list(parent.iterdir()) if parent.is_dir() else ():
            other = path.relative_to(self._folder).as_posix()
            if unicodedata.normalize("NFC", other) == wanted:
                return file_in_folder(self._folder, other)
        return None

    def _copied(self, name: str, path: Path) -> tuple[Draft, _Seen] | None:
        """Copy a file into a draft; None when others write to it all the time."""
        for _ in range(_ATTEMPTS):
            try:
                before, at = _stamp(path), time.time_ns()
                (draft,) = self._tx.drafts_of([path])
                if _stamp(path) != before:
                    continue
                mode = path.stat().st_mode
            except FileNotFoundError as error:
                raise missing_artifact(name, self._folder, self._draft.temp.table) from error
            except OSError as error:
                if error.errno == errno.EBUSY:
                    continue
                if str(error.filename) != str(path):
                    raise
                raise unstorable_artifact(name, error, self._draft.temp.table) from error
            pointer = draft.pointer
            file = KeptFile(pointer.oid, pointer.size, bool(mode & stat.S_IXUSR))
            return draft, _Seen(stamp=before, is_settled=before[3] < at - _SETTLED_NS, file=file)
        return None

    def _place(self, name: str, file: KeptFile) -> None:
        """Put one file into the folder, unless it is there; what is there else is replaced.

        Functions may write to it later, as they may to files of their own, so it is no link.
        """
        pointer = Pointer(oid=ObjectId(file.oid), size=file.size)
        target, there = self._folder / name, self._find(name)
        if there is not None and _is_same(there, file):
            return
        if self._is_offline and not self._vault.store.has(pointer):
            raise TVTableError(f"Object {file.oid} is not here, and no remote can be reached.")
        try:
            source = self._vault.store.file(pointer)
        except TableVaultError as error:
            self._is_offline = self._is_offline or error.facts.get("is_reached") is False
            raise
        target.parent.mkdir(parents=True, exist_ok=True)
        copy_file(source, target, executable=file.executable)
        if there is not None and there != target:
            there.unlink(missing_ok=True)

    # -- earlier instances ----------------------------------------------------------------------

    def _inherited(self, name: str) -> KeptFile | None:
        """Return a file that materialising would find although it is not in the folder."""
        with self._lock:
            place = self._earlier.get(name)
            if place is None:
                return None
            snapshot, path, entry = place
            pointer = snapshot.pointer_of(BlobId(entry.id), path)
        return KeptFile(pointer.oid, pointer.size, entry.executable)

    @cached_property
    def _earlier(self) -> Mapping[str, tuple[Snapshot, str, TreeEntry]]:
        """Artifacts of earlier instances by name, with their paths."""
        found = earlier_files(self._vault.view(), self._draft.temp, self._origin_id)
        return {entry.name: (snapshot, path, entry) for snapshot, path, entry in found}


def _is_same(path: Path, file: KeptFile) -> bool:
    """Return whether a file is the one that was kept."""
    status = path.stat()
    return (
        status.st_size == file.size
        and bool(status.st_mode & stat.S_IXUSR) == file.executable
        and hash_file(path) == file.oid
    )


def _stamp(path: Path) -> _Stamp:
    """Return what changes when the bytes of a file do, some milliseconds apart."""
    status = path.lstat()
    changed = max(status.st_mtime_ns, status.st_ctime_ns)
    return status.st_ino, status.st_size, status.st_mode, changed
