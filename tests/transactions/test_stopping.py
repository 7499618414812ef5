"""Who holds a lock is proven by the lock, and nobody else is ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from tablevault.files.locks import locked
from tablevault.transactions import stopping as module
from tablevault.transactions.stopping import end_holders, holders

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who holds locks")

HOLDS = """
import fcntl, os, signal, sys, time
{before}
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(file, fcntl.{how})
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Wait for who ends when asked as long as a slow machine needs."""
    monkeypatch.setattr(module, "_TERM_S", 100.0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.lock"


@pytest.fixture
def hold(python, path):
    def hold(how="LOCK_EX", before=""):
        process = python(HOLDS.format(how=how, before=before), path)
        assert process.stdout.readline() == "ready\n"
        return process

    return hold


def test_without_a_file_nobody_holds_a_lock(path):
    assert holders(path) == []
    assert not end_holders(path)


def test_the_holder_is_found_and_ended(path, hold):
    process = hold()
    assert holders(path) == [process.pid]
    assert end_holders(path) == [process.pid]
    assert process.wait() == -signal.SIGTERM
    assert holders(path) == []


def test_who_has_the_file_open_without_a_lock_is_left_alone(path, hold, python):
    opened = hold("LOCK_UN")
    looking = hold("LOCK_SH")
    assert holders(path) == []
    assert not end_holders(path)
    assert opened.poll() is looking.poll() is None


def test_who_does_not_listen_is_ended_at_once(path, hold, monkeypatch):
    monkeypatch.setattr(module, "_TERM_S", 0.1)
    process = hold(before="signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    assert end_holders(path)
    assert process.wait() == -signal.SIGKILL


def test_a_descendant_that_kept_the_lock_is_ended_too(path, hold):
    process = hold()
    forked = f"""
import fcntl, os, sys, time
file = os.open({str(path)!r} + "2", os.O_RDWR | os.O_CREAT)
fcntl.flock(file, fcntl.LOCK_EX)
if os.fork():
    print("ready", flush=True)
    os._exit(0)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", forked], stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout.readline() == "ready\n"
        parent.wait()
        (orphan,) = holders(path.with_suffix(".lock2"))
        assert orphan not in (parent.pid, process.pid)
        assert end_holders(path.with_suffix(".lock2")) == [orphan]
    assert process.poll() is None


def test_this_very_interpreter_is_never_ended(path, monkeypatch):
    monkeypatch.setattr(module, "_TERM_S", 0.05)
    monkeypatch.setattr(module, "_KILL_S", 0.05)
    with locked(path):
        assert holders(path) == [os.getpid()]
        assert not end_holders(path)


def test_a_system_that_tells_nothing_ends_nobody(path, hold, monkeypatch, tmp_path):
    process = hold()
    monkeypatch.setattr(module, "_PROC", tmp_path / "nothing")
    assert holders(path) == []
    assert not end_holders(path)
    time.sleep(0.05)
    assert process.poll() is None


def test_a_process_that_has_gone_or_holds_nothing_gets_no_signal(path, hold, python, monkeypatch):
    holder, idle = hold(), python("import sys; print('ready', flush=True); sys.stdin.read()")
    assert idle.stdout.readline() == "ready\n"
    assert not module._send(idle.pid, signal.SIGTERM, path)
    assert idle.poll() is None

    def end_first(*_):
        holder.kill()
        holder.wait()
        return True

    monkeypatch.setattr(module, "_holds", end_first)
    assert not module._send(holder.pid, signal.SIGTERM, path)
    assert not module._send(holder.pid, signal.SIGTERM, path)
    assert not module._is_locked(path.parent / "none")


def test_a_process_that_begins_this_very_moment_is_found(begin, parts, monkeypatch):
    with begin(process_id="p") as process:
        record, cancel = process.record, module._here.pop((str(parts.state), "p"))
        again = {(str(parts.state), "p"): cancel}
        monkeypatch.setattr(module.time, "sleep", lambda _: module._here.update(again))
        assert module._cancel_of(parts, record) is cancel
        assert module._cancel_of(parts, replace(record, pid=1)) is cancel
    assert module._cancel_of(parts, record) is None
    assert module._cancel_of(parts, replace(record, pid=1)) is None
