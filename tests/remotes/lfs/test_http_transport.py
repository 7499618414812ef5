"""The Batch API with basic transfers, against a server that does what each test wants."""

from __future__ import annotations

import errno
import itertools
import json
import threading
from contextlib import closing

import pytest

from tablevault.errors import (
    TVCredentialsError,
    TVFileError,
    TVOutcomeUnknownError,
    TVRemoteError,
    TVTransferError,
)
from tablevault.lfs.drafts import Partial
from tablevault.lfs.pointer import Pointer
from tablevault.remotes.lfs.transfer import open_transport, receive, send
from tests.counted_progress import CountedProgress
from tests.remotes.conftest import pointer_of


def push(here, pointers, remote="origin", **options):
    progress = CountedProgress()
    with closing(open_transport(here.path, remote, "upload", **options)) as transport:
        return send(transport, pointers, here.store, progress), progress.counters


def fetch(here, pointers, remote="origin", **options):
    progress = CountedProgress()
    with closing(open_transport(here.path, remote, "download", **options)) as transport:
        return receive(transport, pointers, here.store, progress), progress.counters


def asked(server):
    """Return the bodies of the batch requests."""
    bodies = []

    @server.on("POST", "batch$")
    def _(handler):
        bodies.append(json.loads(handler.take()))
        handler.answer()

    return bodies


def error_of(report):
    [failure] = report.failures
    return failure.error


# -- what is asked and sent -------------------------------------------------------------------


def test_objects_go_to_the_server_and_come_back(here, place, server, contents):
    made = contents(20)
    pointers = here.add(*made)
    report, counted = push(here, pointers)
    assert (report.objects, report.present, report.failures) == (20, 0, ())
    assert report.bytes == counted["bytes sent"] == sum(map(len, made))
    assert server.objects == {pointer_of(each).oid: each for each in made}
    there = place("there")
    there.git("remote", "add", "origin", server.url)
    report, counted = fetch(there, pointers)
    assert (report.objects, report.bytes) == (20, sum(map(len, made)))
    assert counted["objects received"] == 20
    assert [there.read(pointer) for pointer in pointers] == made
    assert not list((there.path / ".git/tablevault/incomplete").iterdir())


def test_what_the_server_has_is_not_sent(here, server, contents):
    made = contents(4)
    pointers = here.add(*made)
    server.add(made[1])
    report, _ = push(here, pointers)
    assert (report.objects, report.present) == (3, 1)
    assert f"/store/{pointers[1].oid}" not in server.paths("PUT")


def test_what_is_here_is_not_asked_for(here, server, contents):
    made = contents(3)
    pointers = [*here.add(*made[:2]), pointer_of(made[2])]
    server.add(made[2])
    bodies = asked(server)
    report, _ = fetch(here, pointers)
    assert (report.objects, report.present) == (1, 2)
    assert [each["oid"] for each in bodies[0]["objects"]] == [pointers[2].oid]


def test_nothing_is_asked_when_nothing_is_missing(here, server, contents):
    pointers = here.add(*contents(3))
    report, _ = fetch(here, pointers)
    assert report.present == 3
    report, _ = push(here, [])
    assert (report.objects, report.present) == (0, 0)
    assert not server.requests


def test_an_empty_file_is_never_transferred(here, server):
    report, _ = push(here, [pointer_of(b"")])
    assert (report.objects, report.present) == (0, 0)
    assert not server.requests


def test_an_object_that_is_named_twice_goes_once(here, server, contents):
    [pointer] = here.add(*contents(1))
    report, _ = push(here, [pointer, pointer])
    assert report.objects == 1
    assert len(server.paths("PUT")) == 1


