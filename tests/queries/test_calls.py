"""What `get_calls` says of instances, of executions that have not ended, and of bad requests."""

from __future__ import annotations

import hashlib

import pandas as pd
import pytest

from tablevault import TableVault
from tablevault.errors import TVArgumentError, TVTableError
from tests.operations.building import row_builders

CODE = """
import pandas as pd

def rows(n):
    return pd.DataFrame({"id": range(n)})

def f(id):
    if id == BAD:
        raise ValueError("bad id")
    return id
"""
DTYPES = {
    "builder": "string",
    "row": "Int64",
    "id": "Int64",
    "outcome": "string",
    "made_in": "string",
    "started_at": "datetime64[us, UTC]",
    "duration_s": "Float64",
    "error": "string",
    "process": "string",
    "module": "string",
    "function": "string",
    "code": "string",
    "gen_ai.request.model": "string",
    "gen_ai.usage.input_tokens": "Int64",
    "gen_ai.usage.output_tokens": "Int64",
    "cost": "Float64",
    "attempts": "Int64",
}


@pytest.fixture
def prepared(vault):
    """Return a vault with a temporary instance."""
    vault.create_table("t")
    vault.create_code_module("work", text=CODE.replace("BAD", "-1"))
    vault.create_instance("t", builders=row_builders(3))
    return vault


def test_the_columns_have_dtypes_however_few_calls_there_are(prepared):
    empty = prepared.get_calls("t", "TEMP_base")
    assert {name: str(dtype) for name, dtype in empty.dtypes.items()} == {
        name: dtype for name, dtype in DTYPES.items() if name != "id"
    }
    assert len(empty) == 0
    prepared.execute_instance("t", process_id="p")
    calls = prepared.get_calls("t")
    assert {name: str(dtype) for name, dtype in calls.dtypes.items()} == DTYPES
    assert calls["builder"].tolist() == ["t_index", "f", "f", "f"]
    assert calls["id"].tolist()[1:] == [0, 1, 2]
    assert set(calls["process"]) == {"p"}
    instance = prepared.get_table_instances("t")[0]
    assert set(calls["made_in"]) == {calls.attrs["instance_id"]} == {instance}
    assert calls["started_at"].dropna().is_monotonic_increasing
    assert (calls["started_at"].dropna() <= pd.Timestamp.now("UTC")).all()
    assert (calls["duration_s"].dropna() > 0).all()
    assert set(calls["code"].str.len()) == {32}


def test_it_takes_the_instances_that_get_dataframe_takes(prepared):
    prepared.execute_instance("t", process_id="p")
    first = prepared.get_table_instances("t")[0]
    prepared.create_instance("t", "large", builders=row_builders(5))
    prepared.execute_instance("t", "large", process_id="q")
    large = prepared.get_table_instances("t", "large")[0]
    assert prepared.get_calls("t").attrs["instance_id"] == first
    assert prepared.get_calls("t", version="large").attrs["instance_id"] == large
    assert prepared.get_calls("t", version="").attrs["instance_id"] == large
    assert prepared.get_calls("t", first).equals(prepared.get_calls("t"))
    large_calls = prepared.get_calls("t", version="large")
    assert set(large_calls["made_in"]) == {first, large}


def test_rows_of_keep_old_come_before_those_that_were_called_for(vault):
    vault.create_table("t")
    vault.create_code_module("work", text=CODE.replace("BAD", "-1").replace("range(n)", "[n]"))
    for n in (5, 6):
        builders = row_builders(n)
        builders["t_index"] += "keep_old: true\n"
        vault.create_instance("t", builders=builders)
        vault.execute_instance("t")
    assert vault.get_dataframe("t")[0]["id"].tolist() == [5, 6]
    calls = vault.get_calls("t")
    mine = calls[calls["builder"] == "f"]
    assert (mine["row"].tolist(), mine["id"].tolist()) == ([1], [6])


