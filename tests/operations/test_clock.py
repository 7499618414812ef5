"""A clock that is set back, stands still, or jumps: what comes later is later all the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tablevault import TableVault
from tests.looking import check_clean, git

AUTHOR = "Ana Lund <ana@example.org>"
DAY_S = 86_400.0
CLOCKS: dict[str, Callable[[int], float]] = {
    "set back each time": lambda n: 1_700_000_000.0 - n * DAY_S,
    "standing still": lambda _: 1_700_000_000.0,
    "set forward, then back": lambda n: 1_700_000_000.0 + (n % 7) * DAY_S - n,
}


@pytest.fixture(params=CLOCKS)
def vault(
    request: pytest.FixtureRequest, repo_path: Path, monkeypatch: pytest.MonkeyPatch
) -> TableVault:
    """A vault on a machine whose clock cannot be trusted: each look at it shows another time."""
    looks = iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: CLOCKS[request.param](next(looks)))
    return TableVault(repo_path, AUTHOR, create=True)


def reopened(path: Path) -> TableVault:
    """Open it where nothing is remembered."""
    (path / ".git/tablevault/index.sqlite").unlink(missing_ok=True)
    return TableVault(path, AUTHOR)


def check_both(vault: TableVault, path: Path, check: Callable[[TableVault], None]) -> None:
    """Check what is known, and what is known again after a look at history alone."""
    check(vault)
    check(reopened(path))
    check_clean(path)


def test_the_latest_instance_is_the_one_that_was_made_last(
    vault: TableVault, vault_path: Path
) -> None:
    vault.create_table("t")
    made = []
    for n in range(6):
        vault.create_instance("t", version="ab"[n % 2], external_edit=True)
        vault.write_instance(pd.DataFrame({"n": [n]}), "t", version="ab"[n % 2])
        made.append(vault.get_dataframe("t", version="ab"[n % 2])[1])
        assert vault.get_dataframe("t", version="ab"[n % 2])[0]["n"].tolist() == [n]
    assert len(set(made)) == len(made)

    def check(vault: TableVault) -> None:
        assert vault.get_table_instances("t", "") == made
        assert vault.get_dataframe("t", version="b")[0]["n"].tolist() == [5]
        vault.create_instance("t", version="a", copy=True, external_edit=True)
        assert vault.get_descriptions("TEMP_a", "t")["origin"][0] == made[4]

    check_both(vault, vault_path, check)


def test_tables_stand_in_the_order_of_their_making(vault: TableVault, vault_path: Path) -> None:
    names = ["zebra", "ape", "mole", "bee"]
    for name in names:
        vault.create_table(name)
    check_both(vault, vault_path, lambda each: _same(each.get_table_instances(""), names))


def _same(found: object, wanted: object) -> None:
    assert found == wanted


def test_the_log_has_the_order_of_history(vault: TableVault, vault_path: Path) -> None:
    done = [vault.create_table("t")]
    for n in range(3):
        done.append(vault.create_instance("t", external_edit=True))
        done.append(vault.write_instance(pd.DataFrame({"n": [n]}), "t"))
    done.append(vault.create_instance("t"))
    done.extend(vault.create_builder_file("t", f"b{n}") for n in range(3))
    done.append(vault.delete_instance("TEMP_base", "t"))
    done.append(vault.undo(done[-1]))
    done.append(vault.rename_table("u", "t"))
    done.append(vault.undo(done[-1]))
    done.append(vault.delete_table("t"))

    def check(vault: TableVault) -> None:
        log = [each for each in vault.log()["process_id"] if each]
        assert log[: len(done)] == done[::-1]

    check_both(vault, vault_path, check)
    shown = git(vault_path, "log", "--first-parent", "--format=%ct", "main").split()
    assert shown == sorted(shown, reverse=True)


def test_a_name_leads_to_where_it_was_given_last(vault: TableVault, vault_path: Path) -> None:
    vault.create_table("a")
    for old, new in (("a", "b"), ("b", "a"), ("a", "c")):
        vault.rename_table(new, old)

    def check(vault: TableVault) -> None:
        with pytest.raises(Exception, match='renamed to "c"'):
            vault.get_dataframe("a")

    check_both(vault, vault_path, check)


def test_what_is_deleted_and_made_again_is_the_new_one(vault: TableVault, vault_path: Path) -> None:
    for n in range(3):
        vault.create_table("t", description=f"number {n}")
        vault.delete_table("t")
    check_both(
        vault,
        vault_path,
        lambda each: _same(each.get_descriptions(table_name="t")["summary"], "number 2"),
    )
