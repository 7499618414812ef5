"""An execution that failed before its first call can be made again under the same id."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tablevault import TableVault
from tablevault.errors import (
    TableReferenceError,
    TVArgumentError,
    TVBuilderError,
    TVFileError,
    TVLockError,
    TVProcessError,
)
from tests.looking import check_clean
from tests.operations.building import row_builders

WORK = """
import pandas as pd

def rows(n):
    return pd.DataFrame({"id": range(n)})

def f(id):
    return 2 * id
"""
EXECUTE = """
import sys
from tablevault import TableVault
TableVault(sys.argv[1], "Ben").execute_instance("t", process_id="p")
"""


@dataclass
class Fault:
    """What is wrong with the setup, as changes of the files of a vault in which all is right."""

    error: type[Exception]
    match: str = "."
    column: dict[str, object] | None = None
    index: dict[str, object] | None = None
    text: str | None = None
    work: str | None = WORK


FAULTS = {
    "no YAML": Fault(TVBuilderError, "no valid YAML", text="a: [b"),
    "unknown field": Fault(TVBuilderError, "no field", column={"colour": 1}),
    "no type": Fault(TVBuilderError, "builder_type", column={"builder_type": None}),
    "bad dtype": Fault(TVBuilderError, "dtypes", column={"dtypes": {"x": "Int65"}}),
    "circle": Fault(TVBuilderError, ".", column={"changed_columns": ["id"]}),
    "no module": Fault(TVFileError, "elsewhere", column={"code_module": "elsewhere"}),
    "no function": Fault(TVFileError, '"g"', column={"python_function": "g"}),
    "no such argument": Fault(TVBuilderError, "do not fit", column={"arguments": {"z": 1}}),
    "no such table": Fault(TableReferenceError, "none", column={"arguments": {"id": "<<none.a>>"}}),
    "no such column": Fault(
        TableReferenceError, "zz", column={"arguments": {"id": "<<self.zz[index]>>"}}
    ),
    "no such dependency": Fault(TableReferenceError, "none", column={"dependencies": ["none.a"]}),
    "index builder that is none": Fault(
        TVBuilderError, ".", index={"builder_type": "ColumnBuilder"}
    ),
    "code that is no Python": Fault(TVFileError, "work", work="def rows(:\n"),
    "code that raises": Fault(TVFileError, "ZeroDivision", work="1 / 0\n"),
    "code that imports what is not there": Fault(
        TVFileError, "nowhere_at_all", work="import nowhere_at_all\n"
    ),
}


def put(vault_path: Path, fault: Fault) -> None:
    """Write builders and code by hand, as a user corrects them."""
    folder = vault_path / "temp/t/base/builders"
    for name, changes in (("t_index", fault.index), ("f", fault.column)):
        builder = yaml.safe_load(row_builders(3)[name]) | (changes or {})
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(builder))
    if fault.text is not None:
        (folder / "f.yaml").write_text(fault.text)
    assert fault.work is not None
    (vault_path / "code/work.py").write_text(fault.work)


@pytest.fixture
def prepared(vault: TableVault) -> TableVault:
    vault.create_code_module("work", text=WORK)
    vault.create_table("t")
    vault.create_instance("t", builders=row_builders(3))
    return vault


def check_done(vault: TableVault, vault_path: Path) -> None:
    """Check that process p is done, and that its id is used up now."""
    assert vault.get_dataframe("t")[0]["x"].tolist() == [0, 2, 4]
    assert vault.get_process_completion("p")
    assert vault.get_active_processes() == {}
    vault.create_instance("t", builders=row_builders(3))
    with pytest.raises(TVProcessError, match="has ended"):
        vault.execute_instance("t", process_id="p")
    check_clean(vault_path)


@pytest.mark.parametrize(
    ("name", "background"),
    [*((name, False) for name in FAULTS), ("no YAML", True), ("no function", True)],
)
def test_the_same_call_works_once_the_cause_is_corrected(prepared, vault_path, name, background):
    fault = FAULTS[name]
    put(vault_path, fault)
    for _ in range(2):
        with pytest.raises(fault.error, match=fault.match):
            prepared.execute_instance("t", process_id="p", background=background)
    put(vault_path, Fault(TVBuilderError))
    prepared.execute_instance("t", process_id="p")
    check_done(prepared, vault_path)


def test_what_failed_has_ended_and_holds_nothing(prepared, vault_path):
    put(vault_path, FAULTS["no function"])
    with pytest.raises(TVFileError):
        prepared.execute_instance("t", process_id="p")
    assert prepared.get_active_processes() == {}
    assert prepared.get_process_completion("p")
    told = prepared.log("t")
    assert told["error"][told["process_id"] == "p"].iloc[0].startswith("TVFileError: ")
    prepared.delete_instance("TEMP_base", "t")
    with pytest.raises(TVArgumentError):
        TableVault(vault_path, "Ben").execute_instance("t", process_id="p")
    prepared.create_instance("t", builders=row_builders(3))
    prepared.execute_instance("t", process_id="p")
    check_done(prepared, vault_path)


@pytest.mark.parametrize(
    "refused", [{"version": "a/b"}, {"version": "other"}, {"table_name": "none"}, {"version": 7}]
)
def test_an_argument_that_is_refused_uses_no_id(prepared, vault_path, refused):
    with pytest.raises(TVArgumentError):
        prepared.execute_instance(**{"table_name": "t", **refused}, process_id="p")
    prepared.execute_instance("t", process_id="p")
    check_done(prepared, vault_path)


def test_the_id_of_another_operation_that_failed_is_used(prepared):
    with pytest.raises(TVArgumentError):
        prepared.create_table("t", process_id="p")
    with pytest.raises(TVProcessError, match="has ended"):
        prepared.execute_instance("t", process_id="p")


def test_who_had_to_wait_for_too_long_uses_no_id(prepared, vault_path):
    put(vault_path, Fault(TVFileError, ".", work=WORK.replace("2 * id", "1 / 0")))
    with pytest.raises(ZeroDivisionError):
        prepared.execute_instance("t", process_id="first")
    with pytest.raises(TVLockError, match="first"):
        prepared.execute_instance("t", process_id="p")
    prepared.stop_process("first")
    (vault_path / "code/work.py").write_text(WORK)
    prepared.execute_instance("t", process_id="p")
    check_done(prepared, vault_path)


def test_a_prompt_that_has_to_be_decided_uses_no_id(prepared, vault_path):
    work = WORK + '\nPROMPT = "say what you think"\n'
    asks = work.replace("return 2 * id", "return [2 * id, PROMPT, {}['a'] if id == 2 else 0][0]")
    put(vault_path, Fault(TVFileError, ".", work=asks))
    with pytest.raises(KeyError):
        prepared.execute_instance("t")
    asks = asks.replace("you think", "she thinks").replace("{}['a'] if id == 2 else 0", "0")
    (vault_path / "code/work.py").write_text(asks)
    for _ in range(2):
        with pytest.raises(TVBuilderError, match="say what you think"):
            prepared.execute_instance("t", process_id="p")
    prepared.execute_instance("t", process_id="p", accept_code=True)
    check_done(prepared, vault_path)


# -- two at once, kills ----------------------------------------------------------------------------


@pytest.fixture
def held(prepared, vault_path, python) -> Callable[[str], subprocess.Popen[str]]:
    """Start an execution that waits in its setup until its input ends."""

    def start(work: str):
        waits = "import sys\nprint('begun', flush=True)\nsys.stdin.read()\n"
        (vault_path / "code/work.py").write_text(waits + work)
        started = python(EXECUTE, vault_path)
        assert started.stdout.readline() == "begun\n"
        return started

    return start


def test_of_two_at_once_one_runs_and_after_its_failure_another_may(prepared, vault_path, held):
    first = held(WORK.replace("def f", "def g"))
    with pytest.raises(TVProcessError, match="runs just now"):
        prepared.execute_instance("t", process_id="p")
    (vault_path / "code/work.py").write_text(WORK)
    _, errors = first.communicate(timeout=60)
    assert "TVFileError" in errors
    prepared.execute_instance("t", process_id="p")
    check_done(prepared, vault_path)


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_a_kill_in_the_setup_uses_no_id(prepared, vault_path, held, sent):
    first = held(WORK)
    first.send_signal(sent)
    assert first.wait() != 0
    (vault_path / "code/work.py").write_text(WORK.replace("def f", "def g"))
    with pytest.raises(TVFileError):
        prepared.execute_instance("t", process_id="p")
    (vault_path / "code/work.py").write_text(WORK)
    prepared.execute_instance("t", process_id="p")
    check_done(prepared, vault_path)


def test_a_restart_of_what_cannot_begin_uses_no_id(prepared, vault_path, held):
    first = held(WORK)
    first.kill()
    first.wait()
    (vault_path / "code/work.py").write_text(WORK.replace("def f", "def g"))
    with pytest.warns(RuntimeWarning, match="TVFileError"):
        TableVault(vault_path, "Ben", restart=True)
    assert prepared.get_active_processes() == {}
    (vault_path / "code/work.py").write_text(WORK)
    prepared.execute_instance("t", process_id="p")
    check_done(prepared, vault_path)


def test_a_process_that_was_stopped_was_given_up(prepared, held):
    first = held(WORK)
    first.kill()
    first.wait()
    assert list(prepared.get_active_processes()) == ["p"]
    prepared.stop_process("p")
    with pytest.raises(TVProcessError, match="has ended"):
        prepared.execute_instance("t", process_id="p")


def test_other_versions_can_be_written_meanwhile(prepared, vault_path):
    put(vault_path, FAULTS["no module"])
    with pytest.raises(TVFileError):
        prepared.execute_instance("t", process_id="p")
    prepared.create_instance("t", "w", external_edit=True)
    prepared.write_instance(pd.DataFrame({"id": [1]}), "t", "w")
    put(vault_path, Fault(TVBuilderError))
    prepared.execute_instance("t", process_id="p")
    check_done(prepared, vault_path)
