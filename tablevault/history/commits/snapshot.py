"""The files of a vault at one commit, as values, and how they differ from those of another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import pygit2
from pygit2.enums import FileMode

from tablevault.errors import TVArgumentError, TVFileError
from tablevault.history.commits.documents import (
    InstanceDocument,
    TableDocument,
    VaultDocument,
    decode_instance,
    decode_table,
    decode_vault,
)
from tablevault.history.git.repository import Repository
from tablevault.history.git.trees import Edit, Graft, Remove, is_folder
from tablevault.lfs.pointer import LONGEST_POINTER, Pointer, decode_pointer
from tablevault.names import (
    CODE_DIR,
    SHARED_ARTIFACTS,
    TABLES_DIR,
    VAULT_DOCUMENT,
    BlobId,
    CommitId,
    TableId,
    artifacts_dir,
    builders_dir,
    check_table_name,
    instance_document,
    table_document,
)
from tablevault.paths import is_plain_path
from tablevault.wording import BLANK, Call, Wording

_TABLES_SHOWN = 10
_LINKS = (FileMode.LINK, FileMode.COMMIT)


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeEntry:
    """One name in a tree."""

    name: str
    id: str
    is_folder: bool
    executable: bool = False
    is_link: bool = False
    """A symbolic link or a submodule: nothing that is read."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The vault at `commit`: fixed, whatever happens to the vault meanwhile."""

    repository: Repository
    commit: CommitId
    _folders: dict[str, pygit2.Tree | None] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Look the tree up once."""
        root = self.repository.handle[self.commit].tree
        object.__setattr__(self, "_folders", {"": root})

    # -- plain access -------------------------------------------------------------------------

    def blob(self, path: str) -> bytes | None:
        """Bytes of the tracked file `path`, None when there is none."""
        found = self._find(path)
        return found.data if isinstance(found, pygit2.Blob) else None

    def blob_id(self, path: str) -> BlobId | None:
        """Git id of the tracked file `path`."""
        found = self._find(path)
        return BlobId(str(found.id)) if isinstance(found, pygit2.Blob) else None

    def tree_id(self, path: str) -> str | None:
        """Git id of the tracked folder `path`, None when there is none."""
        found = self._find(path)
        return str(found.id) if isinstance(found, pygit2.Tree) else None

    def entries(self, path: str) -> list[TreeEntry]:
        """List the names in the folder `path`, sorted; empty when there is no such folder.

        An untrusted tree may hold names such as ``..``, which are passed over.
        """
        found = self._find(path)
        if not isinstance(found, pygit2.Tree):
            return []
        return [
            TreeEntry(
                name=str(entry.name),
                id=str(entry.id),
                is_folder=is_folder(entry),
                executable=entry.filemode == FileMode.BLOB_EXECUTABLE,
                is_link=entry.filemode in _LINKS,
            )
            for entry in found
            if "/" not in str(entry.name) and is_plain_path(str(entry.name))
        ]

    def files(self, path: str) -> list[TreeEntry]:
        """List all files below the folder `path`, names relative to it, sorted."""
        found: list[TreeEntry] = []
        for entry in self.entries(path):
            if not entry.is_folder:
                found.append(entry)
                continue
            found.extend(
                replace(inner, name=f"{entry.name}/{inner.name}")
                for inner in self.files(f"{path}/{entry.name}")
            )
        return found

    def pointer(self, path: str) -> Pointer | None:
        """Pointer at the tracked file `path`, None when there is no such file.

        Raises
        ------
        TVFileError
            The file is no pointer: it was committed without Git LFS.
        """
        found = self._find(path)
        return self.pointer_of(BlobId(str(found.id)), path) if found is not None else None

    def pointer_of(self, blob: BlobId, path: str) -> Pointer:
        """Pointer in the git blob `blob`, which is at `path`."""
        found = self.repository.handle[blob]
        if isinstance(found, pygit2.Blob) and found.size < LONGEST_POINTER:
            pointer = decode_pointer(found.data)
            if pointer is not None:
                return pointer
        raise TVFileError(
            f'"{path}" at commit {self.commit[:12]} is no Git LFS pointer.',
            "It was committed without the LFS filter: `git lfs migrate import` repairs that.",
            path=path,
        )

    # -- the vault ----------------------------------------------------------------------------

    def vault(self) -> VaultDocument:
        """Read ``vault.yaml``."""
        blob = self.blob(VAULT_DOCUMENT)
        if blob is None:
            raise TVFileError(
                f'The branch "main" of "{self.repository.path}" holds no {VAULT_DOCUMENT}.',
                "Restore it from history: `git log -p -- vault.yaml`.",
            )
        return decode_vault(blob, VAULT_DOCUMENT)

    def table_names(self) -> list[str]:
        """List the tables, by name."""
        return [
            entry.name
            for entry in self.entries(TABLES_DIR)
            if entry.is_folder and self.blob_id(table_document(entry.name)) is not None
        ]

    def names_by_id(self) -> dict[TableId, str]:
        """Return the names of the tables, by id."""
        return {self.table(name).id: name for name in self.table_names()}

    def has_table(self, table: str) -> bool:
        """Return whether there is a table of that name."""
        return "/" not in table and table != "" and self.blob_id(table_document(table)) is not None

    def table(self, table: str) -> TableDocument:
        """Read the document of a table.

        Raises
        ------
        TVArgumentError
            There is no such table; names near misses.
        """
        if not self.has_table(table):
            raise unknown_table(table, self.table_names())
        blob = self.blob(table_document(table))
        assert blob is not None
        return decode_table(blob, table_document(table))

    def versions(self, table: str) -> list[str]:
        """List the versions of which `table` holds an instance here."""
        return [
            entry.name
            for entry in self.entries(f"{TABLES_DIR}/{table}")
            if entry.is_folder
            and entry.name != SHARED_ARTIFACTS
            and self.blob_id(instance_document(table, entry.name)) is not None
        ]

    def instance(self, table: str, version: str) -> InstanceDocument | None:
        """Read the document of the instance of `version` that stands here."""
        blob = self.blob(instance_document(table, version))
        return None if blob is None else decode_instance(blob, instance_document(table, version))

    def owner_of_artifacts(self, table: str) -> str:
        """Return the instance whose artifacts are in the folder that versions share; "" for none.

        A broken document names none.
        """
        try:
            return self.table(table).artifact_instance if self.has_table(table) else ""
        except TVFileError:
            return ""

    def artifacts(self, table: str, version: str) -> dict[str, Pointer]:
        """Return the artifacts that stand where an instance of `version` has them, by name."""
        if not self.has_table(table):
            return {}
        is_own = self.table(table).multiple_artifacts
        return self.pointers(artifacts_dir(table, version, multiple=is_own))

    def pointers(self, folder: str) -> dict[str, Pointer]:
        """Return the pointers in a folder and below it, by relative name."""
        return {
            entry.name: self.pointer_of(BlobId(entry.id), f"{folder}/{entry.name}")
            for entry in self.files(folder)
        }

    def builders(self, table: str, version: str) -> dict[str, BlobId]:
        """Return the builders that stand here, by name, sorted."""
        return self._blobs(builders_dir(table, version), ".yaml")

    def builder_files(self, table: str, version: str) -> dict[str, bytes]:
        """Return the content of the builders, by name, sorted."""
        builders = self.builders(table, version)
        return {name: self.repository.read_blob(blob) for name, blob in builders.items()}

    def code_modules(self) -> dict[str, BlobId]:
        """Return the code modules, by name, sorted."""
        return self._blobs(CODE_DIR, ".py")

    def text_of(self, blob: BlobId, where: str) -> str:
        """Decode the text of a blob; TVFileError when it is no UTF-8."""
        return decode_text(self.repository.read_blob(blob), where)

    def _blobs(self, path: str, ending: str) -> dict[str, BlobId]:
        """Return the files in a folder that end so, by their names without it, sorted."""
        found = self._find(path)
        return _files(found, ending) if isinstance(found, pygit2.Tree) else {}

    def _find(self, path: str) -> pygit2.Object | None:
        """Look one path up."""
        if not path:
            return self._folders[""]
        folder, slash, name = path.rpartition("/")
        return None if slash and not folder else _entry(self._folder(folder), name)

    def _folder(self, path: str) -> pygit2.Tree | None:
        """Return a folder, read once: libgit2 (1.9) keeps no tree of more than 4 KiB."""
        if path not in self._folders:
            found = self._find(path)
            self._folders[path] = found if isinstance(found, pygit2.Tree) else None
        return self._folders[path]


def _entry(folder: pygit2.Tree | None, name: str) -> pygit2.Object | None:
    """Return what a folder has under a name, None when it has nothing."""
    try:
        return folder[name] if folder is not None and name else None
    except (KeyError, ValueError, pygit2.GitError):
        return None


def code_texts(repository: Repository, tree: str) -> dict[str, str]:
    """Return the texts of the code modules in a version of ``code/``, by name.

    Parameters
    ----------
    repository : Repository
        The vault.
    tree : str
        Git id of the folder.

    Raises
    ------
    TVFileError
        There is no such repository, folder, or a file is no UTF-8.
    """
    found = repository.handle.get(tree)
    if not isinstance(found, pygit2.Tree):
        raise TVFileError(f'"{repository.path}" has no folder {tree}.', path=str(repository.path))
    return {
        name: decode_text(repository.read_blob(blob), f"{CODE_DIR}/{name}.py")
        for name, blob in _files(found, ".py").items()
    }


def _files(tree: pygit2.Tree, ending: str) -> dict[str, BlobId]:
    """Return the files in a folder that end so, by their names without it, sorted."""
    return {
        name.removesuffix(ending): BlobId(str(entry.id))
        for entry in tree
        if (name := str(entry.name)).endswith(ending) and not is_folder(entry) and "/" not in name
    }


def decode_text(data: bytes, where: str) -> str:
    """Read UTF-8 text, a byte order mark tolerated.

    Raises
    ------
    TVFileError
        The bytes are no UTF-8.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TVFileError(
            f'"{where}" is no UTF-8 text: byte {error.start} cannot be read.',
            "Save the file as UTF-8.",
        ) from error


