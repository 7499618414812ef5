"""Edits into git trees, against a plain model of a tree."""

from __future__ import annotations

import errno
import os

import pygit2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault.errors import TVImplementationError
from tablevault.history.git.trees import Graft, Put, Remove, write_object, write_tree

NAMES = ["a", "b", "c.py", "é"]
paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
contents = st.binary(max_size=3)
puts = st.builds(Put, path=paths, data=contents, executable=st.booleans())
removes = st.builds(Remove, path=paths)
# What a graft brings: files by path relative to the place, "" for a file at the place itself.
grafts = st.tuples(
    paths, st.sampled_from([{"": b"file"}, {"x": b"1"}, {"a": b"2", "b/c.py": b"3"}])
)
edits = st.lists(st.one_of(puts, removes, grafts), max_size=12)


@pytest.fixture(scope="session")
def repository(new_repository):
    return new_repository()


def under(path, other):
    """Return whether `other` is `path` or lies below it."""
    return other == path or other.startswith(f"{path}/")


def apply(files, edit):
    """Do one edit to a dict of path to (content, executable), as a file system would."""
    if isinstance(edit, Remove):
        return {path: file for path, file in files.items() if not under(edit.path, path)}
    place = edit.path if isinstance(edit, Put) else edit[0]
    new = (
        {place: (edit.data, edit.executable)}
        if isinstance(edit, Put)
        else {f"{place}/{name}" if name else place: (data, False) for name, data in edit[1].items()}
    )
    kept = {
        path: file
        for path, file in files.items()
        if not under(place, path) and not under(path, place)
    }
    return kept | new


def written(repository, base, wanted):
    """Write `wanted` onto the tree `base`, and give the id of the new tree."""
    handle = repository.handle
    real = []
    for edit in wanted:
        if not isinstance(edit, tuple):
            real.append(edit)
        elif "" in edit[1]:
            blob = str(handle.create_blob(edit[1][""]))
            real.append(Graft(path=edit[0], source=blob, is_tree=False))
        else:
            inner = [Put(path=name, data=data) for name, data in edit[1].items()]
            real.append(Graft(path=edit[0], source=write_tree(handle, None, inner)[-1]))
    return write_tree(handle, None if base is None else handle[base], real)[-1]


def files_of(repository, tree, prefix=""):
    """Read a tree into a dict of path to (content, executable)."""
    found = {}
    for entry in repository.handle[tree]:
        path = f"{prefix}{entry.name}"
        if entry.type_str == "tree":
            found |= files_of(repository, str(entry.id), f"{path}/")
        else:
            found[path] = (repository.handle[entry.id].data, entry.filemode == 0o100755)
    return found


@given(edits)
def test_edits_do_what_a_file_system_would(repository, wanted):
    model = {}
    for edit in wanted:
        model = apply(model, edit)
    assert files_of(repository, written(repository, None, wanted)) == model


@given(edits, edits)
def test_edits_on_a_base_are_as_if_all_were_made_at_once(repository, before, after):
    base = written(repository, None, before)
    model = files_of(repository, base)
    # A folder put in the place of a file, and taken back within the same edits, leaves the file.
    after = [edit for edit in after if not through_a_file(edit, model)]
    for edit in after:
        model = apply(model, edit)
    assert files_of(repository, written(repository, base, after)) == model


def through_a_file(edit, files):
    place = edit[0] if isinstance(edit, tuple) else edit.path
    return not isinstance(edit, Remove) and any(
        place != path and under(path, place) for path in files
    )


@given(edits)
def test_equal_content_gives_the_equal_tree(repository, wanted):
    tree = written(repository, None, wanted)
    again = [
        Put(path=path, data=data, executable=executable)
        for path, (data, executable) in sorted(files_of(repository, tree).items(), reverse=True)
    ]
    assert written(repository, None, again) == tree


@given(edits)
def test_git_finds_no_fault_in_the_trees(git, repository, wanted):
    tree = written(repository, None, wanted)
    commit = git(repository.path, "commit-tree", tree, "-m", "x").strip()
    assert not git(repository.path, "fsck", "--strict", "--no-dangling", "--no-progress", commit)
    listed = git(repository.path, "ls-tree", "-r", "-z", "--name-only", tree).split("\0")[:-1]
    assert listed == sorted(files_of(repository, tree), key=lambda name: name.encode())


def test_removing_what_is_not_there_changes_nothing(repository):
    base = written(repository, None, [Put(path="a/b", data=b"1")])
    gone = [Remove(path=path) for path in ("x", "x/y", "a/x", "a/b/c", "a/b/c/d")]
    assert written(repository, base, gone) == base


def test_a_file_may_become_a_folder_and_a_folder_a_file(repository):
    base = written(repository, None, [Put(path="a", data=b"1"), Put(path="b/c", data=b"2")])
    tree = written(repository, base, [Put(path="a/x", data=b"3"), Put(path="b", data=b"4")])
    assert files_of(repository, tree) == {"a/x": (b"3", False), "b": (b"4", False)}


def test_a_folder_without_files_disappears(repository):
    base = written(repository, None, [Put(path="a/b/c", data=b"1"), Put(path="d", data=b"2")])
    tree = written(repository, base, [Remove(path="a/b/c")])
    assert files_of(repository, tree) == {"d": (b"2", False)}


def test_the_empty_tree_is_the_one_that_git_knows(repository):
    made = write_tree(repository.handle, None, [])
    assert made == ["4b825dc642cb6eb9a060e54bf8d69288fbee4904"]


def test_all_that_was_written_is_told_the_tree_last(repository):
    made = write_tree(repository.handle, None, [Put(path="a/b", data=b"1"), Remove(path="x")])
    kinds = [repository.handle[oid].type_str for oid in made]
    assert sorted(kinds[:-1]) == ["blob", "tree"]
    assert files_of(repository, made[-1]) == {"a/b": (b"1", False)}


@pytest.mark.parametrize(
    "path", ["", "/a", "a/", "a//b", ".", "..", "a/../b", ".git", "a/.GIT/config", "./a"]
)
def test_a_path_that_must_not_enter_a_tree_is_refused(repository, path):
    with pytest.raises(TVImplementationError, match="cannot enter a tree"):
        write_tree(repository.handle, None, [Put(path=path, data=b"")])


def test_an_object_is_written_again_when_its_folder_has_gone():
    said = f"failed to rename lockfile to 'b0/1e': {os.strerror(errno.ENOENT)}"
    ends = iter([OSError(said), OSError(said), pygit2.Oid(hex="b0" * 20)])

    def write():
        end = next(ends)
        if isinstance(end, OSError):
            raise end
        return end

    assert str(write_object(write)) == "b0" * 20


def test_an_object_for_which_there_is_no_space_is_an_error_at_once():
    tries = []

    def write():
        tries.append(1)
        raise OSError(f"failed to write: {os.strerror(errno.ENOSPC)}")

    with pytest.raises(OSError, match="No space"):
        write_object(write)
    assert tries == [1]