def test_the_request_is_as_the_batch_api_says(here, server, contents):
    bodies = asked(server)
    [pointer] = here.add(*contents(1))
    push(here, [pointer], ref="refs/heads/main")
    assert bodies == [
        {
            "operation": "upload",
            "transfers": ["basic"],
            "ref": {"name": "refs/heads/main"},
            "hash_algo": "sha256",
            "objects": [{"oid": pointer.oid, "size": pointer.size}],
        }
    ]
    [headers] = server.headers("POST", "batch")
    assert headers["Accept"] == headers["Content-Type"] == "application/vnd.git-lfs+json"
    assert headers["User-Agent"].startswith("tablevault")
    [headers] = server.headers("PUT")
    assert headers["Content-Length"] == str(pointer.size)
    assert headers["Content-Type"] == "application/octet-stream"
    [headers] = server.headers("POST", "verify")
    assert headers["Content-Type"] == "application/vnd.git-lfs+json"


def test_a_hundred_objects_are_asked_for_at_once(here, server, contents):
    bodies = asked(server)
    report, _ = push(here, here.add(*contents(250, size=10)))
    assert report.objects == 250
    assert sorted(len(body["objects"]) for body in bodies) == [50, 100, 100]


def test_connections_are_used_again(here, server, contents):
    here.set("lfs.concurrenttransfers", 4)
    report, _ = push(here, here.add(*contents(60)))
    assert report.objects == 60
    assert len(server.requests) == 1 + 60 + 60
    assert server.connections <= 5


def test_no_more_go_at_once_than_git_lfs_would_send(here, server, contents):
    here.set("lfs.concurrenttransfers", 2)
    busy, most = [], []
    together, number = threading.Barrier(2, timeout=100), itertools.count()

    @server.on("PUT", "store")
    def _(handler):
        busy.append(1)
        handler.take()
        if next(number) < 2:
            together.wait()
        most.append(len(busy))
        busy.pop()
        handler.answer()

    assert push(here, here.add(*contents(20)))[0].objects == 20
    assert max(most) == 2


def test_headers_of_an_action_are_sent_with_it(here, server, contents):
    server.actions = {"header": {"X-Key": "secret", "content-type": "text/x", "Host": "other"}}
    push(here, here.add(*contents(1)))
    [headers] = server.headers("PUT")
    assert headers["X-Key"] == "secret"
    assert headers["content-type"] == "text/x"
    assert "Content-Type" not in headers
    assert headers["Host"] == server.host


def test_chunks_are_sent_where_the_server_wants_them(here, server, contents):
    server.actions = {"header": {"Transfer-Encoding": "chunked"}}

    @server.on("POST", "verify")
    def _(handler):
        handler.body = b""
        handler.rfile.readline()
        handler.say({})

    made = contents(1, size=300_000)
    here.add(*made)
    server.refuse("POST", "verify", 200)
    assert push(here, [pointer_of(made[0])])[0].objects == 1
    assert list(server.objects.values()) == made
    assert "Content-Length" not in server.headers("PUT")[0]


def test_an_address_may_hold_what_ascii_does_not(here, server, contents):
    made = contents(1)
    server.add(made[0])

    @server.on("POST", "batch$")
    def _(handler):
        handler.take()
        action = {"href": f"{server.root}/stör e/x?t=a b&s=%20"}
        handler.say({"objects": [{"oid": pointer.oid, "actions": {"download": action}}]})

    @server.on("GET", "x")
    def _(handler):
        handler.reply(200, made[0])

    pointer = pointer_of(made[0])
    assert fetch(here, [pointer])[0].objects == 1
    assert server.paths("GET") == ["/st%C3%B6r%20e/x?t=a%20b&s=%20"]


# -- resuming ---------------------------------------------------------------------------------


def test_a_download_goes_on_where_the_last_one_stopped(here, server, contents):
    [made] = contents(1, size=500_000)
    pointer = pointer_of(made)
    server.add(made)
    here.leave(pointer, made[:200_000])
    report, _ = fetch(here, [pointer])
    assert (report.objects, report.bytes) == (1, len(made) - 200_000)
    assert server.headers("GET")[0]["Range"] == f"bytes=200000-{len(made) - 1}"
    assert here.read(pointer) == made


