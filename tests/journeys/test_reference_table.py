"""The conformance table of the reference language, through a vault and its real instances."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from tablevault import TableVault
from tablevault.errors import TableReferenceError
from tests.engine.references.reference_table import (
    BASE,
    CONFIG,
    DF,
    ERROR,
    EVENTS,
    PEOPLE,
    STRINGS,
    TABLE,
    Each,
)
from tests.looking import check_clean

CODE = """\
import pandas as pd
import seen_by_the_test


def rows(numbers):
    return pd.DataFrame({"k": ["Ann", "Bob", "Zed"], "n": numbers})


def note(**x):
    seen_by_the_test.rows.append(x)
"""
INDEX = """\
builder_type: IndexBuilder
changed_columns: [k, n]
python_function: rows
code_module: m
is_custom: true
arguments: {{numbers: {numbers}}}
"""
COLUMN = """\
builder_type: ColumnBuilder
changed_columns: [o]
python_function: note
code_module: m
is_custom: true
return_type: row-wise
arguments: {arguments}
"""
# Whole strings with what is expected and the numbers in column n.
CASES = [
    *((f"<<{reference}>>", expected, (1, 2, 9)) for _, reference, expected in TABLE),
    *((value, expected, tuple(numbers)) for _, value, expected, numbers in STRINGS),
]


@pytest.fixture
def example(vault: TableVault, monkeypatch: pytest.MonkeyPatch) -> TableVault:
    """Make the tables of the example; an instance of `t` that says nothing but "old" as well."""
    monkeypatch.setitem(sys.modules, "seen_by_the_test", SimpleNamespace(rows=[]))
    settings = {"key": list(CONFIG), "value": list(CONFIG.values())}
    frames = [
        ("people", "base", pd.DataFrame(PEOPLE)),
        ("cfg", "base", pd.DataFrame(settings)),
        ("one", "base", pd.DataFrame({"v": [42]})),
        *(("vers", name, pd.DataFrame({"v": [v]})) for name, v in (("base", 10), ("alt", 20))),
        ("vers", "base2", pd.DataFrame({"v": [30]})),
        ("ev", "base", pd.DataFrame(EVENTS)),
        ("t", "base", pd.DataFrame({"k": ["old"]})),
    ]
    for table in ("people", "cfg", "one", "vers", "ev", "t", "empty"):
        vault.create_table(table)
    for table, version, frame in frames:
        vault.create_instance(table, version, external_edit=True)
        vault.write_instance(frame, table, version)
    vault.create_code_module("m", text=CODE)
    return vault


def prepare(vault: TableVault, arguments: dict[str, str], numbers: tuple[int, ...]) -> None:
    """Make the temporary instance of the table whose rows are read."""
    (base,) = vault.get_table_instances("vers", "base")
    text = json.dumps(arguments).replace(BASE, base)
    builders = {
        "t_index": INDEX.format(numbers=list(numbers)),
        "o": COLUMN.format(arguments=text),
    }
    vault.create_instance("t", builders=builders)


@pytest.mark.parametrize("numbers", [(1, 2, 9), (1, 2, 4)])
def test_what_references_give(
    example: TableVault, vault_path: Path, numbers: tuple[int, ...]
) -> None:
    cases = [
        (value, expected)
        for value, expected, wanted in CASES
        if wanted == numbers and expected is not ERROR
    ]
    prepare(example, {f"x{n}": value for n, (value, _) in enumerate(cases)}, numbers)
    example.execute_instance("t")
    seen = sys.modules["seen_by_the_test"].rows
    assert len(seen) == 3
    for n, (value, expected) in enumerate(cases):
        wanted = expected if isinstance(expected, Each) else [expected] * 3
        for row, want in zip(seen, wanted, strict=True):
            got = row[f"x{n}"]
            if isinstance(want, DF):
                assert want == got, value
            else:
                assert got == want, value
                assert type(got) is type(want), value
    check_clean(vault_path)


def test_what_references_cannot_give(example: TableVault, vault_path: Path) -> None:
    for value, expected, numbers in CASES:
        if expected is not ERROR:
            continue
        prepare(example, {"x": value}, numbers)
        with pytest.raises(TableReferenceError) as caught:
            example.execute_instance("t")
        assert caught.value.builder == "o", value
        assert caught.value.field == "arguments.x", value
        assert "^" in str(caught.value), value
    assert sys.modules["seen_by_the_test"].rows == []
    assert len(example.get_table_instances("t")) == 1
    check_clean(vault_path)
