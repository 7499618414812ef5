"""Refs, branches and commits as git keeps them, and who wrote a commit."""

from __future__ import annotations

import os

import pygit2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tablevault.errors import TVFileError
from tablevault.history.git import repository as repository_module
from tablevault.history.git.commit_message import Message
from tablevault.history.git.refs import (
    RefMove,
    move_refs,
)
from tablevault.history.git.repository import Repository, _packed
from tablevault.history.git.trees import Put, write_tree
from tablevault.names import MAIN, TempRef
from tests.history.git.writing import commit

TEMP = TempRef(table="t", version="base").ref
TAG = "refs/tags/t/base_1"


@pytest.fixture(scope="session")
def shared(new_repository):
    return new_repository()


def test_a_tip_is_found_however_git_keeps_the_ref(repository, git):
    main = repository.main()
    new = commit(repository)
    git(repository.path, "update-ref", TEMP, new)
    git(repository.path, "symbolic-ref", "refs/heads/alias", TEMP)
    assert [repository.tip(ref) for ref in (MAIN, TEMP, "refs/heads/alias")] == [main, new, new]
    git(repository.path, "pack-refs", "--all")
    assert [repository.tip(ref) for ref in (MAIN, TEMP, "refs/heads/alias")] == [main, new, new]
    git(repository.path, "update-ref", MAIN, new)
    assert repository.main() == new
    assert repository.tip("refs/heads/temp") is None
    assert repository.tip("refs/heads/none") is None


def test_a_vault_without_main_is_an_error_with_a_remedy(repository, git):
    git(repository.path, "checkout", "-q", "-b", "other")
    git(repository.path, "branch", "-q", "-D", "main")
    with pytest.raises(TVFileError, match="git branch main"):
        repository.main()


def test_a_folder_without_a_repository_is_an_error(tmp_path):
    with pytest.raises(TVFileError, match="cannot be opened"):
        Repository(tmp_path).main()


@pytest.mark.parametrize("pack", [False, True])
def test_temporary_branches_are_found_loose_and_packed(repository, git, pack):
    main = repository.main()
    refs = [TempRef(table="t", version=version).ref for version in ("base", "x.lock", "a b", "é")]
    move_refs(repository, [RefMove(ref=ref, old=None, new=main) for ref in refs], "r")
    git(repository.path, "branch", "other")
    git(repository.path, "branch", "temporary")
    git(repository.path, "tag", "temp/t/base")
    if pack:
        git(repository.path, "pack-refs", "--all")
        new = commit(repository)
        move_refs(repository, [RefMove(ref=refs[0], old=main, new=new)], "r")
        move_refs(repository, [RefMove(ref=refs[1], old=main, new=None)], "r")
        assert repository.temp_refs() == {refs[0]: new, refs[2]: main, refs[3]: main}
    else:
        assert repository.temp_refs() == dict.fromkeys(refs, main)


@pytest.mark.parametrize("is_sorted", [False, True])
def test_packed_tags_are_not_read_for_temporary_branches(repository, is_sorted):
    main = repository.main()
    header = "# pack-refs with: peeled sorted \n" if is_sorted else "# pack-refs with: peeled \n"
    lines = f"{main} refs/tags/a\n{main} {TEMP}\n"
    (repository.git_dir / "packed-refs").write_text(header + lines)
    # In no sorted file a branch follows a tag: it would be found by who reads on.
    assert [*_packed(repository.git_dir / "packed-refs", "refs/heads/temp/")] == (
        [] if is_sorted else [TEMP]
    )


def test_a_lock_is_no_temporary_branch(repository):
    main = repository.main()
    move_refs(repository, [RefMove(ref=TEMP, old=None, new=main)], "r")
    (repository.git_dir / f"{TEMP}.lock").touch()
    assert repository.temp_refs() == {TEMP: main}


def test_the_working_tree_belongs_to_main_unless_head_is_elsewhere(repository, git):
    assert repository.head_is_main()
    git(repository.path, "checkout", "-q", "--detach")
    assert not repository.head_is_main()
    git(repository.path, "checkout", "-q", "-b", "main2")
    assert not repository.head_is_main()
    git(repository.path, "checkout", "-q", "main")
    assert repository.head_is_main()


def test_refs_are_seen_after_git_moved_them(repository, git):
    new = commit(repository)
    git(repository.path, "update-ref", MAIN, new)
    assert repository.main() == new
    git(repository.path, "pack-refs", "--all")
    assert repository.main() == new
    git(repository.path, "gc", "-q", "--prune=now")
    assert repository.commit(new).message.first("Vault-Process") == "p"


