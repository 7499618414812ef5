"""The artifacts of an instance that is made: found, checked, and put into the object store."""

from __future__ import annotations

import contextlib
import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tablevault.errors import TVTableError
from tablevault.files.disk import hash_file
from tablevault.history.commits.snapshot import Snapshot, TreeEntry
from tablevault.history.git.trees import Edit, Graft, Put
from tablevault.lfs.drafts import Draft
from tablevault.lfs.pointer import Pointer
from tablevault.model.view import VaultView
from tablevault.names import BlobId, TempRef, artifacts_dir
from tablevault.paths import check_artifact_name, is_hidden
from tablevault.transactions.transaction import EditedBranch, Transaction
from tablevault.vault import Vault

_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a folder",
    stat.S_IFREG: "a file, and no folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file as git tracks it."""

    pointer: Pointer
    executable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFiles:
    """Where the files are that the values of a table name.

    Attributes
    ----------
    files : mapping of str to Path
        Those in the folder of the temporary instance.
    earlier : mapping of str to Artifact
        Those that an earlier instance has.
    known : set of BlobId
        Pointers that are in git already.
    """

    files: Mapping[str, Path]
    earlier: Mapping[str, Artifact]
    known: frozenset[BlobId]


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifacts:
    """The git tree that names all, and what of it is in the object store and has to stay there."""

    pointers: tuple[Pointer, ...] = ()
    tree: str = ""

    def edits(self, folder: str) -> list[Edit]:
        """Put them into a tracked folder."""
        return [Graft(path=folder, source=self.tree)] if self.tree else []


def find_artifacts(
    vault: Vault, draft: EditedBranch, origin_id: str, names: Sequence[str], *, has_errors: bool
) -> FoundFiles:
    """Find the artifacts that a table names; refuse what is wrong.

    They are in the folder of the temporary instance; else they may come from its origin, or
    from the folder that the instances of the table share. Where rows have errors, files without a
    name are what their calls had written before they failed, and are left out.

    Raises
    ------
    TVTableError
        A name cannot be used, its file is nowhere or is no regular file, or a file in the folder
        is named by no value.
    """
    folder = vault.temp_folders.artifacts(draft.temp)
    for name in names:
        check_artifact_name(name)
    _refuse_clashes(names)
    files = _by_value(dict(_visible_files(folder)), names)
    unnamed = files.keys() - set(names)
    if has_errors:
        for name in unnamed:
            del files[name]
    elif unnamed:
        first = min(unnamed)
        raise TVTableError(
            f"The artifact folder holds {_shown(first)}"
            + (f" and {len(unnamed) - 1} more files" if len(unnamed) > 1 else "")
            + ", which no value of an artifact_string column names.",
            f"Name each file in the table, or remove it from {folder}.",
            table=draft.temp.table,
        )
    for name in names:
        if name not in files and (hidden := file_in_folder(folder, name)) is not None:
            files[name] = hidden
    wanted = [name for name in names if name not in files]
    earlier, known = _earlier(vault, draft, origin_id, set(wanted))
    if missing := [name for name in wanted if name not in earlier]:
        raise missing_artifact(missing[0], folder, draft.temp.table)
    return FoundFiles(files=files, earlier=earlier, known=known)


def find_partial_artifacts(
    vault: Vault, draft: EditedBranch, origin_id: str, names: Sequence[str]
) -> FoundFiles:
    """Find the artifacts of a table that was not finished, as far as they exist; refuse nothing.

    All files of its folder, named or not, and of the earlier ones those that it names.
    """
    folder = vault.temp_folders.artifacts(draft.temp)
    files = {name: path for name, path in _visible_files(folder, refuse=False) if _is_usable(name)}
    wanted = {name for name in names if name not in files and _is_usable(name)}
    earlier, known = _earlier(vault, draft, origin_id, wanted)
    folders = {parent for name in files for parent in _above(name)}
    fitting = {
        name: artifact
        for name, artifact in earlier.items()
        if name not in folders and not any(parent in files for parent in _above(name))
    }
    return FoundFiles(files=files, earlier=fitting, known=known)


