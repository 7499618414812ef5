"""The derived index, read without opening git, where it is that of the refs as they are.

To load libgit2 takes longer than to start Python, and much longer than to answer. The files of
refs are those of gitrepository-layout(5): a file for each loose ref, else a line of
``packed-refs``. Whatever is not as simple as that is left to those who ask git.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from tablevault.history.schema import SCHEMA
from tablevault.names import MAIN
from tablevault.objects.disposable import form_of

_TEMPS = "refs/heads/temp"
_COMMIT_DIGITS = 40


class Glance:
    """One read transaction on an index that has seen all that refs lead to."""

    def __init__(self, connection: sqlite3.Connection, temps: list[str]) -> None:
        self._connection = connection
        self.temp_refs = temps
        """The branches of temporary instances."""

    def read(self, sql: str, arguments: tuple[str, ...]) -> list[tuple[str, ...]]:
        """Ask the index."""
        return self._connection.execute(sql, arguments).fetchall()

    def tables(self) -> dict[str, str] | None:
        """Give the ids of the tables by name; None when that has to be looked up in git."""
        found = dict(self._connection.execute("SELECT name, table_id FROM standing"))
        return found if all(found.values()) else None


@contextmanager
def glance(git_dir: Path, file: Path) -> Iterator[Glance | None]:
    """Open the index `file` of a repository; None when git has to be asked.

    Damage may come to light later: then reading raises ``sqlite3.Error``.
    """
    refs = _refs(git_dir)
    connection = _connect(file) if MAIN in refs else None
    if connection is None:
        yield None
        return
    with contextlib.closing(connection):
        temps = [ref for ref in refs if ref.startswith(f"{_TEMPS}/")]
        has_seen = _has_seen(connection, refs[MAIN], [refs[ref] for ref in temps])
        yield Glance(connection, temps) if has_seen else None


def _connect(file: Path) -> sqlite3.Connection | None:
    """Open a file that this release has written, to read it."""
    try:
        connection = sqlite3.connect(
            f"file:{quote(os.fsencode(file))}?mode=ro", uri=True, isolation_level=None
        )
    except sqlite3.Error:
        return None
    with contextlib.suppress(sqlite3.Error):
        (form,) = connection.execute("PRAGMA user_version").fetchone()
        if form == form_of(SCHEMA):
            return connection
    connection.close()
    return None


def _has_seen(connection: sqlite3.Connection, main: str, temps: list[str]) -> bool:
    """Begin to read; tell whether all that refs lead to is folded."""
    with contextlib.suppress(sqlite3.Error):
        connection.execute("BEGIN")
        if connection.execute("SELECT commit_id FROM seen").fetchall() != [(main,)]:
            return False
        sql = "SELECT 1 FROM folded WHERE commit_id = ?"
        return all(connection.execute(sql, (tip,)).fetchone() for tip in temps)
    return False


def _refs(git_dir: Path) -> dict[str, str]:
    """Read ``main`` and the branches of temporary instances; empty when that is not simple."""
    try:
        if (git_dir / "reftable").exists():
            return {}
        found = {**_packed(git_dir), **_loose(git_dir)}
    except (OSError, UnicodeDecodeError):
        return {}
    is_simple = all(len(tip) == _COMMIT_DIGITS and tip.isalnum() for tip in found.values())
    return found if is_simple else {}


def _packed(git_dir: Path) -> dict[str, str]:
    """Read refs that git has packed."""
    try:
        lines = (git_dir / "packed-refs").read_text("utf-8").splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.split(" ", 1) for line in lines if line[:1] not in "#^")
    return {ref: tip for tip, ref in pairs if ref == MAIN or ref.startswith(f"{_TEMPS}/")}


def _loose(git_dir: Path) -> dict[str, str]:
    """Read refs that have files of their own; those count."""
    found = {}
    names = [MAIN]
    for folder, _, files in os.walk(git_dir / _TEMPS):
        names += [os.path.relpath(f"{folder}/{name}", git_dir) for name in files]
    for name in names:
        if not name.endswith(".lock"):
            with contextlib.suppress(FileNotFoundError):
                found[name] = (git_dir / name).read_text("utf-8").strip()
    return found
