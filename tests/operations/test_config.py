"""Limits and prices of a whole vault: read, set, removed, undone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tablevault import TableVault
from tablevault.errors import TVArgumentError, TVFileError, TVLockError
from tablevault.transactions.claims import config_hold
from tablevault.transactions.records import Request
from tablevault.transactions.transaction import running
from tests.looking import check_clean, git, state_of

PRICE = {"input": 0.15, "output": 0.6}


def by_hand(vault_path: Path, text: str) -> None:
    """Commit text at the end of ``vault.yaml`` past the hook."""
    with (vault_path / "vault.yaml").open("a", encoding="utf-8") as file:
        file.write(text)
    git(vault_path, "commit", "-q", "--no-verify", "-am", "by hand")


def test_what_is_set_is_read(vault: TableVault, vault_path: Path) -> None:
    assert vault.get_config() == {"limits": {}, "prices": {}}
    assert vault.get_config("limits.calls") is vault.get_config("prices.gpt-4.1.input") is None
    vault.set_config("limits.calls_per_minute", 500)
    vault.set_config("limits.calls", np.int64(7))
    vault.set_config("prices.gpt-4.1", PRICE)
    vault.set_config("prices.meta/llama-3.1", {"input": "0", "output": "1e-3"})
    vault.set_config("prices.gpt-4.1.input", 2)
    vault.set_config("prices.gpt-4.1.batch", "0.5")
    assert vault.get_config("limits.calls_per_minute") == 500
    assert vault.get_config("prices.gpt-4.1.input") == 2
    assert vault.get_config() == {
        "limits": {"calls_per_minute": 500, "calls": 7},
        "prices": {
            "gpt-4.1": {"input": 2, "output": 0.6, "batch": 0.5},
            "meta/llama-3.1": {"input": 0, "output": 0.001},
        },
    }
    document = TableVault(vault_path, "Bo")._vault.snapshot().vault()
    assert document.config.limits.calls == 7
    assert document.config.prices["gpt-4.1"].output == 0.6
    check_clean(vault_path)


def test_none_removes_and_an_empty_vault_document_is_as_it_was(
    vault: TableVault, vault_path: Path
) -> None:
    before = (vault_path / "vault.yaml").read_bytes()
    vault.set_config("limits", {"calls": 5, "cost": 20})
    vault.set_config("limits.calls", None)
    assert vault.get_config("limits") == {"cost": 20}
    vault.set_config("prices.m", PRICE)
    vault.set_config("prices.m", None)
    vault.set_config("limits", None)
    assert (vault_path / "vault.yaml").read_bytes() == before
    check_clean(vault_path)


def test_it_is_one_commit_that_says_what_was_set(vault: TableVault, vault_path: Path) -> None:
    done = vault.set_config("limits.cost", 20, process_id="mine")
    assert done == "mine"
    message = git(vault_path, "log", "-1", "--format=%B", "main")
    assert message.startswith("config: set limits.cost to 20\n")
    assert "\nVault-Operation: set_config\nVault-Process: mine\n" in message
    assert git(vault_path, "show", "--format=", "--name-only", "main") == "vault.yaml\n"
    assert vault.get_process_completion("mine")
    assert vault.log().iloc[0]["operation"] == "set_config"
    for act, subject in (
        (lambda: vault.set_config("limits.cost", 20.0), "config: no change"),
        (lambda: vault.set_config("prices.m", PRICE), "config: set prices.m"),
        (lambda: vault.set_config("prices.m", None), "config: remove prices.m"),
        (lambda: vault.set_config("limits", None), "config: remove limits"),
    ):
        act()
        assert git(vault_path, "log", "-1", "--format=%s", "main") == f"{subject}\n"


def test_an_undo_stands_behind_a_later_change(vault: TableVault, vault_path: Path) -> None:
    first = vault.set_config("limits.calls", 5)
    second = vault.set_config("limits.cost", 5)
    with pytest.raises(Exception, match=f'changed since by set_config "{second}"'):
        vault.undo(first)
    vault.undo(second)
    vault.undo(first)
    assert vault.get_config("limits") == {}
    check_clean(vault_path)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("limits.call_per_minute", 5, 'Did you mean "limits.calls_per_minute"'),
        ("calls", 5, 'no setting "calls".*Did you mean "limits.calls"'),
        ("description", "x", r'no setting "description". Settings are limits\.name'),
        ("", 5, 'There is no setting ""'),
        ("limits.calls", -1, r"limits\.calls is -1; it has to be a whole number"),
        ("limits.calls", {"a": 1}, r"limits\.calls is \{'a': 1\}"),
        ("limits", 5, "limits is 5; it has to be a mapping"),
        ("limits", "", "limits is ''; it has to be a mapping"),
        ("limits", {"calls": 5, "costs": 1}, 'did you mean "cost"'),
        ("prices", {"m": {"input": 1}}, r"both of them\. Set both at once"),
        ("prices.gpt-4.1.input", 5, r'prices\.gpt-4\.1 is .*\{"input": \.\.\., "output": \.\.\.\}'),
        ("prices.m", {"input": 1, "output": object()}, r"prices\.m\.output is <object"),
        ("prices.m", 5, r"prices\.m is 5"),
        ("prices.m", {**PRICE, "batch": 1.5}, r"prices\.m\.batch is 1\.5; .* from 0 to 1"),
        ("prices.a\nb", PRICE, "on one line"),
        ("prices.m", None, r'no price of the model "m"\. Models with a price: modern, other'),
        ("prices.modem", None, 'Did you mean "modern"'),
        ("limits.calls", True, "Argument value of set_config is True"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_changed(
    vault: TableVault, vault_path: Path, key: str, value: object, said: str
) -> None:
    vault.set_config("prices", {"modern": PRICE, "other": PRICE})
    before = state_of(vault_path)
    with pytest.raises(TVArgumentError, match=said):
        vault.set_config(key, value)  # type: ignore[arg-type]  # that is what is tried
    assert state_of(vault_path) == before
    check_clean(vault_path)


def test_a_number_that_python_does_not_write_is_refused(vault: TableVault) -> None:
    with pytest.raises(TVArgumentError, match=r"^limits\.cost is a number without end; it has"):
        vault.set_config("limits.cost", 10**5000)


def test_a_key_that_names_nothing_is_refused_by_who_reads(vault: TableVault) -> None:
    with pytest.raises(TVArgumentError, match=r'Did you mean "limits\.cost"'):
        vault.get_config("limits.costs")


def test_a_bad_value_that_was_committed_by_hand_stops_nothing_else(
    vault: TableVault, vault_path: Path
) -> None:
    by_hand(vault_path, "limits:\n  cost: 3\n  calls: -3\n")
    again = TableVault(vault_path, "Bo")
    for act in (
        again.get_config,
        lambda: again.get_config("limits.cost"),
        lambda: again.set_config("limits.calls", 3),
    ):
        with pytest.raises(TVFileError, match=r"^vault\.yaml, line 8: limits\.calls is -3"):
            act()
    again.create_table("t")
    assert again.get_descriptions()["created_by"]
    text = (vault_path / "vault.yaml").read_text("utf-8")
    (vault_path / "vault.yaml").write_text(text.replace("calls: -3", "calls: 3"), "utf-8")
    git(vault_path, "commit", "-qam", "corrected")
    again.set_config("limits.cost", None)
    assert again.get_config("limits") == {"calls": 3}
    check_clean(vault_path)


def test_an_edit_by_hand_that_is_not_committed_stays_and_does_not_count(
    vault: TableVault, vault_path: Path
) -> None:
    with (vault_path / "vault.yaml").open("a", encoding="utf-8") as file:
        file.write("limits: {calls: 1}\n")
    vault.set_config("limits.cost", 5)
    assert vault.get_config("limits") == {"cost": 5}
    assert "calls: 1" in (vault_path / "vault.yaml").read_text("utf-8")


def test_processes_that_set_at_once_lose_nothing(
    vault: TableVault, vault_path: Path, python, finish
) -> None:
    script = (
        "import sys\n"
        "from tablevault import TableVault\n"
        "vault = TableVault(sys.argv[1], 'Bo', lock_timeout=240)\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "for number in range(5):\n"
        "    vault.set_config(f'prices.{sys.argv[2]}-{number}', {'input': 1, 'output': number})\n"
    )
    started = [python(script, vault_path, model) for model in ("a", "b")]
    for process in started:
        assert process.stdout.readline() == "ready\n"
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in started:
        finish(process)
    assert vault.get_config("prices") == {
        f"{model}-{number}": {"input": 1, "output": number}
        for model in ("a", "b")
        for number in range(5)
    }
    assert git(vault_path, "log", "--format=%s", "main").count("config: set prices.") == 10
    check_clean(vault_path)


def test_who_sets_something_holds_the_configuration(vault: TableVault, vault_path: Path) -> None:
    impatient = TableVault(vault_path, "Bo", lock_timeout=0)
    inner = vault._vault
    request = Request(operation="set_config", arguments={"changes": {}})
    held = running(inner.parts, request, inner.actor("other"), lambda *_: [config_hold()])
    # In a thread of its own: what is called here would be a child of the process that holds.
    with held, ThreadPoolExecutor(1) as apart:
        with pytest.raises(TVLockError, match="The configuration of the vault is held by process"):
            apart.submit(impatient.set_config, "limits.calls", 5).result()
        apart.submit(impatient.create_table, "t").result()
    impatient.set_config("limits.calls", 5)
    check_clean(vault_path)


def test_one_that_crashed_is_run_to_its_end(vault: TableVault, vault_path: Path) -> None:
    inner = vault._vault
    changes = {"limits.calls": 5, "prices.m": PRICE}
    request = Request(operation="set_config", arguments={"changes": changes})
    with (
        pytest.raises(KeyboardInterrupt),
        running(inner.parts, request, inner.actor("crashed"), lambda *_: [config_hold()]),
    ):
        raise KeyboardInterrupt
    again = TableVault(vault_path, "Bo", restart=True)
    assert again.get_process_completion("crashed")
    assert again.get_config() == {"limits": {"calls": 5}, "prices": {"m": PRICE}}
    check_clean(vault_path)
