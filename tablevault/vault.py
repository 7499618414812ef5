"""An opened vault: opens repository, object store and records when each is first used."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tablevault.argument_types import LOCK_TIMEOUT_S
from tablevault.errors import TVArgumentError
from tablevault.names import VAULT_DOCUMENT
from tablevault.progress import Progress
from tablevault.wording import BLANK, Call, Wording

if TYPE_CHECKING:
    from tablevault.engine.calls.store import CallStore
    from tablevault.history.catalog.catalog import Index
    from tablevault.history.checkout.temp_folders import TempFolders
    from tablevault.history.checkout.worktree import WorkTree
    from tablevault.history.commits.snapshot import Snapshot
    from tablevault.history.git.repository import Repository
    from tablevault.lfs.pointer import Pointer
    from tablevault.lfs.store import ObjectStore
    from tablevault.model.instance import TempInstance
    from tablevault.model.view import VaultView
    from tablevault.names import TempRef
    from tablevault.transactions.begin import Actor
    from tablevault.transactions.parts import VaultParts
    from tablevault.transactions.records import RecordStore

    Bring = Callable[[Path, ObjectStore, Pointer, Progress], None]


@dataclass(kw_only=True)
class Vault:
    """One opened vault; nothing is read before it is needed."""

    path: Path
    author: str
    parent: str = ""
    lock_timeout_s: float = LOCK_TIMEOUT_S
    verbose: bool = False
    """Whether operations are logged to stderr."""
    progress: Callable[[], Progress] = Progress
    """Makes what listens to one long operation."""
    bring: Bring | None = None
    """Fetches a missing object; the caller that opens the vault provides it."""

    def __getstate__(self) -> dict[str, object]:
        """Return how the vault was opened: a copy, also in another process, opens it for itself."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def __setstate__(self, state: dict[str, object]) -> None:
        """Open it; nothing is made, restarted or recovered again."""
        vars(self).update(state)
        if self.verbose:
            log_to_stderr()

    @cached_property
    def state(self) -> Path:
        """Folder for what this machine keeps for itself; never pushed."""
        return self.path / ".git" / "tablevault"

    @cached_property
    def parts(self) -> VaultParts:
        """Processes, and through them everything that changes."""
        from tablevault.engine.calls.database import named_objects
        from tablevault.history.catalog.catalog import Index
        from tablevault.history.checkout.temp_folders import TempFolders
        from tablevault.history.checkout.worktree import WorkTree
        from tablevault.history.git.git_config import share
        from tablevault.history.git.repository import Repository
        from tablevault.lfs.store import ObjectStore
        from tablevault.transactions.parts import VaultParts
        from tablevault.transactions.records import RecordStore

        repository = Repository(self.path)
        settings = repository.storage()
        share(settings.shared)
        store = ObjectStore(settings.lfs, self.state / "tmp", self._fetch)
        return VaultParts(
            state=self.state,
            repository=repository,
            store=store,
            worktree=WorkTree(repository, store, self.state),
            temp_folders=TempFolders(repository, self.state, store),
            index=Index(repository, self.state / "index.sqlite"),
            files=RecordStore(self.state),
            lock_timeout_s=self.lock_timeout_s,
            needed_by_calls=lambda: named_objects(self.calls_path),
        )

    @property
    def calls_path(self) -> Path:
        """File with the records of calls."""
        return self.state / "calls.sqlite"

    @cached_property
    def calls(self) -> CallStore:
        """Records of calls that executions on this machine have made."""
        from tablevault.engine.calls.store import CallStore

        return CallStore(self.calls_path)

    def _fetch(self, pointer: Pointer) -> None:
        """Bring an object that is read and is not here."""
        if self.bring is not None:
            self.bring(self.path, self.store, pointer, self.progress())

    @property
    def repository(self) -> Repository:
        """The git repository."""
        return self.parts.repository

    @property
    def index(self) -> Index:
        """What history says of tables, instances and processes, at its newest commit."""
        return self.parts.index

    @property
    def records(self) -> RecordStore:
        """Records of processes that have not ended."""
        return self.parts.files

    @property
    def temp_folders(self) -> TempFolders:
        """Editable folders of temporary instances."""
        return self.parts.temp_folders

    @property
    def worktree(self) -> WorkTree:
        """The working tree."""
        return self.parts.worktree

    @property
    def store(self) -> ObjectStore:
        """The object store."""
        return self.parts.store

    def view(self, *, with_temps: bool = False) -> VaultView:
        """Return the vault at one commit: the tip of ``main`` at some moment of this call.

        Whatever was committed before is in it, and nothing that is committed later.

        Parameters
        ----------
        with_temps : bool, default False
            Whether its catalog has the operations on temporary instances, too.
        """
        from tablevault.model.view import VaultView

        return VaultView.pinned(self.parts, with_temps=with_temps)

    def live_view(self, snapshot: Snapshot | None = None) -> VaultView:
        """Return a view of a commit, by default the newest, whose catalog follows ``main``.

        It is for operations, which hold what they need, and for executions, which take hours.
        """
        from tablevault.model.view import VaultView

        return VaultView(self.parts, snapshot or self.snapshot(), self.parts.index)

    def temp(self, ref: TempRef) -> TempInstance | None:
        """Find a temporary instance: the branch as it is now."""
        from tablevault.model.instance import TempInstance

        return TempInstance.find(self.parts, ref)

    def snapshot(self) -> Snapshot:
        """Return the files of ``main`` as it is now."""
        from tablevault.history.commits.snapshot import Snapshot

        return Snapshot(self.repository, self.repository.main())

    def actor(self, process_id: str) -> Actor:
        """Return who asks."""
        from tablevault.transactions.begin import Actor

        return Actor(
            author=self.author,
            process_id=process_id,
            parent=self.parent,
            lock_timeout_s=self.lock_timeout_s,
        )


