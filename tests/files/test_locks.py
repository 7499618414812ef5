"""Locks that the operating system frees when their holder dies."""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tablevault.errors import TVFileError
from tablevault.files.locks import is_held, locked, take_lock


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.lock"


def is_free(path):
    try:
        take_lock(path, timeout_s=0).release()
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
    with locked(path):
        assert not is_free(path)
        with pytest.raises(TimeoutError, match=r"x\.lock"):
            take_lock(path, timeout_s=0.01)
    assert is_free(path)


def test_a_lock_may_be_released_twice(path):
    lock = take_lock(path)
    for _ in range(2):
        lock.release()
    assert is_free(path)


def test_a_lock_is_free_after_an_error(path):
    with pytest.raises(ZeroDivisionError), locked(path):
        raise ZeroDivisionError
    assert is_free(path)


def test_a_lock_that_nobody_refers_to_is_free(path):
    take_lock(path)
    gc.collect()
    assert is_free(path)


def test_whoever_takes_twice_what_it_would_wait_for_for_ever_is_told(path):
    with locked(path), pytest.raises(RuntimeError, match="eadlock"):
        take_lock(path)


def test_the_file_and_its_folder_are_made_and_the_file_stays(tmp_path):
    path = tmp_path / "a/b/x.lock"
    take_lock(path).release()
    assert path.is_file()


def test_a_lock_does_not_follow_links(path, tmp_path):
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"x\.lock"):
        take_lock(path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_system_without_locks_is_named(path, monkeypatch):
    def refuse(descriptor, kind):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(TVFileError, match="No locks available"):
        take_lock(path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_whoever_gets_the_lock_on_a_file_that_was_removed_takes_that_on_the_next(path, monkeypatch):
    holder, real = take_lock(path), fcntl.flock

    def remove_first(descriptor, kind):
        monkeypatch.setattr(fcntl, "flock", real)
        path.unlink()
        holder.release()
        real(descriptor, kind)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    lock = take_lock(path, timeout_s=60)
    assert not is_free(path)
    lock.release()


def test_threads_take_turns(path):
    inside, most = 0, 0

    def work():
        nonlocal inside, most
        for _ in range(20):
            with locked(path):
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
    lock = take_lock(path)
    thread = threading.Thread(target=lock.release)
    thread.start()
    thread.join()
    assert is_free(path)


def test_the_lock_of_a_killed_process_is_free(path, python):
    child = python(
        "import sys\n"
        "from pathlib import Path\nfrom tablevault.files.locks import take_lock\n"
        "lock = take_lock(Path(sys.argv[1]))\n"
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
    lock = take_lock(path)

    def work():
        lock.release()
        return is_free(path)

    assert in_child(work) == 0
    assert not is_free(path)
    lock.release()
    assert is_free(path)


def test_a_child_of_a_fork_does_not_keep_the_lock_of_its_parent(path):
    lock = take_lock(path)
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
        with locked(path):
            return not is_free(path)

    assert in_child(work) == 1
    assert is_free(path)


def test_no_child_is_forked_with_a_lock_unknown_to_it(path):
    """A thread takes and releases locks all the time while children are forked."""
    stop = threading.Event()

    def work():
        while not stop.is_set():
            take_lock(path).release()

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


def test_a_fork_keeps_no_lock_of_a_parent_that_is_killed(path, python):
    """A builder's function may fork and be killed: what it has forked lives on."""
    child = python(
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from tablevault.files.locks import take_lock\n"
        "lock = take_lock(Path(sys.argv[1]))\n"
        "ready, told = os.pipe()\n"
        "fork = os.fork()\n"
        "if not fork:\n"
        "    os.write(told, b'x')\n"
        "    signal.pause()\n"
        "os.read(ready, 1)\n"
        "print(fork, flush=True)\n"
        "sys.stdin.read()\n",
        path,
    )
    fork = int(child.stdout.readline())
    try:
        assert is_held(path)
        child.kill()
        child.wait()
        assert not is_held(path)
        os.kill(fork, 0)
    finally:
        os.kill(fork, signal.SIGKILL)


def test_a_look_tells_whether_a_lock_is_held_and_leaves_nothing(path):
    assert not is_held(path)
    assert not path.exists()
    with locked(path):
        assert is_held(path)
        assert is_held(path)
    assert not is_held(path)


def test_many_who_look_do_not_take_each_other_for_the_holder(path):
    take_lock(path).release()
    start = threading.Barrier(4)

    def look(_):
        start.wait()
        return any(is_held(path) for _ in range(300))

    with ThreadPoolExecutor(4) as pool:
        assert not any(pool.map(look, range(4)))


def test_a_look_at_a_file_that_is_removed_meanwhile_goes_on_to_the_next_one(path, monkeypatch):
    """Its holder ended and another one began: at no moment was the lock free."""
    first, later = take_lock(path), []
    real = os.open

    def open_first(name, flags, *rest):
        found = real(name, flags, *rest)
        monkeypatch.setattr(os, "open", real)
        path.unlink()
        later.append(take_lock(path, timeout_s=60))
        first.release()
        return found

    monkeypatch.setattr(os, "open", open_first)
    assert is_held(path)
    later.pop().release()
    assert not is_held(path)


def test_what_cannot_be_looked_at_is_not_taken_for_free(path):
    path.mkdir(0o700)
    (path / "file").touch()
    with pytest.raises(NotADirectoryError):
        is_held(path / "file" / "x.lock")


def test_a_fork_of_whoever_looks_keeps_nobody_from_the_lock(path, monkeypatch):
    take_lock(path).release()
    real, children = os.fstat, []

    def fork(descriptor):
        monkeypatch.setattr(os, "fstat", real)
        child = os.fork()
        if not child:
            signal.pause()
        children.append(child)
        return real(descriptor)

    monkeypatch.setattr(os, "fstat", fork)
    try:
        assert not is_held(path)
        assert is_free(path)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
