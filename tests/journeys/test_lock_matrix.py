"""Which operations may overlap: each pair tried with two processes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from tablevault import TableVault
from tablevault.errors import TVLockError
from tablevault.transactions.transaction import Transaction
from tests.journeys.matrix import ACTS, GivenUpError, furnish
from tests.looking import check_clean, state_of

ON_A_TABLE = (
    "rename",
    "delete_table",
    "create_instance",
    "create_builder",
    "delete_builder",
    "execute",
    "write",
    "delete_instance",
    "delete_origin",
)
WHOLE = {"rename", "delete_table"}
# What excludes what on one table, in different versions of it, besides the operations in WHOLE.
EXCLUDED = {
    "single": {
        frozenset({"execute"}),
        frozenset({"write"}),
        frozenset({"execute", "write"}),
    },
    "multiple": set(),
    "effects": {
        frozenset({claims, other}) for claims in ("execute", "write") for other in ON_A_TABLE
    },
}
ALWAYS = {
    frozenset({"create_instance", "delete_origin"}),
    frozenset({"delete_instance"}),
    frozenset({"delete_origin"}),
}
# An execution without an origin of its own takes the latest instance, which is "origin".
READS_ORIGIN = frozenset({"execute", "delete_origin"})


def expected(kind: str, held: str, asked: str) -> bool:
    """Return whether the matrix lets two operations on one table overlap."""
    if {held, asked} & WHOLE:
        return False
    pair = frozenset({held, asked})
    return pair not in EXCLUDED[kind] | ALWAYS and pair != READS_ORIGIN


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("matrix") / "vault"
    furnish(path)
    return path


@pytest.fixture
def path(furnished: Path, tmp_path: Path) -> Path:
    """Return a vault of one's own."""
    copy = tmp_path / "vault"
    shutil.copytree(furnished, copy, symlinks=True)
    return copy


@contextmanager
def holding(path: Path, name: str, table: str = "single", which: str = "one") -> Iterator[None]:
    """Let another process hold what an operation holds."""
    holder = subprocess.Popen(
        [sys.executable, "-m", "tests.journeys.matrix", path, name, table, which],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "held\n"
    yield
    holder.communicate(timeout=60)
    assert holder.returncode == 27


def may_begin(path: Path, name: str, table: str = "single", which: str = "two") -> bool:
    """Return whether an operation gets all that it needs; it gives up then."""
    try:
        ACTS[name](TableVault(path, "asker", lock_timeout=0), table, which)
    except GivenUpError:
        return True
    except TVLockError:
        return False
    return name == "read"


@pytest.fixture(autouse=True)
def giving_up(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Let operations in this process give up when they hold all; the vault is there by then."""

    def publish(*_: object) -> NoReturn:
        raise GivenUpError

    monkeypatch.setattr(Transaction, "publish", publish)


@pytest.mark.sweep
@pytest.mark.parametrize("kind", ["single", "multiple", "effects"])
@pytest.mark.parametrize("held", ON_A_TABLE)
def test_operations_on_one_table(path: Path, kind: str, held: str) -> None:
    before = state_of(path)
    with holding(path, held, kind):
        found = {asked: may_begin(path, asked, kind) for asked in ON_A_TABLE}
        assert may_begin(path, "read", kind)
        assert may_begin(path, "create_table")
        assert may_begin(path, held, "multiple" if kind == "single" else "single")
    assert found == {asked: expected(kind, held, asked) for asked in ON_A_TABLE}
    assert state_of(path) == before
    check_clean(path)


SAME_VERSION = ("replace_instance", "create_builder", "execute")


@pytest.mark.sweep
@pytest.mark.parametrize("held", SAME_VERSION)
def test_operations_on_one_version_exclude_each_other(path: Path, held: str) -> None:
    with holding(path, held, "multiple"):
        found = {asked: may_begin(path, asked, "multiple", "one") for asked in SAME_VERSION}
    assert found == dict.fromkeys(SAME_VERSION, False)


def test_an_execution_keeps_what_it_reads(path: Path) -> None:
    with holding(path, "execute_reader"):
        refused = {
            name
            for name in (*ON_A_TABLE, "execute_reader")
            if not may_begin(path, name, "single", "two")
        }
    # "origin" is the latest instance: the one that is read.
    assert refused == {"rename", "delete_table", "delete_origin"}


@pytest.mark.sweep
def test_code_modules_exclude_each_other_and_what_runs_them(path: Path) -> None:
    names = ("create_code", "delete_code", "execute_custom", "execute_reader", "create_instance")
    with holding(path, "create_code"):
        changed = {name for name in names if may_begin(path, name)}
    with holding(path, "execute_custom"):
        shared = {name for name in names if may_begin(path, name)}
    assert changed == {"execute_reader", "create_instance"}
    assert shared == {"execute_custom", "execute_reader", "create_instance"}
