"""Remotes that lack objects of what they serve: found, sent, and told by name."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from tablevault import TableVault, clone_vault
from tablevault.cli.main import main as command
from tablevault.errors import TVFileError, TVRemoteError, TVTransferError
from tests.clones import ANA, BO, path_of, write
from tests.looking import check_clean
from tests.looking import git as stock
from tests.remotes.test_git_refs import hook

CY = "Cy <cy@example.org>"


def furnish(vault):
    """Make an instance."""
    vault.create_table("t")
    write(vault, [1])


@pytest.fixture
def ana(copy_of, tmp_path, bare):
    vault = copy_of(furnish, tmp_path / "ana")
    vault.add_remote("origin", bare)
    return vault


@pytest.fixture
def served(ana, real_server, git):
    """Make a vault whose remote is a server of git and giftless, and the folder of its objects."""
    url, root = real_server()
    path = root / "git/ana/hub.git"
    path.mkdir(parents=True)
    git(path, "init", "-q", "--bare", "-b", "main")
    stock(path_of(ana), "remote", "set-url", "origin", f"{url}/ana/hub.git")
    return ana, root / "lfs"


def objects(folder):
    """Name the objects below a folder."""
    return {path.name for path in folder.rglob("*") if path.is_file() and len(path.name) == 64}


def own(vault):
    return objects(path_of(vault) / ".git/lfs/objects")


def there(bare):
    return objects(bare / "lfs")


def push_without_hook(vault, *refs):
    """Push as whoever has hooks elsewhere, or passes over them."""
    stock(path_of(vault), "push", "-q", "--no-verify", "origin", *(refs or ("main",)))


def batches(server):
    """Count the requests that ask for objects."""
    return sum(path.endswith("/batch") for path in server.paths("POST"))


def lose(place, oid):
    """Remove an object at a remote."""
    (found,) = [path for path in place.rglob(oid) if path.is_file()]
    found.unlink()


class TestWithoutHook:
    """What plain git pushed without objects is completed by whoever has them."""

    def test_the_next_push_sends_them(self, ana, bare, tmp_path):
        push_without_hook(ana)
        assert there(bare) == set()
        report = ana.push()
        assert report.objects.objects == 1
        assert there(bare) == own(ana)
        assert clone_vault(bare, tmp_path / "c", CY).get_dataframe("t")[0]["n"].tolist() == [1]

    def test_nothing_else_is_to_be_pushed(self, ana, bare):
        push_without_hook(ana, "main", "refs/tags/*")
        assert str(ana.push()).startswith("Sent 1 object (")
        assert str(ana.push()) == "origin is up to date."

    def test_somebody_elses_hook_runs(self, ana, bare):
        own_hook = path_of(ana) / ".git/hooks/pre-push"
        own_hook.write_text("#!/bin/sh\nexit 0\n", "utf-8")
        stock(path_of(ana), "push", "-q", "origin", "main")
        assert TableVault(path_of(ana), ANA).push().objects.objects == 1

    def test_hooks_are_elsewhere(self, ana, bare, tmp_path):
        (tmp_path / "hooks").mkdir()
        stock(path_of(ana), "config", "core.hooksPath", str(tmp_path / "hooks"))
        stock(path_of(ana), "push", "-q", "origin", "main")
        assert ana.push().objects.objects == 1

    def test_the_hook_sends_what_an_earlier_push_left_out(self, ana, bare):
        push_without_hook(ana)
        write(ana, [2])
        stock(path_of(ana), "push", "-q", "origin", "main")
        assert there(bare) == own(ana)

    def test_a_clone_that_has_them_sends_those_of_another(self, ana, bare, tmp_path):
        ana.push()
        bo = clone_vault(bare, tmp_path / "bo", BO)
        write(bo, [2])
        push_without_hook(bo)
        ana.pull()
        shutil.copytree(
            path_of(bo) / ".git/lfs/objects", path_of(ana) / ".git/lfs/objects", dirs_exist_ok=True
        )
        assert ana.push().objects.objects == 1
        assert there(bare) == own(bo) | own(ana)

    def test_on_a_branch_of_somebody(self, ana, bare):
        ana.push()
        stock(path_of(ana), "checkout", "-q", "-b", "bo/try")
        (path_of(ana) / "note").write_text("x", "utf-8")
        stock(path_of(ana), "add", "note")
        stock(path_of(ana), "commit", "-q", "-m", "a note")
        stock(path_of(ana), "checkout", "-q", "main")
        write(ana, [7])
        stock(path_of(ana), "push", "-q", "--no-verify", "origin", "main:bo/ahead")
        assert len(there(bare)) == 1
        ana.push()
        assert there(bare) == own(ana)

    def test_a_server_gets_them_too(self, served):
        ana, place = served
        push_without_hook(ana)
        assert ana.push().objects.objects == 1
        assert objects(place) == own(ana)


class TestHoles:
    """What neither side has is told by name, and keeps nobody from pushing."""

    @pytest.fixture
    def bo(self, ana, bare, tmp_path):
        """Return a clone of a remote that lacks the only object."""
        push_without_hook(ana)
        return clone_vault(bare, tmp_path / "bo", BO)

    def test_the_report_names_it(self, ana, bo, bare):
        (oid,) = own(ana)
        bo.create_table("u")
        report = bo.push()
        assert report.missing == (f"tables/t/base/dataframe.parquet ({oid})",)
        assert report.commits == 1
        text = f"origin and this vault lack tables/t/base/dataframe.parquet ({oid}): push from"
        assert text in str(report)

    def test_it_is_named_until_somebody_fills_it(self, ana, bo, bare):
        assert bo.push().missing
        assert bo.push().missing
        assert ana.push().objects.objects == 1
        assert str(bo.push()) == "origin is up to date."

    def test_the_hook_names_it(self, ana, bo):
        bo.create_table("u")
        push = ["git", "-C", str(path_of(bo)), "push", "-q", "origin", "main"]
        done = subprocess.run(push, capture_output=True, text=True, check=True)
        assert "origin and this vault lack tables/t/base/dataframe.parquet" in done.stderr

    def test_objects_of_deleted_instances_are_no_holes(self, ana, bare, tmp_path):
        ana.push()
        (oid,) = own(ana)
        ana.delete_instance(ana.get_table_instances("t")[0], "t")
        ana.push()
        ana.gc(grace_s=0)
        lose(bare, oid)
        bo = clone_vault(bare, tmp_path / "bo", BO)
        bo.create_table("u")
        assert bo.push().missing == ()
        assert [each for each in bo.verify(remote="origin") if each.kind == "remote"] == []

    def test_a_vault_makes_no_hole_of_its_own(self, ana, bo, bare, tmp_path, git):
        other = tmp_path / "other.git"
        other.mkdir()
        git(other, "init", "-q", "--bare", "-b", "main")
        with pytest.raises(TVFileError):
            bo.push(str(other))
        assert stock(other, "for-each-ref") == ""


class TestClaims:
    """A server that says that it has an object has to be able to give it."""

    @pytest.fixture
    def lfs(self, ana, bare, servers):
        """Keep objects at a server whose answers can be spoiled."""
        server = servers()
        stock(path_of(ana), "config", "lfs.url", f"{server.url}/info/lfs")
        return server

    def test_one_without_the_object(self, ana, bare, lfs):
        (oid,) = own(ana)

        @lfs.on("POST", "/objects/batch$")
        def _(handler):
            asked = json.loads(handler.take())
            missing = {} if asked["operation"] == "upload" else {"error": {"code": 404}}
            handler.say({"objects": [each | missing for each in asked["objects"]]})

        with pytest.raises(TVTransferError, match=f"takes object {oid} for one that it has"):
            ana.push()
        assert stock(bare, "for-each-ref") == ""

    def test_one_with_another_size(self, ana, bare, lfs):
        @lfs.on("POST", "/objects/batch$")
        def _(handler):
            asked = json.loads(handler.take())
            handler.say({"objects": [each | {"size": 3} for each in asked["objects"]]})

        with pytest.raises(TVTransferError, match="its size there is different"):
            ana.push()
        assert stock(bare, "for-each-ref") == ""

    def test_one_that_tells_the_truth_is_asked_again_before_and_after_refs_move(self, ana, lfs):
        ana.push()
        assert batches(lfs) == 1
        write(ana, [1], version="copy")
        report = ana.push()
        assert (report.objects.objects, report.objects.present) == (0, 1)
        assert batches(lfs) == 4


class TestVerify:
    """verify(remote=...) asks for everything."""

    def problems(self, vault, remote="origin"):
        return [each for each in vault.verify(remote=remote) if each.kind == "remote"]

    def test_a_whole_remote_has_no_problems(self, ana):
        ana.push()
        assert self.problems(ana) == []

    def test_an_object_that_was_lost_there_is_named_and_sent_by_the_next_push(self, ana, bare):
        ana.push()
        (oid,) = own(ana)
        lose(bare, oid)
        assert str(ana.push()) == "origin is up to date."
        (problem,) = self.problems(ana)
        assert (problem.severity, problem.where) == ("warning", oid)
        assert "tables/t/base/dataframe.parquet" in problem.text
        assert str(problem.advice) == "push('origin') sends it."
        assert ana.push().objects.objects == 1
        assert self.problems(ana) == []

    def test_an_object_of_another_size_is_named(self, ana, bare):
        ana.push()
        (path,) = [path for path in (bare / "lfs").rglob("*") if len(path.name) == 64]
        path.chmod(0o644)
        path.write_bytes(b"cut off")
        assert [each.where for each in self.problems(ana)] == [path.name]
        ana.push()
        assert self.problems(ana) == []

    def test_other_bytes_of_the_same_size_are_found_where_they_can_be_read(self, ana, bare):
        ana.push()
        (path,) = [path for path in (bare / "lfs").rglob("*") if len(path.name) == 64]
        path.chmod(0o644)
        path.write_bytes(b"x" * path.stat().st_size)
        assert "remote" not in {each.kind for each in ana.verify(remote="origin", data=False)}
        (problem,) = self.problems(ana)
        assert f'other bytes under its name, in "{path}"' in problem.text
        path.unlink()
        assert ana.push().objects.objects == 1
        assert self.problems(ana) == []

    def test_an_object_that_nobody_has_is_an_error(self, ana, bare, tmp_path):
        push_without_hook(ana)
        bo = clone_vault(bare, tmp_path / "bo", BO)
        (problem,) = self.problems(bo)
        assert problem.severity == "error"
        assert problem.advice == "Push from a vault that has it."

    def test_a_server_is_asked(self, served):
        ana, place = served
        ana.push()
        assert self.problems(ana) == []
        (oid,) = own(ana)
        lose(place, oid)
        assert [each.where for each in self.problems(ana)] == [oid]
        assert ana.push().objects.objects == 1
        assert objects(place) == {oid}

    def test_commits_that_are_not_here_are_noted(self, ana, bare, tmp_path):
        ana.push()
        bo = clone_vault(bare, tmp_path / "bo", BO)
        bo.create_table("u")
        bo.push()
        (problem,) = self.problems(ana)
        assert (problem.severity, problem.where) == ("note", "refs/heads/main")

    def test_a_remote_that_is_not_there_is_an_error(self, ana):
        with pytest.raises(TVRemoteError, match='There is no remote "elsewhere"'):
            ana.verify(remote="elsewhere")
        with pytest.raises(TVRemoteError, match='There is no remote "xxx'):
            ana.verify(remote="x" * 300)

    def test_an_address_is_as_good_as_a_name(self, ana, bare):
        push_without_hook(ana)
        assert len(self.problems(ana, str(bare))) == 1

    def test_the_command_asks_too(self, ana, bare, capsys):
        push_without_hook(ana)
        (oid,) = own(ana)
        folder = ["--db-dir", str(path_of(ana))]
        assert command([*folder, "verify", "--remote", "origin", "--json"]) == 1
        assert [each["where"] for each in json.loads(capsys.readouterr().out)] == [oid]


class TestWhatIsKnown:
    """What was found once is not asked for again, unless it may have changed."""

    @pytest.fixture
    def lfs(self, ana, bare, servers):
        server = servers()
        stock(path_of(ana), "config", "lfs.url", f"{server.url}/info/lfs")
        return server

    def asked(self, server):
        """Count the requests since the last time."""
        count = batches(server)
        server.requests.clear()
        return count

    def test_a_push_asks_for_new_objects_only(self, ana, lfs):
        for number in range(3):
            write(ana, [number], version=f"v{number}")
        ana.push()
        self.asked(lfs)
        write(ana, [9])
        assert ana.push().objects.objects == 1
        assert self.asked(lfs) == 1

    def test_a_push_without_news_asks_for_nothing(self, ana, lfs):
        ana.push()
        self.asked(lfs)
        ana.push()
        assert self.asked(lfs) == 0

    def test_what_somebody_else_pushed_is_asked_for_once(self, ana, bare, lfs, tmp_path):
        ana.push()
        bo = clone_vault(bare, tmp_path / "bo", BO)
        stock(path_of(bo), "config", "lfs.url", f"{lfs.url}/info/lfs")
        write(bo, [2])
        bo.push()
        ana.pull()
        self.asked(lfs)
        ana.push()
        assert self.asked(lfs) == 1
        ana.push()
        assert self.asked(lfs) == 0

    def test_the_hook_knows_what_the_method_knows(self, ana, lfs):
        ana.push()
        write(ana, [2])
        self.asked(lfs)
        stock(path_of(ana), "push", "-q", "origin", "main")
        assert self.asked(lfs) == 1
        ana.push()
        assert self.asked(lfs) == 0

    def test_a_push_that_git_was_refused_proves_nothing(self, ana, bare, lfs):
        closed = hook(bare, "pre-receive", "exit 1")
        stock(path_of(ana), "push", "-q", "origin", "main", check=False)
        closed.unlink()
        lfs.objects.clear()
        ana.push()
        assert lfs.objects.keys() == own(ana)

    def test_a_repository_that_was_made_anew_has_nothing(self, ana, bare, git):
        ana.push()
        shutil.rmtree(bare)
        bare.mkdir()
        git(bare, "init", "-q", "--bare", "-b", "main")
        push_without_hook(ana)
        ana.push()
        assert there(bare) == own(ana)

    def test_a_main_that_was_set_back_proves_nothing(self, ana, bare):
        write(ana, [2])
        ana.push()
        stock(bare, "update-ref", "refs/heads/main", "main~3")
        for oid in there(bare):
            lose(bare, oid)
        ana.push()
        assert there(bare) == own(ana)

    def test_objects_that_are_kept_elsewhere_now_are_sent_there(self, ana, bare, servers):
        ana.push()
        server = servers()
        stock(path_of(ana), "config", "lfs.url", f"{server.url}/info/lfs")
        ana.push()
        assert server.objects.keys() == own(ana)

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"main": 1}', '{"main": "x", "tips": [3]}'])
    def test_a_damaged_note_is_none(self, ana, bare, text):
        ana.push()
        (note,) = (path_of(ana) / ".git/tablevault/remotes").iterdir()
        note.write_text(text, "utf-8")
        lose(bare, *own(ana))
        ana.push()
        assert there(bare) == own(ana)
        check_clean(path_of(ana))


def test_objects_go_to_where_refs_go(ana, bare, tmp_path, git):
    other = tmp_path / "mirror.git"
    other.mkdir()
    git(other, "init", "-q", "--bare", "-b", "main")
    ana.push()
    stock(path_of(ana), "remote", "set-url", "--push", "origin", str(other))
    report = ana.push()
    assert "refs/heads/main" in report.refs
    assert there(other) == own(ana)
    assert stock(other, "rev-parse", "main") == stock(path_of(ana), "rev-parse", "main")
    assert str(ana.push()) == "origin is up to date."


class TestHooks:
    """A hook of one's own is told of, and stays."""

    def notes(self, vault):
        return [each for each in vault.verify(data=False) if each.where == "pre-push"]

    def test_the_hook_of_the_vault_is_no_note(self, ana):
        assert self.notes(ana) == []

    def test_a_hook_of_ones_own_is_noted(self, ana):
        own_hook = path_of(ana) / ".git/hooks/pre-push"
        own_hook.write_text("#!/bin/sh\nexit 0\n", "utf-8")
        (note,) = self.notes(ana)
        assert note.severity == "note"
        assert f'runs "{own_hook}" and not the hook of the vault' in note.text

    def test_hooks_elsewhere_are_noted(self, ana, tmp_path):
        stock(path_of(ana), "config", "core.hooksPath", str(tmp_path / "hooks"))
        (note,) = self.notes(ana)
        assert str(tmp_path / "hooks/pre-push") in note.text

    def test_a_hook_that_calls_that_of_the_vault_sends_objects_and_stays(self, ana, bare):
        own_hook = path_of(ana) / ".git/hooks/pre-push"
        calls = f'"{sys.executable}" -P -m tablevault.drivers.hooks pre-push "$@"'
        own_hook.write_text(f"#!/bin/sh\necho linted >&2\n{calls}\n", "utf-8")
        text = own_hook.read_bytes()
        assert self.notes(TableVault(path_of(ana), ANA)) == []
        assert own_hook.read_bytes() == text
        stock(path_of(ana), "push", "-q", "origin", "main")
        assert there(bare) == own(ana)

    def test_a_hook_that_also_calls_git_lfs_stays(self, ana):
        own_hook = path_of(ana) / ".git/hooks/pre-push"
        text = '#!/bin/sh\nmake lint || exit 1\ngit lfs pre-push "$@"\n'
        own_hook.write_text(text, "utf-8")
        TableVault(path_of(ana), ANA)
        assert own_hook.read_text("utf-8") == text


