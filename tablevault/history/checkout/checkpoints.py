"""Finds the commit that created a temporary instance, and old folders named by that commit."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from tablevault.history.commits.change import BY_HAND
from tablevault.history.git.repository import Commit, Repository
from tablevault.names import CommitId, temp_of_ref

_CREATES = "create_instance"
_ON_BRANCHES = frozenset({"", BY_HAND, "create_builder_file", "delete_builder_file"})
"""Operations whose commits may stand between the creation of a temporary instance and its tip;
commits without one are the user's own, and those of a renamed table."""


class Checkpoints:
    """Folders ``checkpoints/<commit>/`` below `state`, named by the commit that made the instance.

    So an instance that is made anew never meets what another one left, and one whose table gets
    another name keeps what is its own.
    """

    def __init__(self, repository: Repository, state: Path) -> None:
        self._repository = repository
        self._root = state / "checkpoints"

    def folder(self, tip: CommitId) -> Path:
        """Return the folder of the temporary instance at `tip`, which may be missing."""
        return self._root / self.made_by(tip)

    def strays(self) -> list[Path]:
        """List the folders of instances that are gone."""
        names = {entry.name for entry in self._entries()}
        if not names:
            return []
        tips = self._repository.temp_refs()
        names -= {self.made_by(tip) for ref, tip in tips.items() if temp_of_ref(ref) is not None}
        return [self._root / name for name in sorted(names)]

    def sweep(self) -> list[Path]:
        """Remove the folders of instances that are gone; take the commit lock before.

        Under it no branch appears, so what belongs to none is needed by nobody.
        """
        removed = self.strays()
        for folder in removed:
            shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._root.rmdir()
        return removed

    def _entries(self) -> Iterator[Path]:
        """List what is there."""
        with contextlib.suppress(FileNotFoundError):
            yield from self._root.iterdir()

    def made_by(self, tip: CommitId) -> CommitId:
        """Return the commit that made the temporary instance whose branch is at `tip`.

        A branch that no operation made, but plain git, counts from where it leaves ``main``.
        """
        first = tip
        for commit in self._line(tip):
            operation = commit.message.first("Vault-Operation")
            if operation == _CREATES:
                return commit.id
            if operation not in _ON_BRANCHES:
                break
            first = commit.id
        return first

    def _line(self, tip: CommitId) -> Iterator[Commit]:
        """Walk first parents."""
        at: CommitId | None = tip
        while at is not None:
            commit = self._repository.commit(at)
            yield commit
            at = commit.parents[0] if commit.parents else None
