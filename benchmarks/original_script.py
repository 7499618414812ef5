"""What both versions of TableVault can do; prints the median seconds of each step as JSON."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from tablevault.core import TableVault

REPEATS = 15
INDEX = """\
builder_type: IndexBuilder
changed_columns: [name]
primary_key: [name]
python_function: create_data_table_from_list
code_module: table_generation
arguments: {vals: [a, b, c]}
is_custom: false
"""
COLUMN = """\
builder_type: ColumnBuilder
changed_columns: [text]
python_function: random_row_string
code_module: random_string
arguments: {column_names: [text]}
is_custom: false
return_type: row-wise
dtypes: {text: string}
"""


def main() -> None:
    """Time each step REPEATS times."""
    target = Path(sys.argv[1])
    times: dict[str, list[float]] = {}

    def step(name: str, action: Callable[[], object]) -> None:
        start = time.perf_counter()
        action()
        times.setdefault(name, []).append(time.perf_counter() - start)

    vault = TableVault(str(target), "ana", create=True)
    module = target.parent / "module_text.py"
    module.write_text("def nothing():\n    return None\n")
    index, column = target.parent / "index.yaml", target.parent / "column.yaml"
    index.write_text(INDEX)
    column.write_text(COLUMN)
    frame = pd.DataFrame({"a": range(100), "b": [str(n) for n in range(100)]})
    for n in range(REPEATS):
        table, made = f"t{n}", f"m{n}"
        step("create_table", lambda: vault.create_table(table))
        step("create_instance (external)", lambda: vault.create_instance(table, external_edit=True))
        step("write_instance, 100 rows", lambda: vault.write_instance(frame, table))
        step("get_dataframe, 100 rows", lambda: vault.get_dataframe(table))
        step("get_table_instances", lambda: vault.get_table_instances(table))
        step("get_descriptions", lambda: vault.get_descriptions(table_name=table))
        step("create_code_module", lambda: vault.create_code_module(copy_dir=str(module)))
        vault.create_table(made)
        step("create_instance (builders)", lambda: vault.create_instance(made))
        step(
            "create_builder_file",
            lambda: vault.create_builder_file(made, f"{made}_index", copy_dir=str(index)),
        )
        vault.create_builder_file(made, "text", copy_dir=str(column))
        step("execute_instance, 3 rows", lambda: vault.execute_instance(made))
        step("rename_table", lambda: vault.rename_table(f"r{n}", table))
        instance = vault.get_table_instances(made)[0]
        step("delete_instance", lambda: vault.delete_instance(instance, made))
        step("delete_table", lambda: vault.delete_table(f"r{n}"))
    step("open", lambda: TableVault(str(target), "ana"))
    print(json.dumps({name: statistics.median(values) for name, values in times.items()}))


if __name__ == "__main__":
    main()
