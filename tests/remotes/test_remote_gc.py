"""What gc removes from a remote, and what stays there."""

from __future__ import annotations

import pandas as pd
import pytest

from tablevault import TableVault, clone_vault
from tablevault.errors import TVArgumentError, TVRemoteError
from tablevault.remotes import push, remote_gc
from tests.looking import git as stock

ANA, BO = "Ana Lund <ana@example.org>", "Bo Holm <bo@example.org>"


@pytest.fixture
def place(request, bare):
    """Return where data goes: address of a bucket or "", what lists the names, and the folder."""
    if getattr(request, "param", "bucket") == "folder":
        url, folder = "", bare / "lfs/objects"
    else:
        bucket = request.getfixturevalue("bucket")
        url, folder = bucket.url("vault"), bucket.folder / "vault/lfs/objects"
    return url, lambda: {path.name for path in folder.glob("??/??/*")}, folder


@pytest.fixture
def ana(tmp_path, bare, place):
    """Return a vault with two instances of a table, pushed."""
    vault = TableVault(tmp_path / "ana", ANA, create=True)
    vault.create_table("t")
    for number in (1, 2):
        write(vault, number)
    vault.add_remote("origin", bare, data=place[0])
    vault.push()
    return vault


in_both = pytest.mark.parametrize("place", ["folder", "bucket"], indirect=True)


def write(vault, number):
    vault.create_instance("t", external_edit=True)
    vault.write_instance(pd.DataFrame({"n": [number]}), "t")


def delete_first(vault):
    vault.delete_instance(vault.get_table_instances("t")[0], "t")


def test_nothing_is_removed_that_a_ref_needs(ana, place):
    before = place[1]()
    report = ana.gc(remote="origin", grace_s=0, dry_run=False)
    assert (report.objects, report.young) == (0, 0)
    assert place[1]() == before


@in_both
def test_data_of_deleted_instances_is_removed_once_that_is_pushed(ana, place):
    before = place[1]()
    delete_first(ana)
    with pytest.raises(TVRemoteError, match=r"differ.*nothing was removed.*pull\(\)"):
        ana.gc(remote="origin", grace_s=0, dry_run=False)
    assert place[1]() == before
    ana.push()
    report = ana.gc(remote="origin", grace_s=0)
    assert (report.objects, report.dry_run) == (1, True)
    assert place[1]() == before
    done = ana.gc(remote="origin", grace_s=0, dry_run=False)
    assert str(done) == f"origin: 1 object ({done.object_bytes:,} bytes) removed."
    assert len(place[1]()) == 1
    assert ana.verify(remote="origin") == []


def test_objects_that_nobody_refers_to_yet_stay_while_they_are_young(ana, place, tmp_path, bare):
    """Of a push that has sent objects, and not moved its refs yet."""
    bo = clone_vault(bare, tmp_path / "bo", BO)
    if place[0]:
        bo.trust_bucket(place[0])
    write(bo, 3)
    hook = bare / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(TVRemoteError):
        bo.push()
    hook.unlink()
    assert len(place[1]()) == 3
    report = ana.gc(remote="origin", dry_run=False)
    assert str(report) == "origin: 0 objects (0 bytes) removed. Younger ones that stay: 1."
    bo.push()
    assert ana.pull(data="all").objects.objects == 1
    assert ana.verify(remote="origin") == []


def test_what_the_newest_commit_of_another_branch_names_stays(ana, place, tmp_path):
    stock(tmp_path / "ana", "push", "-q", "origin", "main:refs/heads/archive")
    stock(tmp_path / "ana", "branch", "-q", "archive", "main")
    for instance in ana.get_table_instances("t"):
        ana.delete_instance(instance, "t")
    ana.push()
    pointer = stock(tmp_path / "ana", "show", "archive:tables/t/base/dataframe.parquet")
    assert ana.gc(remote="origin", grace_s=0, dry_run=False).objects == 1
    assert place[1]() == {pointer.split("sha256:")[1].split()[0]}
    stock(tmp_path / "ana", "push", "-q", "origin", ":refs/heads/archive")
    assert ana.gc(remote="origin", grace_s=0, dry_run=False).objects == 1


