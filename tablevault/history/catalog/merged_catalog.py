"""The catalog of two histories together, for instances that one of them has deleted."""

from __future__ import annotations

import sqlite3

import pygit2

from tablevault.history.catalog.catalog import IndexedInstance
from tablevault.history.catalog.fold import fold_commits
from tablevault.history.catalog.rebuild import FreshIndex
from tablevault.history.git.repository import Repository
from tablevault.names import CommitId, TableId

_ENDS = ("Vault-Deletes", "Vault-Withdraws")


class Union:
    """The facts of two histories, as the index will have them once they are one."""

    def __init__(self, repository: Repository, tips: tuple[CommitId, CommitId]) -> None:
        self._index = _Both(repository, tips)

    def knows(self, instance_id: str) -> bool:
        """Return whether an operation has made an instance, deleted or not."""
        return self._index.instance(instance_id) is not None

    def is_gone(self, table_id: TableId) -> bool:
        """Return whether a table was deleted."""
        return self._index.table_deletion(table_id) is not None

    def latest(self, table_id: TableId, version: str) -> IndexedInstance | None:
        """Find the latest instance of a version that stands."""
        return self._index.latest(table_id, version, active=False, successful=False)


class _Both(FreshIndex):
    """An index that has folded two tips, in memory, instead of ``main``."""

    def __init__(self, repository: Repository, tips: tuple[CommitId, CommitId]) -> None:
        super().__init__(repository)
        self._tips = tips

    def _caught_up(self, *, with_temps: bool) -> sqlite3.Connection:  # noqa: ARG002 - as inherited
        """Fold what is not folded yet."""
        with self._file.write() as connection:
            fold_commits(connection, self._repository, self._tips)
        return connection


def find_union(repository: Repository, ours: CommitId, theirs: CommitId) -> Union | None:
    """Fold two histories; None, and little work, when neither has ended anything by itself."""
    sides = ((ours, theirs), (theirs, ours))
    if any(_has_ends(repository, new, old) for new, old in sides):
        return Union(repository, (ours, theirs))
    return None


def _has_ends(repository: Repository, new: CommitId, old: CommitId) -> bool:
    """Return whether a commit that `new` has and `old` has not ended an instance or a table."""
    walker = repository.handle.walk(pygit2.Oid(hex=new))
    walker.hide(pygit2.Oid(hex=old))
    return any(
        key.encode() in commit.raw_message
        and repository.commit(CommitId(str(commit.id))).message.first(key)
        for commit in walker
        for key in _ENDS
    )
