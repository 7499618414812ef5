"""Many files into one tree: what git itself would make of them."""

from __future__ import annotations

import pygit2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault.history.bulk import Bulk
from tablevault.history.repository import Repository
from tablevault.history.tree import Put, write_tree


@pytest.fixture
def repository(new_repository):
    return new_repository()


parts = st.text(st.sampled_from("ab.-0é\n"), min_size=1, max_size=3).filter(
    lambda part: part not in (".", "..")
)
paths = st.lists(parts, min_size=1, max_size=3).map("/".join)


def without_clashes(found):
    """Leave out files whose path is the folder of another one."""
    folders = {path[:at] for path in found for at, sign in enumerate(path) if sign == "/"}
    return {path: value for path, value in found.items() if path not in folders}


folders = st.dictionaries(
    paths, st.tuples(st.binary(max_size=300), st.booleans()), min_size=1, max_size=40
).map(without_clashes)


def puts(files):
    return [Put(path=path, data=data, executable=run) for path, (data, run) in files.items()]


@given(folders)
def test_the_tree_is_the_one_that_libgit2_writes(new_repository, git, files):
    repository = new_repository()
    handle = repository.handle
    bulk = Bulk(puts(files))
    bulk.write(repository.git_dir / "objects", known=set())
    # A handle that has never seen a loose object of this tree.
    fresh = pygit2.Repository(str(repository.git_dir))
    for path, (data, _) in files.items():
        assert fresh[bulk.tree][path].data == data
    assert write_tree(handle, None, puts(files))[-1] == bulk.tree


def test_git_finds_nothing_wrong_with_pack_and_index(repository, git):
    files = [Put(path=f"d{n % 7}/f{n}", data=b"%d" % n * n) for n in range(3000)]
    tree = repository.write_folder(files, known=set())
    (index,) = (repository.git_dir / "objects/pack").glob("*.idx")
    said = git(repository.path, "verify-pack", "--verbose", index)
    assert said.endswith(".pack: ok\n")
    assert len(git(repository.path, "ls-tree", "-r", tree).splitlines()) == 3000
    assert not git(repository.path, "fsck", "--strict", "--no-dangling", "--no-progress")
    assert not list(index.parent.glob("tmp_*"))


def test_a_few_files_stay_loose(repository):
    repository.write_folder([Put(path="f", data=b"x")], known=set())
    assert not list((repository.git_dir / "objects/pack").glob("*"))


def test_what_is_known_is_not_written_again(repository):
    def pack_sizes():
        folder = repository.git_dir / "objects/pack"
        return sorted(pack.stat().st_size for pack in folder.glob("*.pack"))

    files = [Put(path=f"f{n}", data=b"%d" % n * 20) for n in range(500)]
    tree = repository.write_folder(files, known=set())
    before = pack_sizes()
    assert repository.write_folder(files, known=set()) == tree
    assert pack_sizes() == before
    handle = Repository(repository.path).handle
    known = {str(entry.id) for entry in handle[tree]}
    repository.write_folder([*files, Put(path="one more", data=b"x")], known=known)
    # The tree and one blob: what takes most of a pack are the ids in a tree.
    assert pack_sizes()[0] < before[0] * 0.7
    assert len(pack_sizes()) == 2