class TestManyAddresses:
    """Git pushes to all addresses of a remote, so objects go to all of them."""

    @pytest.fixture
    def mirror(self, ana, tmp_path, git):
        """Return a second address to the remote."""
        path = tmp_path / "mirror.git"
        path.mkdir()
        git(path, "init", "-q", "--bare", "-b", "main")
        stock(path_of(ana), "remote", "set-url", "--add", "origin", str(path))
        return path

    def test_a_push_goes_to_all(self, ana, bare, mirror):
        report = ana.push()
        assert (report.commits, report.objects.objects, report.remote) == (5, 2, "origin")
        assert there(bare) == there(mirror) == own(ana)
        assert stock(bare, "for-each-ref") == stock(mirror, "for-each-ref")
        assert str(ana.push()) == "origin is up to date."

    def test_a_push_by_plain_git_goes_to_all(self, ana, bare, mirror):
        stock(path_of(ana), "push", "-q", "origin", "main")
        assert there(bare) == there(mirror) == own(ana)

    def test_verify_asks_all(self, ana, bare, mirror):
        push_without_hook(ana)
        found = [each for each in ana.verify(remote="origin") if each.kind == "remote"]
        assert [str(each.text).partition(" does not")[0] for each in found] == [
            f'Remote "{bare}"',
            f'Remote "{mirror}"',
        ]

    def test_one_that_refuses_does_not_hide_what_was_done(self, ana, bare, mirror):
        hook(mirror, "pre-receive", "exit 1")
        with pytest.raises(TVRemoteError, match='1 of the addresses of remote "origin" have'):
            ana.push()
        assert there(bare) == own(ana)