def unknown_table(table: str, known: list[str]) -> TVArgumentError:
    """Make the error for a table that is not there."""
    import difflib

    hint: str
    close = difflib.get_close_matches(table, known, n=1)
    if close:
        hint = f'Did you mean "{close[0]}"?'
    elif known:
        more = f" and {len(known) - _TABLES_SHOWN} more" if len(known) > _TABLES_SHOWN else ""
        hint = f"Tables: {', '.join(known[:_TABLES_SHOWN])}{more}."
    else:
        hint = Wording(
            "The vault has no tables yet. Make one: ",
            Call("create_table", table_name=_usable(table)),
            ".",
        )
    return TVArgumentError(f'There is no table "{table}".', hint, table=table)


def _usable(table: str) -> object:
    """Return a name of a new table, or a blank for one that no table can have."""
    try:
        return check_table_name(table)
    except TVArgumentError:
        return BLANK


_OPEN = frozenset({"", CODE_DIR, TABLES_DIR})
"""Folders that exist because they have content: no operation adds them as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A file or a whole folder that differs; None where it is not there."""

    path: str
    old: TreeEntry | None
    new: TreeEntry | None

    @property
    def reversed(self) -> Difference:
        """The same difference in the other direction."""
        return Difference(path=self.path, old=self.new, new=self.old)


