"""Transports to buckets, and a server that checks credentials."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing

import pytest

from tablevault.remotes.http.retry import TransferLimits
from tablevault.remotes.lfs.bucket_transport import BucketTransport
from tablevault.remotes.lfs.endpoint import parse_bucket
from tablevault.remotes.lfs.transport import StoredObject

MB = 1 << 20
LIMITS = TransferLimits(threads=4, tries=2, longest_s=0)


def opened(url, operation="upload", **options):
    return closing(BucketTransport(parse_bucket(url), operation, LIMITS, **options))


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


def start(here, direction, url, *pointers):
    objects = [f"{pointer.oid}:{pointer.size}" for pointer in pointers]
    command = [sys.executable, "-m", "tests.remotes.child", direction, str(here.path), url]
    return subprocess.Popen([*command, *objects], stderr=subprocess.PIPE, text=True)