class TestSettings:
    """Settings of git that mean something else for what a push sends by name."""

    @pytest.mark.parametrize(
        ("key", "value"),
        [("remote.origin.mirror", "true"), ("push.recurseSubmodules", "only")],
    )
    def test_refs_are_pushed_all_the_same(self, ana, bare, key, value):
        stock(path_of(ana), "config", key, value)
        ana.push()
        assert stock(bare, "rev-parse", "main") == stock(path_of(ana), "rev-parse", "main")

    def test_branches_of_ours_are_not_fetched_into(self, ana, bare, tmp_path):
        ana.push()
        bo = clone_vault(bare, tmp_path / "bo", BO)
        for vault, summary in ((ana, "x: 1"), (bo, "x: 2")):
            vault.create_instance("t", version="draft", external_edit=True, description=summary)
        bo.push(temp=True)
        stock(path_of(ana), "config", "remote.origin.fetch", "+refs/heads/*:refs/heads/*")
        mine = stock(path_of(ana), "rev-parse", "temp/t/draft")
        ana.pull()
        assert stock(path_of(ana), "rev-parse", "temp/t/draft") == mine

    def test_what_comes_is_checked_whatever_is_set(self, ana, bare, tmp_path):
        ana.push()
        stock(tmp_path, "clone", "-q", str(bare), str(tmp_path / "w"))
        tree, parent = stock(tmp_path / "w", "rev-parse", "main^{tree}", "main").split()
        text = f"tree {tree}\nparent {parent}\nauthor x 1 +0\ncommitter x 1\n\nhi\n"
        command = ["hash-object", "-t", "commit", "-w", "--stdin", "--literally"]
        bad = stock(tmp_path / "w", *command, text=text).strip()
        stock(tmp_path / "w", "push", "-q", "origin", f"{bad}:main")
        stock(path_of(ana), "config", "fetch.fsckObjects", "false")
        with pytest.raises(TVRemoteError, match="contains objects that git refuses"):
            ana.pull()

    def test_what_plain_git_brought_unchecked_is_an_error_of_ours(self, ana, bare, tmp_path):
        ana.push()
        path = path_of(ana)
        tree, parent = stock(path, "rev-parse", "main^{tree}", "main").split()
        text = f"tree {tree}\nparent {parent}\nauthor x 1 +0\ncommitter x 1\n\nhi\n"
        command = ["hash-object", "-t", "commit", "-w", "--stdin", "--literally"]
        for where in (bare, path):
            bad = stock(where, *command, text=text).strip()
        stock(bare, "update-ref", "refs/heads/main", bad)
        with pytest.raises(TVRemoteError, match="cannot be read"):
            ana.pull()

    @pytest.mark.parametrize("key", ["push.gpgSign", "push.pushOption"])
    def test_what_the_host_cannot_do_is_named(self, ana, key):
        stock(path_of(ana), "config", key, "true")
        with pytest.raises(TVRemoteError, match="what git's configuration asks for"):
            ana.push()


