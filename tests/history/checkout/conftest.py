"""A repository with a working tree, and a way to move its main."""

from __future__ import annotations

import pytest

from tablevault.history.checkout.worktree import WorkTree
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.commit_message import Message
from tablevault.history.git.refs import RefMove, move_refs
from tablevault.history.git.trees import Put, Remove
from tablevault.lfs.store import ObjectStore
from tablevault.names import MAIN


class Bench:
    """A repository, its store and working tree, and a way to move ``main``."""

    def __init__(self, repository):
        self.repository = repository
        self.path = repository.path
        self.state = self.path / ".git/tablevault"
        self.store = ObjectStore(self.path / ".git/lfs", self.state / "tmp")
        self.worktree = WorkTree(repository, self.store, self.state)

    def commit(self, *edits):
        main = self.repository.main()
        new = self.repository.write_commit(
            parents=[main],
            base=main,
            edits=edits,
            message=Message(subject="s"),
            author="Ana",
            at=1_700_000_000.0,
        )
        move_refs(self.repository, [RefMove(ref=MAIN, old=main, new=new)], "r")
        return new

    def refresh(self):
        self.worktree.refresh(self.repository.main())

    def publish(self, **files):
        """Commit files, None for a removal, and let the working tree follow."""
        edits = [
            Remove(path=path) if data is None else Put(path=path, data=data)
            for path, data in files.items()
        ]
        self.commit(*edits)
        self.refresh()

    def put_object(self, data):
        with self.store.draft("p") as draft:
            draft.write(data)
        with self.store.locked():
            self.store.keep([draft])
        self.store.discard("p")
        return draft.pointer

    def read(self, path):
        return (self.path / path).read_bytes()

    def write(self, path, data):
        (self.path / path).parent.mkdir(parents=True, exist_ok=True)
        (self.path / path).write_bytes(data)

    def code_edits(self):
        return self.worktree.code_edits(Snapshot(self.repository, self.repository.main()))


@pytest.fixture
def bench(new_repository):
    bench = Bench(new_repository())
    bench.refresh()
    return bench


@pytest.fixture
def status(git, bench):
    return lambda: git(bench.path, "status", "--porcelain")
