"""Remotes, the buckets in which they keep data, and who has confirmed these."""

from __future__ import annotations

import pandas as pd
import pytest

from tablevault import TableVault, clone_vault
from tablevault.errors import TVArgumentError, TVFileError, TVRemoteError
from tests.looking import check_clean
from tests.looking import git as stock

ANA, BO = "Ana Lund <ana@example.org>", "Bo Holm <bo@example.org>"


@pytest.fixture
def ana(tmp_path):
    """Return a vault with an instance."""
    vault = TableVault(tmp_path / "ana", ANA, create=True)
    vault.create_table("t")
    write(vault, [1, 2])
    return vault


def write(vault, numbers):
    vault.create_instance("t", external_edit=True)
    vault.write_instance(pd.DataFrame({"n": numbers}), "t")


def numbers(vault):
    return list(vault.get_dataframe("t")[0]["n"])


@pytest.fixture
def shared(ana, bare, bucket):
    """Return a vault that was pushed, with its data in a bucket."""
    ana.add_remote("origin", bare, data=bucket.url("lab/vault"))
    ana.push()
    return ana


def test_data_goes_to_the_bucket_and_history_to_git(shared, bare, bucket, tmp_path):
    assert len(bucket.files()) == 1
    assert not list((bare / "lfs").rglob("*")) if (bare / "lfs").exists() else True
    assert shared.push().refs == ()
    assert shared.verify(remote="origin") == []
    check_clean(tmp_path / "ana")


def test_a_clone_finds_the_bucket_and_reads_once_it_is_confirmed(shared, bare, bucket, tmp_path):
    bo = clone_vault(bare, tmp_path / "bo", BO)
    with pytest.raises(TVFileError, match=r"Nobody has confirmed it here.*call trust_bucket\('s3:"):
        bo.get_dataframe("t")
    bo.trust_bucket(bucket.url("lab/vault"))
    assert numbers(bo) == [1, 2]
    write(bo, [3])
    bo.push()
    assert shared.pull(data="all").objects.objects == 1
    assert numbers(shared) == [3]
    check_clean(tmp_path / "ana")


def test_a_clone_of_all_data_stays_and_says_what_to_confirm(shared, bare, bucket, tmp_path):
    with pytest.raises(TVRemoteError, match=r"is whole but for data.*trust_bucket") as caught:
        clone_vault(bare, tmp_path / "bo", BO, data="all")
    bo = TableVault(tmp_path / "bo", BO)
    bo.trust_bucket(caught.value.bucket)
    assert bo.pull(data="all").objects.objects == 1
    assert numbers(bo) == [1, 2]


def test_nothing_is_pushed_to_a_bucket_that_nobody_confirmed(shared, bare, bucket, tmp_path):
    bo = clone_vault(bare, tmp_path / "bo", BO)
    write(bo, [3])
    tip = stock(bare, "rev-parse", "main")
    with pytest.raises(TVRemoteError, match="Nobody has confirmed it here"):
        bo.push()
    assert stock(bare, "rev-parse", "main") == tip
    assert len(bucket.files()) == 1


def test_another_bucket_has_to_be_confirmed_anew(shared, bare, bucket, tmp_path):
    bo = clone_vault(bare, tmp_path / "bo", BO)
    bo.trust_bucket(bucket.url("lab/vault"))
    bo.trust_bucket(bucket.url("lab/vault/"))
    shared.add_remote("origin", bare, data=bucket.url("elsewhere"))
    write(shared, [3])
    shared.push()
    bo.pull()
    with pytest.raises(TVFileError, match="/elsewhere"):
        bo.get_dataframe("t")
    trusted = stock(tmp_path / "bo", "config", "--get-all", "tablevault.trustedBucket")
    assert trusted.split() == [bucket.url("lab/vault")]


def test_a_new_bucket_gets_all_objects_with_the_next_push(shared, bare, bucket):
    write(shared, [3])
    shared.push()
    shared.add_remote("origin", bare, data=bucket.url("elsewhere"))
    assert shared.push().objects.objects == 2
    assert len(bucket.files()) == 4