def test_a_whole_download_that_was_not_kept_before_a_crash_is_not_repeated(here, server, contents):
    [made] = contents(1)
    pointer = pointer_of(made)
    server.add(made)
    here.leave(pointer, made)
    report, _ = fetch(here, [pointer])
    assert (report.objects, report.bytes) == (1, 0)
    assert not server.paths("GET")


def test_a_connection_that_is_cut_again_and_again_is_no_reason_to_give_up(here, server, contents):
    [made] = contents(1, size=500_000)
    pointer = pointer_of(made)
    server.add(made)

    @server.on("GET", "store", times=6)
    def _(handler):
        first = int(handler.headers.get("Range", "bytes=0-").split("=")[1].split("-")[0])
        handler.send_response(206 if first else 200)
        handler.send_header("Content-Range", f"bytes {first}-{len(made) - 1}/{len(made)}")
        handler.send_header("Content-Length", str(len(made) - first))
        handler.end_headers()
        handler.wfile.write(made[first : first + 80_000])
        handler.wfile.flush()
        handler.close_connection = True

    here.set("lfs.transfer.maxretries", 2)
    report, counted = fetch(here, [pointer])
    assert report.objects == 1
    assert counted["retries"] == 6
    assert here.read(pointer) == made
    assert len(made) <= report.bytes < len(made) + 6 * 65536
    assert counted["receive"] == len(made)


def test_a_server_without_ranges_sends_all(here, server, contents):
    [made] = contents(1)
    pointer = pointer_of(made)
    server.add(made)
    here.leave(pointer, made[:10])
    server.refuse("GET", "store", 200, body=made)
    report, _ = fetch(here, [pointer])
    assert (report.objects, report.bytes) == (1, len(made))
    assert len(server.paths("GET")) == 1


@pytest.mark.parametrize(
    ("status", "part"), [(416, None), (206, "bytes 5-9/10"), (206, None), (206, "nonsense")]
)
def test_a_part_that_was_not_asked_for_is_not_used(here, server, contents, status, part):
    [made] = contents(1)
    pointer = pointer_of(made)
    server.add(made)
    here.leave(pointer, made[:10])

    @server.on("GET", "store", times=1)
    def _(handler):
        handler.reply(status, b"xxxxx", {"Content-Range": part} if part else {})

    report, _ = fetch(here, [pointer])
    assert report.objects == 1
    assert "Range" not in server.headers("GET")[1]
    assert here.read(pointer) == made


def test_a_wrong_beginning_is_found_out_and_thrown_away(here, server, contents):
    [made] = contents(1)
    pointer = pointer_of(made)
    server.add(made)
    here.leave(pointer, bytes(100))
    report, _ = fetch(here, [pointer])
    assert report.objects == 1
    assert here.read(pointer) == made


# -- servers that lie -------------------------------------------------------------------------


def test_other_bytes_never_get_into_the_store(here, server, contents):
    [made] = contents(1)
    pointer = pointer_of(made)
    server.objects[pointer.oid] = bytes(len(made))
    report, _ = fetch(here, [pointer])
    assert isinstance(error_of(report), TVTransferError)
    assert "sent wrong bytes" in str(error_of(report))
    assert not here.store.has(pointer)
    assert not here.partial(pointer).exists()
    assert len(server.paths("GET")) == 2


@pytest.mark.parametrize("change", [-1, 1, 100_000])
def test_a_wrong_size_never_gets_into_the_store(here, server, contents, change):
    [made] = contents(1)
    pointer = pointer_of(made)
    server.objects[pointer.oid] = (made + bytes(100_000))[: len(made) + change]
    report, _ = fetch(here, [pointer])
    assert "has another size for object" in str(error_of(report))
    assert not here.store.has(pointer)


