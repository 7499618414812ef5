"""Vaults that went apart and come together: the same tree, tags and index for everybody."""

from __future__ import annotations

import pandas as pd
import pytest

from tablevault import TableVault, clone_vault
from tablevault.history.joining import merge_bases
from tests.looking import check_clean, git

ANA, BO = "Ana Lund <ana@example.org>", "Bo Holm <bo@example.org>"


@pytest.fixture
def ana(tmp_path):
    vault = TableVault(tmp_path / "ana", ANA, create=True)
    vault.create_table("t")
    return vault


@pytest.fixture
def part(ana, tmp_path):
    """Give Bo's clone of Ana's vault; each has the other's as its remote."""

    def make():
        bo = clone_vault(path_of(ana), tmp_path / "bo", BO)
        ana.add_remote("origin", path_of(bo))
        return bo

    return make


def path_of(vault):
    return vault._vault.path


def write(vault, values, table="t", version="base"):
    """Make an instance, and give its id."""
    vault.create_instance(table, version=version, external_edit=True)
    vault.write_instance(pd.DataFrame({"n": values}), table, version)
    return vault.get_dataframe(table, version=version, active_only=False)[1]


def fetch(vault, other):
    """Bring the history of another vault, without taking it over."""
    git(path_of(vault), "fetch", "-q", str(path_of(other)), "main")


def tree(vault):
    return git(path_of(vault), "log", "-1", "--format=%T", "main")


def cross(ana, bo):
    """Let both pull what the other had, so that there are two last commits in common."""
    ours, theirs = (vault._vault.journal.repository.main() for vault in (ana, bo))
    ana.pull()
    before = ana._vault.journal.repository.main()
    # What Ana has merged comes to Bo only later: he merges her first commit himself.
    path = path_of(ana)
    git(path, "update-ref", "refs/heads/main", ours)
    bo.pull()
    git(path, "update-ref", "refs/heads/main", before)
    return ours, theirs


def finish(ana, bo):
    """Pull until there is no news, and check that both have the same."""
    ana.pull(data="all")
    bo.pull(data="all")
    ana.pull(data="all")
    assert tree(ana) == tree(bo)
    assert git(path_of(ana), "rev-parse", "main") == git(path_of(bo), "rev-parse", "main")
    tags = [git(path_of(vault), "for-each-ref", "refs/tags") for vault in (ana, bo)]
    assert tags[0] == tags[1]
    for vault in (ana, bo):
        assert [problem for problem in vault.verify() if problem.severity == "error"] == []
        check_clean(path_of(vault))


def test_an_instance_that_the_other_side_deleted_does_not_come_back(ana, part):
    first, second, third = (write(ana, [number]) for number in (1, 2, 3))
    bo = part()
    ana.delete_instance(second, "t")
    bo.delete_instance(third, "t")  # the second one steps in
    finish(ana, bo)
    for vault in (ana, bo):
        assert vault.get_table_instances("t") == [first]
        assert vault.get_dataframe("t")[0]["n"].tolist() == [1]
        path = path_of(vault)
        assert first in (path / "tables/t/base/instance.yaml").read_text("utf-8")


def test_nothing_is_left_when_both_deleted_what_there_was(ana, part):
    first, second = write(ana, [1]), write(ana, [2])
    bo = part()
    ana.delete_instance(first, "t")
    bo.delete_instance(second, "t")
    finish(ana, bo)
    assert ana.get_table_instances("t") == bo.get_table_instances("t") == []
    assert not (path_of(bo) / "tables/t/base").exists()


def test_of_a_table_with_side_effects_the_latest_instance_alone_is_active(ana, part):
    ana.create_table("mails", has_side_effects=True)
    write(ana, [0], "mails")
    bo = part()
    write(ana, [1], "mails")
    last = write(bo, [2], "mails", "other")
    finish(ana, bo)
    for vault in (ana, bo):
        index = vault._vault.journal.index
        document = vault._vault.snapshot().table("mails")
        active = [item.instance_id for item in index.instances(document.id) if item.active]
        assert active == [last]


def test_what_both_have_merged_is_settled(ana, part):
    ana.create_code_module("m", text="A = 0\n\n\n\nB = 0\n")
    bo = part()
    ana.create_code_module("m", text="A = 1\n\n\n\nB = 0\n")
    bo.create_code_module("m", text="A = 0\n\n\n\nB = 1\n")
    ana.create_table("mine")
    bo.create_table("yours")
    ours, theirs = cross(ana, bo)
    assert tree(ana) == tree(bo)
    repository = ana._vault.journal.repository
    fetch(ana, bo)
    other = bo._vault.journal.repository.main()
    assert merge_bases(repository, repository.main(), other) == sorted([ours, theirs])
    # Against the one base this line is new on both sides, against the other one the line above.
    ana.create_code_module("m", text="A = 1\n\n\n\nB = 2\n")
    bo.create_code_module("m", text="A = 2\n\n\n\nB = 1\n")
    ana.delete_table("yours")
    bo.delete_table("mine")
    finish(ana, bo)
    assert ana.get_code_module_str("m") == "A = 2\n\n\n\nB = 2\n"
    assert ana.get_table_instances() == ["t"]
