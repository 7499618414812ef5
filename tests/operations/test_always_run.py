"""``always_run: false``: the call of an index builder is found by its key, as other calls are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tablevault import TableVault
from tablevault.errors import TVBuilderError

CODE = """
import os
import pandas as pd

def pay(what):
    with open({paid!r}, "a") as file:
        file.write(f"{{what}}\\n")

def frame(n, factor=1):
    pay("index")
    return pd.DataFrame({{"id": [factor * each for each in range(n)]}})

def items(n, factor=1):
    pay("index")
    for each in range(n):
        yield factor * each

def row(id=None):
    pay("index")
    return 0 if id is None else id + 1

def f(id):
    if os.path.exists({down!r}):
        raise ConnectionError("no answer")
    return 2 * id
"""
KINDS = pytest.mark.parametrize(
    ("function", "kind"), [("frame", "dataframe"), ("items", "generator")]
)
Execute = Callable[..., int]


@pytest.fixture
def down(tmp_path: Path) -> Path:
    """While this file exists, the column builder fails."""
    return tmp_path / "down"


@pytest.fixture
def execute(vault: TableVault, tmp_path: Path, down: Path) -> Execute:
    """Execute a table of an index builder and a column builder; count calls of the first."""
    paid = tmp_path / "paid"
    vault.create_code_module("work", text=CODE.format(paid=str(paid), down=str(down)))
    shared = {"code_module": "work", "is_custom": True}
    tables: set[str] = set()

    def run(function="frame", n=4, table="t", options=None, **fields):
        index = shared | {
            "builder_type": "IndexBuilder",
            "changed_columns": ["id"],
            "primary_key": ["id"],
            "python_function": function,
            "arguments": {"n": n},
            "always_run": False,
        }
        column = shared | {
            "builder_type": "ColumnBuilder",
            "changed_columns": ["x"],
            "python_function": "f",
            "return_type": "row-wise",
            "arguments": {"id": "<<self.id[index]>>"},
        }
        builders = {f"{table}_index": index | fields, "f": column}
        texts = {name: yaml.safe_dump(builder) for name, builder in builders.items()}
        if table not in tables:
            vault.create_table(table)
            tables.add(table)
        vault.create_instance(table, builders=texts)
        before = len(paid.read_text().splitlines()) if paid.exists() else 0
        vault.execute_instance(table, **(options or {}))
        return len(paid.read_text().splitlines()) - before

    return run


def told(vault: TableVault, table: str = "t") -> tuple[int, int, str]:
    """Return what is said of the index builder: rows made, rows found, the reason."""
    _, instance = vault.get_dataframe(table)
    said = vault.get_descriptions(instance, table)["execution"][f"{table}_index"]
    return said["computed"], said["reused"], said["reason"]


def forget_calls(vault: TableVault, path: Path) -> None:
    """Delete the file of records, as somebody may."""
    vault._vault.calls.close()
    for file in (path / ".git/tablevault").glob("calls.sqlite*"):
        file.unlink()


def ids(vault: TableVault, table: str = "t") -> list[int]:
    return vault.get_dataframe(table)[0]["id"].tolist()


@KINDS
def test_the_index_builder_is_called_when_its_key_is_new(execute, vault, function, kind):
    given = {"function": function, "return_type": kind}
    said = []
    calls = []
    for n in (4, 4, 3, 4):
        calls.append(execute(n=n, **given))
        said.append(told(vault))
        assert ids(vault) == list(range(n))
    assert calls == [1, 0, 1, 0]
    assert said == [
        (4, 0, "first run"),
        (0, 4, "unchanged"),
        (3, 0, "argument `n` changed"),
        (0, 4, "argument `n` changed; made before"),
    ]


@KINDS
def test_what_was_made_while_it_always_ran_is_found(execute, vault, function, kind):
    given = {"function": function, "return_type": kind}
    assert [execute(always_run=True, **given) for _ in range(2)] == [1, 1]
    assert told(vault) == (4, 0, "index builders always run")
    assert execute(**given) == 0
    assert execute(always_run=True, **given) == 1


@KINDS
def test_it_is_found_in_another_table(execute, vault, function, kind):
    given = {"function": function, "return_type": kind}
    assert [execute(table=table, **given) for table in ("t", "u")] == [1, 0]
    assert ids(vault, "u") == [0, 1, 2, 3]
    assert told(vault, "u") == (0, 4, "first run; made before")


@KINDS
def test_without_records_an_unchanged_instance_gives_its_rows(
    execute, vault, vault_path, function, kind
):
    given = {"function": function, "return_type": kind}
    execute(**given)
    forget_calls(vault, vault_path)
    assert execute(**given) == 0
    assert told(vault) == (0, 4, "unchanged")
    assert ids(vault) == [0, 1, 2, 3]


@KINDS
def test_a_call_gives_back_its_own_rows_where_others_stand_in_front(
    execute, vault, vault_path, function, kind
):
    given = {"function": function, "return_type": kind, "keep_old": True}
    later = {**given, "arguments": {"n": 3, "factor": 10}}
    assert [execute(**given), execute(**later), execute(**later)] == [1, 1, 0]
    forget_calls(vault, vault_path)
    assert execute(**later) == 0
    assert ids(vault) == [1, 2, 3, 0, 10, 20]
    assert told(vault)[:2] == (0, 3)


def test_a_row_wise_index_builder_is_asked_where_what_it_sees_is_new(execute, vault):
    execute(n=3)
    given = {"function": "row", "return_type": "row-wise"}
    given["arguments"] = {"id": "<<self.id[index]>>"}
    assert execute(**given) == 3  # sees 0, 1, 2
    assert ids(vault) == [1, 2, 3]
    assert execute(**given) == 1  # sees 1, 2, 3
    assert ids(vault) == [2, 3, 4]
    assert told(vault)[:2] == (1, 2)


@pytest.mark.parametrize(("always", "calls"), [(False, 1), (True, 2)])
def test_after_a_failure_without_an_id_only_one_that_always_runs_runs_again(
    execute, vault, down, always, calls
):
    down.touch()
    with pytest.raises(ConnectionError):
        execute(always_run=always)
    down.unlink()
    vault.execute_instance("t")
    counted = len((down.parent / "paid").read_text().splitlines())
    assert counted == calls
    assert ids(vault) == [0, 1, 2, 3]


def test_a_forced_execution_calls_it(execute):
    assert [execute(), execute(options={"force_execute": True}), execute()] == [1, 1, 0]


def test_no_rows_are_a_result_too(execute, vault):
    assert [execute(n=0), execute(n=0)] == [1, 0]
    assert ids(vault) == []


def test_a_dtype_is_no_new_call(execute, vault):
    assert [execute(), execute(dtypes={"id": "string"}), execute()] == [1, 0, 0]
    assert ids(vault) == [0, 1, 2, 3]


@pytest.mark.parametrize("value", [True, False])
def test_a_column_builder_has_no_such_field(vault, value):
    vault.create_table("t")
    text = f"""\
builder_type: ColumnBuilder
changed_columns: [x]
python_function: f
code_module: work
arguments: {{}}
always_run: {str(value).lower()}
"""
    with pytest.raises(TVBuilderError, match='"f": field always_run is for an IndexBuilder'):
        vault.create_instance("t", builders={"f": text})
    assert vault.get_table_instances("t") == []
