"""The text of an index builder and of a column builder, over three rows."""

from __future__ import annotations

import pandas as pd

KEYS = ["Ann", "Bob", "Zed"]


def index(columns="[k, n]", **fields):
    return yaml_of("IndexBuilder", columns, "rows", fields)


def column(columns="[o]", **fields):
    return yaml_of("ColumnBuilder", columns, "f", fields)


def yaml_of(kind, columns, function, fields):
    fields = {"arguments": "{}", **fields}
    lines = [f"builder_type: {kind}", f"changed_columns: {columns}"]
    lines += [f"python_function: {function}", "code_module: m"]
    return "\n".join(lines + [f"{name}: {value}" for name, value in fields.items()])


def rows():
    return pd.DataFrame({"k": KEYS, "n": [1, 2, 9]})
