"""Repositories with stores, servers to transfer to, and programs that have to be there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import subprocess
import sys

import pytest

from tablevault.lfs.pointer import Pointer
from tablevault.lfs.store import ObjectStore
from tablevault.names import ObjectId
from tests.remotes.own_server import OwnServer


@pytest.fixture(autouse=True)
def opened(monkeypatch):
    """Open the seal as far as these tests need it: servers on this machine only."""
    monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "file:http:https:ssh")
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture
def bare(tmp_path, git):
    """Make an empty bare repository."""
    path = tmp_path / "hub.git"
    path.mkdir()
    git(path, "init", "-q", "--bare", "-b", "main")
    return path


def pointer_of(content):
    return Pointer(oid=ObjectId(hashlib.sha256(content).hexdigest()), size=len(content))


class Place:
    """A repository and its store."""

    def __init__(self, path, git):
        self.path = path
        self.git = lambda *arguments, **more: git(path, *arguments, **more)
        (path / ".git/tablevault/tmp").mkdir(parents=True)
        self.store = ObjectStore(path / ".git/lfs", path / ".git/tablevault/tmp")

    def add(self, *contents):
        """Store objects and give their pointers."""
        drafts = []
        for content in contents:
            with self.store.draft("test") as draft:
                draft.write(content)
            drafts.append(draft)
        with self.store.locked():
            self.store.keep(drafts)
        self.store.discard("test")
        return [draft.pointer for draft in drafts]

    def set(self, key, value):
        self.git("config", key, str(value))

    def read(self, pointer):
        return self.store.file(pointer).read_bytes()

    def partial(self, pointer):
        """Return the file in which an object comes together."""
        return self.path / ".git/tablevault/incomplete" / pointer.oid

    def leave(self, pointer, content):
        """Leave the beginning of an object, as somebody does who dies."""
        self.partial(pointer).parent.mkdir(exist_ok=True)
        self.partial(pointer).write_bytes(content)


@pytest.fixture
def place(tmp_path, git):
    """Make repositories with stores; tries again come at once."""

    def make(name="here"):
        path = tmp_path / name
        path.mkdir()
        git(path, "init", "-q", "-b", "main")
        made = Place(path, git)
        made.set("lfs.transfer.maxretrydelay", 0)
        made.set("lfs.transfer.maxretries", 3)
        made.set("lfs.activitytimeout", 100)
        return made

    return make


@pytest.fixture
def here(place):
    return place()


@pytest.fixture
def servers():
    """Start servers of our own."""
    with contextlib.ExitStack() as stack:

        def start(tls=None):
            server = OwnServer(tls)
            stack.callback(server.stop)
            return server

        yield start


@pytest.fixture
def server(servers, here):
    """Return a server that is the remote `origin` of the repository `here`."""
    made = servers()
    here.git("remote", "add", "origin", made.url)
    return made


@pytest.fixture
def contents():
    """Make contents that differ, of some sizes, the same ones in each run."""

    def make(count, size=1000, seed=0):
        source = random.Random(seed)
        return [source.randbytes(size + source.randrange(size)) for _ in range(count)]

    return make


@pytest.fixture
def real_server(tmp_path):
    """Start servers of git and giftless; give their URL and folder."""
    with contextlib.ExitStack() as stack:

        def start(login=""):
            root = tmp_path / "served"
            command = [sys.executable, "-W", "ignore", "-m", "tests.remotes.real_server", str(root)]
            process = subprocess.Popen(
                [*command, login] if login else command, stdout=subprocess.PIPE, text=True
            )
            stack.enter_context(process)
            stack.callback(process.terminate)
            port = process.stdout.readline().strip()
            assert port
            return f"http://127.0.0.1:{port}", root

        yield start
