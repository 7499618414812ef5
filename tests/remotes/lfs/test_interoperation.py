"""Stock git and git-lfs on the other side, real servers, and processes that are killed."""

from __future__ import annotations

import concurrent.futures
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from tablevault.errors import TVCredentialsError, TVRemoteError
from tests.looking import interrupt_who_waits
from tests.remotes.conftest import pointer_of
from tests.remotes.lfs.test_http_transport import fetch, push

LARGE = 200_000_000


@pytest.fixture
def lfs(program):
    """Require git-lfs."""
    program("git-lfs")


@pytest.fixture
def committed(lfs, place):
    """Commit files by stock git and git-lfs; give the repository and pointers."""

    def make(contents, name="stock"):
        stock = place(name)
        stock.git("lfs", "install", "--local")
        stock.git("lfs", "track", "*.bin")
        for number, content in enumerate(contents):
            (stock.path / f"{number}.bin").write_bytes(content)
        stock.git("add", ".")
        stock.git("commit", "-qm", "files")
        return stock, [pointer_of(content) for content in contents]

    return make


@pytest.fixture(params=["bare", "giftless", "giftless with a login"])
def remote(request, tmp_path, git, real_server):
    """Return the URL of a repository: a path, or on a real server."""
    if request.param == "bare":
        path = tmp_path / "remote.git"
        path.mkdir()
        git(path, "init", "-q", "--bare", "-b", "main")
        return f"file://{path}"
    login = "ana:pw" if request.param.endswith("login") else ""
    url, root = real_server(login)
    path = root / "git/ana/papers.git"
    path.mkdir(parents=True)
    git(path, "init", "-q", "--bare", "-b", "main")
    return f"{url.replace('://', f'://{login}@') if login else url}/ana/papers.git"


def test_what_we_sent_is_fetched_by_git_lfs(
    committed, remote, contents, tmp_path, git, monkeypatch
):
    stock, pointers = committed(contents(12, size=5000))
    stock.git("remote", "add", "origin", remote)
    report, _ = push(stock, pointers)
    assert (report.objects, report.present, report.failures) == (12, 0, ())
    monkeypatch.setenv("GIT_LFS_SKIP_PUSH", "1")
    stock.git("push", "-q", "origin", "main")
    monkeypatch.delenv("GIT_LFS_SKIP_PUSH")
    monkeypatch.setenv("GIT_LFS_SKIP_SMUDGE", "1")
    git(tmp_path, "clone", "-q", remote, "clone")
    monkeypatch.delenv("GIT_LFS_SKIP_SMUDGE")
    clone = tmp_path / "clone"
    assert (clone / "0.bin").read_text().startswith("version https://git-lfs")
    git(clone, "lfs", "install", "--local")
    git(clone, "lfs", "pull")
    for number, content in enumerate(contents(12, size=5000)):
        assert (clone / f"{number}.bin").read_bytes() == content
    assert "OK" in git(clone, "lfs", "fsck")
    assert "Not in remote" not in git(clone, "lfs", "push", "--dry-run", "origin", "main")


def test_what_git_lfs_pushed_is_received_by_us(committed, remote, contents, place):
    made = contents(12, size=5000)
    stock, pointers = committed(made)
    stock.git("remote", "add", "origin", remote)
    stock.git("push", "-q", "origin", "main")
    here = place("here")
    here.git("remote", "add", "origin", remote)
    report, _ = fetch(here, [*pointers, pointer_of(b"nobody has this")])
    assert report.objects == 12
    assert [failure.error.code for failure in report.failures] == [404]
    assert [here.read(pointer) for pointer in pointers] == made
    report, _ = push(here, pointers)
    assert (report.objects, report.present) == (0, 12)


def test_git_lfs_does_not_send_what_we_sent(committed, remote, contents, place):
    made = contents(3)
    stock, pointers = committed(made)
    stock.git("remote", "add", "origin", remote)
    push(stock, pointers)
    for pointer in pointers:
        path = stock.store.file(pointer)
        path.chmod(0o644)
        # Whatever were sent now would be the wrong bytes.
        path.write_bytes(bytes(pointer.size))
    stock.git("lfs", "push", "origin", "main")
    here = place("here")
    here.git("remote", "add", "origin", remote)
    assert fetch(here, pointers)[0].objects == 3


def test_a_real_server_without_the_right_password_is_reported(committed, real_server, contents):
    url, _ = real_server("ana:pw")
    stock, pointers = committed(contents(1))
    stock.git("remote", "add", "origin", f"{url.replace('://', '://ana:wrong@')}/ana/papers.git")
    with pytest.raises(TVCredentialsError, match="does not accept"):
        push(stock, pointers)


def test_a_git_server_without_lfs_is_recognised(committed, servers, contents):
    plain = servers()
    plain.refuse("POST", "batch", 404, body=b"Not Found", Content_Type="text/plain")
    stock, pointers = committed(contents(1))
    stock.git("remote", "add", "origin", plain.url)
    with pytest.raises(TVRemoteError, match="There is no Git LFS server at"):
        push(stock, pointers)


# -- killed -----------------------------------------------------------------------------------


