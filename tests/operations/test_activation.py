"""Which instances are active: tables with side effects, at each step of an execution."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from tablevault import TableVault
from tablevault.errors import TableVaultError, TVLockError, TVTableError
from tablevault.operations.prepare_execution import BeforeFirstCall
from tablevault.transactions.begin import Actor
from tablevault.transactions.claims import temp_hold
from tablevault.transactions.records import Request
from tablevault.transactions.transaction import running
from tests.looking import check_clean, git
from tests.scripts import Script

CODE = """\
import pandas as pd
from tablevault import TableVault


def make(rows):
    return pd.DataFrame({"n": range(rows)})


def act(n):
    return n * 10


def fail(n):
    raise RuntimeError(f"no {n}")


def look(path, instance):
    vault = TableVault(path, "looker")
    seen = [vault.get_descriptions(instance)["active"]]
    try:
        vault.get_dataframe("events")
    except Exception as error:
        seen.append(type(error).__name__)
    seen.append(vault.get_dataframe("events", active_only=False)[1] == instance)
    return pd.DataFrame({"n": [str(each) for each in seen]})
"""
INDEX = """\
builder_type: IndexBuilder
changed_columns: [n]
python_function: make
code_module: events
is_custom: true
arguments: {rows: 2}
"""
ACT = """\
builder_type: ColumnBuilder
changed_columns: [done]
python_function: act
code_module: events
is_custom: true
return_type: row-wise
n_threads: 2
arguments: {n: "<<self.n[index]>>"}
"""
BUILDERS = {"events_index": INDEX, "act": ACT}


@pytest.fixture
def events(vault: TableVault) -> TableVault:
    """A table with side effects that has one instance, and a temporary one."""
    vault.create_code_module("events", text=CODE)
    vault.create_table("events", has_side_effects=True)
    vault.create_instance("events", builders=BUILDERS)
    vault.execute_instance("events")
    vault.create_instance("events", builders=BUILDERS)
    return vault


def active(vault: TableVault) -> list[bool]:
    """Tell of each instance, oldest first, whether it is active."""
    ids = vault.get_table_instances("events", "")
    return [vault.get_descriptions(instance)["active"] for instance in ids]


def test_earlier_instances_are_inactive_while_functions_run(
    events: TableVault, vault_path: Path
) -> None:
    (first,) = events.get_table_instances("events")
    text = INDEX.replace("make", "look").replace(
        "{rows: 2}", f"{{path: {vault_path}, instance: {first}}}"
    )
    events.create_instance("events", builders={"events_index": text})
    events.execute_instance("events")
    assert events.get_dataframe("events")[0]["n"].tolist() == ["False", "TVTableError", "True"]
    assert active(events) == [False, True]
    check_clean(vault_path)


def test_the_deactivation_is_a_commit_of_a_child(events: TableVault, vault_path: Path) -> None:
    (first,) = events.get_table_instances("events")
    process = events.execute_instance("events")
    made, deactivated = git(
        vault_path, "log", "--first-parent", "-2", "--format=%(trailers:only,unfold)%x00"
    ).split("\0")[:2]
    assert f"Vault-Process: {process}" in made
    assert "Vault-Deactivates" not in made
    assert "Vault-Operation: deactivate_instances\n" in deactivated
    assert f"Vault-Parent-Process: {process}\n" in deactivated
    assert f"Vault-Deactivates: {first}\n" in deactivated
    assert git(vault_path, "diff", "--stat", "HEAD~1~1", "HEAD~1") == ""


@pytest.mark.parametrize(
    "text",
    [
        ACT.replace("python_function: act", "python_function: nope"),
        ACT.replace("{n:", "{wrong:"),
        ACT.replace("<<self.n[index]>>", "<<nope.n[index]>>"),
        ACT + "dtypes: {done: nonsense}\n",
        "no mapping",
    ],
)
def test_a_failure_before_the_first_call_leaves_them_active(
    events: TableVault, vault_path: Path, text: str
) -> None:
    (vault_path / "temp/events/base/builders/act.yaml").write_text(text)
    before = git(vault_path, "for-each-ref")
    with pytest.raises(TableVaultError):
        events.execute_instance("events")
    assert git(vault_path, "for-each-ref") == before
    assert active(events) == [True]


def test_a_failure_after_the_first_call_leaves_them_inactive(
    events: TableVault, vault_path: Path
) -> None:
    events.create_builder_file("events", "act", text=ACT.replace(": act", ": fail"))
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no 0"):
            events.execute_instance("events")
    assert active(events) == [False]
    with pytest.raises(TVTableError, match="active"):
        events.get_dataframe("events")
    log = git(vault_path, "log", "--format=%s")
    assert log.count("execution begins") == 1
    check_clean(vault_path)
    events.create_builder_file("events", "act", text=ACT)
    events.execute_instance("events")
    assert active(events) == [False, True]


def test_what_failed_without_side_effects_deactivates_nothing(vault: TableVault) -> None:
    vault.create_code_module("events", text=CODE)
    vault.create_table("events")
    vault.create_instance("events", builders={"events_index": INDEX})
    vault.execute_instance("events")
    text = INDEX.replace("make", "fail").replace("{rows: 2}", "{n: 1}")
    vault.create_instance("events", builders={"events_index": text})
    with pytest.raises(RuntimeError):
        vault.execute_instance("events")
    assert active(vault) == [True]


def test_a_kill_while_a_function_runs_leaves_them_inactive(
    events: TableVault, vault_path: Path, python: Callable[..., Script]
) -> None:
    script = (
        "import sys\nfrom tablevault import TableVault\n"
        "TableVault(sys.argv[1], 'x').execute_instance('events')\n"
    )
    text = CODE.replace("    return n * 10", "    import os; os.kill(os.getpid(), 9)")
    events.create_code_module("events", text=text)
    assert python(script, vault_path).wait() == -9
    opened = TableVault(vault_path, "Bo")
    assert active(opened) == [False]
    opened.create_code_module("events", text=CODE)
    opened.execute_instance("events")
    assert active(opened) == [False, True]
    check_clean(vault_path)


def test_versions_of_the_table_are_deactivated_together(events: TableVault) -> None:
    events.create_instance("events", version="other", builders=BUILDERS)
    events.execute_instance("events", version="other", force_execute=True)
    assert active(events) == [False, True]


@pytest.mark.parametrize("effects", [True, False])
def test_writing_claims_the_whole_table_when_it_has_side_effects(
    vault: TableVault, effects: bool
) -> None:
    vault.create_table("events", has_side_effects=effects)
    vault.create_instance("events", external_edit=True)
    hurried = TableVault(vault._vault.path, "Bo", lock_timeout=0.1)

    def write() -> None:
        hurried.write_instance(pd.DataFrame({"n": [1]}), "events")

    request = Request(operation="create_instance", arguments={})
    holds = [temp_hold("events", "other")]
    with (
        running(vault._vault.parts, request, Actor(author="Ana"), lambda *_: holds),
        ThreadPoolExecutor(1) as pool,
    ):
        error = pool.submit(write).exception()
    if effects:
        assert isinstance(error, TVLockError)
        assert "TEMP_other" in str(error)
    else:
        assert error is None


def test_writing_deactivates_when_it_materialises(vault: TableVault, vault_path: Path) -> None:
    vault.create_table("events", has_side_effects=True)
    for n in range(2):
        vault.create_instance("events", external_edit=True)
        if n:
            with pytest.raises(TVTableError, match="artifact"):
                vault.write_instance(
                    pd.DataFrame({"n": ["a"]}), "events", dtypes={"n": "artifact_string"}
                )
            assert active(vault) == [True]
        vault.write_instance(pd.DataFrame({"n": [n]}), "events")
    assert active(vault) == [False, True]
    assert "deactivate_instances" not in git(vault_path, "log", "--format=%B")


# -- what happens before the first call -----------------------------------------------------------


def test_what_comes_before_the_first_call_happens_once_also_between_threads() -> None:
    said: list[str] = []
    begun = threading.Barrier(8)
    before = BeforeFirstCall(lambda: said.append("first"))

    def work(_: int) -> None:
        begun.wait()
        before()
        said.append("called")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert said == ["first", *["called"] * 8]


def test_what_failed_before_the_first_call_is_tried_again() -> None:
    tries: list[int] = []

    def act() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise TVLockError("held")

    before = BeforeFirstCall(act)
    for _ in range(2):
        with pytest.raises(TVLockError):
            before()
    before()
    before()
    assert len(tries) == 3
