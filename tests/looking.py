"""How tests look at a vault: stock git, and everything that must not change."""

from __future__ import annotations

import contextlib
import hashlib
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests import vault_reader

# What is told of a lock of git's that a killed process held.
LOCK_LEFT = ".lock was left by a crashed process, and is removed."
# Made once and kept: taken for the whole vault, not for a process.
_LASTING_LOCKS = ("commit.lock", "journal.lock", "objects.lock", "pack.lock")
_NOT_STATE = (
    "index.sqlite",
    "objects.sqlite",
    "commit.lock",
    "journal.lock",
    "objects.lock",
    "pack.lock",
    "tablevault/moving",  # a note of what was being moved, over what was noted before
    "tablevault/no-links",  # a note of hard links that were looked for
    "tablevault/remotes/",  # notes of what remotes were found to have
    "tablevault/calls",  # what functions have returned stays, whatever becomes of the execution
)


def git(path: Path, *arguments: object, text: str = "", check: bool = True) -> str:
    """Run stock git in a folder and give what it printed; it must succeed unless told."""
    done = subprocess.run(
        ["git", "-C", str(path), *map(str, arguments)],
        input=text.encode("utf-8", "surrogateescape"),
        capture_output=True,
        check=False,
    )
    said = done.stderr.decode("utf-8", "replace")
    assert done.returncode == 0 or not check, f"git {' '.join(map(str, arguments))}: {said}"
    return done.stdout.decode("utf-8", "surrogateescape")


def state_of(path: Path) -> dict[str, object]:
    """Take down refs, working files with their modes, objects and records of a vault."""
    refs = git(path, "for-each-ref", "--format=%(refname) %(objectname)")
    files: dict[str, object] = {}
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path).as_posix()
        if name.startswith(".git/") and not name.startswith((".git/lfs", ".git/tablevault")):
            continue
        if name.startswith(".git/tablevault/") and (
            any(part in name for part in _NOT_STATE) or name.endswith("history.jsonl")
        ):
            continue
        files[name] = "folder" if file.is_dir() else (file.stat().st_mode, file.read_bytes())
    # The store keeps folders of objects that came and went.
    kept = {
        name: what
        for name, what in files.items()
        if not (what == "folder" and name.startswith(".git/"))
    }
    status = git(path, "status", "--porcelain")
    return {"refs": refs, "head": git(path, "rev-parse", "HEAD"), "status": status, **kept}


def interrupt_who_waits(function: Callable[..., object]) -> None:
    """Interrupt the main thread while it waits in `function`, in a way that does not wake it.

    Call this in another thread: the system call with which the main thread waits goes on, as it
    does when a signal arrives just before it begins.
    """
    main = threading.main_thread().ident
    while True:
        top = frame = sys._current_frames()[main]
        while frame is not None and frame.f_code is not function.__code__:
            frame = frame.f_back
        if frame is not None and top.f_code is threading.Condition.wait.__code__:
            signal.raise_signal(signal.SIGINT)
            return
        time.sleep(0.001)


def check_clean(path: Path, *, status: bool = True) -> None:
    """Check with stock tools that a vault is sound, and that nothing was left behind."""
    said = git(path, "fsck", "--strict", "--no-dangling", "--no-progress")
    assert not said, said
    if status:
        assert git(path, "status", "--porcelain") == ""
    check_objects(path)
    check_readable(path)
    state = path / ".git/tablevault"
    assert list((state / "processes").iterdir()) == []
    assert list((state / "tmp").iterdir()) == []
    left = [
        file.relative_to(path).as_posix()
        for pattern in ("*.lock", "*.tmp")
        for file in path.rglob(pattern)
        if not (file.parent == state and file.name in _LASTING_LOCKS)
    ]
    assert left == []


def check_objects(path: Path) -> None:
    """Check that objects are named by their bytes, and that main lacks none, as git-lfs does."""
    stores = vault_reader.Vault(path).stores
    stored = {file.name: file for store in stores for file in store.glob("*/*/*")}
    for name, file in stored.items():
        assert hashlib.sha256(file.read_bytes()).hexdigest() == name
    tracked = git(path, "grep", "-hI", "^oid sha256:", "main", "--", "tables", check=False)
    named = {line.removeprefix("oid sha256:") for line in tracked.splitlines()}
    assert not stored or named <= stored.keys()


def check_readable(path: Path) -> None:
    """Check that a reader that knows only the format finds what the documents say."""
    vault = vault_reader.Vault(path)
    vault.temps()
    for table in vault.tables:
        newest = {each.version: each for each in vault.instances(table)}
        for version, each in newest.items():
            document = vault.main.document(f"tables/{table}/{version}/instance.yaml")
            assert (document, document["id"]) == (each.document, each.id)
            if frame := each.frame():
                said = (document["rows"], list(document["dtypes"].items()))
                assert (frame.rows, list(frame.dtypes.items())) == said


def calls_kept(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Take down all rows of the records of calls, by table; nothing when there are none."""
    file = path / ".git/tablevault/calls.sqlite"
    if not file.exists():
        return {}
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        names = sorted(name for (name,) in tables)
        return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in names}


def until(reached: Callable[[], object]) -> None:
    """Wait for what another process does, as long as a slow machine needs."""
    deadline = time.monotonic() + 120
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)
