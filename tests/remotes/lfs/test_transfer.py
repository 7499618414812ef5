"""Servers that do one wrong thing after the other: only right bytes arrive, and in the end all."""

from __future__ import annotations

import hashlib
import random
import threading

import pytest

from tablevault.errors import TableVaultError
from tests.remotes.conftest import pointer_of
from tests.remotes.lfs.test_http_transport import fetch, push

pytestmark = pytest.mark.faults


def drop(handler, _):
    handler.drop()


def drop_later(handler, _):
    handler.take()
    handler.drop()


def half(handler, source):
    handler.take()
    content = handler.server_of_test.objects.get(handler.path.rpartition("/")[2], b"x" * 1000)
    handler.half(content, sent=source.randrange(len(content)))


def other_bytes(handler, source):
    handler.take()
    content = handler.server_of_test.objects.get(handler.path.rpartition("/")[2], b"x" * 1000)
    handler.reply(200, source.randbytes(len(content)))


def other_size(handler, source):
    handler.take()
    handler.reply(200, source.randbytes(source.randrange(3000)))


def refuse(handler, source):
    handler.take()
    handler.reply(source.choice([401, 403, 404, 408, 416, 429, 500, 502, 503, 504, 507]), b"{}")


def garbage(handler, source):
    handler.take()
    handler.wfile.write(source.randbytes(200))
    handler.drop()


def redirect(handler, source):
    handler.take()
    target = source.choice(["/elsewhere", "//[", "http://127.0.0.1:1/", handler.path])
    handler.reply(307, b"", {"Location": target})


def wrong_part(handler, source):
    handler.take()
    first = source.randrange(1000)
    handler.reply(206, source.randbytes(50), {"Content-Range": f"bytes {first}-{first + 49}/1500"})


WRONG = [drop, drop_later, half, other_bytes, other_size, refuse, garbage, redirect, wrong_part]


def spoil(server, source, share):
    """Let the server answer wrongly, every now and again."""
    lock = threading.Lock()

    def answer(handler):
        with lock:
            wrong = source.choice(WRONG) if source.random() < share else None
        if wrong:
            wrong(handler, source)
        else:
            handler.answer()

    for method in ("GET", "PUT", "POST"):
        server.on(method, "")(answer)


def is_sound(place, pointer):
    """Return whether an object is missing or right, by its bytes."""
    path = place.path / ".git/lfs/objects" / pointer.oid[:2] / pointer.oid[2:4] / pointer.oid
    return not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() == pointer.oid


def until_all(transfer, place, pointers, server):
    """Try again as a person would; the server comes to its senses after ten times."""
    for attempt in range(12):
        if attempt == 10:
            server.rules.clear()
        try:
            report, _ = transfer(place, pointers)
        except TableVaultError:
            continue
        finally:
            assert all(is_sound(place, pointer) for pointer in pointers)
        if not report.failures:
            return
    raise AssertionError(report.failures)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_only_right_bytes_are_received_and_all_of_them(place, servers, contents, seed, share):
    here, server = place(), servers()
    here.git("remote", "add", "origin", server.url)
    made = contents(12, size=1000, seed=seed)
    made.append(random.Random(seed).randbytes(300_000))
    for each in made:
        server.add(each)
    pointers = [pointer_of(each) for each in made]
    spoil(server, random.Random(seed), share)
    until_all(fetch, here, pointers, server)
    assert [here.read(pointer) for pointer in pointers] == made
    assert not [t for t in threading.enumerate() if t.name.startswith("tablevault-transfer")]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_all_is_sent_in_the_end(place, servers, contents, seed, share):
    here, server = place(), servers()
    here.git("remote", "add", "origin", server.url)
    made = contents(12, size=1000, seed=seed)
    pointers = here.add(*made)
    spoil(server, random.Random(seed), share)
    until_all(push, here, pointers, server)
    server.rules.clear()
    report, _ = push(here, pointers)
    assert not report.failures
    assert server.objects == {pointer_of(each).oid: each for each in made}