def keep_artifacts(
    vault: Vault,
    tx: Transaction,
    draft: EditedBranch,
    found: FoundFiles,
    *,
    kept: Mapping[str, Pointer],
    beside: Sequence[Draft],
) -> Artifacts:
    """Move artifacts and the drafts `beside` them into the object store, and make the git tree.

    All of that before the commit lock is taken: it may take a while. Files that still are what
    went into the store with their calls are read, but not written once more.
    """
    folder = vault.temp_folders.artifacts(draft.temp)
    there = _still_there(vault, tx, found.files, kept)
    files = {name: path for name, path in found.files.items() if name not in there}
    try:
        drafts = dict(zip(files, tx.drafts_of(files.values()), strict=True))
    except OSError as error:
        if not Path(str(error.filename)).is_relative_to(folder):
            raise
        name = Path(str(error.filename)).relative_to(folder).as_posix()
        raise unstorable_artifact(name, error, draft.temp.table) from error
    tx.keep([*beside, *drafts.values()])
    artifacts = dict(found.earlier)
    pointers_of = {**there, **{name: made.pointer for name, made in drafts.items()}}
    for name, path in found.files.items():
        executable = bool(path.stat().st_mode & stat.S_IXUSR)
        artifacts[name] = Artifact(pointer=pointers_of[name], executable=executable)
    if not artifacts:
        return Artifacts()
    pointers = (artifact.pointer for artifact in artifacts.values())
    puts = [
        Put(path=name, data=artifact.pointer.encode(), executable=artifact.executable)
        for name, artifact in artifacts.items()
    ]
    return Artifacts(
        pointers=tuple(pointer for pointer in pointers if vault.store.has(pointer)),
        tree=vault.repository.write_folder(puts, found.known),
    )


def _still_there(
    vault: Vault, tx: Transaction, files: Mapping[str, Path], kept: Mapping[str, Pointer]
) -> dict[str, Pointer]:
    """Return the objects of files that are what was kept of them, and keep these objects."""
    same = {}
    for name, path in files.items():
        if name not in kept:
            continue
        with contextlib.suppress(OSError):  # the copy that follows reports the error
            if path.stat().st_size == kept[name].size and hash_file(path) == kept[name].oid:
                same[name] = kept[name]
    missing = {pointer.oid for pointer in tx.pin(list(same.values()))} if same else set()
    return {
        name: pointer
        for name, pointer in same.items()
        if pointer.oid not in missing and vault.store.is_sound(pointer)
    }


def missing_artifact(name: str, folder: Path, table: str) -> TVTableError:
    """Return the error for a file that is nowhere."""
    return TVTableError(
        f"Artifact {_shown(name)} is named by the table but is not there.",
        f"Put the file into {folder}.",
        table=table,
        artifact=name,
    )


def unstorable_artifact(name: str, error: OSError, table: str) -> TVTableError:
    """Return the error for a file that cannot be read."""
    return TVTableError(
        f"Artifact {_shown(name)} cannot be stored: {error.strerror}.",
        "Its file has to be readable, and closed by whoever wrote it.",
        table=table,
        artifact=name,
    )


def _by_value(files: Mapping[str, Path], names: Sequence[str]) -> dict[str, Path]:
    """Return files by the values that name them, also in another Unicode normal form.

    HFS+ lists ``é`` as two characters, however it was written, and archives from a Mac hold it so.
    """
    wanted = {unicodedata.normalize("NFC", name): name for name in names if name not in files}
    known = set(names)
    return {
        wanted.get(unicodedata.normalize("NFC", name), name) if name not in known else name: path
        for name, path in files.items()
    }


