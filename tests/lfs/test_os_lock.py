"""Locks that the operating system frees when their holder dies."""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tablevault.errors import TVFileError
from tablevault.lfs import os_lock
from tablevault.lfs.os_lock import OsLock


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.lock"


def is_free(path):
    try:
        OsLock(path).acquire(timeout_s=0).release()
    except TimeoutError:
        return False
    return True


def in_child(work):
    """Run `work` in a fork; give what it returned, as a number."""
    child = os.fork()
    if child == 0:
        os._exit(int(work()))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_one_holds_a_lock(path):
    with OsLock(path):
        assert not is_free(path)
        with pytest.raises(TimeoutError, match=r"x\.lock"):
            OsLock(path).acquire(timeout_s=0.01)
    assert is_free(path)


def test_a_lock_that_was_acquired_may_be_entered(path):
    with OsLock(path).acquire(timeout_s=0):
        assert not is_free(path)
    assert is_free(path)


def test_a_lock_may_be_released_twice_and_taken_again(path):
    lock = OsLock(path)
    lock.release()
    for _ in range(2):
        lock.acquire().release()
        lock.release()
    with lock:
        assert not is_free(path)


def test_a_lock_is_free_after_an_error(path):
    with pytest.raises(ZeroDivisionError), OsLock(path):
        raise ZeroDivisionError
    assert is_free(path)


def test_a_lock_that_nobody_refers_to_is_free(path):
    OsLock(path).acquire()
    gc.collect()
    assert is_free(path)


def test_the_file_and_its_folder_are_made_and_the_file_stays(tmp_path):
    path = tmp_path / "a/b/x.lock"
    OsLock(path).acquire().release()
    assert path.is_file()


def test_a_lock_does_not_follow_links(path, tmp_path):
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"x\.lock"):
        OsLock(path).acquire()
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_system_without_locks_is_named(path, monkeypatch):
    def refuse(descriptor, kind):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(TVFileError, match="No locks available"):
        OsLock(path).acquire()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_who_waits_for_a_file_that_is_removed_locks_the_next_one(path):
    holder = OsLock(path).acquire()
    waiting = OsLock(path)
    thread = threading.Thread(target=waiting.acquire)
    thread.start()
    time.sleep(0.02)
    path.unlink()
    holder.release()
    thread.join()
    assert not is_free(path)
    waiting.release()


def test_who_gets_no_turn_until_the_timeout_tries_once_more(path, monkeypatch):
    holder = OsLock(path).acquire()
    now = [0.0]

    def end_late(seconds):
        now[0] += 1000
        holder.release()

    monkeypatch.setattr(os_lock, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=end_late))
    with OsLock(path).acquire(timeout_s=10):
        pass


def test_threads_take_turns(path):
    inside, most = 0, 0

    def work():
        nonlocal inside, most
        for _ in range(20):
            with OsLock(path):
                inside += 1
                most = max(most, inside)
                time.sleep(0)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_lock_may_be_released_by_another_thread(path):
    lock = OsLock(path).acquire()
    thread = threading.Thread(target=lock.release)
    thread.start()
    thread.join()
    assert is_free(path)


def test_the_lock_of_a_killed_process_is_free(path, python):
    child = python(
        "import sys\n"
        "from tablevault.lfs.os_lock import OsLock\n"
        "lock = OsLock(sys.argv[1]).acquire()\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n",
        path,
    )
    assert child.stdout.readline() == "held\n"
    assert not is_free(path)
    child.kill()
    child.wait()
    assert is_free(path)


def test_a_child_of_a_fork_holds_nothing_and_frees_nothing(path):
    lock = OsLock(path).acquire()

    def work():
        lock.release()
        return is_free(path)

    assert in_child(work) == 0
    assert not is_free(path)
    lock.release()
    assert is_free(path)


def test_a_child_of_a_fork_does_not_keep_the_lock_of_its_parent(path):
    lock = OsLock(path).acquire()
    child = os.fork()
    if child == 0:
        signal.pause()
    try:
        lock.release()
        assert is_free(path)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_child_of_a_fork_can_take_locks(path):
    def work():
        with OsLock(path):
            return not is_free(path)

    assert in_child(work) == 1
    assert is_free(path)


def test_no_child_is_forked_with_a_lock_unknown_to_it(path):
    """A thread takes and releases locks all the time while children are forked."""
    stop = threading.Event()

    def work():
        while not stop.is_set():
            OsLock(path).acquire().release()

    thread = threading.Thread(target=work)
    thread.start()
    children = []
    try:
        for _ in range(30):
            child = os.fork()
            if child == 0:
                signal.pause()
            children.append(child)
        stop.set()
        thread.join()
        assert is_free(path)
    finally:
        stop.set()
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


TAKE_OVER = """
import sys
from tablevault.lfs.os_lock import OsLock
lock = OsLock(sys.argv[1]).adopt(int(sys.argv[2]))
print("has it", flush=True)
sys.stdin.read()
"""


def test_a_lock_is_given_to_another_program_and_never_free_in_between(path):
    lock = OsLock(path).acquire()
    with subprocess.Popen(
        [sys.executable, "-c", TAKE_OVER, path, str(lock.descriptor)],
        pass_fds=[lock.descriptor],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        lock.leave()
        lock.leave()
        assert not is_free(path)
        assert other.stdout.readline() == "has it\n"
        lock.release()
        assert not is_free(path)
    assert is_free(path)


def test_what_is_not_held_cannot_be_given_or_taken(path, tmp_path):
    with pytest.raises(ValueError, match="not held"):
        _ = OsLock(path).descriptor
    with OsLock(path), (tmp_path / "other").open("wb") as other:
        for descriptor in (other.fileno(), 999):
            with pytest.raises(TimeoutError):
                OsLock(path).adopt(descriptor)