def test_an_answer_of_unknown_length_is_counted(here, server, contents):
    made = contents(2)
    pointers = [pointer_of(each) for each in made]
    server.objects = {pointers[0].oid: made[0] + b"more", pointers[1].oid: made[1][:-1]}

    @server.on("GET", "store")
    def _(handler):
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(server.objects[handler.path.rpartition("/")[2]])
        handler.wfile.flush()
        handler.close_connection = True

    report, _ = fetch(here, pointers)
    errors = [str(failure.error) for failure in report.failures]
    assert "another size" in errors[0]
    assert "sent too few bytes" in errors[1]
    assert here.partial(pointers[1]).read_bytes() == made[1][:-1]


def test_one_that_says_another_size_in_its_answer_is_not_asked_for_the_object(
    here, server, contents
):
    [made] = contents(1)
    pointer = pointer_of(made)

    @server.on("POST", "batch$")
    def _(handler):
        handler.take()
        action = {"href": f"{server.root}/store/{pointer.oid}"}
        handler.say({"objects": [{"oid": pointer.oid, "size": 5, "actions": {"download": action}}]})

    report, _ = fetch(here, [pointer])
    assert "its size there is different" in str(error_of(report))
    assert not server.paths("GET")


def test_one_that_does_not_keep_what_it_was_sent_is_found_out_by_verify(here, server, contents):
    @server.on("PUT", "store")
    def _(handler):
        handler.take()
        handler.reply(200)

    report, _ = push(here, here.add(*contents(1)))
    assert error_of(report).code == 404
    assert "not here" in str(error_of(report))


def test_an_object_that_is_damaged_here_is_not_sent(here, server, contents):
    pointers = here.add(*contents(2))
    path = here.store.file(pointers[0])
    path.chmod(0o644)
    path.write_bytes(b"x" * pointers[0].size)
    report, _ = push(here, pointers)
    assert report.objects == 1
    assert "is damaged" in str(error_of(report))
    assert list(server.objects) == [pointers[1].oid]


def test_an_object_that_changes_while_it_is_sent_never_arrives(here, server, contents, monkeypatch):
    [pointer] = here.add(*contents(1, size=500_000))
    path = here.store.file(pointer)
    # The look at inode, size and time comes before; this is what a broken disk does after it.
    monkeypatch.setattr(here.store, "file", lambda _: path)
    path.chmod(0o644)
    path.write_bytes(bytes(pointer.size))
    report, _ = push(here, [pointer])
    assert "changed during the upload" in str(error_of(report))
    assert not server.objects


# -- answers that are none --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"<!DOCTYPE html><html>Welcome</html>", "There is no Git LFS server"),
        (b"\xff\x00garbage", "gave an invalid answer: it is not JSON"),
        (b"[" * 100_000, "gave an invalid answer: it is not JSON"),
        (b"[]", "it is not a JSON object"),
        (b"{}", 'it has no list of "objects"'),
        (b'{"objects": [], "transfer": "tus"}', "a transfer that was not offered"),
        (b'{"objects": [], "hash_algo": "sha512"}', "a hash other than sha256"),
    ],
)
def test_an_answer_that_is_none_is_reported(here, server, contents, body, text):
    server.refuse("POST", "batch$", 200, body=body)
    with pytest.raises(TVRemoteError, match=text):
        push(here, here.add(*contents(1)))


@pytest.mark.parametrize(
    "action",
    [
        5,
        {},
        {"href": 5},
        {"href": "file:///etc/passwd"},
        {"href": "http://"},
        {"href": "http://h/\r\nX: y"},
        {"href": "http://h/", "header": ["X"]},
        {"href": "http://h/", "header": {"X": 1}},
        {"href": "http://h/", "header": {"X": "a\r\nY: b"}},
        {"href": "http://h/", "header": {"X Y": "a"}},
    ],
)
def test_an_action_that_makes_no_sense_is_reported(here, server, contents, action):
    [pointer] = here.add(*contents(1))

    @server.on("POST", "batch$")
    def _(handler):
        handler.take()
        handler.say({"objects": [{"oid": pointer.oid, "actions": {"upload": action}}]})

    with pytest.raises(TVRemoteError, match="gave an invalid answer: an action"):
        push(here, [pointer])


