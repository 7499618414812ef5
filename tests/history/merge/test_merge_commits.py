"""Merge bases, of which there may be several."""

from __future__ import annotations

from tablevault.history.merge.merge_commits import merge_bases
from tests.clones import finish, path_of, tree
from tests.looking import git


def fetch(vault, other):
    """Bring the history of another vault, without taking it over."""
    git(path_of(vault), "fetch", "-q", str(path_of(other)), "main")


def cross(ana, bo):
    """Let both pull what the other had, so that there are two last commits in common."""
    ours, theirs = (vault._vault.parts.repository.main() for vault in (ana, bo))
    ana.pull()
    before = ana._vault.parts.repository.main()
    # What Ana has merged comes to Bo only later: he merges her first commit himself.
    path = path_of(ana)
    git(path, "update-ref", "refs/heads/main", ours)
    bo.pull()
    git(path, "update-ref", "refs/heads/main", before)
    return ours, theirs


def test_what_both_have_merged_is_settled(ana, part):
    ana.create_code_module("m", text="A = 0\n\n\n\nB = 0\n")
    bo = part()
    ana.create_code_module("m", text="A = 1\n\n\n\nB = 0\n")
    bo.create_code_module("m", text="A = 0\n\n\n\nB = 1\n")
    ana.create_table("mine")
    bo.create_table("yours")
    ours, theirs = cross(ana, bo)
    assert tree(ana) == tree(bo)
    repository = ana._vault.parts.repository
    fetch(ana, bo)
    other = bo._vault.parts.repository.main()
    assert merge_bases(repository, repository.main(), other) == sorted([ours, theirs])
    # Against the one base this line is new on both sides, against the other one the line above.
    ana.create_code_module("m", text="A = 1\n\n\n\nB = 2\n")
    bo.create_code_module("m", text="A = 2\n\n\n\nB = 1\n")
    ana.delete_table("yours")
    bo.delete_table("mine")
    finish(ana, bo)
    assert ana.get_code_module_str("m") == "A = 2\n\n\n\nB = 2\n"
    assert ana.get_table_instances() == ["t"]