@pytest.mark.parametrize(
    ("author", "name", "email"),
    [
        ("Ana Lund <ana@example.org>", "Ana Lund", "ana@example.org"),
        ("ana", "ana", "ana@localhost"),
        ("Ana Lund", "Ana Lund", "ana-lund@localhost"),
        ("", "unknown", "unknown@localhost"),
        (" ", "unknown", "unknown@localhost"),
        ("<ana@example.org>", "ana@example.org", "ana@example.org"),
        ("Ana <>", "Ana", "ana@localhost"),
        ("...", "unknown", "unknown@localhost"),
        ("\\", "unknown", "unknown@localhost"),
        ("A <.>", "A", "a@localhost"),
        ("A\nB <a\nb@c>", "A B", "ab@c"),
        ("A\0B", "A B", "a-b@localhost"),
        ("Ána", "Ána", "-na@localhost"),
    ],
)
def test_any_author_becomes_a_name_and_an_address(shared, git, author, name, email):
    new = commit(shared, author=author)
    assert git(shared.path, "log", "-1", "--format=%an|%ae|%cn|%ce", new) == (
        f"{name}|{email}|{name}|{email}\n"
    )
    assert shared.commit(new).author == name


@given(st.text(max_size=30))
def test_no_author_makes_a_commit_that_git_finds_faulty(shared, git, author):
    new = commit(shared, author=author)
    assert not git(shared.path, "fsck", "--strict", "--no-dangling", "--no-progress", new)
    assert git(shared.path, "rev-parse", f"{new}^") == f"{shared.main()}\n"


def test_a_commit_is_read_as_it_was_written(shared):
    parent = shared.main()
    new = commit(shared, parent, at=1_700_000_123.9)
    found = shared.commit(new)
    assert (found.id, found.parents, found.author) == (new, (parent,), "Ana")
    assert found.at == 1_700_000_123.0
    assert found.message == Message(subject="s", trailers=(("Vault-Process", "p"),))


def test_ancestry_is_told(shared):
    old = shared.main()
    new = commit(shared, old)
    assert shared.is_ancestor(old, old)
    assert shared.is_ancestor(old, new)
    assert not shared.is_ancestor(new, old)
    assert shared.has(new)
    assert not shared.has("ab" * 20)


def test_a_child_of_a_fork_uses_a_handle_of_its_own(shared):
    tip = shared.main()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            commit(shared, tip, data=b"child")
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert shared.main() == tip


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


def pack_sizes(repository):
    """Return the sizes of the packs, smallest first."""
    return sorted(each.stat().st_size for each in repository.git_dir.glob("objects/pack/*.pack"))


@settings(max_examples=15)
@given(folders)
def test_many_files_make_the_tree_that_few_make(new_repository, files):
    repository = new_repository()
    puts = [Put(path=path, data=data, executable=run) for path, (data, run) in files.items()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repository_module, "_MANY_FILES", 1)
        tree = repository.write_folder(puts, known=set())
    fresh = pygit2.Repository(str(repository.git_dir))
    for path, (data, _) in files.items():
        assert fresh[tree][path].data == data
    assert write_tree(repository.handle, None, puts)[-1] == tree


def test_many_files_become_one_pack_in_which_git_finds_nothing_wrong(repository, git):
    files = [Put(path=f"d{n % 7}/f{n}", data=b"%d" % n * n) for n in range(3000)]
    tree = repository.write_folder(files, known=set())
    (index,) = (repository.git_dir / "objects/pack").glob("*.idx")
    said = git(repository.path, "verify-pack", "--verbose", index)
    assert said.endswith(".pack: ok\n")
    assert len(git(repository.path, "ls-tree", "-r", tree).splitlines()) == 3000
    assert not git(repository.path, "fsck", "--strict", "--no-dangling", "--no-progress")
    assert {path.suffix for path in index.parent.iterdir()} == {".idx", ".pack"}


def test_a_few_files_stay_loose(repository):
    repository.write_folder([Put(path="f", data=b"x")], known=set())
    assert pack_sizes(repository) == []


def test_blobs_that_are_known_are_not_written_again(repository):
    files = [Put(path=f"f{n}", data=b"%d" % n * 20) for n in range(500)]
    tree = repository.write_folder(files, known=set())
    known = {str(entry.id) for entry in repository.handle[tree]}
    before = pack_sizes(repository)
    assert repository.write_folder(files, known=known) == tree
    assert pack_sizes(repository) == before
    repository.write_folder([*files, Put(path="one more", data=b"x")], known=known)
    assert pack_sizes(repository)[0] < 100


def test_many_files_need_the_program(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    files = [Put(path=f"f{n}", data=b"%d" % n) for n in range(500)]
    with pytest.raises(TVFileError, match="git cannot be run"):
        repository.write_folder(files, known=set())