def test_an_object_about_which_nothing_is_said_fails_alone(here, server, contents):
    made = contents(3)
    pointers = [pointer_of(each) for each in made]
    for each in made:
        server.add(each)

    @server.on("POST", "batch$")
    def _(handler):
        handler.take()
        handler.say(
            {
                "objects": [
                    handler.offer("download", {"oid": "f" * 64, "size": 1}),
                    {"oid": pointers[0].oid, "size": pointers[0].size},
                    None,
                    handler.offer("download", {"oid": pointers[2].oid, "size": pointers[2].size}),
                ]
            }
        )

    report, _ = fetch(here, pointers)
    assert report.objects == 1
    assert [failure.pointer for failure in report.failures] == pointers[:2]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (404, "does not have object"),
        (410, "has removed object"),
        (422, "finds object .* invalid"),
        (409, "does not use sha256"),
        (507, "has no space for object"),
        (403, "denies the transfer of object"),
        (999, "did not transfer object"),
    ],
)
def test_a_refusal_of_one_object_stops_no_other(here, server, contents, code, text):
    pointers = here.add(*contents(3))

    @server.on("POST", "batch$")
    def _(handler):
        objects = json.loads(handler.take())["objects"]
        found = [handler.offer("upload", each) for each in objects]
        said = "because\n\x1b[31m" + "of " * 1000
        found[1] = {"oid": objects[1]["oid"], "error": {"code": code, "message": said}}
        handler.say({"objects": found})

    report, _ = push(here, pointers)
    assert report.objects == 2
    error = error_of(report)
    assert isinstance(error, TVTransferError)
    assert error.code == code
    with pytest.raises(TVTransferError, match=text):
        raise error
    assert f'({code}, "because [31mof of' in str(error)
    assert len(str(error)) < 900


def test_a_report_raises_its_first_failure_and_counts_the_others(here, server, contents):
    pointers = [pointer_of(each) for each in contents(3)]
    server.add(contents(3)[0])
    report, _ = fetch(here, pointers)
    with pytest.raises(
        TVTransferError, match=r"does not have .* 2 of 3 objects are missing"
    ) as caught:
        report.check()
    assert caught.value.oid == pointers[1].oid
    report, _ = fetch(here, pointers[:1])
    report.check()


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (404, "There is no Git LFS server at http.*info/lfs: it answered 404.*Enable Git LFS"),
        (405, "There is no Git LFS server"),
        (501, "There is no Git LFS server"),
        (422, r"refuses \(422\)"),
        (507, r"has no space left \(507\)"),
        (509, r"has no transfers left \(509\)"),
    ],
)
def test_a_refusal_of_all_is_reported(here, server, contents, status, text):
    server.refuse("POST", "batch$", status, body=b"<html></html>")
    with pytest.raises(TVRemoteError, match=text):
        push(here, here.add(*contents(1)))


def test_a_repository_that_is_not_there_is_reported_in_the_words_of_the_server(
    here, server, contents
):
    body = json.dumps({"message": "Not Found"}).encode()
    server.refuse("POST", "batch$", 404, body=body)
    with pytest.raises(TVRemoteError, match=r'refuses \(404, "Not Found"\)'):
        push(here, here.add(*contents(1)))


def test_a_server_that_finds_none_of_the_objects_may_say_so_once(here, server, contents):
    body = json.dumps({"message": "Cannot find any of the requested objects"}).encode()
    server.refuse("POST", "batch$", 404, body=body)
    pointers = [pointer_of(each) for each in contents(3)]
    report, _ = fetch(here, pointers)
    assert [failure.error.code for failure in report.failures] == [404] * 3


def test_a_batch_that_is_too_large_is_cut_in_two(here, server, contents):
    sizes = []

    @server.on("POST", "batch$")
    def _(handler):
        sizes.append(len(json.loads(handler.take())["objects"]))
        if sizes[-1] > 3:
            handler.reply(413)
        else:
            handler.answer()

    assert push(here, here.add(*contents(10)))[0].objects == 10
    assert sizes[0] == 10
    assert sum(size for size in sizes if size <= 3) == 10