def test_the_setting_is_one_commit_and_keeps_others(ana, bare, bucket, tmp_path):
    (tmp_path / "ana/.lfsconfig").write_text("[lfs]\n\tlocksverify = false\n")
    stock(tmp_path / "ana", "add", ".lfsconfig")
    stock(tmp_path / "ana", "commit", "-qm", "settings of git-lfs")
    tip = stock(tmp_path / "ana", "rev-parse", "main")
    for _ in range(2):
        ana.add_remote("origin", bare, data=bucket.url())
    assert stock(tmp_path / "ana", "rev-parse", "main^") == tip
    config = stock(tmp_path / "ana", "config", "--file", ".lfsconfig", "--list").splitlines()
    assert config == ["lfs.locksverify=false", f"remote.origin.lfsurl={bucket.url()}"]
    check_clean(tmp_path / "ana")


def test_the_endpoint_and_the_address_may_be_given_apart(ana, bare, bucket):
    name = bucket.folder.name
    ana.add_remote("origin", bare, data=f"s3://{name}/x", endpoint_url=bucket.endpoint)
    ana.push()
    assert len(list((bucket.folder / "x").rglob("*"))) == 5


def test_a_remote_with_two_addresses_has_one_bucket(ana, bare, bucket, tmp_path):
    second = tmp_path / "second.git"
    stock(tmp_path, "init", "-q", "--bare", "-b", "main", str(second))
    ana.add_remote("origin", bare, data=bucket.url())
    for address in (bare, second):
        stock(tmp_path / "ana", "remote", "set-url", "--add", "--push", "origin", str(address))
    assert ana.push().objects.objects == 1
    assert stock(second, "rev-parse", "main") == stock(bare, "rev-parse", "main")
    assert len(bucket.files()) == 1
    assert not [*bare.glob("lfs/objects/*"), *second.glob("lfs/objects/*")]
    write(ana, [3])
    stock(tmp_path / "ana", "push", "-q", "origin", "main")
    assert len(bucket.files()) == 2


def test_credentials_are_stored_nowhere(shared, tmp_path, aws):
    aws("AKIASECRETKEY", "very-secret-key")
    write(shared, [3])
    shared.push()
    for path in (tmp_path / "ana").rglob("*"):
        if path.is_file():
            assert b"AKIASECRETKEY" not in path.read_bytes()


def test_git_push_sends_objects_to_the_bucket(shared, bare, bucket, tmp_path):
    write(shared, [3])
    stock(tmp_path / "ana", "push", "-q", "origin", "main")
    assert len(bucket.files()) == 2


def test_missing_and_damaged_objects_are_reported(shared, bucket):
    write(shared, [3])
    shared.push()
    missing, damaged = bucket.files()
    missing.unlink()
    damaged.write_bytes(bytes(damaged.stat().st_size))
    found = {problem.where: problem.text for problem in shared.verify(remote="origin")}
    assert found.keys() == {missing.name, damaged.name}
    assert "does not have it" in found[missing.name]
    assert f'has other bytes under its name, in "s3://{bucket.folder.name}/' in found[damaged.name]
    assert [each.where for each in shared.verify(remote="origin", data=False)] == [missing.name]
    assert shared.push().objects.objects == 1


def test_undo_restores_the_bucket_before(shared, bare, bucket, tmp_path):
    shared.add_remote("origin", bare, data=bucket.url("elsewhere"))
    shared.undo(shared.log()["process_id"].iloc[0])
    config = stock(tmp_path / "ana", "config", "--file", ".lfsconfig", "--list")
    assert config == f"remote.origin.lfsurl={bucket.url('lab/vault')}\n"
    check_clean(tmp_path / "ana")


@pytest.mark.parametrize(
    "data",
    ["bucket", "s3://", "s3://B", "s3://bucket/../x", "s3://bucket?profile=x", "https://x/y"],
)
def test_an_address_that_is_no_bucket_is_refused(ana, bare, tmp_path, data):
    with pytest.raises(
        TVArgumentError, match=r"is not the address of a bucket.*It looks like s3://"
    ):
        ana.add_remote("origin", bare, data=data)
    assert stock(tmp_path / "ana", "remote") == ""


def test_a_bucket_is_no_address_of_history(ana):
    with pytest.raises(TVArgumentError, match=r"not its history.*pass the bucket as data='s3://b"):
        ana.add_remote("origin", "s3://bucket/x")
