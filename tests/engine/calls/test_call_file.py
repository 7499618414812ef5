"""Calls travel with the instance that they made: a colleague, and a lost cache, pay nothing."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tablevault import TableVault, clone_vault
from tablevault.engine.calls.call_file import (
    METADATA,
    SCHEMA,
    CallFile,
    CallFileError,
    key_of,
    write_calls,
)
from tablevault.queries.calls import read_calls
from tests.looking import check_clean
from tests.operations.bench import ASK, DOUBLE, EXPECTED, INDEX, Bench


def prompt(greeting: str) -> str:
    return f"def ask(id):\n    pay(id)\n    return '{greeting} ' + str(id)\n"


@pytest.fixture
def hub(tmp_path, git):
    git(tmp_path, "init", "-q", "--bare", "-b", "main", str(tmp_path / "hub.git"))
    return tmp_path / "hub.git"


@pytest.fixture
def bench(vault: TableVault, vault_path: Path, tmp_path: Path, hub, git) -> Bench:
    git(vault_path, "remote", "add", "origin", str(hub))
    return Bench(vault, vault_path, tmp_path / "paid")


def cloned(bench: Bench, tmp_path: Path, name: str = "bo") -> Bench:
    """Push, and give a colleague who notes his calls in the same place."""
    bench.vault.push()
    other = Bench.__new__(Bench)
    other.path, other.paid = tmp_path / name, bench.paid
    other.vault = clone_vault(tmp_path / "hub.git", other.path, "Bo", data="all")
    return other


def calls_of(path: Path, version="base", table="t") -> pa.Table:
    return pq.read_table(path / f"tables/{table}/{version}/calls.parquet")


def test_each_call_has_a_row_beside_the_dataframe(bench, git):
    bench.code(DOUBLE)
    bench.run()
    table = calls_of(bench.path)
    assert table.schema.equals(SCHEMA)
    rows = [row for row in table.to_pylist() if row["builder"] == "ask"]
    assert [row["row"] for row in rows] == list(range(12))
    assert {row["value"] for row in rows} == {None}
    assert len({row["key"] for row in rows}) == 12
    assert "calls.parquet" in git(bench.path, "lfs", "ls-files")
    check_clean(bench.path)


def test_a_colleague_pays_for_new_rows_only(bench, tmp_path):
    bench.code(DOUBLE)
    bench.run()
    bo = cloned(bench, tmp_path)
    assert bo.run({"id": [3, 99, 0, 1]}) == 1
    assert bo.x() == [6, 198, 0, 2]
    assert bo.run() == 0
    assert bo.x() == EXPECTED
    check_clean(bo.path)


def test_a_colleague_finds_an_earlier_prompt(bench, tmp_path):
    for greeting in ("hello", "welcome"):
        bench.code(prompt(greeting))
        assert bench.run() == 12
    bo = cloned(bench, tmp_path)
    bo.code(prompt("hello"))
    assert bo.run() == 0
    assert bo.x() == [f"hello {n}" for n in range(12)]


def test_what_a_colleague_made_comes_back(bench, tmp_path):
    bench.code(DOUBLE)
    bench.run({"id": [0, 1]})
    bo = cloned(bench, tmp_path)
    assert bo.run() == 10
    bo.vault.push()
    bench.vault.pull()
    assert bench.run() == 0
    assert bench.run({"id": [11, 12]}) == 1


@pytest.mark.parametrize(
    "text",
    [
        "def ask():\n    pay('all')\n    for n in range(12):\n        yield n * 2\n",
        "def ask():\n    pay('all')\n    return rows(x=[n * 2 for n in range(12)])\n",
    ],
    ids=["generator", "dataframe"],
)
def test_builders_of_a_whole_table_are_found_by_a_colleague(bench, tmp_path, text):
    kind = "generator" if "yield" in text else "dataframe"
    bench.code(text)
    assert bench.run(return_type=kind, arguments={}) == 1
    bench.code(text.replace("* 2", "* 3"))
    assert bench.run(return_type=kind, arguments={}) == 1
    bo = cloned(bench, tmp_path)
    bo.code(text)
    assert bo.run(return_type=kind, arguments={}) == 0
    assert bo.x() == EXPECTED


def test_a_lost_cache_costs_nothing(bench):
    bench.code(DOUBLE)
    bench.run()
    bench.code(DOUBLE.replace("2 *", "3 *"))
    bench.run()
    bench.vault = TableVault(bench.path, "Ana Lund <ana@example.org>")
    for ending in ("", "-wal", "-shm"):
        (bench.path / f".git/tablevault/calls.sqlite{ending}").unlink(missing_ok=True)
    bench.code(DOUBLE)
    assert bench.run() == 0
    assert bench.x() == EXPECTED


def test_values_that_the_column_does_not_hold_stand_in_the_file(bench, tmp_path):
    bench.code("def ask(id):\n    pay(id)\n    return f'{id}.50'\n")
    assert bench.run(dtypes={"x": "Float64"}) == 12
    bo = cloned(bench, tmp_path)
    assert bo.run(dtypes={"x": "string"}) == 0
    assert bo.x() == [f"{n}.50" for n in range(12)]


def test_kept_rows_take_their_calls_along(bench, tmp_path):
    bench.code(DOUBLE)
    bench.run({"id": [0, 1, 2]})
    bench.run({"id": [2, 1, 5]})
    rows = [row for row in calls_of(bench.path).to_pylist() if row["builder"] == "ask"]
    first = bench.vault.get_table_instances("t")[0]
    assert {row["row"]: row["instance"] for row in rows} == {0: first, 1: first, 2: None}
    bench.run({"id": [5, 2]})
    bo = cloned(bench, tmp_path)
    assert bo.run({"id": [2, 5, 7]}) == 1


MANY = {"id": list(range(1000))}


def test_many_rows_of_an_earlier_prompt_are_kept_without_a_record(bench):
    for greeting in ("hello", "welcome"):
        bench.code(prompt(greeting))
        assert bench.run(MANY) == 1000
    first, _ = bench.vault.get_table_instances("t")
    bench.code(prompt("hello"))
    assert bench.run({"id": [*reversed(MANY["id"]), 1000]}) == 1
    assert bench.x() == [f"hello {n}" for n in (*reversed(MANY["id"]), 1000)]
    made = [row for row in calls_of(bench.path).to_pylist() if row["builder"] == "ask"]
    assert {row["row"]: row["instance"] for row in made} == dict.fromkeys(range(1000), first) | {
        1000: None
    }
    assert bench.told()["reused"] == 1000


def test_many_rows_are_kept_of_several_instances_and_a_lost_cache(bench):
    bench.code(DOUBLE)
    bench.run({"id": list(range(600))}, version="a")
    bench.run({"id": list(range(600, 1200))}, version="b")
    bench.vault = TableVault(bench.path, "Ana Lund <ana@example.org>")
    for ending in ("", "-wal", "-shm"):
        (bench.path / f".git/tablevault/calls.sqlite{ending}").unlink(missing_ok=True)
    assert bench.run({"id": list(range(1201))}) == 1
    assert bench.x() == [2 * n for n in range(1201)]
    assert bench.run({"id": list(range(1201))}) == 0


@pytest.mark.parametrize(("retry_null", "calls"), [(True, 500), (False, 0)])
def test_of_many_rows_those_that_are_null_are_asked_again(bench, retry_null, calls):
    text = "def ask(id):\n    pay(id)\n    return id if id % 2 else None\n"
    for each in (text, DOUBLE):
        bench.code(each)
        bench.run(MANY)
    bench.code(text)
    assert bench.run(MANY, retry_null=retry_null) == calls
    assert bench.vault.get_dataframe("t")[0]["x"].isna().sum() == 500


def test_many_rows_are_found_again_after_a_failure(bench):
    text = DOUBLE + "\ndef fail(id):\n    raise ConnectionError\n"
    bench.code(text)
    bench.run(MANY)
    bench.run(MANY, arguments={"id": 5})
    for _ in range(2):
        bench.prepare(MANY)
        name = yaml.safe_dump({**ASK, "changed_columns": ["y"], "python_function": "fail"})
        bench.vault.create_builder_file("t", "z_fails", text=name)
        with pytest.raises(ConnectionError):
            bench.vault.execute_instance("t")
    assert bench.run(MANY) == 0


def test_artifacts_come_with_their_calls(bench, tmp_path):
    bench.code(
        "def ask(id, folder, prompt):\n"
        "    pay(id)\n"
        "    with open(f'{folder}/{id}.txt', 'w') as file:\n"
        "        file.write(f'{prompt} {id}')\n"
        "    return f'{id}.txt'\n"
    )

    def asked(prompt: str) -> dict[str, object]:
        arguments = {"id": "<<self.id[index]>>", "folder": "~ARTIFACT_FOLDER~", "prompt": prompt}
        return {"arguments": arguments, "dtypes": {"x": "artifact_string"}}

    assert [bench.run(**asked(prompt)) for prompt in "ABA"] == [12, 12, 0]
    bo = cloned(bench, tmp_path)
    assert [bo.run(**asked(prompt)) for prompt in "BA"] == [0, 0]
    folder = bo.path / "tables/t/artifacts"
    assert {file.read_text() for file in folder.iterdir()} == {f"A {n}" for n in range(12)}
    check_clean(bo.path)


def test_old_rows_stay_in_front(bench, tmp_path):
    bench.code(DOUBLE)
    bench.run({"id": [0, 1]})
    kept = {"keep_old": True, "changed_columns": ["id"], "primary_key": ["id"]}
    builders = {"t_index": {**INDEX, **kept, "arguments": {"id": [5]}}, "ask": ASK}
    texts = {name: yaml.safe_dump(builder) for name, builder in builders.items()}
    bench.vault.create_instance("t", builders=texts)
    bench.vault.execute_instance("t")
    assert bench.x() == [0, 2, 10]
    rows = {row["row"] for row in calls_of(bench.path).to_pylist() if row["builder"] == "ask"}
    assert rows == {2}


# -- files that are not what they should be --------------------------------------------------------


def forge(bench: Bench, git, data: bytes) -> None:
    """Commit other calls with plain git, and lose the cache."""
    path = bench.path / "tables/t/base/calls.parquet"
    path.unlink()
    path.write_bytes(data)
    git(bench.path, "add", "tables")
    git(bench.path, "commit", "-q", "--no-verify", "-m", "forge")
    bench.vault = TableVault(bench.path, "Ana Lund <ana@example.org>")
    for ending in ("", "-wal", "-shm"):
        (bench.path / f".git/tablevault/calls.sqlite{ending}").unlink(missing_ok=True)


def test_calls_of_another_dataframe_are_not_believed(bench, git, caplog):
    bench.code(DOUBLE)
    bench.run()
    other = (bench.path / "tables/t/base/calls.parquet").read_bytes()
    bench.run({"id": [5, 6]})
    forge(bench, git, other)
    view = bench.vault._vault.view()
    instance = view.instance(bench.vault.get_table_instances("t")[-1])
    assert read_calls(instance) is not None
    assert read_calls(replace(instance, commit=view.commit)) is None
    assert "it belongs to another dataframe" in caplog.text
    bench.run({"id": [5, 6, 7]})
    assert bench.x() == [10, 12, 14]


@pytest.mark.parametrize("data", [b"", b"PAR1nothing", b"no parquet at all"])
def test_damaged_calls_are_left_out(tmp_path, data):
    path = tmp_path / "calls.parquet"
    path.write_bytes(data)
    with pytest.raises(CallFileError, match="damaged"):
        CallFile.read(path, "v1:00")


def written(path: Path, *, digest="v1:00", version=1, table=None, **note) -> Path:
    made = {"code": "00", "is_exact": True, "columns": ["x"], **note}
    text = json.dumps(
        {"version": version, "digest": digest, "first_row": 0, "builders": {"ask": made}}
    )
    table = SCHEMA.empty_table() if table is None else table
    pq.write_table(table.replace_schema_metadata({METADATA: text}), path)
    return path


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, ""),
        ({"digest": "v1:01"}, "another dataframe"),
        ({"version": 2}, "version 2"),
        ({"version": "1"}, "version '1'"),
        ({"code": 7}, "damaged"),
        ({"code": "xy"}, "damaged"),
        ({"is_exact": "yes"}, "damaged"),
        ({"columns": "x"}, "damaged"),
        ({"columns": [1]}, "damaged"),
        ({"table": pa.table({"row": [1]})}, "other"),
        (
            {"table": pa.table([[None] * 16], names=["x"])},
            "other",
        ),
    ],
)
def test_calls_are_looked_at_before_they_are_believed(tmp_path, changes, why):
    path = written(tmp_path / "calls.parquet", **changes)
    if not why:
        assert CallFile.read(path, "v1:00").find([b"x"], None, lambda: None) == []
        return
    with pytest.raises(CallFileError, match=why):
        CallFile.read(path, "v1:00")


RECORD = {"builder": "ask", "row": 0, "key": key_of(b"x"), "code": "00", "outcome": "ok"}


@pytest.mark.parametrize(
    "changes",
    [
        {"value": "no JSON"},
        {"value": "{}"},
        {"value": "[1, 2]"},
        {"value": "[" * 100_000},
        {"value": None, "row": 7},
        {"row": None},
        {"builder": None},
        {"code": None},
        {"code": "no code"},
        {"key": None},
    ],
)
def test_a_record_that_cannot_be_is_not_found(tmp_path, changes):
    path = tmp_path / "calls.parquet"
    good = dict.fromkeys(SCHEMA.names) | RECORD | {"value": "[3]"}
    strange = good | {"started_at": float("nan"), "duration_s": float("inf")}
    frame = pd.DataFrame({"x": [3]})
    for record, found in ((strange, 1), (good | changes, 0)):
        written(path, table=pa.Table.from_pylist([record]).cast(SCHEMA))
        calls = CallFile.read(path, "v1:00").find([b"x"], None, lambda: frame)
        assert [(call.value, call.started_at, call.duration_s) for call in calls] == (
            [("[3]", 0.0, 0.0)] * found
        )


@pytest.mark.parametrize(
    ("changes", "row"),
    [
        ({}, 3),
        ({"builder": "answer"}, -1),
        ({"code": "01"}, -1),
        ({"outcome": "rejected"}, -1),
        ({"value": "[3]"}, -1),
        ({"key": key_of(b"y")}, -1),
        ({"key": None}, -1),
        ({"row": None}, -1),
        ({"row": -1}, -1),
        ({"code": None}, -1),
    ],
)
def test_a_cell_stands_for_the_call_that_made_it(tmp_path, changes, row):
    path = tmp_path / "calls.parquet"
    record = dict.fromkeys(SCHEMA.names) | RECORD | {"row": 3} | changes
    written(path, table=pa.Table.from_pylist([record]).cast(SCHEMA))
    calls = CallFile.read(path, "v1:00")
    assert calls.rows_of("ask", ["x"], [b"w", b"x"], b"\0").tolist() == [-1, row]


def test_a_call_without_a_row_is_of_no_row(tmp_path):
    record = dict.fromkeys(SCHEMA.names) | RECORD
    table = pa.Table.from_pylist([record, record | {"row": None}]).cast(SCHEMA)
    calls = CallFile.read(written(tmp_path / "calls.parquet", table=table), "v1:00")
    assert calls.positions("ask", 2).tolist() == [0, -1]
    assert calls.of_no_row("ask").tolist() == []


@pytest.mark.parametrize("note", [{"is_exact": False}, {"columns": ["y"]}, {"columns": ["x", "y"]}])
def test_cells_of_other_columns_or_that_were_cast_stand_for_no_call(tmp_path, note):
    record = dict.fromkeys(SCHEMA.names) | RECORD
    table = pa.Table.from_pylist([record]).cast(SCHEMA)
    calls = CallFile.read(written(tmp_path / "calls.parquet", table=table, **note), "v1:00")
    assert calls.rows_of("ask", ["x"], [b"x"], None).tolist() == [-1]


def test_a_vault_of_an_earlier_release_learns_of_calls(bench, git):
    path = bench.path / ".gitattributes"
    lines = [line for line in path.read_text().splitlines() if "calls.parquet" not in line]
    path.write_text("\n".join(lines))
    git(bench.path, "commit", "-q", "-a", "-m", "as it was")
    assert bench.vault.verify() == []
    bench.code(DOUBLE)
    bench.run()
    assert path.read_text().splitlines()[-1].startswith("/tables/*/*/calls.parquet filter=lfs")
    assert path.read_text().splitlines()[:-1] == lines
    check_clean(bench.path)
    assert bench.vault.verify() == []


def test_an_instance_that_is_written_by_hand_has_no_calls(bench):
    bench.code(DOUBLE)
    bench.run()
    bench.vault.create_instance("t", external_edit=True)
    bench.vault.write_instance(pd.DataFrame({"id": [1]}), "t")
    assert not (bench.path / "tables/t/base/calls.parquet").exists()
    check_clean(bench.path)


def test_calls_go_with_their_instance(bench):
    bench.code(DOUBLE)
    bench.run()
    (instance,) = bench.vault.get_table_instances("t")
    objects = bench.path / ".git/lfs/objects"
    assert len(list(objects.glob("??/??/*"))) == 2
    bench.vault.delete_instance(instance, "t")
    assert not list(objects.glob("??/??/*"))
    assert bench.run() == 12
    check_clean(bench.path)


def test_rows_that_another_instance_holds_stay_paid_for(bench):
    bench.code(DOUBLE)
    bench.run()
    bench.run({"id": [*range(12), 99]})
    first, second = bench.vault.get_table_instances("t")
    bench.vault.delete_instance(first, "t")
    assert bench.run({"id": [3, 99, 50]}) == 1
    bench.vault.delete_instance(second, "t")
    assert bench.run() == 11


def test_a_colleague_goes_on_from_what_a_stopped_process_left(bench, tmp_path):
    down = bench.fail_at_8(process_id="p")
    bench.vault.stop_process("p", materialize=True)
    down.unlink()
    bo = cloned(bench, tmp_path)
    assert bo.run() == 4
    assert bo.x() == EXPECTED


def test_a_million_calls_take_ten_bytes_each():
    rows = 100_000
    columns = [
        ["ask"] * rows,
        range(rows),
        [key_of(row.to_bytes(24, "little")) for row in range(rows)],
        ["00" * 16] * rows,
        ["ok"] * rows,
        *[[None] * rows] * 4,
        ["p"] * rows,
        *[[None] * rows] * 7,
    ]
    arrays = [
        pa.array(
            values, field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        )
        for values, field in zip(columns, SCHEMA, strict=True)
    ]
    sink = io.BytesIO()
    table = pa.table(
        [array.cast(field.type) for array, field in zip(arrays, SCHEMA, strict=True)], schema=SCHEMA
    )
    size = 1 << 15
    tables = (table.slice(first, size) for first in range(0, rows, size))
    write_calls(tables, sink, "v1:00", {})
    assert len(sink.getbuffer()) < 12 * rows