# -- troubles that pass -----------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 408])
def test_what_may_pass_is_tried_again(here, server, contents, status):
    server.refuse("POST", "batch$", status, times=1)
    server.refuse("PUT", "store", status, times=2)
    server.refuse("POST", "verify", status, times=1)
    here.set("lfs.transfer.maxretries", 5)
    report, counted = push(here, here.add(*contents(3)))
    assert report.objects + report.present == 3
    assert not report.failures
    assert counted["retries"] == 4


def test_a_server_that_is_tired_is_asked_when_it_wants(here, server, contents, monkeypatch):
    waits = []
    server.refuse("PUT", "store", 429, times=1, Retry_After="7")
    monkeypatch.setattr("threading.Event.wait", lambda _, s=None: waits.append(s))
    pointers = here.add(*contents(1))
    report, _ = push(here, pointers)
    assert report.objects == 1
    assert 7.0 in waits


def test_one_that_wants_an_hour_is_not_waited_for(here, server, contents):
    server.refuse("PUT", "store", 503, Retry_After="3600")
    report, counted = push(here, here.add(*contents(1)))
    assert "answered 503 (1 try)" in str(error_of(report))
    assert counted["retries"] == 0


def test_an_answer_that_never_comes_right_is_given_up(here, server, contents):
    server.refuse("POST", "batch$", 503)
    with pytest.raises(TVRemoteError, match=r"does not answer: .* answered 503 \(3 tries\)"):
        push(here, here.add(*contents(1)))
    assert len(server.requests) == 3


def test_a_store_that_is_away_is_not_asked_for_every_object(here, server, contents):
    here.set("lfs.concurrenttransfers", 2)
    server.refuse("PUT", "store", 503)
    with pytest.raises(TVRemoteError, match=r"was given up after \d objects in a row: .*503"):
        push(here, here.add(*contents(50)))
    # Two in a row are enough; others are on their way before that is seen, at most five.
    assert len(server.paths("PUT")) <= (2 + 5) * 3 < 50


def test_what_runs_out_before_it_is_used_is_asked_for_again(here, server, contents):
    server.actions = {"expires_in": 1}
    pointers = here.add(*contents(2))
    report, _ = push(here, pointers)
    assert report.objects == 2
    assert len(server.headers("POST", "batch")) == 3


def test_what_runs_out_on_the_way_is_asked_for_again(here, server, contents):
    server.refuse("PUT", "store", 403, times=1)
    report, _ = push(here, here.add(*contents(1)))
    assert report.objects == 1


def test_a_store_that_never_lets_us_is_not_asked_forever(here, server, contents):
    here.set("lfs.transfer.maxretries", 8)
    server.refuse("PUT", "store", 403)
    report, _ = push(here, here.add(*contents(1)))
    assert "denies access (403)" in str(error_of(report))
    assert len(server.paths("PUT")) == 2


def test_an_upload_that_arrived_without_an_answer_is_not_sent_twice(here, server, contents):
    @server.on("PUT", "store", times=1)
    def _(handler):
        server.objects[handler.path.rpartition("/")[2]] = handler.take()
        handler.drop()

    report, _ = push(here, here.add(*contents(1)))
    assert (report.objects, report.present, report.failures) == (0, 1, ())
    assert len(server.paths("PUT")) == 1


def test_an_upload_that_is_never_answered_is_not_called_a_failure(here, server, contents):
    @server.on("PUT", "store")
    def _(handler):
        handler.take()
        handler.drop()

    report, _ = push(here, here.add(*contents(1)))
    assert isinstance(error_of(report), TVOutcomeUnknownError)
    assert not isinstance(error_of(report), TVRemoteError)


def test_a_download_that_is_never_answered_is_a_failure(here, server, contents):
    [made] = contents(1)
    server.add(made)
    server.on("GET", "store")(lambda handler: handler.drop())
    report, _ = fetch(here, [pointer_of(made)])
    assert isinstance(error_of(report), TVTransferError)
    assert "was not transferred: " in str(error_of(report))


