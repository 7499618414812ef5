"""The git repository of a vault: read refs and commits, write commits."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shlex
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pygit2

from tablevault.errors import TVFileError
from tablevault.files.disk import sync_file, sync_folder
from tablevault.history.git.commit_message import Message, decode_message, identity
from tablevault.history.git.git_config import LfsStorage, settings_of
from tablevault.history.git.object_files import is_sound, refuse_damage, wrong_with
from tablevault.history.git.trees import Edit, Put, write_blobs, write_object, write_tree
from tablevault.names import MAIN, BlobId, CommitId, TempRef, temp_of_ref

_log = logging.getLogger("tablevault")
_REMEMBERED = 10_000
"""So many objects are known to be durable at the most."""
_MANY_FILES = 100
FARTHEST = 7_258_118_400.0
"""The year 2200, Unix s: no clock goes so wrong, and what follows is never before that."""
_HEAD_ON_MAIN = f"ref: {MAIN}".encode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One commit of history, as the index reads it."""

    id: CommitId
    parents: tuple[CommitId, ...]
    author: str
    email: str
    at: float
    message: Message

    @property
    def time(self) -> float:
        """When it was made (Unix s), to the microsecond if it is an operation of the vault."""
        try:
            return datetime.fromisoformat(self.message.first("Vault-Time")).timestamp()
        except (ValueError, OverflowError):
            return self.at


