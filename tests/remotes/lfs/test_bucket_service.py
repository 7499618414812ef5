"""The credentials of a bucket, and the errors of its service."""

from __future__ import annotations

import socket

import pytest

from tablevault.errors import TVCredentialsError, TVRemoteError
from tablevault.remotes.lfs.transfer import send
from tests.remotes.conftest import pointer_of
from tests.remotes.lfs.conftest import MB, opened, stored
from tests.remotes.lfs.test_http_transport import error_of, fetch, push


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
