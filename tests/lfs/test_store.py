"""The object store: each object once, read-only, never trusted."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault.errors import TVFileError
from tablevault.files.disk import hash_file
from tablevault.lfs.pointer import EMPTY, Pointer
from tablevault.lfs.store import Draft, HashCache, ObjectStore
from tablevault.names import ObjectId


@pytest.fixture
def root(tmp_path):
    (tmp_path / "state/tmp").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def store(root):
    return ObjectStore(root / "lfs", root / "state/tmp")


def draft(store, content, owner="p"):
    with store.draft(owner) as file:
        file.write(content)
    return file


def put(store, content):
    """Store `content` and give its pointer."""
    file = draft(store, content)
    with store.locked():
        store.keep([file])
    return file.pointer


def objects(root):
    return sorted(path for path in (root / "lfs/objects").rglob("*") if path.is_file())


def rewrite(path, content, **times):
    """Change the bytes of a read-only file in place."""
    path.chmod(0o644)
    path.write_bytes(content)
    if times:
        os.utime(path, **times)
    path.chmod(0o444)


def test_an_object_is_where_git_lfs_looks_for_it(store, root):
    pointer = put(store, b"hello")
    oid = hashlib.sha256(b"hello").hexdigest()
    assert pointer == Pointer(oid=ObjectId(oid), size=5)
    assert objects(root) == [root / "lfs/objects" / oid[:2] / oid[2:4] / oid]
    assert store.file(pointer).read_bytes() == b"hello"


def test_an_object_is_read_only(store, root):
    put(store, b"hello")
    assert objects(root)[0].stat().st_mode & 0o777 == 0o444


def test_an_object_is_older_than_gits_index_may_be(store, root):
    put(store, b"hello")
    assert objects(root)[0].stat().st_mtime_ns < draft(store, b"x").path.stat().st_mtime_ns - 10**9


def test_equal_bytes_are_kept_once(store, root):
    first = put(store, b"same")
    inode = store.file(first).stat().st_ino
    files = [draft(store, b"same"), draft(store, b"same"), draft(store, b"other")]
    with store.locked():
        store.keep(files)
    assert len(objects(root)) == 2
    assert store.file(first).stat().st_ino == inode
    assert not list((root / "state/tmp/p").iterdir())


def test_an_empty_file_is_never_stored(store, root):
    pointer = put(store, b"")
    assert pointer == Pointer(oid=EMPTY, size=0)
    assert objects(root) == []
    assert store.has(pointer)
    assert store.file(pointer).read_bytes() == b""
    store.check_out(pointer, root / "target")
    assert (root / "target").read_bytes() == b""


def test_a_draft_knows_size_and_hash_while_it_is_written(store):
    with store.draft("p") as file:
        assert file.tell() == 0
        assert file.write(memoryview(b"abcdef")[::1]) == 6
        assert file.write(bytearray(b"gh")) == 2
        assert file.tell() == 8
    assert file.pointer == Pointer(oid=ObjectId(hashlib.sha256(b"abcdefgh").hexdigest()), size=8)
    assert hash_file(file.path) == file.pointer.oid


@given(st.lists(st.binary(max_size=100), max_size=8))
def test_a_draft_hashes_what_it_writes(tmp_path_factory, chunks):
    folder = tmp_path_factory.mktemp("store")
    file = ObjectStore(folder / "lfs", folder / "state/tmp").draft("p")
    with file:
        for chunk in chunks:
            file.write(chunk)
    assert hash_file(file.path) == file.pointer.oid
    assert file.path.stat().st_size == file.pointer.size


@pytest.mark.parametrize("count", [1, 100])
def test_copied_drafts_have_the_bytes_of_their_sources(store, tmp_path, count):
    sources = [tmp_path / f"source {number}" for number in range(count)]
    for source in sources:
        source.write_bytes(os.urandom((3 << 20) // count))
    files = store.drafts_of(sources, "p")
    assert [file.pointer.oid for file in files] == [hash_file(source) for source in sources]
    with store.locked():
        store.keep(files)
    assert all(store.file(file.pointer).stat().st_size for file in files)


@pytest.mark.parametrize("kind", ["fifo", "link", "folder", "nothing"])
def test_what_is_no_regular_file_is_not_waited_for(store, tmp_path, kind):
    source = tmp_path / "source"
    match kind:
        case "fifo":
            os.mkfifo(source)
        case "link":
            source.symlink_to("/etc/hostname")
        case "folder":
            source.mkdir()
    with pytest.raises(OSError) as caught:  # noqa: PT011 - which one is the system's business
        store.drafts_of([source], "p")
    assert caught.value.filename == str(source)


def test_a_file_that_changes_while_it_is_copied_is_refused(store, tmp_path, monkeypatch):
    source = tmp_path / "source"
    source.write_bytes(b"x" * 100)

    def write(self, data):
        with source.open("ab") as file:
            file.write(b"more")
        return real(self, data)

    real = Draft.write
    monkeypatch.setattr(Draft, "write", write)
    with pytest.raises(OSError, match="changes while it is read"):
        store.drafts_of([source], "p")


def test_discarded_drafts_are_gone_and_those_of_others_are_not(store, root):
    draft(store, b"a", owner="a")
    other = draft(store, b"b", owner="b")
    store.discard("a")
    store.discard("nobody")
    assert [path.name for path in (root / "state/tmp").iterdir()] == ["b"]
    assert other.path.exists()


def test_a_missing_object_is_an_error_with_its_name(store):
    pointer = Pointer(oid=ObjectId("ab" * 32), size=3)
    assert not store.has(pointer)
    with pytest.raises(TVFileError, match="is not in this vault") as caught:
        store.file(pointer)
    assert caught.value.oid == "ab" * 32


def test_a_flipped_byte_is_noticed_and_the_object_set_aside(store, root):
    pointer = put(store, b"hello")
    rewrite(objects(root)[0], b"hellO")
    with pytest.raises(TVFileError, match="is damaged; it was moved to") as caught:
        store.file(pointer)
    assert str(root / "lfs/bad" / pointer.oid) in str(caught.value)
    assert (root / "lfs/bad" / pointer.oid).read_bytes() == b"hellO"
    assert objects(root) == []
    assert not store.has(pointer)


def test_a_truncated_object_is_noticed(store, root):
    pointer = put(store, b"hello")
    kept = objects(root)[0].stat()
    rewrite(objects(root)[0], b"hell", ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert not store.has(pointer)
    with pytest.raises(TVFileError, match="damaged"):
        store.file(pointer)


def test_a_replaced_object_is_noticed_although_size_and_time_are_the_same(store, root):
    pointer = put(store, b"hello")
    path = objects(root)[0]
    kept = path.stat()
    other = root / "other"
    other.write_bytes(b"HELLO")
    os.utime(other, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    other.replace(path)
    with pytest.raises(TVFileError, match="damaged"):
        store.file(pointer)


def test_an_object_that_was_only_touched_is_hashed_again_and_good(store, root):
    pointer = put(store, b"hello")
    os.utime(objects(root)[0])
    assert store.file(pointer).read_bytes() == b"hello"


def test_an_object_that_somebody_else_brought_is_checked_at_first_use(store, root):
    oid = hashlib.sha256(b"expected").hexdigest()
    path = root / "lfs/objects" / oid[:2] / oid[2:4] / oid
    path.parent.mkdir(parents=True)
    path.write_bytes(b"exPected")
    with pytest.raises(TVFileError, match="damaged"):
        store.file(Pointer(oid=ObjectId(oid), size=8))


def test_damage_is_mended_by_storing_the_bytes_again(store, root):
    pointer = put(store, b"hello")
    rewrite(objects(root)[0], b"hellO")
    assert put(store, b"hello") == pointer
    assert store.file(pointer).read_bytes() == b"hello"


def test_a_damaged_object_is_fetched_again(root):
    def fetch(pointer):
        assert pointer.size == 5
        put(plain, b"hello")

    plain = ObjectStore(root / "lfs", root / "state/tmp")
    store = ObjectStore(root / "lfs", root / "state/tmp", fetch)
    pointer = put(store, b"hello")
    rewrite(objects(root)[0], b"hellO")
    assert store.file(pointer).read_bytes() == b"hello"
    objects(root)[0].unlink()
    assert store.file(pointer).read_bytes() == b"hello"


def test_what_is_fetched_wrongly_is_not_used(root):
    store = ObjectStore(root / "lfs", root / "state/tmp", lambda _: None)
    with pytest.raises(TVFileError, match="is not in this vault"):
        store.file(Pointer(oid=ObjectId("ab" * 32), size=3))


def test_many_readers_of_a_damaged_object_get_the_same_error(store, root):
    pointer = put(store, b"x" * 100_000)
    rewrite(objects(root)[0], b"y" * 100_000)
    errors = []
    start = threading.Barrier(8)

    def read():
        start.wait()
        try:
            store.file(pointer)
        except Exception as error:  # noqa: BLE001 - the test looks at what came
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [type(error) for error in errors] == [TVFileError] * 8


def test_an_object_is_checked_out_read_only_and_recognised(store, root):
    pointer = put(store, b"hello")
    store.check_out(pointer, root / "target")
    assert (root / "target").read_bytes() == b"hello"
    assert (root / "target").stat().st_mode & 0o777 == 0o444
    assert store.is_object(root / "target", pointer.oid) == (
        (root / "target").stat().st_ino == objects(root)[0].stat().st_ino
    )


def test_a_file_system_without_links_gets_a_copy_that_is_not_the_object(store, root, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EXDEV, "another device")

    monkeypatch.setattr(os, "link", refuse)
    pointer = put(store, b"hello")
    store.check_out(pointer, root / "target")
    assert (root / "target").read_bytes() == b"hello"
    assert not store.is_object(root / "target", pointer.oid)


def test_an_edited_file_is_not_taken_for_the_object(store, root):
    pointer = put(store, b"hello")
    other = root / "other"
    other.write_bytes(b"hello")
    assert not store.is_object(other, pointer.oid)
    assert not store.is_object(root / "missing", pointer.oid)
    assert not store.is_object(other, ObjectId("ab" * 32))


def test_only_objects_that_nobody_needs_are_deleted(store):
    needed, free = put(store, b"needed"), put(store, b"free")
    missing = ObjectId("ab" * 32)
    store.delete([needed.oid, free.oid, missing], needed=lambda oid: oid == needed.oid)
    assert store.has(needed)
    assert not store.has(free)


def test_an_object_is_not_deleted_between_keeping_and_noting_the_need(store, root):
    pointer = put(store, b"shared")
    needs = set()
    asked = threading.Event()

    def needed(oid):
        asked.set()
        return oid in needs

    with store.locked():
        store.keep([draft(store, b"shared")])
        remover = threading.Thread(
            target=store.delete, args=([pointer.oid],), kwargs={"needed": needed}
        )
        remover.start()
        assert not asked.wait(0.1)
        needs.add(pointer.oid)
    remover.join()
    assert store.has(pointer)


def test_processes_that_store_the_same_bytes_keep_one_object(root, python, finish):
    script = """