class Repository:
    """An opened repository; safe to use from several threads.

    libgit2 handles must not be shared between threads, so each thread has its own.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.git_dir = path / ".git"
        self._local = threading.local()
        self._durable: dict[str, None] = {}
        self._folders: set[str] = set()
        self._looked = 0

    @property
    def handle(self) -> pygit2.Repository:
        """The libgit2 handle of this thread."""
        identity = os.getpid()
        if getattr(self._local, "identity", None) != identity:
            if self._looked != identity:
                refuse_damage(self.git_dir)
                self._looked = identity
            try:
                self._local.handle = pygit2.Repository(str(self.git_dir))
            except pygit2.GitError as error:
                raise self._unopened(error) from error
            self._local.identity = identity
        handle: pygit2.Repository = self._local.handle
        return handle

    def drop_handle(self) -> None:
        """Let this thread open the repository anew when it needs it."""
        self._local.identity = None

    def storage(self) -> LfsStorage:
        """Return where objects are, and who else writes here; defaults when that is unreadable."""
        try:
            return settings_of(self.git_dir, self.handle)
        except TVFileError:
            return LfsStorage(git_dir=self.git_dir, lfs=self.git_dir / "lfs")

    # -- refs ---------------------------------------------------------------------------------

    def tip(self, ref: str) -> CommitId | None:
        """Return the commit that `ref` names, None when there is no such ref."""
        try:
            reference = self.handle.references.get(ref)
            return None if reference is None else CommitId(str(reference.resolve().target))
        except pygit2.GitError as error:
            raise TVFileError(
                f'Git cannot read "{ref}" in "{self.git_dir}": {error}.', self._mending()
            ) from error

    def _unopened(self, error: pygit2.GitError) -> TVFileError:
        """Describe why the repository cannot be opened."""
        if "is not owned by current user" in str(error):
            trusted = shlex.quote(os.path.realpath(self.path))
            return TVFileError(
                f'The vault "{self.path}" belongs to {_owner(self.path)}, and git opens only what '
                "belongs to you.",
                "If you trust whoever may write there: "
                f"git config --global --add safe.directory {trusted}",
                path=str(self.path),
            )
        return TVFileError(
            f'The git repository "{self.git_dir}" cannot be opened: {error}.',
            "Was the vault moved or deleted meanwhile? " + self._mending(),
        )

    def _mending(self) -> str:
        """Return what makes a repository whole again that cannot be opened."""
        where = shlex.quote(str(self.path))
        return f"If it is damaged: `tablevault --db-dir {where} verify --repair` mends what it can."

    def main(self) -> CommitId:
        """Return the tip of ``main``.

        Raises
        ------
        TVFileError
            There is no branch ``main``, so this is no longer a vault.
        """
        tip = self.tip(MAIN)
        if tip is None:
            if not self.git_dir.is_dir():
                raise TVFileError(
                    f'There is no vault at "{self.path}" any more.',
                    "It was moved or deleted: open it where it is now.",
                )
            raise TVFileError(
                f'The vault "{self.path}" has no branch "main".',
                f"{self._mending()} By hand: `git branch main <commit>`; `git reflog` lists where "
                "it was.",
            )
        return tip

    def refs(self, prefix: str) -> dict[str, CommitId]:
        """Return all refs below `prefix`, which ends with a slash, by full name."""
        try:
            return {
                ref.name: CommitId(str(ref.resolve().target))
                for ref in self.handle.references.iterator()
                if ref.name.startswith(prefix)
            }
        except pygit2.GitError as error:
            raise TVFileError(
                f'Git cannot read a ref below "{prefix}" in "{self.git_dir}": {error}.',
                self._mending(),
            ) from error

    def temps(self) -> dict[TempRef, CommitId]:
        """Return the temporary instances with the tips of their branches."""
        tips = self.temp_refs().items()
        return {temp: tip for ref, tip in tips if (temp := temp_of_ref(ref)) is not None}

    def temp_refs(self) -> dict[str, CommitId]:
        """Return the branches below ``temp/``, of which plain git may make any.

        libgit2 can only list all refs, and there is a tag for each instance; so the names are
        looked up where git's files backend keeps them: loose below ``refs/``, or packed.
        """
        prefix = "refs/heads/temp/"
        names: set[str] = set()
        # Folders come and go meanwhile: pathlib's glob would raise.
        for folder, _, files in os.walk(f"{self.git_dir}/{prefix}"):
            table = os.path.relpath(folder, self.git_dir)
            names.update(f"{table}/{name}" for name in files)
        with contextlib.suppress(FileNotFoundError):
            names.update(_packed(self.git_dir / "packed-refs", prefix))
        tips = ((name, self.tip(name)) for name in sorted(names) if not name.endswith(".lock"))
        return {name: tip for name, tip in tips if tip is not None}

    def has_remote(self) -> bool:
        """Return whether git knows of another repository."""
        return any(True for _ in self.handle.remotes.names())

    def head_is_main(self) -> bool:
        """Return whether the working tree belongs to ``main``."""
        try:
            return (self.git_dir / "HEAD").read_bytes().strip() == _HEAD_ON_MAIN
        except OSError:
            return False

    # -- commits ------------------------------------------------------------------------------

    def write_commit(
        self,
        *,
        parents: Sequence[CommitId],
        base: CommitId | None,
        edits: Iterable[Edit],
        message: Message,
        author: str,
        at: float,
    ) -> CommitId:
        """Write a commit whose tree is that of `base` with `edits`; no ref moves."""
        handle = self.handle
        edits = list(edits)
        with self._writing(edits):
            written = write_tree(handle, None if base is None else handle[base].tree, edits)
        name, email = identity(author)
        offset = datetime.fromtimestamp(at, UTC).astimezone().utcoffset()
        minutes = 0 if offset is None else int(offset.total_seconds() // 60)
        person = pygit2.Signature(name, email, int(at), minutes)
        tree, text = pygit2.Oid(hex=written[-1]), message.encode()
        oid = write_object(
            lambda: handle.create_commit(None, person, person, text, tree, [*parents])
        )
        self._note_written((*written, str(oid)))
        return CommitId(str(oid))

    def write_folder(self, files: Sequence[Put], known: Collection[BlobId]) -> str:
        """Write a folder, and give the id of its tree; durable at the latest when refs move.

        `files` have paths relative to the folder. Blobs that are `known` are in the object
        database already.
        """
        edits: Sequence[Edit] = files
        if len(files) >= _MANY_FILES:
            edits = write_blobs(self.git_dir, files, known)
        with self._writing(edits):
            written = write_tree(self.handle, None, edits)
        self._note_written(written)
        return written[-1]

    @contextmanager
    def _writing(self, edits: Iterable[Edit]) -> Iterator[None]:
        """Return the error for objects with the content of `edits` that libgit2 did not write."""
        try:
            yield
        except OSError as error:
            if os.strerror(errno.EACCES) in str(error):
                raise _not_kept(f"{self.git_dir}/objects/") from error
            raise
        except pygit2.GitError:
            self._refuse_damaged(edits)
            raise

    def _note_written(self, names: Sequence[str]) -> None:
        """Remember objects that are to be made durable, and see that they are whole.

        On a full disk libgit2 (1.9) may say that it has written what it has not. What has the
        right name already it does not write, even if a loss of power cut that off before it was
        synced: a ref must not come to name it.

        Raises
        ------
        OSError
            One is not there; or it was there and is damaged, and is removed, so that the next
            time it is written.
        """
        for name in names:
            if name in self._durable:
                continue
            try:
                self._refuse_if_damaged(name)
            except FileNotFoundError as error:
                if pygit2.Oid(hex=name) not in self.handle:
                    raise _not_kept(error.filename) from None
        self._unsynced().extend(names)

    def _refuse_if_damaged(self, name: str) -> None:
        """Remove a loose object that is damaged, and tell; FileNotFoundError when none is there."""
        file = f"{self.git_dir}/objects/{name[:2]}/{name[2:]}"
        if is_sound(file, name):
            return
        path = Path(file)
        wrong = wrong_with(path)
        if wrong:
            path.unlink(missing_ok=True)
            # No TableVaultError: what was computed is kept, and the same call goes on with it.
            raise OSError(
                errno.EIO,
                f"an object of git was damaged, perhaps by a loss of power: {wrong}; it was "
                "removed, run the operation again",
                str(path),
            )

    def _refuse_damaged(self, edits: Iterable[Edit]) -> None:
        """Remove damaged objects that have the content of `edits`; libgit2 refuses some itself."""
        for edit in edits:
            if isinstance(edit, Put):
                with contextlib.suppress(FileNotFoundError):
                    self._refuse_if_damaged(self.blob_id(edit.data))

    def _unsynced(self) -> list[str]:
        """Return the objects that this thread wrote since refs moved last."""
        if not hasattr(self._local, "unsynced"):
            self._local.unsynced = []
        found: list[str] = self._local.unsynced
        return found

    def sync_objects(self) -> None:
        """Make what this thread wrote durable, before a ref names it.

        libgit2 can sync by itself, but object by object, and only for all repositories of the
        process at once. All files are written by now, so the first sync makes the file system
        write out most of it, and the others have little left to do.
        """
        objects = f"{self.git_dir}/objects"
        folders = set()
        for name in dict.fromkeys(self._unsynced()):
            if name in self._durable:
                continue
            folder = f"{objects}/{name[:2]}"
            try:
                sync_file(f"{folder}/{name[2:]}")
                folders.add(folder)
            except FileNotFoundError:
                folders.add(f"{objects}/pack")  # it went into a pack, which git has synced
        # The names of new folders have to last as well; which are new is known only afterwards.
        if not folders <= self._folders:
            folders.add(objects)
            self._folders |= folders
        for folder in folders:
            sync_folder(folder)
        # Trees come back: what a builder's deletion leaves is what was there before the builder.
        self._durable.update(dict.fromkeys(self._unsynced()))
        self._unsynced().clear()
        if len(self._durable) > _REMEMBERED:
            self._durable.clear()

    def commit(self, commit: CommitId) -> Commit:
        """Read one commit."""
        return _commit(cast("pygit2.Commit", self.handle[commit]))

    def read_blob(self, blob: str) -> bytes:
        """Read the bytes of a blob."""
        found = self.handle[blob]
        assert isinstance(found, pygit2.Blob)
        return found.data

    def blob_id(self, data: bytes) -> str:
        """Return the id that git gives to a file with these bytes; nothing is written."""
        return str(pygit2.hash(data))

    def has(self, commit: CommitId) -> bool:
        """Return whether the commit is in the object database."""
        return pygit2.Oid(hex=commit) in self.handle

    def peeled(self, name: str) -> CommitId:
        """Return the commit that an id names, of a commit or of an annotated tag."""
        return CommitId(str(self.handle[name].peel(pygit2.Commit).id))

    def commit_of(self, name: str) -> CommitId | None:
        """Return the commit that an id names; None where it is not here, or names none."""
        try:
            return self.peeled(name)
        except (KeyError, ValueError, pygit2.GitError):
            return None

    def is_ancestor(self, older: CommitId, newer: CommitId) -> bool:
        """Return whether `newer` is `older` or descends from it; False when `older` is gone.

        libgit2 may still have in its cache what ``git gc`` has removed, so :meth:`has` is not
        asked.
        """
        try:
            return older == newer or self.handle.descendant_of(newer, older)
        except (KeyError, pygit2.GitError):
            return False


def _packed(path: Path, prefix: str) -> Iterator[str]:
    """Yield the packed refs below `prefix`; where they are sorted, the tags are not read."""
    is_sorted = False
    with path.open("r", encoding="utf-8", errors="replace") as file:
        for line in file:
            name = line[41:].rstrip("\n")
            if line.startswith("#"):
                is_sorted = " sorted" in line
            elif name.startswith(prefix):
                yield name
            elif is_sorted and name > prefix:
                return


def _not_kept(file: str) -> OSError:
    """Describe why git has not kept an object: libgit2 (1.9) does not say."""
    folder = Path(file)
    while not folder.is_dir():
        folder = folder.parent
    if os.access(folder, os.W_OK | os.X_OK):
        return OSError(errno.ENOSPC, "git has not kept an object; is the disk full?", file)
    text = (
        f"you may not write to a folder of {_owner(folder)}; people who share a vault need "
        "`git config core.sharedRepository group` in it, and its files writable for the group"
    )
    return PermissionError(errno.EACCES, text, str(folder))


def _owner(path: Path) -> str:
    """Return who owns a path, by name where there is one."""
    try:
        return f'"{path.owner()}"'
    except (KeyError, OSError):
        return f"user {path.stat().st_uid}"


def _commit(commit: pygit2.Commit) -> Commit:
    """Take from a libgit2 commit what the rest of the package reads."""
    encoding = commit.message_encoding or "utf-8"
    return Commit(
        id=CommitId(str(commit.id)),
        parents=tuple(CommitId(str(parent)) for parent in commit.parent_ids),
        author=_text(commit.author.raw_name, encoding),
        email=_text(commit.author.raw_email, encoding),
        at=float(commit.commit_time) if 0 <= commit.commit_time < FARTHEST else 0.0,
        message=decode_message(_text(commit.raw_message, encoding)),
    )


def _text(data: bytes, encoding: str) -> str:
    """Decode a text of a commit; the encoding that it names may not exist."""
    try:
        return data.decode(encoding)
    except (LookupError, UnicodeError):
        return data.decode("utf-8", "replace")
