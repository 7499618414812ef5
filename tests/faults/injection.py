"""Faults at the n-th step of the package's write layer: files, git objects, refs, SQLite.

A step is one call that changes something on disk: opening for writing, each write of a buffer,
rename, link, unlink, sync, a folder made or removed, a change of mode or times, a git object, a
lock or move of refs, a SQLite transaction. Only what lies below the vault's folder counts.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pygit2
import pygit2.transaction
import pytest

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
# What still works when the disk is full.
_NEEDS_NO_ROOM = frozenset(
    {
        *("unlink", "remove", "rmdir", "fsync", "chmod", "utime"),
        *("os.open existing", "mkdir existing"),
    }
)
_ONE_PATH = ("unlink", "remove", "mkdir", "rmdir", "chmod", "utime")
_TWO_PATHS = ("replace", "rename", "link", "symlink")


class Steps:
    """Counts steps below `root`, and fires at one of them."""

    def __init__(self, root: Path) -> None:
        self._root = f"{root}/"
        self._counting = False
        self._at: int | None = None
        self._for_good = False
        self._fire: Callable[[str], None] = no_space
        self.names: list[str] = []

    @property
    def fired(self) -> bool:
        """Return whether the step was reached."""
        return self._at is not None and len(self.names) >= self._at

    @contextmanager
    def counting(
        self,
        at: int | None = None,
        fire: Callable[[str], None] | None = None,
        *,
        for_good: bool = False,
    ) -> Iterator[None]:
        """Count, and call `fire` in place of step `at`; `for_good` also in place of later ones."""
        self.names.clear()
        self._at, self._fire, self._for_good = at, fire or no_space, for_good
        self._counting = True
        try:
            yield
        finally:
            self._counting = False

    def step(
        self, name: str, *paths: object, anywhere: bool = False, torn: Callable[[], object] = int
    ) -> None:
        """Take note of a step that is about to happen; `torn` does half of it."""
        if not self._counting or not (anywhere or any(map(self._is_inside, paths))):
            return
        shown = [str(path).removeprefix(self._root) for path in paths]
        self.names.append(" ".join([name, *shown]))
        if self._at is None:
            return
        again = self._for_good and len(self.names) > self._at and name not in _NEEDS_NO_ROOM
        if len(self.names) == self._at or again:
            torn()
            self._fire(name)

    def _is_inside(self, path: object) -> bool:
        if isinstance(path, int):
            return True
        if isinstance(path, bytes):
            return False
        return os.fspath(path).startswith(self._root)


def no_space(name: str) -> None:
    """Raise what a full disk raises, in the way of whoever meets it."""
    text = os.strerror(errno.ENOSPC)
    if name.startswith("sqlite"):
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error
    if name.startswith("refs"):
        raise pygit2.GitError(f"could not write the reference: {text}")
    raise OSError(errno.ENOSPC, text)


def interrupt(name: str) -> None:
    """Raise what Ctrl-C raises."""
    raise KeyboardInterrupt


def kill(name: str) -> None:
    """End this operating system process at once."""
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def instrumented(root: Path) -> Iterator[Steps]:
    """Let every step below `root` be counted."""
    steps = Steps(root)
    with pytest.MonkeyPatch.context() as patch:
        for name in _ONE_PATH:
            patch.setattr(os, name, _one_path(steps, name))
        for name in _TWO_PATHS:
            patch.setattr(os, name, _two_paths(steps, name))
        # No fault here takes the page cache away, so nothing needs to be synced.
        patch.setattr(os, "fsync", lambda descriptor: steps.step("fsync", descriptor))
        patch.setattr(os, "open", _os_open(steps))
        opening = _open(steps)
        patch.setattr(io, "open", opening)
        patch.setattr(builtins, "open", opening)
        _instrument_git(patch, steps)
        _instrument_sqlite(patch, steps)
        yield steps


def _one_path(steps: Steps, name: str) -> Callable[..., object]:
    call = getattr(os, name)

    def stepped(path: object, *arguments: object, **options: object) -> object:
        shown = "mkdir existing" if name == "mkdir" and Path(path).is_dir() else name
        steps.step(shown, path, anywhere=options.get("dir_fd") is not None)
        return call(path, *arguments, **options)

    return stepped


def _two_paths(steps: Steps, name: str) -> Callable[..., object]:
    call = getattr(os, name)

    def stepped(source: object, target: object, **options: object) -> object:
        steps.step(name, source, target)
        return call(source, target, **options)

    return stepped


def _os_open(steps: Steps) -> Callable[..., int]:
    call = os.open

    def stepped(path: object, flags: int, *arguments: object, **options: object) -> int:
        if flags & _WRITING:
            there = not flags & os.O_TRUNC and Path(path).exists()
            steps.step("os.open existing" if there else "os.open", path)
        return call(path, flags, *arguments, **options)

    return stepped


class _Raw(io.FileIO):
    """A file each of whose writes is a step; a fault leaves half of the bytes."""

    steps: Steps
    shown: object

    def write(self, data: object) -> int:
        view = memoryview(data).cast("B")
        half = view[: len(view) // 2]
        self.steps.step("write", self.shown, torn=lambda: super(_Raw, self).write(half))
        return super().write(view)


def _open(steps: Steps) -> Callable[..., object]:
    call = io.open

    def stepped(
        file: object, mode: str = "r", buffering: int = -1, *arguments: object, **options: object
    ) -> object:
        writes = set(mode) & set("wax") and "+" not in mode
        if not writes or not steps._is_inside(file) or not steps._counting:
            return call(file, mode, buffering, *arguments, **options)
        if not isinstance(file, int):
            steps.step("open", file)
        raw = _Raw(file, mode.replace("b", "").replace("t", ""))
        raw.steps, raw.shown = steps, file
        buffered = io.BufferedWriter(raw)
        if "b" in mode:
            return buffered
        return io.TextIOWrapper(buffered, *arguments, **options)

    return stepped


def _instrument_git(patch: pytest.MonkeyPatch, steps: Steps) -> None:
    repository, transaction = pygit2.Repository, pygit2.transaction.ReferenceTransaction
    create_blob, create_commit = repository.create_blob, repository.create_commit
    make_builder = repository.TreeBuilder
    lock_ref, commit = transaction.lock_ref, transaction.commit

    class Builder:
        def __init__(self, inner: object) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> object:
            return getattr(self._inner, name)

        def __len__(self) -> int:
            return len(self._inner)

        def write(self) -> object:
            steps.step("git tree", anywhere=True)
            return self._inner.write()

    def stepped_blob(self: object, data: bytes) -> object:
        steps.step("git blob", anywhere=True)
        return create_blob(self, data)

    def stepped_commit(self: object, *arguments: object) -> object:
        steps.step("git commit", anywhere=True)
        return create_commit(self, *arguments)

    def stepped_lock(self: object, ref: str) -> None:
        steps.step("refs lock", ref, anywhere=True)
        lock_ref(self, ref)

    def stepped_move(self: object) -> None:
        steps.step("refs move", anywhere=True)
        commit(self)

    patch.setattr(repository, "create_blob", stepped_blob)
    patch.setattr(repository, "create_commit", stepped_commit)
    patch.setattr(repository, "TreeBuilder", lambda self, *base: Builder(make_builder(self, *base)))
    patch.setattr(transaction, "lock_ref", stepped_lock)
    patch.setattr(transaction, "commit", stepped_move)


def _instrument_sqlite(patch: pytest.MonkeyPatch, steps: Steps) -> None:
    connect = sqlite3.connect

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *arguments: object) -> sqlite3.Cursor:
            if sql.startswith("BEGIN"):
                steps.step("sqlite begin", anywhere=True)
            return super().execute(sql, *arguments)

        def commit(self) -> None:
            steps.step("sqlite commit", anywhere=True)
            super().commit()

    def stepped(path: object, **options: object) -> sqlite3.Connection:
        # Another trial may be around this one.
        return connect(path, **{"factory": Connection, **options})

    patch.setattr(sqlite3, "connect", stepped)
