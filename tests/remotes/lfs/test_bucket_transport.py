"""Transfers to and from bucket of real S3 servers."""

from __future__ import annotations

import threading

import pytest

from tablevault.errors import TVFileError, TVTransferError
from tablevault.lfs.pointer import Pointer
from tablevault.progress import Progress
from tablevault.remotes.http.retry import PassingError
from tablevault.remotes.lfs.batch_api import Offer
from tablevault.remotes.lfs.transport import Statistics, TransferMeter
from tests.remotes.conftest import pointer_of
from tests.remotes.lfs.conftest import MB, opened, start, stored
from tests.remotes.lfs.test_http_transport import error_of, fetch, push


def a_meter():
    return TransferMeter(Statistics("send", "sent", Progress()), threading.Event())


def offer_of(pointer):
    return Offer(pointer=pointer, is_wanted=True)


# -- there and back -----------------------------------------------------------------------------


def test_objects_are_sent_there_and_back(here, place, bucket, contents):
    made = contents(30)
    pointers = here.add(*made)
    report, counted = push(here, pointers, bucket.url())
    assert (report.objects, report.bytes, report.present) == (30, sum(map(len, made)), 0)
    assert counted["send"] == report.bytes
    assert bucket.files() == sorted(bucket.file(pointer) for pointer in pointers)
    there = place("there")
    report, counted = fetch(there, pointers, bucket.url())
    assert (report.objects, report.bytes) == (30, sum(map(len, made)))
    assert [there.read(pointer) for pointer in pointers] == made
    assert counted["receive"] == report.bytes


@pytest.mark.parametrize("prefix", ["a/b", "my vault", "ü+%41&=x", "#1"])
def test_a_prefix_is_taken_as_it_is_written(here, bucket, contents, prefix):
    pointers = here.add(*contents(2))
    assert push(here, pointers, bucket.url(prefix))[0].objects == 2
    assert bucket.files() == sorted(bucket.file(pointer, prefix) for pointer in pointers)
    assert push(here, pointers, bucket.url(prefix))[0].present == 2


def test_what_is_there_is_not_sent_again(here, bucket, contents):
    pointers = here.add(*contents(5))
    push(here, pointers[:2], bucket.url())
    before = bucket.file(pointers[0]).stat()
    report, _ = push(here, pointers, bucket.url())
    assert (report.objects, report.present) == (3, 2)
    assert bucket.file(pointers[0]).stat() == before


def test_a_bucket_may_have_more_objects_than_a_page_of_its_list(here, place, bucket, contents):
    for number in range(1001):
        path = bucket.file(Pointer(oid=f"{number:064x}", size=1))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    made = contents(3)
    pointers = here.add(*made)
    assert push(here, pointers, bucket.url())[0].objects == 3
    assert push(here, pointers, bucket.url())[0].present == 3
    there = place("there")
    assert fetch(there, pointers, bucket.url())[0].objects == 3


def test_a_download_resumes_within_the_object(here, place, bucket, contents):
    [content] = contents(1)
    [pointer] = here.add(content)
    push(here, [pointer], bucket.url())
    there = place("there")
    there.leave(pointer, content[:700])
    assert fetch(there, [pointer], bucket.url())[0].bytes == len(content) - 700
    assert there.read(pointer) == content


def test_a_download_of_all_bytes_needs_no_request(here, place, bucket, contents):
    [content] = contents(1)
    [pointer] = here.add(content)
    push(here, [pointer], bucket.url())
    there = place("there")
    there.leave(pointer, content)
    assert fetch(there, [pointer], bucket.url())[0].bytes == 0
    assert there.read(pointer) == content


# -- nothing wrong gets in or out -----------------------------------------------------------------


def test_wrong_bytes_in_the_bucket_do_not_arrive(here, place, bucket, contents):
    [pointer] = here.add(*contents(1))
    push(here, [pointer], bucket.url())
    bucket.file(pointer).write_bytes(bytes(pointer.size))
    there = place("there")
    error = error_of(fetch(there, [pointer], bucket.url())[0])
    assert isinstance(error, TVTransferError)
    assert "sent wrong bytes" in error.message
    assert not there.store.has(pointer)


def test_an_object_of_a_wrong_size_is_no_object_and_is_replaced(here, place, bucket, contents):
    made = contents(1)
    [pointer] = here.add(*made)
    bucket.file(pointer).parent.mkdir(parents=True)
    bucket.file(pointer).write_bytes(b"half")
    error = error_of(fetch(place("there"), [pointer], bucket.url())[0])
    assert error.code == 404
    assert push(here, [pointer], bucket.url())[0].objects == 1
    assert bucket.file(pointer).read_bytes() == made[0]


