"""Repositories with stores, servers to transfer to, and programs that have to be there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import subprocess
import sys

import pytest

from tablevault import clone_vault
from tablevault.lfs.pointer import Pointer
from tablevault.lfs.store import ObjectStore
from tablevault.names import ObjectId
from tests.clones import BO, write
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


class Bucket:
    """A bucket of a server; it is a folder."""

    def __init__(self, folder, process, endpoint):
        self.folder = folder
        self.process = process
        self.endpoint = endpoint

    def url(self, prefix="", *, name=""):
        """Return the address of the bucket, or of a folder in it."""
        place = "/".join(filter(None, [name or self.folder.name, prefix]))
        return f"s3://{place}?endpoint={self.endpoint}"

    def file(self, pointer, prefix=""):
        """Return the file of an object."""
        objects = self.folder / prefix / "lfs/objects"
        return objects / pointer.oid[:2] / pointer.oid[2:4] / pointer.oid

    def files(self):
        """Return the files in the bucket."""
        return sorted(path for path in self.folder.rglob("*") if path.is_file())

    def fill(self):
        """Accept no object any more."""
        self.folder.with_suffix(".full").touch()

    @contextlib.contextmanager
    def holding(self):
        """Answer no request that sends bytes; give what waits for one."""
        flag = self.folder.with_suffix(".hold")
        flag.touch()

        def wait():
            while self.process.stdout.readline() != f"held {self.folder.name}\n":
                assert self.process.poll() is None

        try:
            yield wait
        finally:
            flag.unlink()


@pytest.fixture
def aws(monkeypatch):
    """Set the credentials of AWS, and nothing else of it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)

    def set_key(key, secret):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)

    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    set_key("key", "secret")
    return set_key


@pytest.fixture(scope="session")
def localbucket(tmp_path_factory):
    """Start a server whose buckets are folders; give its folder, process and endpoint."""
    root = tmp_path_factory.mktemp("served")
    command = [sys.executable, "-W", "ignore", "-m", "tests.remotes.real_bucket"]
    with subprocess.Popen(
        [*command, "localbucket", str(root)], stdout=subprocess.PIPE, text=True
    ) as process:
        yield root, process, f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.kill()


@pytest.fixture
def bucket(localbucket, aws):
    """Make an empty bucket."""
    root, process, endpoint = localbucket
    folder = root / f"bucket{len(list(root.iterdir()))}"
    folder.mkdir()
    return Bucket(folder, process, endpoint)


def furnish(vault):
    """Make a table."""
    vault.create_table("t")
    write(vault, [1, 2])


@pytest.fixture
def ana(copy_of, tmp_path):
    return copy_of(furnish, tmp_path / "ana")


@pytest.fixture
def shared(ana, bare, tmp_path):
    """Return two vaults and what is between them."""
    ana.add_remote("origin", bare)
    ana.push()
    return ana, clone_vault(bare, tmp_path / "bo", BO)
