"""What a commit of a vault may hold: validates fetched commits, and files to be committed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import pygit2
from pygit2.enums import FileMode

from tablevault.errors import TVArgumentError, TVFileError, TVRemoteError
from tablevault.history.catalog.operation_log import unix_time
from tablevault.history.commits.documents import (
    LARGEST_DOCUMENT,
    decode_instance,
    decode_table,
    decode_vault,
)
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.commit_message import Message
from tablevault.history.git.reachability import new_commits
from tablevault.history.git.repository import FARTHEST, Repository
from tablevault.names import (
    TABLES_DIR,
    BlobId,
    CommitId,
    frame_path,
    instance_document,
    is_instance,
)
from tablevault.paths import fault_of_folders, fault_to_read, is_of_artifact, kind_of_document

_GROUP_CAN_WRITE = 0o020
_REGULAR = (FileMode.BLOB, FileMode.BLOB_EXECUTABLE, FileMode.BLOB | _GROUP_CAN_WRITE)
_DECODERS: Mapping[str, Callable[[bytes, str], object]] = {
    "vault": decode_vault,
    "table": decode_table,
    "instance": decode_instance,
}
_DOCUMENTS_AT = 3
"""Slashes in ``tables/<table>/<version>/``: no document of a vault is deeper."""


def validate_incoming(
    repository: Repository,
    tips: Iterable[CommitId],
    known: Iterable[CommitId],
    where: str,
    made: Callable[[str], CommitId | None] = lambda _: None,
) -> None:
    """Refuse fetched commits whose trees or messages hold what those of a vault never do.

    Checks each tree that can be reached from `tips` and not from `known` for symbolic links,
    submodules, names such as ``..`` and ``.git``, folders of tables and versions with names that no
    vault accepts, and documents that cannot be read. Runs nothing of it. An instance may be made
    only once: `made` returns the commit that made one of this vault.

    Raises
    ------
    TVRemoteError
        Names the path, the commit, and why.
    """
    known = list(known)
    instances = _MadeInstances(repository, made)
    for commit in new_commits(repository, tips, known):
        _check_instance(repository, CommitId(str(commit.id)), where, instances)
    for commit_id, path, problem in invalid_files(repository, tips, known):
        raise TVRemoteError(
            f'{where} holds "{path}" in commit {commit_id[:12]}: {problem}.',
            "Nothing was taken over. Ask who pushed it, or look with git: "
            f"`git show --stat {commit_id[:12]}`.",
            path=path,
        )


def validate_outgoing(
    repository: Repository, tips: Iterable[CommitId], known: Iterable[CommitId], remote: str
) -> None:
    """Refuse to push what no vault would pull: plain git may have committed it.

    Raises
    ------
    TVRemoteError
        Names the path, the commit, and why.
    """
    for commit_id, path, problem in invalid_files(repository, tips, known):
        raise TVRemoteError(
            f'"{path}" in commit {commit_id[:12]} cannot be pulled by any vault: {problem}. '
            f'Nothing was pushed to "{remote}".',
            "Take it out of the commits that nobody else has, for example with git filter-repo.",
            path=path,
        )


def invalid_files(
    repository: Repository, tips: Iterable[CommitId], known: Iterable[CommitId]
) -> Iterator[tuple[CommitId, str, str]]:
    """Walk what is no part of any vault in the trees reached from `tips` and not from `known`.

    Yields
    ------
    tuple of str
        Commit, path, and what is wrong with it.
    """
    handle = repository.handle
    seen: set[tuple[str, str]] = set()
    known = list(known)
    for ours in known:
        _mark(handle, handle[ours].tree, seen)
    for commit in new_commits(repository, tips, known):
        for path, problem in _problems(handle, commit.tree, seen):
            yield CommitId(str(commit.id)), path, problem


class _MadeInstances:
    """Which instances commits say that they made, and with what."""

    def __init__(self, repository: Repository, made: Callable[[str], CommitId | None]) -> None:
        self._repository = repository
        self._made = made
        self._first: dict[str, CommitId] = {}

    def other(self, message: Message, commit: CommitId) -> CommitId | None:
        """Return a commit that made the same instance of something else.

        The same may be said twice: a cherry-pick makes the same again.
        """
        instance_id = message.first("Vault-Instance")
        first = self._first.setdefault(instance_id, self._made(instance_id) or commit)
        if first == commit:
            return None
        one, other = self._content(message, first), self._content(message, commit)
        return first if one != other and None not in one and None not in other else None

    def _content(self, message: Message, commit: CommitId) -> tuple[BlobId | None, BlobId | None]:
        """Return document and dataframe of an instance as they are at a commit."""
        at = message.first("Vault-Table"), message.first("Vault-Version")
        snapshot = Snapshot(self._repository, commit)
        return snapshot.blob_id(instance_document(*at)), snapshot.blob_id(frame_path(*at))


def _check_instance(
    repository: Repository, commit: CommitId, where: str, instances: _MadeInstances
) -> None:
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
    elif (first := instances.other(message, commit)) is not None:
        problem = f"and commit {first[:12]} made it of something else"
    else:
        return
    raise TVRemoteError(
        f"{where} holds the commit {commit[:12]}, which says that it made instance "
        f"{instance_id!r} {problem}.",
        f"Nothing was taken over. Ask who pushed it, or look with git: `git show {commit[:12]}`.",
    )


def invalid_files_in(repository: Repository, commit: CommitId) -> Iterator[tuple[str, str]]:
    """Walk what is no part of any vault in the tree of one commit: path, and what is wrong."""
    handle = repository.handle
    return _problems(handle, handle[commit].tree, set())


def _mark(handle: pygit2.Repository, tree: pygit2.Tree, seen: set[tuple[str, str]]) -> None:
    """Note the trees of a commit of this vault, which need no check."""
    waiting = [(tree, "")]
    for current, path in _unseen(waiting, seen):
        for entry in current:
            if not _was_seen(entry, path, seen):
                waiting += _folder(handle, entry, path)


def _was_seen(entry: pygit2.Object, path: str, seen: set[tuple[str, str]]) -> bool:
    """Return whether a folder of the folder `path` was seen under its very name."""
    inner = f"{path}{entry.name}/"
    return (
        entry.filemode == FileMode.TREE
        and _place(inner) == inner
        and (inner, str(entry.id)) in seen
    )


def _unseen(
    waiting: list[tuple[pygit2.Tree, str]], seen: set[tuple[str, str]]
) -> Iterator[tuple[pygit2.Tree, str]]:
    """Walk folders that wait, each with its path, and note them; pass over those `seen`."""
    while waiting:
        current, path = waiting.pop()
        key = _place(path), str(current.id)
        if key not in seen:
            seen.add(key)
            yield current, path


def _folder(
    handle: pygit2.Repository, entry: pygit2.Object, path: str
) -> list[tuple[pygit2.Tree, str]]:
    """Return an entry of the folder `path` as a folder to walk; nothing when it is none."""
    found = handle[entry.id] if entry.filemode == FileMode.TREE else None
    return [(found, f"{path}{entry.name}/")] if isinstance(found, pygit2.Tree) else []


def _place(path: str) -> str:
    """Return the path of a folder where it matters, and a common key elsewhere.

    A tree that is harmless elsewhere is not so where tables and versions have their documents,
    and a name that an artifact may have is no name for any other file.
    """
    if not path:
        return "/"
    if not path.startswith(f"{TABLES_DIR}/"):
        return ""
    counts = path.count("/") <= _DOCUMENTS_AT
    return path if counts else f"{TABLES_DIR}/{is_of_artifact(path)}"


def _problems(
    handle: pygit2.Repository, tree: pygit2.Tree, seen: set[tuple[str, str]]
) -> Iterator[tuple[str, str]]:
    """Look through a tree; what was `seen` is passed over."""
    waiting = [(tree, "")]
    for current, path in _unseen(waiting, seen):
        for entry in current:
            if _was_seen(entry, path, seen):
                continue
            inner = f"{path}{entry.name}"
            problem = _problem(handle, entry, inner)
            if problem:
                yield inner, problem
            else:
                waiting += _folder(handle, entry, path)


def _problem(handle: pygit2.Repository, entry: pygit2.Object, path: str) -> str:
    """Return what is wrong with one entry of a tree, "" when nothing is."""
    name = str(entry.name)
    if "/" in name or (fault := fault_to_read(path)):
        return f"no file or folder of a vault has the name {name!r}: " + (
            "it leads into another folder" if "/" in name else fault
        )
    if entry.filemode == FileMode.TREE:
        return fault_of_folders(f"{path}/")
    return fault_of_entry(path, entry.filemode) or _problem_of_document(handle, entry, path)


def _problem_of_document(handle: pygit2.Repository, entry: pygit2.Object, path: str) -> str:
    """Return why a document of the vault cannot be read."""
    if not is_checked(path):
        return ""
    blob = handle[entry.id]
    if not isinstance(blob, pygit2.Blob) or blob.size > LARGEST_DOCUMENT:
        return "the document is too large"
    return fault_of_document(path, blob.data)


def fault_of_entry(path: str, mode: int) -> str:
    """Return why an entry other than a folder cannot be part of a vault, "" when it can."""
    if mode == FileMode.LINK:
        return "it is a symbolic link"
    if mode == FileMode.COMMIT:
        return "it is a submodule"
    if mode not in _REGULAR:
        return f"its mode is {mode:o}"
    return fault_of_folders(path)


def is_checked(path: str) -> bool:
    """Return whether :func:`fault_of_document` looks at what is in a file."""
    return kind_of_document(path) in _DECODERS


def fault_of_document(path: str, data: bytes) -> str:
    """Return why a document of the vault cannot be read, "" for any other file."""
    decode = _DECODERS.get(kind_of_document(path))
    if decode is None:
        return ""
    if len(data) > LARGEST_DOCUMENT:
        return f"the document is larger than {LARGEST_DOCUMENT:,} bytes"
    try:
        decode(data, path)
    except (TVFileError, TVArgumentError) as error:
        return error.message.rstrip(".")
    return ""


def fault_of_change(path: str, before: bytes, after: bytes) -> str:
    """Return what a commit of plain git must not change in a document, "" when it may.

    The id of a table is what its instances name, and that of a vault what its clones have.
    """
    kind = kind_of_document(path)
    if kind == "table":
        old, new = decode_table(before, path), decode_table(after, path)
        fixed = ("id", "multiple_artifacts", "side_effects")
        changed = [name for name in fixed if getattr(old, name) != getattr(new, name)]
    elif kind == "vault":
        changed = ["id"] if decode_vault(before, path).id != decode_vault(after, path).id else []
    else:
        return ""
    verb = "change" if len(changed) > 1 else "changes"
    return f"its {' and '.join(changed)} never {verb}" if changed else ""