class _Stderr(logging.Handler):
    """Writes to the standard error as it is when there is something to write."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        sys.stderr.write(f"{self.format(record)}\n")


def log_to_stderr() -> None:
    """Show what the package logs; the root logger belongs to the application."""
    logger = logging.getLogger("tablevault")
    logger.setLevel(logging.INFO)
    if not logger.handlers:
        handler = _Stderr()
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
        logger.addHandler(handler)


def absolute(path: str | os.PathLike[str]) -> Path:
    """Make a path absolute without following symbolic links, so that ``chdir`` changes nothing.

    Raises
    ------
    TVArgumentError
        It is blank, as a variable that is not set; or relative, and the current folder was deleted.
    """
    if path == "":
        raise TVArgumentError('"" is no path.', 'The current folder is ".".', path="")
    try:
        return Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps ".."
    except FileNotFoundError as error:
        raise TVArgumentError(
            f'"{os.fspath(path)}" is relative to the current folder, which was deleted.',
            "Change into a folder that is there, or give an absolute path.",
            path=os.fspath(path),
        ) from error


def is_vault(path: Path) -> bool:
    """Return whether `path` looks like a vault: a git repository that says so on ``main``.

    The working tree may show another branch, so a missing ``vault.yaml`` is looked up in git.
    """
    if not (path / ".git").is_dir():
        return False
    if (path / VAULT_DOCUMENT).is_file():
        return True
    from tablevault.errors import TVFileError
    from tablevault.history.commits.snapshot import Snapshot
    from tablevault.history.git.repository import Repository

    try:
        repository = Repository(path)
        return Snapshot(repository, repository.main()).blob_id(VAULT_DOCUMENT) is not None
    except TVFileError:
        return False


def refuse_unless_vault(path: Path) -> None:
    """Raise TVArgumentError, with the reason, when `path` is no vault."""
    if not path.exists():
        raise TVArgumentError(
            f'There is no vault at "{path}": the folder does not exist.',
            Wording("Make one: ", Call("TableVault", db_dir=str(path), create=True), "."),
            path=str(path),
        )
    refuse_git_elsewhere(path)
    if not is_vault(path):
        _refuse_unborn(path)
        what = "folder" if path.is_dir() else "file"
        raise TVArgumentError(
            f'The {what} "{path}" is no vault.',
            Wording(
                "Open the folder that holds vault.yaml, or make a vault in a new folder: ",
                Call("TableVault", db_dir=BLANK, create=True),
                ".",
            ),
            path=str(path),
        )


def refuse_git_elsewhere(path: Path) -> None:
    """Raise TVArgumentError when the git directory of a vault is elsewhere: ``.git`` is a file.

    An operation then could not tell what belongs to the vault alone, and what to the repository
    that the file names.
    """
    file = path / ".git"
    if not file.is_file() or not (path / VAULT_DOCUMENT).is_file():
        return
    named = os.fsdecode(file.read_bytes()).removeprefix("gitdir:").strip()
    git_dir = Path(os.path.normpath(path / named))
    here, there = shlex.quote(str(path)), shlex.quote(str(git_dir))
    if (git_dir / "commondir").is_file():
        common = Path(os.path.normpath(git_dir / (git_dir / "commondir").read_text().strip()))
        what = f'is a worktree of the git repository "{common}"'
        hint = f'Open the vault where its main worktree is: "{common.parent}".'
    elif "modules" in git_dir.parts[:-1]:
        what = f'is a submodule, whose git directory is "{git_dir}"'
        hint = (
            "Clone what it comes from into a folder of its own: "
            f'tablevault clone "$(git -C {here} remote get-url origin)" DIR'
        )
    elif git_dir.is_dir():
        what = f'has its git directory elsewhere, in "{git_dir}"'
        hint = f"A vault keeps it in .git. Move it there: rm {here}/.git && mv {there} {here}/.git"
    else:
        what = f'has a file .git that names "{git_dir}", where no git directory is'
        hint = "Was the repository moved or deleted? Open the vault in another clone."
    raise TVArgumentError(f'The vault "{path}" {what}.', hint, path=str(path))


def _refuse_unborn(path: Path) -> None:
    """Raise TVArgumentError for a clone that has checked out another branch than main."""
    from tablevault.errors import TVFileError
    from tablevault.history.git.repository import Repository

    if not (path / ".git").is_dir():
        return
    try:
        found = Repository(path).tip("refs/remotes/origin/main")
    except TVFileError:
        return
    if found is not None:
        raise TVArgumentError(
            f'In the clone "{path}" branch "main" is not checked out.',
            f"Check it out, and open it then: git -C {shlex.quote(str(path))} checkout main",
            path=str(path),
        )