def test_a_ref_that_moves_meanwhile_stops_it(ana, place, bare, monkeypatch):
    """Somebody pushes between the plan and the removal."""
    delete_first(ana)
    ana.push()
    before = place[1]()
    planned = remote_gc._needed

    def then_push(*arguments):
        needed = planned(*arguments)
        stock(bare, "update-ref", "refs/heads/new", "main")
        return needed

    monkeypatch.setattr(remote_gc, "_needed", then_push)
    with pytest.raises(TVRemoteError, match=r"Somebody pushed meanwhile.*0 objects were removed"):
        ana.gc(remote="origin", grace_s=0, dry_run=False)
    assert place[1]() == before


def test_a_push_during_the_removal_is_reported(ana, place, bare, monkeypatch):
    delete_first(ana)
    ana.push()
    remove = remote_gc._delete

    def then_push(*arguments):
        remove(*arguments)
        stock(bare, "update-ref", "refs/heads/new", "main")

    monkeypatch.setattr(remote_gc, "_delete", then_push)
    with pytest.raises(TVRemoteError, match=r"Somebody pushed meanwhile.*1 objects were removed"):
        ana.gc(remote="origin", grace_s=0, dry_run=False)


def test_a_push_sends_what_was_removed_before_its_refs_moved(ana, place, monkeypatch):
    """Another vault removes an object, after this push has asked whether it is there."""
    write(ana, 3)
    before = place[1]()
    push.upload_missing(
        ana._vault,
        "origin",
        served=set(),
        new={ana._vault.repository.main()},
        state=push.RemoteState(),
    )
    [oid] = place[1]() - before
    move = push._move_there

    def remove_first(*arguments):
        (place[2] / oid[:2] / oid[2:4] / oid).unlink()
        return move(*arguments)

    monkeypatch.setattr(push, "_move_there", remove_first)
    ana.push()
    assert oid in place[1]()
    assert ana.verify(remote="origin") == []


def test_commits_that_are_not_here_stop_it(ana, place, bare, tmp_path):
    tree = stock(bare, "rev-parse", "main^{tree}").strip()
    unknown = stock(bare, "commit-tree", "-m", "unknown", tree).strip()
    stock(bare, "update-ref", "refs/heads/feature", unknown)
    with pytest.raises(TVRemoteError, match="differ"):
        ana.gc(remote="origin", grace_s=0, dry_run=False)


@in_both
def test_a_remote_that_shares_the_place_is_asked_too(ana, place, tmp_path):
    second = tmp_path / "second.git"
    stock(tmp_path, "init", "-q", "--bare", "-b", "main", str(second))
    ana.add_remote("second", second, data=place[0])
    ana.push("second")
    delete_first(ana)
    ana.push("origin")
    if place[0]:  # each folder has one repository
        with pytest.raises(TVRemoteError, match='Remote "second" and this vault differ'):
            ana.gc(remote="origin", grace_s=0, dry_run=False)
        ana.push("second")
    assert ana.gc(remote="origin", grace_s=0, dry_run=False).objects == 1


def test_a_server_does_not_list_its_objects(tmp_path, real_server, git):
    url, root = real_server()
    path = root / "git/ana/hub.git"
    path.mkdir(parents=True)
    git(path, "init", "-q", "--bare", "-b", "main")
    git(path, "config", "http.receivepack", "true")
    vault = TableVault(tmp_path / "ana", ANA, create=True)
    vault.add_remote("origin", f"{url}/ana/hub.git")
    vault.push()
    with pytest.raises(TVRemoteError, match="does not list its objects"):
        vault.gc(remote="origin")


def test_a_negative_age_is_refused(ana):
    with pytest.raises(TVArgumentError, match="grace_s is -1"):
        ana.gc(remote="origin", grace_s=-1)