def test_a_refusal_that_comes_before_all_is_sent_is_heard(here, server, contents):
    @server.on("PUT", "store")
    def _(handler):
        handler.rfile.read(10)
        handler.reply(422, json.dumps({"message": "not you"}).encode(), {"Connection": "close"})
        handler.close_connection = True

    report, _ = push(here, here.add(*contents(1, size=3_000_000)))
    assert not report.objects
    # The kernel may throw the answer away with the bytes that nobody reads (RFC 9112, 9.6).
    assert "not you" in str(error_of(report)) or "was closed" in str(error_of(report))


def test_a_full_disk_here_ends_all_and_keeps_what_has_come(here, server, contents, monkeypatch):
    made = contents(3, size=200_000)
    for each in made:
        server.add(each)
    write = Partial.write

    def refuse(self, data):
        if self.size > 100_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(Partial, "write", refuse)
        with pytest.raises(TVFileError, match="cannot be written: No space left on device"):
            fetch(here, [pointer_of(each) for each in made])
    report, _ = fetch(here, [pointer_of(each) for each in made])
    assert report.objects == 3
    assert report.bytes < sum(map(len, made))


def test_pointers_of_other_makers_are_not_confused(here, server, contents):
    [made] = contents(1)
    server.add(made)
    pointer = pointer_of(made)
    lied = Pointer(oid=pointer.oid, size=pointer.size + 1)
    report, _ = fetch(here, [lied])
    assert "another size" in str(error_of(report))


def test_a_403_says_how_to_give_credentials(here, server, contents):
    server.refuse("POST", "batch$", 403, body=b'{"message": "read only"}')
    with pytest.raises(
        TVCredentialsError, match=r'denies the upload \(403, "read only"\).*give git'
    ):
        push(here, here.add(*contents(1)))


def test_a_gateway_that_lost_the_server_does_not_know(here, server, contents):
    server.refuse("PUT", "store", 504)
    pointers = here.add(*contents(2))
    report, _ = push(here, [*pointers, pointer_of(b"not here")])
    kinds = [type(failure.error) for failure in report.failures]
    assert kinds == [TVOutcomeUnknownError, TVOutcomeUnknownError, TVFileError]
    with pytest.raises(TVOutcomeUnknownError, match="3 of 3 objects"):
        report.check()


def test_one_object_that_cannot_be_read_here_stops_no_other(here, server, contents, monkeypatch):
    pointers = here.add(*contents(3))
    paths = {pointer: here.store.file(pointer) for pointer in pointers}
    paths[pointers[1]] = here.path / "nowhere"
    monkeypatch.setattr(here.store, "file", paths.__getitem__)
    report, _ = push(here, pointers)
    assert report.objects == 2
    assert "cannot be read: No such file" in str(error_of(report))


def test_a_login_that_is_taken_away_ends_all(here, server, contents):
    here.set("lfs.concurrenttransfers", 2)
    here.git("remote", "set-url", "origin", server.url.replace("://", "://ana:pw@"))
    server.actions = {"expires_in": 1}
    server.login = "Basic YW5hOnB3"

    @server.on("PUT", "store")
    def _(handler):
        handler.answer()
        server.login = "other"

    with pytest.raises(TVCredentialsError, match=r"does not accept|wants credentials"):
        push(here, here.add(*contents(50)))
    assert len(server.headers("POST", "batch")) < 20


def test_a_store_that_cannot_keep_what_has_come_is_reported(here, server, contents, monkeypatch):
    [made] = contents(1)
    server.add(made)

    def refuse(_):
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(here.store, "keep", refuse)
        with pytest.raises(TVFileError, match="cannot be written: Read-only file system"):
            fetch(here, [pointer_of(made)])
    report, _ = fetch(here, [pointer_of(made)])
    assert (report.objects, report.bytes) == (1, 0)
