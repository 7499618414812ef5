"""What becomes of refs there: others may be faster, and connections are lost at the last step."""

from __future__ import annotations

import pandas as pd
import pytest

from tablevault import TableVault, clone_vault
from tablevault.errors import TVArgumentError, TVOutcomeUnknownError, TVRemoteError
from tablevault.history.git.repository import Repository
from tablevault.remotes.git_refs import list_branches
from tests.clones import ANA, BO
from tests.looking import check_clean
from tests.looking import git as stock

DRAFT = "refs/heads/temp/t/draft"


@pytest.fixture
def bare(tmp_path, git):
    """Return an empty bare repository as git makes them where nobody has configured anything."""
    path = tmp_path / "hub.git"
    path.mkdir()
    git(path, "init", "-q", "--bare", "-b", "master")
    return path


@pytest.fixture
def ana(tmp_path, bare):
    vault = TableVault(tmp_path / "ana", ANA, create=True)
    vault.create_table("t")
    vault.add_remote("origin", bare)
    return vault


@pytest.fixture
def bo(ana, bare, tmp_path):
    ana.push()
    return clone_vault(bare, tmp_path / "bo", BO)


def write(vault, values, version="base"):
    if f"TEMP_{version}" not in vault.get_table_instances("t", version, include_temp=True):
        vault.create_instance("t", version=version, external_edit=True)
    vault.write_instance(pd.DataFrame({"n": values}), "t", version)


def refs(path, prefix="refs"):
    listed = stock(path, "for-each-ref", "--format=%(objectname) %(refname)", prefix)
    return {ref: oid for oid, ref in (line.split() for line in listed.splitlines())}


def hook(bare, name, text):
    path = bare / "hooks" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


class TestHead:
    """Git's own clone checks out what HEAD of the remote names."""

    def test_a_first_push_lets_plain_clones_find_main(self, ana, bare, tmp_path):
        ana.push()
        stock(tmp_path, "clone", "-q", str(bare), str(tmp_path / "plain"))
        assert TableVault(tmp_path / "plain", BO).get_table_instances() == ["t"]

    def test_a_head_that_somebody_chose_stays(self, ana, bare):
        ana.push()
        stock(bare, "symbolic-ref", "HEAD", "refs/heads/other")
        ana.create_table("u")
        ana.push()
        assert stock(bare, "symbolic-ref", "HEAD").strip() == "refs/heads/other"

    def test_a_clone_without_main_says_how_to_check_it_out(self, ana, bare, tmp_path):
        ana.push()
        stock(bare, "symbolic-ref", "HEAD", "refs/heads/other")
        plain = tmp_path / "a plain one"
        stock(tmp_path, "clone", "-q", str(bare), str(plain))
        with pytest.raises(TVArgumentError, match=r"git -C '.*a plain one' checkout main"):
            TableVault(plain, BO)
        stock(plain, "checkout", "-q", "main")
        assert TableVault(plain, BO).get_table_instances() == ["t"]


class TestTemps:
    """Branches of temporary instances have one owner at a time."""

    def test_that_of_somebody_else_is_not_replaced(self, ana, bo, bare):
        for vault in (ana, bo):
            vault.create_instance("t", version="draft", external_edit=True)
        ana.push(temp=True)
        before = refs(bare)
        bo.create_table("u")
        with pytest.raises(TVRemoteError, match=r'another temporary instance of table "t".*draft'):
            bo.push(temp=True)
        assert refs(bare) == before
        bo.push()
        assert refs(bare)[DRAFT] == before[DRAFT]

    def test_ones_own_goes_on(self, ana, bo, bare):
        ana.create_instance("t", version="draft", builders={"t_index": "n_threads: 1\n"})
        ana.push(temp=True)
        ana.create_builder_file("t", "more", "draft", text="n_threads: 1\n")
        ana.push(temp=True)
        ana.create_instance("t", version="draft", builders={"t_index": "n_threads: 2\n"})
        assert ana.push(temp=True).refs == (DRAFT,)
        assert refs(bare)[DRAFT] == refs(ana._vault.path)[DRAFT]

    def test_that_of_an_instance_is_removed(self, ana, bo, bare):
        ana.create_instance("t", version="draft", external_edit=True)
        ana.push(temp=True)
        bo.pull()
        write(ana, [1], "draft")
        ana.push()
        assert DRAFT not in refs(bare)
        bo.pull()
        assert "refs/remotes/origin/temp/t/draft" not in refs(bo._vault.path)

    def test_whether_ones_own_is_merged_is_not_looked_up(self, ana, monkeypatch):
        ana.create_instance("t", version="draft", external_edit=True)
        ana.push(temp=True)
        ana.create_table("u")
        asked = []
        is_ancestor = Repository.is_ancestor

        def note(repository, older, newer):
            asked.append(older)
            return is_ancestor(repository, older, newer)

        monkeypatch.setattr(Repository, "is_ancestor", note)
        ana.push()
        assert ana._vault.repository.tip(DRAFT) not in asked

    def test_somebody_else_may_go_on_with_one(self, ana, bo):
        ana.create_instance("t", version="draft", builders={"t_index": "n_threads: 1\n"})
        ana.push(temp=True)
        bo.pull()
        path = bo._vault.path
        stock(path, "branch", "-q", "--no-track", "temp/t/draft", "origin/temp/t/draft")
        bo = TableVault(path, BO)
        assert bo.get_builder_str("t", "t_index", version="draft") == "n_threads: 1\n"
        bo.create_builder_file("t", "more", "draft", text="n_threads: 1\n")
        assert bo.push(temp=True).refs == (DRAFT,)
        check_clean(path)


