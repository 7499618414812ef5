"""What executions cost by the row on either version of TableVault; prints JSON.

``python engine_script.py <folder> rows <rows>``: row-wise and generator builders, an execution
again with nothing changed, and one with 100 new rows. ``lookup <rows> <other rows>``: references
into another table. ``prompts <rows>``: a builder with one prompt, another, and the first again.
``memory <rows> <1 or 0>``: the peak of one execution whose index function reads a file, or makes
Python objects; ``function <rows> <1 or 0>``: that of the index function alone.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tablevault.core import TableVault

NEW_ROWS = 100
MODULE = """\
def touch(x, prompt=""):
    import __main__
    __main__.calls += 1
    return x


def count(number):
    import __main__
    for n in range(number):
        __main__.calls += 1
        yield n


def frame(source):
    import pandas as pd
    if isinstance(source, str):
        return pd.read_parquet(source)
    return pd.DataFrame(
        {"k": [f"key {n}" for n in range(source)], "n": range(source), "x": [0.5] * source}
    )
"""
INDEX = """\
builder_type: IndexBuilder
changed_columns: [k, n]
primary_key: [k]
python_function: create_data_table_from_csv
code_module: table_generation
arguments: {csv_file_path: %s}
is_custom: false
dtypes: {k: string, n: Int64}
"""
FRAME_INDEX = """\
builder_type: IndexBuilder
changed_columns: [k, n, x]
python_function: frame
code_module: functions
arguments: {source: %s}
is_custom: true
dtypes: {k: string, n: Int64, x: Float64}
"""
ROW_WISE = """\
builder_type: ColumnBuilder
changed_columns: [made]
python_function: touch
code_module: functions
arguments: {x: %s}
is_custom: true
return_type: row-wise
dtypes: {made: string}
"""
PROMPTED = ROW_WISE.replace("arguments: {x: %s}", "arguments: {x: %s, prompt: %s}")
GENERATOR = """\
builder_type: ColumnBuilder
changed_columns: [made]
python_function: count
code_module: functions
arguments: {number: %d}
is_custom: true
return_type: generator
dtypes: {made: Int64}
"""
CURRENT = "<<self.k[index]>>"
LOOKED_UP = "<<other.v[k::<<self.k[index]>>]>>"

calls = 0


def make(folder: Path) -> TableVault:
    """Make a vault that holds the functions."""
    vault = TableVault(str(folder / "vault"), "ana", create=True)
    module = folder / "functions.py"
    module.write_text(MODULE)
    vault.create_code_module(copy_dir=str(module))
    return vault


def write_rows(path: Path, rows: int, new: int = 0) -> None:
    """Write the file that the index builder reads; new rows stand in front."""
    keys = [f"new {n}" for n in range(new)] + [f"key {n}" for n in range(rows)]
    pd.DataFrame({"k": keys, "n": range(len(keys))}).to_csv(path, index=False)


def prepare(vault: TableVault, folder: Path, table: str, **texts: str) -> None:
    """Make a table and its temporary instance with builders."""
    vault.create_table(table)
    vault.create_instance(table)
    for name, text in texts.items():
        file = folder / f"{table}-{name}.yaml"
        file.write_text(text)
        vault.create_builder_file(table, f"{table}_{name}", copy_dir=str(file))


def execute(vault: TableVault, table: str) -> tuple[float, int]:
    """Return the seconds of an execution, and how often functions were called."""
    global calls  # noqa: PLW0603 - functions count their calls here
    calls = 0
    start = time.perf_counter()
    vault.execute_instance(table)
    return time.perf_counter() - start, calls


def warm_up(vault: TableVault, folder: Path) -> None:
    """Execute once, so that what is imported late is there."""
    file = folder / "few.csv"
    write_rows(file, 10)
    prepare(vault, folder, "few", index=INDEX % file, made=ROW_WISE % json.dumps(CURRENT))
    execute(vault, "few")


def by_rows(folder: Path, rows: int) -> dict[str, tuple[float, int]]:
    """Measure executions of a table of so many rows."""
    vault, csv = make(folder), folder / "rows.csv"
    write_rows(csv, rows)
    index = INDEX % csv
    warm_up(vault, folder)
    prepare(vault, folder, "bare", index=index)
    prepare(vault, folder, "rowwise", index=index, made=ROW_WISE % json.dumps(CURRENT))
    prepare(vault, folder, "generator", index=index, made=GENERATOR % rows)
    bare, _ = execute(vault, "bare")
    found = {}
    for table in ("rowwise", "generator"):
        seconds, called = execute(vault, table)
        found[table] = (seconds - bare, called)
    vault.create_instance("rowwise", copy=True)
    found["unchanged"] = execute(vault, "rowwise")
    write_rows(csv, rows, NEW_ROWS)
    vault.create_instance("rowwise", copy=True)
    found["new rows"] = execute(vault, "rowwise")
    return found


def by_lookups(folder: Path, rows: int, other: int) -> dict[str, tuple[float, int]]:
    """Measure references from so many rows into a table of so many others."""
    vault, csv = make(folder), folder / "rows.csv"
    write_rows(csv, rows)
    vault.create_table("other")
    vault.create_instance("other", external_edit=True)
    keys = [f"key {n}" for n in range(other)]
    vault.write_instance(pd.DataFrame({"k": keys, "v": keys[::-1]}), "other")
    warm_up(vault, folder)
    prepare(vault, folder, "bare", index=INDEX % csv)
    made = ROW_WISE % json.dumps(LOOKED_UP)
    prepare(vault, folder, "lookup", index=INDEX % csv, made=made)
    bare, _ = execute(vault, "bare")
    seconds, called = execute(vault, "lookup")
    return {"lookup": (seconds - bare, called)}


def by_prompts(folder: Path, rows: int) -> dict[str, tuple[float, int]]:
    """Measure executions that find what an earlier prompt has made, and one without the column."""
    vault, csv = make(folder), folder / "rows.csv"
    write_rows(csv, rows)
    keyed = INDEX % csv
    warm_up(vault, folder)
    prepare(vault, folder, "bare", index=keyed)
    found = {"bare": execute(vault, "bare")}
    vault.create_table("t")
    for step, prompt in {"A": "A", "B": "B", "A again": "A", "B, cache lost": "B"}.items():
        made = PROMPTED % (json.dumps(CURRENT), prompt)
        vault.create_instance("t", builders={"t_index": keyed, "made": made})
        if "lost" in step:
            for file in (folder / "vault/.git/tablevault").glob("calls.sqlite*"):
                file.unlink()
            vault = TableVault(str(folder / "vault"), "ana")
        found[step] = execute(vault, "t")
    vault.create_instance("t", copy=True)
    found["unchanged"] = execute(vault, "t")
    return found


def peak(folder: Path, rows: int, from_file: int) -> dict[str, tuple[float, int]]:
    """Measure the bytes that an execution needs at most, and the bytes of its frame.

    Its index function reads the frame from a file, or makes it of Python objects.
    """
    vault = make(folder)
    for table, number in (("small", 10), ("large", rows)):
        made = ROW_WISE % json.dumps(CURRENT)
        source = write_frame(folder / f"{table}.parquet", number) if from_file else number
        prepare(vault, folder, table, index=FRAME_INDEX % source, made=made)
        before = most_bytes()
        execute(vault, table)
    most = most_bytes()
    frame, _ = vault.get_dataframe("large")
    return {"memory": (most - before, int(frame.memory_usage(deep=True).sum()))}


def peak_of_function(folder: Path, rows: int, from_file: int) -> dict[str, tuple[float, int]]:
    """Measure the bytes that the index function alone needs at most."""
    functions: dict[str, Any] = {}
    exec(MODULE, functions)
    small, large = folder / "small.parquet", folder / "large.parquet"
    functions["frame"](str(write_frame(small, 10)) if from_file else 10)
    source = str(write_frame(large, rows)) if from_file else rows
    before = most_bytes()
    functions["frame"](source)
    return {"function": (most_bytes() - before, 1)}


def write_frame(file: Path, rows: int) -> Path:
    """Write the frame that the index function reads, holding a part of it only."""
    part = 10_000
    schema = pa.schema({"k": pa.string(), "n": pa.int64(), "x": pa.float64()})
    with pq.ParquetWriter(file, schema) as writer:
        for start in range(0, rows, part):
            numbers = range(start, min(start + part, rows))
            columns = [[f"key {n}" for n in numbers], numbers, [0.5] * len(numbers)]
            writer.write_table(pa.table(dict(zip(schema.names, columns, strict=True)), schema))
    return file


def most_bytes() -> int:
    """Return the most memory that this process has ever had."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    measure = {
        "rows": by_rows,
        "lookup": by_lookups,
        "prompts": by_prompts,
        "memory": peak,
        "function": peak_of_function,
    }[sys.argv[2]]
    print(json.dumps(measure(folder, *map(int, sys.argv[3:]))))
