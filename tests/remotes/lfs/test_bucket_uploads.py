"""Uploads to a bucket in parts, also interrupted ones."""

from __future__ import annotations

import random

import boto3
import pytest

from tablevault import TableVault
from tablevault.remotes.lfs.transfer import receive, send
from tests.remotes.lfs.conftest import MB, opened, start
from tests.remotes.lfs.test_http_transport import push


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