import sys
from pathlib import Path
from tablevault.lfs.store import ObjectStore
root = Path(sys.argv[1])
store = ObjectStore(root / "lfs", root / "state/tmp")
inodes = {}
for number in range(30):
    with store.draft(sys.argv[2]) as draft:
        draft.write(b"%d" % (number % 5) * 1000)
    with store.locked():
        store.keep([draft])
    inode = store.file(draft.pointer).stat().st_ino
    assert inodes.setdefault(draft.pointer.oid, inode) == inode
print(*sorted(inodes.values()))
"""
    children = [python(script, root, name) for name in "abc"]
    assert len({finish(child) for child in children}) == 1
    assert len(objects(root)) == 5


def test_a_store_without_its_ledger_works_on(store, root):
    pointer = put(store, b"hello")
    for step in ("delete", "damage"):
        for path in (root / "state").glob("objects.sqlite*"):
            path.unlink() if step == "delete" else path.write_bytes(b"damage" * 999)
        assert store.file(pointer).read_bytes() == b"hello"
        assert put(store, b"hello") == pointer


def test_a_child_of_a_fork_can_store_and_its_parent_sees_it(store, root):
    put(store, b"before")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            put(store, b"in the child")
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    oid = ObjectId(hashlib.sha256(b"in the child").hexdigest())
    assert store.file(Pointer(oid=oid, size=12)).read_bytes() == b"in the child"
    assert len(objects(root)) == 2


def test_git_lfs_reads_the_store(git, new_repository):
    repository = new_repository()
    path = repository.path
    store = ObjectStore(path / ".git/lfs", path / ".git/tablevault/tmp")
    pointer = put(store, b"rows")
    (path / "tables/t/base").mkdir(parents=True)
    (path / "tables/t/base/dataframe.parquet").write_bytes(pointer.encode())
    shown = subprocess.run(
        ["git", "-C", str(path), "lfs", "smudge"],
        input=pointer.encode(),
        capture_output=True,
        check=True,
    )
    assert shown.stdout == b"rows"


# -- what it remembers of objects that it has hashed ----------------------------------------------

OID = ObjectId("a" * 64)


def test_a_stamp_is_known_once_remembered(tmp_path):
    ledger = HashCache(tmp_path / "objects.sqlite")
    assert not ledger.knows(OID, (1, 2, 3))
    ledger.remember([(OID, (1, 2, 3))])
    assert ledger.knows(OID, (1, 2, 3))


def test_each_part_of_a_stamp_counts(tmp_path):
    ledger = HashCache(tmp_path / "objects.sqlite")
    ledger.remember([(OID, (1, 2, 3))])
    assert not ledger.knows(OID, (9, 2, 3))
    assert not ledger.knows(OID, (1, 9, 3))
    assert not ledger.knows(OID, (1, 2, 9))
    assert not ledger.knows(ObjectId("b" * 64), (1, 2, 3))


def test_the_newest_stamp_of_an_object_counts(tmp_path):
    ledger = HashCache(tmp_path / "objects.sqlite")
    ledger.remember([(OID, (1, 2, 3))])
    ledger.remember([(OID, (4, 5, 6))])
    assert ledger.knows(OID, (4, 5, 6))
    assert not ledger.knows(OID, (1, 2, 3))


def test_the_largest_inode_and_time_can_be_remembered(tmp_path):
    ledger = HashCache(tmp_path / "objects.sqlite")
    stamp = (2**63 - 1, 2**63 - 1, -1)
    ledger.remember([(OID, stamp)])
    assert ledger.knows(OID, stamp)


def test_a_ledger_that_is_deleted_knows_nothing(tmp_path):
    path = tmp_path / "objects.sqlite"
    ledger = HashCache(path)
    ledger.remember([(OID, (1, 2, 3))])
    path.unlink()
    assert not ledger.knows(OID, (1, 2, 3))
    ledger.remember([(OID, (1, 2, 3))])
    assert ledger.knows(OID, (1, 2, 3))


def test_a_ledger_that_is_damaged_knows_nothing(tmp_path):
    path = tmp_path / "objects.sqlite"
    HashCache(path).remember([(OID, (1, 2, 3))])
    for part in tmp_path.iterdir():
        part.write_bytes(b"damaged" * 1000)
    ledger = HashCache(path)
    assert not ledger.knows(OID, (1, 2, 3))
    ledger.remember([(OID, (1, 2, 3))])
    assert ledger.knows(OID, (1, 2, 3))


def test_a_ledger_of_another_shape_is_made_again(tmp_path):
    import sqlite3

    path = tmp_path / "objects.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE hashed (something TEXT)")
    connection.close()
    ledger = HashCache(path)
    assert not ledger.knows(OID, (1, 2, 3))
    ledger.remember([(OID, (1, 2, 3))])
    assert ledger.knows(OID, (1, 2, 3))