@pytest.mark.parametrize("size", [1000, 6 * MB])
def test_a_file_that_changes_does_not_get_into_the_bucket(here, bucket, tmp_path, size):
    pointer = pointer_of(bytes(size))
    source = tmp_path / "changed"
    source.write_bytes(bytes(size - 1) + b"x")
    with (
        opened(bucket.url(), part_size=5 * MB) as transport,
        pytest.raises(TVFileError, match="changed during the upload"),
    ):
        transport.put(offer_of(pointer), source, a_meter())
    assert not [path for path in bucket.files() if path.name == pointer.oid]


@pytest.mark.parametrize("size", [1000, 6 * MB], ids=["whole", "in parts"])
def test_an_object_that_somebody_else_put_first_stays(here, bucket, size):
    """The offer is older than that: the condition of the request is what counts."""
    [pointer] = here.add(bytes(size))
    with opened(bucket.url(), part_size=5 * MB) as transport:
        [offer] = transport.ask([pointer])
        assert offer.is_wanted
        push(here, [pointer], bucket.url())
        before = bucket.file(pointer).stat()
        transport.put(offer, here.store.file(pointer), a_meter())
    assert bucket.file(pointer).stat() == before


def test_two_pushers_at_once_both_succeed(here, place, bucket, contents):
    made = contents(1)
    [pointer] = here.add(*made)
    with bucket.holding() as wait:
        first = start(here, "send", bucket.url(), pointer)
        second = start(here, "send", bucket.url(), pointer)
        wait()
        wait()  # neither knows of the other
    for process in (first, second):
        assert process.wait() == 0, process.stderr.read()
        process.stderr.close()
    assert bucket.file(pointer).read_bytes() == made[0]


# -- crashes and cuts ---------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1000, 9 * MB], ids=["whole", "in parts"])
def test_after_a_kill_in_an_upload_the_next_one_completes_it(here, bucket, size):
    content = b"x" * size
    pointers = here.add(content, b"small")
    with bucket.holding() as wait:
        process = start(here, "send", bucket.url(), *pointers)
        wait()
        process.kill()
        process.wait()
        process.stderr.close()
    there = bucket.file(pointers[0])
    assert not there.exists() or there.read_bytes() == content
    push(here, pointers, bucket.url())
    assert [bucket.file(each).read_bytes() for each in pointers] == [content, b"small"]


@pytest.mark.parametrize("size", [1000, 6 * MB], ids=["whole", "in parts"])
def test_closing_cuts_a_request_that_waits(here, bucket, size):
    [pointer] = here.add(bytes(size))
    errors = []

    def run(transport):
        try:
            transport.put(offer_of(pointer), here.store.file(pointer), a_meter())
        except PassingError as error:
            errors.append(error.reason)

    with bucket.holding() as wait, opened(bucket.url(), part_size=5 * MB) as transport:
        thread = threading.Thread(target=run, args=[transport])
        thread.start()
        wait()
        transport.close()
        thread.join()
    assert errors == ["the transfer was stopped"]


# -- verify, list, delete -----------------------------------------------------------------------


def test_other_bytes_of_the_same_size_are_damage(here, bucket, contents):
    pointers = here.add(*contents(2))
    push(here, pointers, bucket.url("x"))
    bucket.file(pointers[1], "x").write_bytes(bytes(pointers[1].size))
    with opened(bucket.url("x"), "download") as transport:
        assert transport.damaged(pointers[0]) == ""
        oid = pointers[1].oid
        place = f"s3://{bucket.folder.name}/x/lfs/objects/{oid[:2]}/{oid[2:4]}/{oid}"
        assert transport.damaged(pointers[1]) == place


def test_only_objects_are_listed(here, bucket, contents):
    pointers = here.add(*contents(3))
    push(here, pointers, bucket.url())
    for name in ("lfs/objects/ab/cd/note.txt", f"lfs/objects/ab/cd/{pointers[0].oid}", "x"):
        (bucket.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (bucket.folder / name).touch()
    with opened(bucket.url()) as transport:
        listed = {each.oid: each.size for each in transport.every()}
    assert listed == {pointer.oid: pointer.size for pointer in pointers}


def test_deleting_twice_is_deleting(here, bucket, contents):
    [pointer] = here.add(*contents(1))
    push(here, [pointer], bucket.url())
    with opened(bucket.url()) as transport:
        transport.delete(stored(pointer))
        transport.delete(stored(pointer))
    assert not bucket.files()