def test_a_key_that_is_called_like_another_column_is_told_apart(vault):
    vault.create_table("t")
    vault.create_code_module("work", text=CODE.replace("BAD", "-1"))
    builders = {
        name: text.replace("- id\n", "- row\n").replace("self.id", "self.row")
        for name, text in row_builders(2).items()
    }
    vault.create_instance("t", builders=builders)
    vault.execute_instance("t")
    calls = vault.get_calls("t")
    assert list(calls)[:3] == ["builder", "row", "key.row"]
    assert calls["key.row"].tolist()[1:] == [0, 1]


def test_an_execution_that_is_paused_shows_what_it_has(prepared):
    prepared.create_code_module("work", text=CODE.replace("BAD", "1"))
    with pytest.raises(ValueError, match="bad id"):
        prepared.execute_instance("t", process_id="p")
    calls = prepared.get_calls("t", "TEMP_base")
    assert calls[["builder", "outcome", "error"]].astype(object).fillna("").to_numpy().tolist() == [
        ["t_index", "ok", ""],
        ["f", "ok", ""],
        ["f", "error", "ValueError: bad id"],
    ]
    assert calls["made_in"].isna().all()
    with pytest.raises(TVTableError, match="has no active, materialised instance") as caught:
        prepared.get_calls("t")
    assert "get_calls('t', instance_id='TEMP_base')" in str(caught.value)


def test_written_instances_have_none(vault):
    vault.create_table("t")
    vault.create_instance("t", external_edit=True)
    vault.write_instance(pd.DataFrame({"a": [1]}), "t")
    assert len(vault.get_calls("t")) == 0


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"table_name": "none"}, TVArgumentError, "none"),
        ({"table_name": "t"}, TVTableError, "has no active, materialised instance"),
        ({"table_name": "t", "version": "large"}, TVTableError, 'of version "large"'),
        ({"table_name": "t", "instance_id": "base_1_x"}, TVArgumentError, "base_1_x"),
        ({"table_name": "t", "instance_id": "TEMP_large"}, TVArgumentError, "large"),
        ({"table_name": "t", "version": "a/b"}, TVArgumentError, "Version 'a/b' cannot be used"),
        ({"table_name": 3}, TVArgumentError, "Argument table_name of get_calls is 3"),
    ],
)
def test_a_bad_request_is_one_clear_error(prepared, given, error, text):
    with pytest.raises(error, match=text):
        prepared.get_calls(**given)


def test_without_the_records_of_this_machine_the_instance_knows_its_calls(prepared, vault_path):
    prepared.execute_instance("t", process_id="p")
    known = prepared.get_calls("t")
    for file in (vault_path / ".git/tablevault").glob("calls.sqlite*"):
        file.unlink()
    again = TableVault(vault_path, "B").get_calls("t")
    pd.testing.assert_frame_equal(again, known)
    assert again["function"].tolist() == ["rows", "f", "f", "f"]


def test_calls_of_rows_that_were_kept_name_the_instance_that_made_them(prepared):
    prepared.execute_instance("t", process_id="p")
    _, first = prepared.get_dataframe("t")
    prepared.create_instance("t", builders=row_builders(4))
    prepared.execute_instance("t", process_id="q")
    calls = prepared.get_calls("t")
    second = calls.attrs["instance_id"]
    mine = calls[calls["builder"] == "f"]
    assert mine["id"].tolist() == [0, 1, 2, 3]
    assert mine["made_in"].tolist() == [first] * 3 + [second]
    assert mine["process"].tolist() == ["p"] * 3 + ["q"]


@pytest.mark.parametrize("text", ["", "no parquet"])
def test_a_damaged_file_of_calls_is_warned_of(prepared, vault_path, text, caplog):
    prepared.execute_instance("t")
    calls = vault_path / "tables/t/base/calls.parquet"
    oid = hashlib.sha256(calls.read_bytes()).hexdigest()
    stored = vault_path / ".git/lfs/objects" / oid[:2] / oid[2:4] / oid
    for file in (calls, stored):
        file.unlink()
        file.write_text(text)
    assert len(TableVault(vault_path, "B").get_calls("t")) == 0
    assert "The calls of base_" in caplog.text