def _visible_files(folder: Path, *, refuse: bool = True) -> Iterator[tuple[str, Path]]:
    """Walk the files below an artifact folder, by relative name; hidden ones are passed over.

    Raises
    ------
    TVTableError
        Something is neither file nor folder: a symbolic link may lead anywhere, now or later, and
        a named pipe never ends. It is passed over, too, unless `refuse`. Or a folder cannot be
        read.
    """
    waiting = [(folder, "")]
    while waiting:
        current, prefix = waiting.pop()
        for entry in _scan(current):
            name = prefix + entry.name
            if is_hidden(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append((Path(entry.path), f"{name}/"))
                continue
            if entry.is_file(follow_symlinks=False):
                yield name, Path(entry.path)
            elif refuse:
                raise _no_file(name, entry.stat(follow_symlinks=False))


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    """List a folder."""
    try:
        return list(os.scandir(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise TVTableError(
            f'The artifact folder "{folder}" cannot be read: {error.strerror}.',
            "Give yourself the right to read it.",
            path=str(folder),
        ) from error


def file_in_folder(folder: Path, name: str) -> Path | None:
    """Return the file that a value names, whatever its name is; None if it is not there.

    Raises
    ------
    TVTableError
        It is no file, or one of the folders above it is none.
    """
    *above, _ = Path(name).parents
    for part in (*reversed(above), Path(name)):
        try:
            status = (folder / part).lstat()
        except OSError:
            return None
        is_right = stat.S_ISREG if part == Path(name) else stat.S_ISDIR
        if not is_right(status.st_mode):
            raise _no_file(part.as_posix(), status)
    return folder / name


def _no_file(name: str, status: os.stat_result) -> TVTableError:
    """Make the error for what cannot be an artifact."""
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "a device")
    return TVTableError(
        f"In the artifact folder {_shown(name)} is {kind}.",
        "Put the file itself there.",
        artifact=name,
    )


def _refuse_clashes(names: Iterable[str]) -> None:
    """Refuse a name that is also the folder of another one."""
    known = set(names)
    for name in known:
        for above in _above(name):
            if above in known:
                raise TVTableError(
                    f"Artifact {_shown(above)} is also the folder of {_shown(name)}.",
                    "Give one of them another name.",
                    artifact=name,
                )


def _above(name: str) -> Iterator[str]:
    """Name the folders in which an artifact lies, below the artifact folder."""
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name


def _is_usable(name: str) -> bool:
    """Return whether an artifact may have this name."""
    try:
        check_artifact_name(name)
    except TVTableError:
        return False
    return True


def earlier_files(
    view: VaultView, temp: TempRef, origin_id: str
) -> Iterator[tuple[Snapshot, str, TreeEntry]]:
    """Yield the artifacts of earlier instances, each with its path; of one name the last counts.

    Those in the shared folder of the table on ``main`` come first, then those of the origin.
    """
    places = [(view.snapshot, artifacts_dir(*temp, multiple=False))]
    origin = view.instance(origin_id) if origin_id else None
    if origin is not None and not origin.deleted_at:
        for multiple in (False, True):
            folder = artifacts_dir(origin.table_name, origin.version, multiple=multiple)
            places.append((origin.snapshot, folder))
    for snapshot, folder in places:
        for entry in snapshot.files(folder):
            yield snapshot, f"{folder}/{entry.name}", entry


def _earlier(
    vault: Vault, draft: EditedBranch, origin_id: str, wanted: set[str]
) -> tuple[dict[str, Artifact], frozenset[BlobId]]:
    """Return the wanted artifacts of earlier instances, and all their pointers.

    Pointers in the folder that the new instance is going to replace are among these.
    """
    view, found = vault.view(), dict[str, Artifact]()
    replaced = view.snapshot.files(artifacts_dir(*draft.temp, multiple=True))
    known = {BlobId(entry.id) for entry in replaced}
    for snapshot, path, entry in earlier_files(view, draft.temp, origin_id):
        known.add(BlobId(entry.id))
        if entry.name in wanted:
            pointer = snapshot.pointer_of(BlobId(entry.id), path)
            found[entry.name] = Artifact(pointer=pointer, executable=entry.executable)
    return found, frozenset(known)


def _shown(name: str) -> str:
    """Show a name in an error text, also one that holds a line break or is no text."""
    return f'"{name}"' if name.isprintable() else ascii(name)
