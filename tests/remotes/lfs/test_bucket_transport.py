"""Transfers to and from bucket of real S3 servers."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
import threading
from contextlib import closing

import boto3
import pytest

from tablevault import TableVault
from tablevault.errors import (
    TVCredentialsError,
    TVFileError,
    TVRemoteError,
    TVTransferError,
)
from tablevault.lfs.pointer import Pointer
from tablevault.progress import Progress
from tablevault.remotes.http.retry import PassingError, TransferLimits
from tablevault.remotes.lfs.batch_api import Offer
from tablevault.remotes.lfs.bucket_transport import BucketTransport
from tablevault.remotes.lfs.endpoint import parse_bucket
from tablevault.remotes.lfs.transfer import receive, send
from tablevault.remotes.lfs.transport import Statistics, StoredObject, TransferMeter
from tests.remotes.conftest import pointer_of
from tests.remotes.lfs.test_http_transport import error_of, fetch, push

MB = 1 << 20
LIMITS = TransferLimits(threads=4, tries=2, longest_s=0)


def opened(url, operation="upload", **options):
    return closing(BucketTransport(parse_bucket(url), operation, LIMITS, **options))


def a_meter():
    return TransferMeter(Statistics("send", "sent", Progress()), threading.Event())


def offer_of(pointer):
    return Offer(pointer=pointer, is_wanted=True)


def stored(pointer):
    return StoredObject(oid=pointer.oid, size=pointer.size, modified_at=0)


@pytest.fixture(scope="module")
def moto_process(tmp_path_factory):
    """Start a server that checks credentials; give its process, folder, endpoint and one key."""
    folder = tmp_path_factory.mktemp("moto")
    command = [sys.executable, "-W", "ignore", "-m", "tests.remotes.real_bucket", "moto"]
    with subprocess.Popen([*command, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        port, *key = process.stdout.readline().split()
        yield process, folder, f"http://127.0.0.1:{port}", key
        process.kill()


@pytest.fixture
def moto(moto_process):
    """Return the endpoint and the key that it accepts."""
    return moto_process[2:]


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


def test_a_large_object_is_sent_in_parts(here, place, bucket):
    content = bytes(range(256)) * (11 * MB // 256)
    [pointer] = here.add(content)
    with opened(bucket.url(), part_size=5 * MB) as transport:
        assert send(transport, [pointer], here.store).objects == 1
    assert bucket.file(pointer).read_bytes() == content
    there = place("there")
    with opened(bucket.url(), "download") as transport:
        assert receive(transport, [pointer], there.store).bytes == len(content)
    assert there.read(pointer) == content


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


def start(here, direction, url, *pointers):
    objects = [f"{pointer.oid}:{pointer.size}" for pointer in pointers]
    command = [sys.executable, "-m", "tests.remotes.child", direction, str(here.path), url]
    return subprocess.Popen([*command, *objects], stderr=subprocess.PIPE, text=True)


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


# -- uploads in parts -----------------------------------------------------------------------------


@pytest.fixture
def parts(moto_process, aws):
    """Return the address of a folder of its own, a client, and what holds parts back."""
    _, folder, endpoint, key = moto_process
    aws(*key)
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    yield f"s3://open/{{}}?endpoint={endpoint}", client, folder / "parts"
    (folder / "parts").unlink(missing_ok=True)


def key_of(pointer, prefix):
    return f"{prefix}/lfs/objects/{pointer.oid[:2]}/{pointer.oid[2:4]}/{pointer.oid}"


def sizes_there(client, key):
    """Return the sizes of the parts of the one unfinished upload of a key, by number."""
    [upload] = client.list_multipart_uploads(Bucket="open", Prefix=key)["Uploads"]
    found = client.list_parts(Bucket="open", Key=key, UploadId=upload["UploadId"])
    return {part["PartNumber"]: part["Size"] for part in found.get("Parts", ())}


def test_after_a_kill_only_the_parts_that_are_not_there_are_sent(here, parts, moto_process):
    url, client, limit = parts
    content = random.Random(0).randbytes(25 * MB)
    [pointer] = here.add(content)
    key = key_of(pointer, "killed")
    limit.write_text("2")
    process = start(here, "send", url.format("killed"), pointer)
    lines = sorted(moto_process[0].stdout.readline() for _ in range(4))
    assert lines == [f"held /open/{key}\n"] * 2 + [f"taken /open/{key}\n"] * 2
    process.kill()
    process.wait()
    process.stderr.close()
    limit.unlink()
    there = sizes_there(client, key)
    assert len(there) == 2
    report, counted = push(here, [pointer], url.format("killed"))
    assert (report.objects, report.bytes) == (1, len(content) - sum(there.values()))
    assert counted["send"] == len(content)
    assert client.get_object(Bucket="open", Key=key)["Body"].read() == content
    assert "Uploads" not in client.list_multipart_uploads(Bucket="open", Prefix=key)


def test_parts_of_others_are_sent_again_if_they_differ(here, parts):
    url, client, _ = parts
    content = random.Random(0).randbytes(11 * MB)
    [pointer] = here.add(content)
    place = {"Bucket": "open", "Key": key_of(pointer, "foreign")}
    upload = {**place, "UploadId": client.create_multipart_upload(**place)["UploadId"]}
    for number, body in enumerate([bytes(5 * MB), content[5 * MB : 10 * MB], b"x", b"more"], 1):
        client.upload_part(**upload, PartNumber=number, Body=body)
    with opened(url.format("foreign"), part_size=5 * MB) as transport:
        assert send(transport, [pointer], here.store).bytes == 6 * MB
    assert client.get_object(**place)["Body"].read() == content


def test_gc_removes_interrupted_uploads(here, parts, bare, tmp_path):
    """The server says of each upload that it is many years old."""
    url, client, _ = parts
    vault = TableVault(tmp_path / "vault", "ana", create=True)
    vault.add_remote("origin", bare, data=url.format("gc"))
    vault.push()
    [pointer] = here.add(b"x")
    key = key_of(pointer, "gc")
    client.create_multipart_upload(Bucket="open", Key=key)
    assert str(vault.gc(remote="origin")) == (
        "origin: 0 objects (0 bytes) and 1 interrupted upload would be removed."
    )
    assert sizes_there(client, key) == {}
    assert vault.gc(remote="origin", dry_run=False).uploads == 1
    assert vault.gc(remote="origin", dry_run=False).uploads == 0


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


# -- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize("transfer", [push, fetch])
@pytest.mark.parametrize("count", [1, 3])
def test_a_missing_bucket_is_named(here, bucket, contents, transfer, count):
    pointers = (
        here.add(*contents(count)) if transfer is push else [*map(pointer_of, contents(count))]
    )
    with pytest.raises(TVRemoteError, match=f'no bucket "absent" at {bucket.endpoint}'):
        transfer(here, pointers, bucket.url(name="absent"))


def test_a_service_that_is_gone_is_reported_after_all_tries(here, aws, contents):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(TVRemoteError, match=r'The bucket "s3://gone\?.*did not answer.*tries'):
        push(here, here.add(*contents(2)), f"s3://gone?endpoint=http://127.0.0.1:{port}")


def test_a_full_service_refuses_objects(here, bucket, contents):
    bucket.fill()
    error = error_of(push(here, here.add(*contents(1)), bucket.url())[0])
    assert error.code == 507
    assert "has no space for object" in error.message


def test_the_right_credentials_sign_every_kind_of_request(here, place, aws, moto, contents):
    endpoint, key = moto
    aws(*key)
    url = f"s3://open/vault?endpoint={endpoint}"
    made = [*contents(3), bytes(11 * MB)]
    pointers = here.add(*made)
    with opened(url, part_size=5 * MB) as transport:
        assert send(transport, pointers, here.store).objects == 4
    with opened(url) as transport:
        assert send(transport, pointers, here.store).present == 4
        assert {each.oid for each in transport.every()} == {each.oid for each in pointers}
    there = place("there")
    fetch(there, pointers, url)
    assert [there.read(pointer) for pointer in pointers] == made
    with opened(url) as transport:
        transport.delete(stored(pointers[0]))
        assert [offer.is_wanted for offer in transport.ask(pointers)] == [True, False, False, False]


def test_a_profile_has_the_credentials(here, aws, moto, contents, monkeypatch, tmp_path):
    endpoint, (key, secret) = moto
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    file = tmp_path / "credentials"
    file.write_text(f"[lab]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "lab")
    url = f"s3://open/profile?endpoint={endpoint}"
    assert push(here, here.add(*contents(1)), url)[0].objects == 1


@pytest.mark.parametrize("wrong", ["key", "secret"])
def test_wrong_credentials_are_named(here, aws, moto, contents, wrong):
    endpoint, (key, secret) = moto
    aws("AKIAWRONG" if wrong == "key" else key, "wrong" if wrong == "secret" else secret)
    with pytest.raises(TVCredentialsError, match="does not accept the AWS credentials"):
        push(here, here.add(*contents(2)), f"s3://open?endpoint={endpoint}")


def test_no_credentials_are_named(here, aws, contents, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(TVCredentialsError, match=r"were not found: there are none.*Set AWS_ACCESS"):
        push(here, here.add(*contents(1)), "s3://bucket")


def test_a_profile_that_is_missing_is_named(here, aws, contents, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(TVCredentialsError, match="nobody"):
        push(here, here.add(*contents(1)), "s3://bucket")


def test_a_bucket_that_may_not_be_written_is_named(here, aws, moto, contents):
    endpoint, key = moto
    aws(*key)
    with pytest.raises(TVCredentialsError, match=r"denies access \(403, AccessDenied"):
        push(here, here.add(*contents(2)), f"s3://locked?endpoint={endpoint}")


def test_without_the_extra_the_error_names_it(here, aws, python, finish, contents):
    """The packages are hidden from a process of its own."""
    script = """
import sys
sys.modules["obstore"] = None
from tablevault.remotes.lfs.bucket_transport import BucketTransport
from tablevault.remotes.lfs.endpoint import parse_bucket
from tablevault.remotes.http.retry import TransferLimits
try:
    BucketTransport(parse_bucket("s3://bucket"), "upload", TransferLimits(threads=1, tries=1))
except Exception as error:
    print(type(error).__name__, error)
"""
    assert finish(python(script)) == (
        'TVRemoteError A bucket needs the package "obstore.auth", which is not installed. '
        "Install it: pip install 'tablevault[s3]'.\n"
    )


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
