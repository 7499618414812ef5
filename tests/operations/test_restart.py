"""TableVault(restart=True): what died is run to its end, each process for itself."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd
import pytest

from tablevault import TableVault
from tablevault.names import ProcessId
from tablevault.transactions.records import Hold, Record, Request
from tests.looking import check_clean


def leave_dead(vault: TableVault, operation: str, process_id: str, **arguments: object) -> None:
    """Write the record of a process that nobody runs."""
    now = time.time()
    record = Record(
        process_id=ProcessId(process_id),
        named=True,
        request=Request(operation=operation, arguments=arguments),  # type: ignore[arg-type]  # plain JSON
        author="ana",
        holds=(Hold(resource=f"tables/{arguments['table_name']}", exclusive=True),),
        started_at=now,
        updated_at=now,
        pid=1,
    )
    vault._vault.parts.files.write(record)


def test_dead_processes_are_run_to_their_end(vault: TableVault, vault_path: Path) -> None:
    vault.create_table("papers")
    options = {"allow_multiple_artifacts": False, "has_side_effects": False, "description": "d"}
    leave_dead(vault, "create_table", "one", table_name="stories", **options)
    leave_dead(vault, "rename_table", "two", new_table_name="texts", table_name="papers")
    again = TableVault(vault_path, "bob", restart=True)
    assert sorted(again.get_table_instances()) == ["stories", "texts"]
    assert again.get_process_completion("one")
    assert again.get_process_completion("two")
    check_clean(vault_path)


def test_one_bad_record_keeps_no_other_from_its_end(vault: TableVault, vault_path: Path) -> None:
    vault.create_table("papers")
    vault.create_instance("papers", external_edit=True)
    options = {"allow_multiple_artifacts": False, "has_side_effects": False, "description": "d"}
    leave_dead(vault, "write_instance", "lost", table_name="papers", version="base")
    leave_dead(vault, "delete_table", "wrong", table_name="nope")
    leave_dead(vault, "create_table", "good", table_name="stories", **options)
    with pytest.warns(RuntimeWarning, match="2 processes could not be restarted"):
        again = TableVault(vault_path, "bob", restart=True)
    assert again.get_table_instances() == ["papers", "stories"]
    assert again.get_active_processes() == {}
    again.write_instance(pd.DataFrame({"a": [1]}), "papers")
    check_clean(vault_path)


def test_a_living_process_is_skipped(vault: TableVault, vault_path: Path) -> None:
    from tablevault.transactions.transaction import running

    inner = vault._vault
    request = Request(operation="create_table", arguments={"table_name": "x"})
    with running(inner.parts, request, inner.actor("alive"), lambda *_: []):
        again = TableVault(vault_path, "bob", restart=True)
        assert list(again.get_active_processes()) == ["alive"]
        described = again.get_active_processes()["alive"]
        assert described["operation"] == described.operation == "create_table"
        assert not again.get_process_completion("alive")
    assert vault.get_active_processes() == {}


INDEX = """\
builder_type: IndexBuilder
changed_columns: [n]
python_function: make
code_module: words
is_custom: true
arguments: {}
"""
CODE = """\
import sys
import pandas as pd


def make():
    %s
    return pd.DataFrame({"n": [1, 2]})
"""


@pytest.fixture
def paused(vault: TableVault):
    """Pause executions of tables whose functions fail, each in its way."""

    def pause(*tables: str) -> TableVault:
        vault.create_code_module("words", text=CODE % "raise RuntimeError('not yet')")
        for table in tables:
            vault.create_table(table)
            vault.create_instance(table, builders={f"{table}_index": INDEX})
            with pytest.raises(RuntimeError):
                vault.execute_instance(table, process_id=table)
        return vault

    return pause


@pytest.mark.parametrize("fails", ["raise RuntimeError('x')", "raise SystemExit(3)", "1 / 0"])
def test_what_functions_raise_is_told_by_one_warning(paused, vault_path, fails) -> None:
    paused("one", "two")
    (vault_path / "code/words.py").write_text(CODE % fails)
    with pytest.warns(RuntimeWarning, match="2 processes could not be restarted") as warned:
        again = TableVault(vault_path, "bob", restart=True)
    assert len(warned) == 1
    assert "execute_instance one: " in str(warned[0].message)
    assert "execute_instance two: " in str(warned[0].message)
    active = again.get_active_processes()
    assert list(active) == ["one", "two"]
    assert not any(process.is_running for process in active.values())
    (vault_path / "code/words.py").write_text(CODE % "pass")
    again = TableVault(vault_path, "bob", restart=True)
    assert again.get_dataframe("two")[0]["n"].tolist() == [1, 2]
    assert again.get_active_processes() == {}
    check_clean(vault_path)


def test_a_stop_that_died_ends_its_process_which_is_not_run(paused, vault_path, monkeypatch):
    class DiedError(BaseException):
        pass

    def die(*_: object) -> None:
        raise DiedError

    vault = paused("one", "two")
    with monkeypatch.context() as patch:
        patch.setattr("tablevault.operations.processes.end_stopped", die)
        with pytest.raises(DiedError):
            vault.stop_process("one", process_id="s")
    (vault_path / "code/words.py").write_text(CODE % "pass")
    again = TableVault(vault_path, "bob", restart=True)
    assert again.get_active_processes() == {}
    assert all(again.get_process_completion(ended) for ended in ("one", "two", "s"))
    assert again.get_table_instances("one") == []
    assert len(again.get_table_instances("two")) == 1
    check_clean(vault_path)


def test_restarts_at_once_run_each_process_once(paused, vault_path, python, tmp_path) -> None:
    paused("one", "two", "three")
    ran = tmp_path / "ran"
    (vault_path / "code/words.py").write_text(CODE % f"open({str(ran)!r}, 'a').write('x')")
    script = "import sys; from tablevault import TableVault; TableVault(sys.argv[1], 'B', "
    others = [python(f"{script}restart=True)", vault_path) for _ in range(2)]
    for other in others:
        assert (other.communicate()[1], other.returncode) == ("", 0)
    again = TableVault(vault_path, "bob")
    assert again.get_active_processes() == {}
    assert ran.read_text() == "xxx"
    assert all(len(again.get_table_instances(table)) == 1 for table in ("one", "two", "three"))
    check_clean(vault_path)


def test_a_restart_that_is_interrupted_is_interrupted(paused, vault_path) -> None:
    paused("one")
    (vault_path / "code/words.py").write_text(CODE % "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        TableVault(vault_path, "bob", restart=True)
    assert list(TableVault(vault_path, "bob").get_active_processes()) == ["one"]


def test_a_record_that_is_damaged_keeps_no_other_from_its_end(paused, vault_path) -> None:
    vault = paused("one")
    (vault_path / ".git/tablevault/processes/bad.json").write_bytes(b"\0" * 100)
    leave_dead(vault, "from_the_future", "later", table_name="nope")
    (vault_path / "code/words.py").write_text(CODE % "pass")
    with pytest.warns(RuntimeWarning, match="from_the_future later: "):
        again = TableVault(vault_path, "bob", restart=True)
    assert again.get_process_completion("one")
    assert again.get_active_processes() == {}
    check_clean(vault_path)
