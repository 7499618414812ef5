"""What somebody else made is looked through before it becomes part of a vault."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pygit2
from pygit2.enums import FileMode

from tablevault.errors import TVArgumentError, TVFileError, TVRemoteError
from tablevault.history.documents import decode_instance, decode_table, decode_vault
from tablevault.history.logbook import unix_time
from tablevault.history.message import Message
from tablevault.history.repository import FARTHEST, Repository
from tablevault.history.snapshot import Snapshot
from tablevault.history.tree import is_plain_path
from tablevault.names import (
    TABLES_DIR,
    VAULT_DOCUMENT,
    BlobId,
    CommitId,
    check_table_name,
    check_version,
    frame_path,
    instance_document,
    is_instance,
)

_DEEPEST = 100
_DOCUMENTS_AT = 3
"""Slashes in ``tables/<table>/<version>/``: no document of a vault is deeper."""
_LARGEST_DOCUMENT = 64 << 20
_REGULAR = (FileMode.BLOB, FileMode.BLOB_EXECUTABLE)


def refuse_hostile(
    repository: Repository,
    tips: Iterable[CommitId],
    known: Iterable[CommitId],
    where: str,
    made: Callable[[str], CommitId | None] = lambda _: None,
) -> None:
    """Refuse commits whose trees or messages hold what those of a vault never do.

    Looked at is each tree that can be reached from `tips` and not from `known`: symbolic links,
    submodules, names such as ``..`` and ``.git``, folders of tables and versions whose names could
    not have been given here, and documents that cannot be read. Nothing of it is run. An instance
    may be made only once: `made` gives the commit that made one which is here already.

    Raises
    ------
    TVRemoteError
        Names the path, the commit, and why.
    """
    handle = repository.handle
    seen: set[tuple[str, str]] = set()
    known = list(known)
    claims = _Claims(repository, made)
    for ours in known:
        _mark(handle, handle[ours].tree, seen)
    for commit in new_commits(repository, tips, known):
        _refuse_claim(repository, CommitId(str(commit.id)), where, claims)
        for path, problem in _problems(handle, commit.tree, seen):
            raise TVRemoteError(
                f'{where} holds "{path}" in commit {str(commit.id)[:12]}: {problem}.',
                "Nothing was taken over. Ask who pushed it, or look with git: "
                f"git show --stat {str(commit.id)[:12]}.",
                path=path,
            )


class _Claims:
    """Which instances commits say that they made, and with what."""

    def __init__(self, repository: Repository, made: Callable[[str], CommitId | None]) -> None:
        self._repository = repository
        self._made = made
        self._first: dict[str, CommitId] = {}

    def other(self, message: Message, commit: CommitId) -> CommitId | None:
        """Give a commit that made the same instance of something else.

        The same may be said twice: a cherry-pick makes the same again.
        """
        instance_id = message.first("Vault-Instance")
        first = self._first.setdefault(instance_id, self._made(instance_id) or commit)
        one, other = self._content(message, first), self._content(message, commit)
        return first if one != other and None not in one and None not in other else None

    def _content(self, message: Message, commit: CommitId) -> tuple[BlobId | None, BlobId | None]:
        """Give document and dataframe of an instance as they are at a commit."""
        at = message.first("Vault-Table"), message.first("Vault-Version")
        snapshot = Snapshot(self._repository, commit)
        return snapshot.blob_id(instance_document(*at)), snapshot.blob_id(frame_path(*at))


def _refuse_claim(repository: Repository, commit: CommitId, where: str, claims: _Claims) -> None:
    """Refuse a commit that says it made what could not be called so here, or is there already."""
    message = repository.commit(commit).message
    instance_id = message.first("Vault-Instance")
    table, version = message.first("Vault-Table"), message.first("Vault-Version")
    if not instance_id:
        return
    if not is_instance(table, version, instance_id):
        problem = f"of version {version!r} of table {table!r}: no vault has such a one"
    elif (unix_time(message.first("Vault-Time"), 0.0) or 0.0) >= FARTHEST:
        problem = f"at {message.first('Vault-Time')}: no time to come may be before that"
    elif (first := claims.other(message, commit)) is not None:
        problem = f"and commit {first[:12]} made it of something else"
    else:
        return
    raise TVRemoteError(
        f"{where} holds the commit {commit[:12]}, which says that it made instance "
        f"{instance_id!r} {problem}.",
        f"Nothing was taken over. Ask who pushed it, or look with git: git show {commit[:12]}.",
    )


def new_commits(
    repository: Repository, tips: Iterable[CommitId], known: Iterable[CommitId]
) -> Iterator[pygit2.Commit]:
    """Walk the commits that can be reached from `tips` and not from `known`, newest first."""
    walker = repository.handle.walk(None, pygit2.enums.SortMode.TOPOLOGICAL)
    for tip in tips:
        walker.push(pygit2.Oid(hex=tip))
    for commit in known:
        walker.hide(pygit2.Oid(hex=commit))
    yield from walker


def _mark(
    handle: pygit2.Repository, tree: pygit2.Tree, seen: set[tuple[str, str]], path: str = ""
) -> None:
    """Note the trees of a commit that we have: what they hold was looked through before."""
    key = _place(path), str(tree.id)
    if key in seen:
        return
    seen.add(key)
    for entry in tree:
        if entry.filemode == FileMode.TREE:
            found = handle[entry.id]
            if isinstance(found, pygit2.Tree):
                _mark(handle, found, seen, f"{path}{entry.name}/")


def _place(path: str) -> str:
    """Give the path of a folder where it counts, "" where any folder holds the same.

    A tree that is harmless elsewhere is not so where tables and versions have their documents.
    """
    if not path:
        return "/"
    counts = path.startswith(f"{TABLES_DIR}/") and path.count("/") <= _DOCUMENTS_AT
    return path if counts else ""


def _problems(
    handle: pygit2.Repository, tree: pygit2.Tree, seen: set[tuple[str, str]], path: str = ""
) -> Iterator[tuple[str, str]]:
    """Look through a tree; what was `seen` is passed over."""
    key = _place(path), str(tree.id)
    if key in seen:
        return
    seen.add(key)
    if path.count("/") > _DEEPEST:
        yield path, "folders are nested too deep"
        return
    for entry in tree:
        name = str(entry.name)
        inner = f"{path}{name}"
        problem = _problem(handle, entry, inner)
        if problem:
            yield inner, problem
        elif entry.filemode == FileMode.TREE:
            found = handle[entry.id]
            if isinstance(found, pygit2.Tree):
                yield from _problems(handle, found, seen, f"{inner}/")


def _problem(handle: pygit2.Repository, entry: pygit2.Object, path: str) -> str:
    """Say what is wrong with one entry of a tree, "" when nothing is."""
    name = str(entry.name)
    if "/" in name or "\\" in name or not is_plain_path(name) or not name.isprintable():
        return f"no file or folder of a vault has the name {name!r}"
    if entry.filemode == FileMode.LINK:
        return "it is a symbolic link"
    if entry.filemode == FileMode.COMMIT:
        return "it is a submodule"
    if entry.filemode == FileMode.TREE:
        return _problem_of_folder(path)
    if entry.filemode not in _REGULAR and entry.filemode != FileMode.BLOB | 0o020:
        return f"its mode is {entry.filemode:o}"
    return _problem_of_document(handle, entry, path)


def _problem_of_folder(path: str) -> str:
    """Check the name of the folder of a table or version."""
    parts = path.split("/")
    try:
        if len(parts) == 2 and parts[0] == TABLES_DIR:  # noqa: PLR2004 - tables/<table>
            check_table_name(parts[1])
        elif len(parts) == 3 and parts[0] == TABLES_DIR and parts[2] != "artifacts":  # noqa: PLR2004 - tables/<table>/<version>
            check_version(parts[2])
    except TVArgumentError as error:
        return error.message.rstrip(".")
    return ""


def _problem_of_document(handle: pygit2.Repository, entry: pygit2.Object, path: str) -> str:
    """Check that a document of the vault can be read, and what is in it."""
    parts = path.split("/")
    decode = {
        (1, VAULT_DOCUMENT): decode_vault,
        (3, "table.yaml"): decode_table,
        (4, "instance.yaml"): decode_instance,
    }.get((len(parts), parts[-1]))
    if decode is None or (len(parts) > 1 and parts[0] != TABLES_DIR):
        return ""
    blob = handle[entry.id]
    if not isinstance(blob, pygit2.Blob) or blob.size > _LARGEST_DOCUMENT:
        return "the document is too large"
    try:
        decode(blob.data, path)
    except (TVFileError, TVArgumentError) as error:
        return error.message.rstrip(".")
    return ""