def differences(old: Snapshot, new: Snapshot, folder: str = "") -> list[Difference]:
    """List what differs below a folder, by path.

    A folder that only one commit has is one difference, so that what was added to it counts, too.
    Below `folder`, if one is named, only files are compared.
    """
    return list(_walk(old, new, folder, files_only=bool(folder)))


def entry_at(snapshot: Snapshot, path: str) -> TreeEntry | None:
    """Find the file or folder at a path."""
    folder, _, name = path.rpartition("/")
    return next((entry for entry in snapshot.entries(folder) if entry.name == name), None)


def edits_for(wanted: Sequence[tuple[str, TreeEntry | None]]) -> list[Edit]:
    """Return the edits that put what is wanted at each path, None for nothing."""
    return [
        Remove(path=path)
        if entry is None
        else Graft(path=path, source=entry.id, is_tree=entry.is_folder, executable=entry.executable)
        for path, entry in wanted
    ]


def _walk(old: Snapshot, new: Snapshot, folder: str, *, files_only: bool) -> Iterator[Difference]:
    """Compare one folder with its other side, and go into those that both have."""
    before = {entry.name: entry for entry in old.entries(folder)}
    after = {entry.name: entry for entry in new.entries(folder)}
    for name in sorted(before.keys() | after.keys()):
        one, other = before.get(name), after.get(name)
        if one == other:
            continue
        path = f"{folder}/{name}" if folder else name
        sides = [each for each in (one, other) if each is not None]
        is_open = files_only or path in _OPEN or len(sides) == 2  # noqa: PLR2004 - both sides
        if is_open and all(each.is_folder for each in sides):
            yield from _walk(old, new, path, files_only=files_only)
        else:
            yield Difference(path=path, old=one, new=other)