class TestRaces:
    """The expected old value decides."""

    def test_who_was_slower_pulls_first(self, ana, bo, bare, tmp_path):
        bo.create_table("u")
        bo.push()
        ahead = refs(bare)["refs/heads/main"]
        stock(bare, "update-ref", "refs/heads/main", f"{ahead}~1")
        # Between our look at the refs and the push somebody is faster.
        slow = tmp_path / "slow"
        slow.write_text(
            f'#!/bin/sh\ngit -C "{bare}" update-ref refs/heads/main {ahead}\n'
            'exec git-receive-pack "$@"\n',
            encoding="utf-8",
        )
        slow.chmod(0o755)
        write(ana, [1])
        stock(ana._vault.path, "config", "remote.origin.receivepack", str(slow))
        with pytest.raises(TVRemoteError, match=r"Pull first: pull\('origin'\)"):
            ana.push()
        assert refs(bare)["refs/heads/main"] == ahead
        assert refs(bare, "refs/tags") == {}
        ana.pull()
        ana.push()
        assert refs(bare)["refs/heads/main"] == refs(ana._vault.path)["refs/heads/main"]

    def test_a_tag_that_somebody_has_made_there_is_put_right(self, ana, bare):
        write(ana, [1])
        ana.push()
        tag = next(iter(refs(bare, "refs/tags")))
        stock(bare, "update-ref", tag, "main~1")
        assert ana.push().refs == (tag,)
        assert refs(bare, "refs/tags") == refs(ana._vault.path, "refs/tags")


class TestLostConnections:
    """The remote dies while it is asked to move refs."""

    def test_after_it_has_moved_them(self, ana, bare):
        write(ana, [1])
        hook(bare, "post-receive", "cat >/dev/null; kill -9 $PPID")
        ana.push()
        assert refs(bare) == refs(ana._vault.path, "refs/heads/main") | refs(bare, "refs/tags")
        assert str(ana.push()) == "origin is up to date."

    def test_before_it_has_moved_them(self, ana, bare):
        write(ana, [1])
        died = hook(bare, "pre-receive", "cat >/dev/null; kill -9 $PPID")
        with pytest.raises(TVRemoteError, match=r"was interrupted: .*has not accepted everything"):
            ana.push()
        assert refs(bare) == {}
        died.unlink()
        assert ana.push().objects.present == 1

    def test_and_it_cannot_be_asked(self, ana, bare, tmp_path):
        write(ana, [1])
        away = tmp_path / "away"
        died = hook(bare, "post-receive", f'cat >/dev/null; mv "{bare}" "{away}"; kill -9 $PPID')
        with pytest.raises(TVOutcomeUnknownError, match="outcome of the push is unknown"):
            ana.push()
        away.rename(bare)
        died.unlink()
        assert str(ana.push()) == "origin is up to date."

    def test_a_hook_that_refuses_is_heard(self, ana, bare):
        hook(bare, "pre-receive", "cat >/dev/null; echo not on Sundays >&2; exit 1")
        with pytest.raises(TVRemoteError, match=r"pre-receive hook declined.*not on Sundays"):
            ana.push()


def test_only_what_changed_is_asked_for(ana, bo, bare):
    for number in range(5):
        write(ana, [number], f"v{number}")
    assert ana.push().objects.objects == 5
    write(ana, [99])
    report = ana.push()
    assert (report.objects.objects, report.objects.present) == (1, 0)
    bo.create_table("u")
    bo.pull()
    report = bo.push()
    assert (report.objects.objects, report.objects.present) == (0, 0)


def test_a_clone_has_the_tags_of_all_instances_in_one_file(ana, bo, bare, tmp_path):
    for number in range(3):
        write(ana, [number])
    ana.push()
    path = tmp_path / "new"
    clone = clone_vault(bare, path, BO)
    assert refs(path, "refs/tags") == refs(tmp_path / "ana", "refs/tags")
    assert not any(file.is_file() for file in (path / ".git/refs/tags").rglob("*"))
    first, last = (clone.get_table_instances("t")[at] for at in (0, -1))
    clone.delete_instance(first, "t")
    write(clone, [4])
    assert f"refs/tags/t/{first}" not in refs(path)
    assert refs(path)[f"refs/tags/t/{last}"] == refs(tmp_path / "ana")[f"refs/tags/t/{last}"]
    check_clean(path)


def test_a_pull_asks_for_branches_and_not_for_a_tag_of_each_instance(ana, bo, bare):
    write(ana, [1])
    ana.push()
    assert [ref for ref in refs(bare) if ref.startswith("refs/tags")]
    there = list_branches(bare.parent / "bo", "origin")
    assert there == refs(bare, "refs/heads")


def test_a_shallow_clone_pulls_and_pushes(ana, bo, bare, tmp_path):
    write(ana, [1])
    ana.push()
    path = tmp_path / "shallow"
    stock(tmp_path, "clone", "-q", "--depth", "1", f"file://{bare}", str(path))
    vault = TableVault(path, "Cy <cy@example.org>")
    write(vault, [2])
    assert vault.push().objects.objects == 1
    ana.pull()
    assert ana.get_dataframe("t")[0]["n"].tolist() == [2]
    write(ana, [3])
    ana.push()
    vault.pull()
    assert vault.get_dataframe("t")[0]["n"].tolist() == [3]
    check_clean(path)