def test_an_object_that_a_remote_answers_for_is_no_matter_of_the_network(ana, bare, tmp_path):
    push_without_hook(ana)
    bo = clone_vault(bare, tmp_path / "bo", BO)
    with pytest.raises(TVFileError, match="no remote has it") as caught:
        bo.get_dataframe("t")
    assert "network" not in str(caught.value)


def test_a_push_of_tags_alone_counts_them(ana, bare):
    push_without_hook(ana)
    ana.push()
    stock(bare, "tag", "-d", *stock(bare, "tag").split())
    assert str(ana.push()) == "Pushed 1 ref to origin."


def test_a_clone_that_lacks_objects_says_that_it_is_there(ana, bare, tmp_path):
    push_without_hook(ana)
    with pytest.raises(TVTransferError, match="History and the other objects are here"):
        clone_vault(bare, tmp_path / "c", CY, data="all")
    assert TableVault(tmp_path / "c", CY).get_table_instances() == ["t"]


def test_a_remembered_ref_in_the_way_is_one_of_ours(ana, bare):
    ana.push()
    path = path_of(ana)
    stock(path, "update-ref", "-d", "refs/remotes/origin/main")
    stock(path, "update-ref", "refs/remotes/origin/main/x", "main")
    with pytest.raises(TVFileError, match="git update-ref -d refs/remotes/origin/main/x"):
        ana.pull()


def test_a_tag_of_somebody_that_names_no_commit_is_left_alone(ana, bare):
    ana.push()
    blob = stock(bare, "hash-object", "-w", str(bare / "HEAD")).strip()
    stock(bare, "update-ref", "refs/tags/odd", blob)
    ana.create_table("u")
    assert ana.push().commits == 1
    assert [each for each in ana.verify(remote="origin") if each.kind == "remote"] == []
