"""What commits reach, found without looking twice at what did not change."""

from __future__ import annotations

from tablevault.history.git.commit_message import Message
from tablevault.history.git.reachability import Reachability, new_commits
from tablevault.history.git.refs import RefMove, move_refs
from tablevault.history.git.repository import Repository
from tablevault.history.git.trees import Put, Remove
from tablevault.names import MAIN
from tests.looking import git as stock


def grow(repository, *edits):
    """Commit edits on main."""
    old = repository.main()
    new = repository.write_commit(
        parents=[old], base=old, edits=edits, message=Message(subject="s"), author="Ana", at=1.7e9
    )
    move_refs(repository, [RefMove(ref=MAIN, old=old, new=new)], "r")


def test_what_is_reached_is_what_git_reaches_and_each_entry_is_looked_at_once(
    repository, monkeypatch
):
    tables = [f"tables/t{number}" for number in range(20)]
    grow(repository, *(Put(path=f"{table}/base/x", data=b"1") for table in tables))
    for number in range(5):
        grow(repository, Put(path=f"{tables[number]}/base/x", data=b"%d" % number))
    grow(repository, Remove(path=tables[0]), Put(path="tables/é/artifacts/x", data=b"1"))
    grow(repository, Put(path=f"{tables[0]}/base/x", data=b"1"))
    seen = []

    def note(reach, tree, path):
        found = [*new_entries(reach, tree, path)]
        seen.extend(found)
        return found

    new_entries = Reachability._new_entries
    monkeypatch.setattr(Reachability, "_new_entries", note)
    reach = Reachability(repository.git_dir)
    reach.extend([(repository.main(), MAIN)])
    listed = stock(repository.path, "rev-list", "--objects", "main").splitlines()
    assert reach.objects == {line.split(" ")[0] for line in listed}
    assert not reach.broken
    # 8 commits, each of which changes one entry in four folders, and 20 tables in the first.
    assert len(seen) < 20 * 4 + 8 * 8


class Recorder:
    """Passes everything on, and notes which commits a walk begins with."""

    def __init__(self, inner, noted):
        self._inner = inner
        self._noted = noted

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def __getitem__(self, commit):
        return self._inner[commit]

    def __iter__(self):
        return iter(self._inner)

    def walk(self, *arguments):
        return Recorder(self._inner.walk(*arguments), self._noted)

    def push(self, commit):
        self._noted.append(str(commit))
        self._inner.push(commit)

    def hide(self, commit):
        self._noted.append(str(commit))
        self._inner.hide(commit)


def test_a_walk_begins_with_the_newest_whatever_the_order_of_what_is_known(repository, monkeypatch):
    commits = [repository.main()]
    for number in range(3):
        message = Message(subject="s")
        commits.append(
            repository.write_commit(
                parents=commits[-1:],
                base=commits[-1],
                edits=[],
                message=message,
                author="Ana",
                at=1.9e9 + number,
            )
        )
    noted = []
    monkeypatch.setattr(Repository, "handle", Recorder(repository.handle, noted))
    found = [*new_commits(repository, commits[-1:], commits[:-1])]
    assert [str(commit.id) for commit in found] == commits[-1:]
    assert noted == commits[::-1]
