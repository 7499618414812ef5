"""Edit git trees: edits are buffered by folder and written bottom up, without git's index."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import pygit2
from pygit2.enums import FileMode, ObjectType

from tablevault.errors import TVFileError, TVImplementationError
from tablevault.files.disk import sync_folder
from tablevault.history.git.git_program import SYNCED, run_git
from tablevault.paths import is_plain_path


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """Write `data` as the file `path`."""

    path: str
    data: bytes
    executable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Graft:
    """Put the existing tree or blob `source` at `path`, replacing what is there."""

    path: str
    source: str
    is_tree: bool = True
    executable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    """Remove the file or folder `path`; nothing happens when it is not there."""

    path: str


Edit = Put | Graft | Remove

_TRIES = 5

_Leaf = tuple[pygit2.Oid, int] | None
_Buffer = dict[str, "_Leaf | _Buffer"]


def write_blobs(git_dir: Path, files: Iterable[Put], known: Collection[str]) -> list[Edit]:
    """Write the blobs of many files as one pack, but for those that are `known`.

    Git syncs the pack; loose objects would take a sync each.

    After a crash before the index of the pack has its name, nobody sees the pack, and ``gc``
    removes it.

    Returns
    -------
    list of Edit
        What puts the files into a tree.

    Raises
    ------
    TVFileError
        git is not installed, or there is no space.
    """
    blobs = [(str(pygit2.hash(file.data)), file) for file in files]
    new = {blob: file.data for blob, file in blobs if blob not in known}
    text = b"".join(b"blob\ndata %d\n%s\n" % (len(each), each) for each in new.values())
    if text:
        options = (f"--git-dir={git_dir}", *SYNCED, "-c", "fastimport.unpackLimit=0")
        command = ["fast-import", "--quiet"]
        run_git(command, git_dir, text=text, options=options, failure=TVFileError)
        sync_folder(git_dir / "objects/pack")
    return [
        Graft(path=file.path, source=blob, is_tree=False, executable=file.executable)
        for blob, file in blobs
    ]


def write_object(write: Callable[[], pygit2.Oid]) -> pygit2.Oid:
    """Write an object; again if git removed the folder for it meanwhile.

    `git repack -d` and `git gc` remove a folder of loose objects when it is empty. libgit2 (1.9)
    makes the folder, writes the object beside it, and fails to move it there (ENOENT).
    """
    for _ in range(_TRIES - 1):
        try:
            return write()
        except OSError as error:
            if os.strerror(errno.ENOENT) not in str(error):
                raise
    return write()


def write_tree(
    repo: pygit2.Repository, base: pygit2.Tree | None, edits: Iterable[Edit]
) -> list[str]:
    """Apply `edits`, in order, to the tree `base` and write what is new; nothing is synced.

    Returns
    -------
    list of str
        Ids of all objects that were written, the new tree last. Folders that become empty
        disappear, as git has none.
    """
    buffer: _Buffer = {}
    written: list[pygit2.Oid] = []
    for edit in edits:
        _enter(buffer, _parts(edit.path), _leaf(repo, edit, written))
    if _write(repo, base, buffer, written) is None:
        written.append(write_object(repo.TreeBuilder().write))
    return [str(oid) for oid in written]


def _leaf(repo: pygit2.Repository, edit: Edit, written: list[pygit2.Oid]) -> _Leaf:
    """Write the content of one edit and give its tree entry, None for a removal."""
    match edit:
        case Put():
            mode = FileMode.BLOB_EXECUTABLE if edit.executable else FileMode.BLOB
            written.append(write_object(lambda: repo.create_blob(edit.data)))
            return written[-1], int(mode)
        case Graft():
            mode = FileMode.BLOB_EXECUTABLE if edit.executable else FileMode.BLOB
            mode = FileMode.TREE if edit.is_tree else mode
            return pygit2.Oid(hex=edit.source), int(mode)
        case Remove():
            return None


def _parts(path: str) -> list[str]:
    """Split a path, refusing what must never enter a tree."""
    if not is_plain_path(path):
        raise TVImplementationError(f"Path {path!r} cannot enter a tree.", path=path)
    return path.split("/")


def _enter(buffer: _Buffer, parts: list[str], leaf: _Leaf) -> None:
    """Note one edit; a later edit of the same path wins."""
    *folders, name = parts
    for folder in folders:
        inner = buffer.get(folder)
        if not isinstance(inner, dict):
            if leaf is None and folder in buffer and not _is_tree(inner):
                return  # there is a file or nothing, so nothing below it
            # A whole folder was replaced or removed before: what follows is built on that.
            inner = {} if folder not in buffer else {_REPLACED: inner}
            buffer[folder] = inner
        buffer = inner
    buffer[name] = leaf


def _is_tree(leaf: _Leaf) -> bool:
    """Return whether a buffered entry is a whole folder."""
    return leaf is not None and leaf[1] == FileMode.TREE


# Key of a buffered folder under which stands the entry that replaced it. "/" is in no name.
_REPLACED = "/"


def _write(
    repo: pygit2.Repository, base: pygit2.Tree | None, buffer: _Buffer, made: list[pygit2.Oid]
) -> pygit2.Oid | None:
    """Write one folder, and note in `made` what was written; None when nothing is left in it."""
    if _REPLACED in buffer:
        replaced = buffer[_REPLACED]
        found = repo[replaced[0]] if isinstance(replaced, tuple) else None
        base = found if isinstance(found, pygit2.Tree) else None
    builder = repo.TreeBuilder(base) if base is not None else repo.TreeBuilder()
    for name, change in buffer.items():
        if name == _REPLACED:
            continue
        if isinstance(change, dict):
            inner = base[name] if base is not None and name in base else None
            written = _write(repo, inner if isinstance(inner, pygit2.Tree) else None, change, made)
            if written is None and isinstance(inner, pygit2.Blob) and _REPLACED not in change:
                continue  # what was to be removed lies below a file: it was never there
            change = None if written is None else (written, int(FileMode.TREE))  # noqa: PLW2901 - the folder became an entry
        if change is not None:
            builder.insert(name, *change)
        elif base is not None and name in base:
            builder.remove(name)
    if not len(builder):
        return None
    made.append(write_object(builder.write))
    return made[-1]


def is_folder(entry: pygit2.Object) -> bool:
    """Return whether a tree entry is a folder."""
    return entry.type == ObjectType.TREE
