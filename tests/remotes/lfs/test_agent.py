"""Stock git and git-lfs on a bucket, by the transfer agent."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pandas as pd
import pytest

from tablevault import TableVault
from tablevault.errors import TVRemoteError
from tablevault.remotes.lfs.agent import install_agent, serve
from tests.remotes.conftest import pointer_of
from tests.remotes.lfs.test_http_transport import push

ANA = "Ana Lund <ana@example.org>"
FRAME = "tables/t/base/dataframe.parquet"


@pytest.fixture
def plain(program, tmp_path, bare, bucket, monkeypatch):
    """Return a clone by plain git of a vault with its data in a bucket; only pointers are here."""
    program("git-lfs")
    vault = TableVault(tmp_path / "ana", ANA, create=True)
    vault.create_table("t")
    vault.create_instance("t", external_edit=True)
    vault.write_instance(pd.DataFrame({"n": [1, 2]}), "t")
    vault.add_remote("origin", bare, data=bucket.url("a vault"))
    vault.push()
    monkeypatch.setenv("GIT_LFS_SKIP_SMUDGE", "1")
    git(tmp_path, "clone", "-q", str(bare), "plain")
    monkeypatch.delenv("GIT_LFS_SKIP_SMUDGE")
    git(tmp_path / "plain", "config", "lfs.concurrenttransfers", "2")  # as many agents start
    return tmp_path / "plain"


def git(folder, *words, fails=False):
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode != 0) == fails, done.stderr
    return done.stdout + done.stderr


def command(folder, *words):
    done = subprocess.run(
        [sys.executable, "-m", "tablevault", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_git_lfs_pull_and_git_push_use_the_bucket(plain, bucket):
    assert (plain / FRAME).read_text().startswith("version https://git-lfs")
    command(plain, "lfs-install", "--trust-bucket", bucket.url("a vault"))
    git(plain, "lfs", "pull")
    assert list(pd.read_parquet(plain / FRAME)["n"]) == [1, 2]
    assert git(plain, "status", "--porcelain") == ""
    git(plain, "switch", "-q", "-c", "feature")
    pd.DataFrame({"n": [3]}).to_parquet(plain / FRAME)
    git(plain, "commit", "-qam", "three")
    git(plain, "push", "-q", "origin", "feature")
    oid = hashlib.sha256((plain / FRAME).read_bytes()).hexdigest()
    assert oid in {path.name for path in bucket.files()}


def test_a_bucket_that_nobody_confirmed_is_not_used(plain, bucket):
    url = bucket.url("a vault")
    assert command(plain, "lfs-install") == (
        f'Its data is in "{url}". If you trust it: '
        f"`tablevault lfs-install --trust-bucket '{url}'`.\n"
    )
    printed = git(plain, "lfs", "pull", fails=True)
    assert "Nobody has confirmed it here" in printed
    assert "tablevault lfs-install --trust-bucket URL" in printed
    assert (plain / FRAME).read_text().startswith("version https://git-lfs")


@pytest.mark.sweep
def test_an_object_that_the_bucket_lacks_is_named(plain, bucket):
    [file] = bucket.files()
    file.unlink()
    command(plain, "lfs-install", "--trust-bucket", bucket.url("a vault"))
    assert f"does not have object {file.name}" in git(plain, "lfs", "pull", fails=True)


@pytest.mark.sweep
def test_wrong_bytes_do_not_arrive(plain, bucket):
    [file] = bucket.files()
    file.write_bytes(bytes(file.stat().st_size))
    command(plain, "lfs-install", "--trust-bucket", bucket.url("a vault"))
    assert "sent wrong bytes" in git(plain, "lfs", "pull", fails=True)
    assert not list((plain / ".git/lfs/objects").glob("??/??/*"))


@pytest.mark.sweep
def test_an_opened_vault_keeps_its_hooks(plain, bucket):
    TableVault(plain, ANA)
    before = (plain / ".git/hooks/pre-push").read_bytes()
    command(plain, "lfs-install", "--trust-bucket", bucket.url("a vault"))
    assert (plain / ".git/hooks/pre-push").read_bytes() == before
    git(plain, "lfs", "pull")
    assert list(pd.read_parquet(plain / FRAME)["n"]) == [1, 2]


def test_without_git_lfs_there_is_nothing_to_configure(here, monkeypatch, program):
    folder = os.path.dirname(program("git"))  # noqa: PTH120 - a folder of PATH
    if os.path.exists(f"{folder}/git-lfs"):  # noqa: PTH110
        bin_folder = here.path / "bin"
        bin_folder.mkdir()
        (bin_folder / "git").symlink_to(program("git"))
        folder = str(bin_folder)
    monkeypatch.setenv("PATH", folder)
    with pytest.raises(TVRemoteError, match="git-lfs is not installed"):
        install_agent(here.path)


# -- the protocol -------------------------------------------------------------------------------


@pytest.fixture
def talk(here, bucket):
    """Send requests to an agent of a repository with a bucket; give its answers."""
    here.git("remote", "add", "origin", "https://host/x")
    here.set("remote.origin.lfsurl", bucket.url())

    def send(operation, *requests):
        answers = []
        init = f'{{"event":"init","operation":"{operation}","remote":"origin"}}'
        serve(here.path, [init, *requests, '{"event":"terminate"}', "not read"], answers.append)
        return answers

    return send


def test_an_upload_reports_progress_and_its_end(here, bucket, talk, tmp_path, contents):
    [content] = contents(1)
    pointer = pointer_of(content)
    (tmp_path / "source").write_bytes(content)
    request = (
        f'{{"event":"upload","oid":"{pointer.oid}","size":{pointer.size},'
        f'"path":"{tmp_path / "source"}","action":null}}'
    )
    done = {"event": "complete", "oid": pointer.oid}
    size = pointer.size
    progress = {"event": "progress", "oid": pointer.oid, "bytesSoFar": size, "bytesSinceLast": size}
    assert talk("upload", request) == [{}, progress, done]
    assert bucket.file(pointer).read_bytes() == content
    assert talk("upload", request) == [{}, progress, done]


def test_a_download_names_a_file_and_resumes(here, bucket, talk, contents):
    [content] = contents(1)
    [pointer] = here.add(content)
    push(here, [pointer], bucket.url())
    request = f'{{"event":"download","oid":"{pointer.oid}","size":{pointer.size},"action":null}}'
    partial = here.path / f".git/lfs/incomplete/{pointer.oid}.tablevault"
    partial.parent.mkdir(exist_ok=True)
    partial.write_bytes(content[:700])
    answers = talk("download", request)
    assert answers[-1] == {"event": "complete", "oid": pointer.oid, "path": str(partial)}
    assert answers[-2]["bytesSinceLast"] == pointer.size - 700
    assert partial.read_bytes() == content


@pytest.mark.parametrize("oid", ["../../x", "0" * 63, "A" * 64])
def test_a_name_that_is_no_hash_is_refused(talk, oid):
    [_, answer] = talk("download", f'{{"event":"download","oid":"{oid}","size":1}}')
    assert "is not the name of an object" in answer["error"]["message"]