@contextmanager
def child(direction, here, remote, pointers):
    """Run a transfer in a process of its own."""
    objects = [f"{pointer.oid}:{pointer.size}" for pointer in pointers]
    command = [sys.executable, "-m", "tests.remotes.child", direction, str(here.path), remote]
    with subprocess.Popen(
        [*command, *objects], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def until(condition, process=None):
    """Wait for something that happens soon."""
    for _ in range(3000):
        if found := condition():
            return found
        assert process is None or process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    raise AssertionError(condition)


def test_a_download_that_was_killed_goes_on(here, server, contents):
    made = contents(4, size=2_000_000)
    pointers = [pointer_of(each) for each in made]
    for each in made:
        server.add(each)
    largest = max(made, key=len)

    @server.on("GET", pointer_of(largest).oid, times=1)
    def _(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(largest)))
        handler.end_headers()
        handler.wfile.write(largest[:1_500_000])
        handler.wfile.flush()
        handler.wait(1000)

    partial = here.partial(pointer_of(largest))
    with child("receive", here, "origin", pointers) as process:
        until(lambda: partial.exists() and partial.stat().st_size > 1_000_000, process)
        until(lambda: sum(map(here.store.has, pointers)) == 3, process)
        process.send_signal(signal.SIGKILL)
    assert not here.store.has(pointer_of(largest))
    report, _ = fetch(here, pointers)
    assert (report.objects, report.present) == (1, 3)
    assert report.bytes < len(largest) - 1_000_000
    assert [here.read(pointer) for pointer in pointers] == made
    assert not list((here.path / ".git/tablevault/incomplete").iterdir())


def test_an_upload_that_was_killed_is_done_by_the_next_one(here, server, contents):
    made = contents(6, size=100_000)
    pointers = here.add(*made)
    server.on("PUT", pointer_of(made[3]).oid, times=1)(lambda handler: handler.wait(1000))
    with child("send", here, "origin", pointers) as process:
        until(lambda: len(server.objects) == 5, process)
        process.send_signal(signal.SIGKILL)
    report, _ = push(here, pointers)
    assert (report.objects, report.present) == (1, 5)
    assert set(server.objects) == {pointer.oid for pointer in pointers}


@pytest.mark.parametrize("direction", ["send", "receive"])
def test_a_copy_that_was_killed_leaves_no_half_object(place, tmp_path, git, direction):
    source, bare = place("source"), tmp_path / "bare.git"
    bare.mkdir()
    git(bare, "init", "-q", "--bare")
    content = bytes(1 << 20) * (LARGE >> 20)
    pointers = source.add(content)
    if direction == "receive":
        push(source, pointers, str(bare))
        here = place("here")
        growing = here.partial(pointers[0])
    else:
        here = source
        growing = bare / "lfs/tmp"

    def size():
        files = growing.iterdir() if growing.is_dir() else [growing] if growing.exists() else []
        return sum(file.stat().st_size for file in files)

    for _ in range(3):
        with child(direction, here, str(bare), pointers) as process:
            until(lambda: size() > LARGE // 8 or process.poll() is not None)
            process.send_signal(signal.SIGKILL)
    move = push if direction == "send" else fetch
    report, _ = move(here, pointers, str(bare))
    assert report.objects + report.present == 1
    assert here.store.file(pointers[0]).stat().st_size == len(content)
    there = place("there")
    fetch(there, pointers, str(bare))
    assert there.store.file(pointers[0]).stat().st_size == len(content)


def test_two_who_want_the_same_object_fetch_it_once(here, server, contents):
    [made] = contents(1, size=1_000_000)
    server.add(made)

    @server.on("GET", "store", times=1)
    def _(handler):
        until(lambda: len(server.headers("POST", "batch")) >= 2)
        handler.answer()

    with child("receive", here, "origin", [pointer_of(made)]) as other:
        until(lambda: server.paths("GET"), other)
        report, _ = fetch(here, [pointer_of(made)])
        assert other.wait() == 0, other.stderr.read()
    assert (report.objects, report.present) == (0, 1)
    assert len(server.paths("GET")) == 1
    assert here.read(pointer_of(made)) == made


def test_who_waits_for_one_that_is_killed_takes_over(here, server, contents):
    [made] = contents(1, size=1_000_000)
    server.add(made)

    @server.on("GET", "store", times=1)
    def _(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(made)))
        handler.end_headers()
        handler.wfile.write(made[:500_000])
        handler.wfile.flush()
        until(lambda: len(server.headers("POST", "batch")) >= 2)
        other.kill()
        handler.drop()

    with child("receive", here, "origin", [pointer_of(made)]) as other:
        until(lambda: server.paths("GET"), other)
        report, _ = fetch(here, [pointer_of(made)])
    assert report.objects == 1
    assert here.read(pointer_of(made)) == made


def test_an_interrupt_ends_a_transfer_at_once_and_nothing_is_lost(here, server, contents):
    here.set("lfs.activitytimeout", 1000)
    made = contents(10, size=100_000)
    pointers = [pointer_of(each) for each in made]
    for each in made[:5]:
        server.add(each)
    for each in made[5:]:
        server.add(each)
        server.on("GET", pointer_of(each).oid, times=1)(lambda handler: handler.wait(1000))
    with child("receive", here, "origin", pointers) as process:
        until(lambda: sum(map(here.store.has, pointers)) == 5, process)
        process.send_signal(signal.SIGINT)
        assert process.wait() != 0
        assert "KeyboardInterrupt" in process.stderr.read()
    assert fetch(here, pointers)[0].objects == 5


def test_an_interrupt_that_wakes_nobody_ends_a_transfer(here, server, contents):
    here.set("lfs.activitytimeout", 1000)

    @server.on("PUT", "store")
    def _(handler):
        interrupt_who_waits(concurrent.futures.wait)
        handler.wait(1000)

    with pytest.raises(KeyboardInterrupt):
        push(here, here.add(*contents(1)))


def test_a_login_for_a_real_server_comes_from_a_helper(committed, real_server, contents, git):
    url, root = real_server("ana:pw")
    (root / "git/ana/papers.git").mkdir(parents=True)
    stock, pointers = committed(contents(2))
    stock.git("remote", "add", "origin", f"{url}/ana/papers.git")
    stock.set("credential.helper", "!f() { echo username=ana; echo password=pw; }; f")
    assert push(stock, pointers)[0].objects == 2
