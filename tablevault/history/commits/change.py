"""What an operation changes, as a value: edits of trees, refs, a message."""

from __future__ import annotations

from dataclasses import dataclass

from tablevault.history.git.commit_message import Message
from tablevault.history.git.trees import Edit
from tablevault.lfs.pointer import Pointer
from tablevault.names import CommitId, TempRef


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchChange:
    """A commit on the branch of a temporary instance, and what becomes of the branch."""

    temp: TempRef
    tip: CommitId | None
    """Where the branch stands now; None when there is none."""
    onto: CommitId | None = None
    """Commit to build on when it is not `tip`: the branch with what was edited by hand."""
    edits: tuple[Edit, ...]
    message: Message
    fresh: bool = False
    """Start from the tip of ``main``, keeping an old tip as second parent so that whatever was
    drafted before stays in history."""
    renamed_from: TempRef | None = None
    """The branch carries another name so far, which is removed."""
    merged: bool = False
    """The commit is a parent of the commit on ``main``, and the branch is removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedBranch:
    """The branch of a temporary instance that is to be removed; what it held stays in history."""

    temp: TempRef
    tip: CommitId
    onto: CommitId
    """`tip`, or a commit on top of it with what was edited by hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One operation, ready to be published on the newest tip of ``main``."""

    message: Message
    main: tuple[Edit, ...] | None = None
    """Edits of the tree of ``main``; None when only branches change."""
    branches: tuple[BranchChange, ...] = ()
    removed: tuple[RemovedBranch, ...] = ()
    """Branches to remove; their tips become parents of the commit on ``main``."""
    merges: tuple[CommitId, ...] = ()
    """Further parents of the commit on ``main``: history that came from elsewhere."""
    forward: CommitId | None = None
    """Move ``main`` to this commit, a descendant of it, and write none; `main` is None then."""
    tag: str = ""
    """Full name of a tag for the new commit on ``main``."""
    tagged: tuple[tuple[str, CommitId], ...] = ()
    """Full names of further tags, and the commits that they are for."""
    retagged: tuple[tuple[str, str], ...] = ()
    """Pairs of full tag names, old and new."""
    untagged: tuple[str, ...] = ()
    needs: tuple[Pointer, ...] = ()
    """Objects that have to be in the store when the change is published."""
