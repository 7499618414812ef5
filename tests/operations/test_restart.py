"""TableVault(restart=True): what died is run to its end, each process for itself."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd
import pytest

from tablevault import TableVault
from tablevault.journal.record import Hold, Record, Request
from tablevault.names import ProcessId
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
    vault._vault.journal.files.write(record)


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
    from tablevault.journal.operation import running

    inner = vault._vault
    request = Request(operation="create_table", arguments={"table_name": "x"})
    with running(inner.journal, request, inner.actor("alive"), lambda *_: []):
        again = TableVault(vault_path, "bob", restart=True)
        assert list(again.get_active_processes()) == ["alive"]
        described = again.get_active_processes()["alive"]
        assert described["operation"] == described.operation == "create_table"
        assert not again.get_process_completion("alive")
    assert vault.get_active_processes() == {}
