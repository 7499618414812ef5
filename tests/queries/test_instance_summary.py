"""What an instance changed against the one before it in its version."""

from __future__ import annotations

import pandas as pd
import pytest

from tablevault.queries.vault_summary import vault_summary
from tests.report.conftest import write

BUILDER = """builder_type: IndexBuilder
changed_columns: [a]
python_function: f
code_module: m
is_custom: true
arguments: {{}}  # {number}
"""


def tables_of(vault):
    return vault_summary(vault._vault).tables


def test_rows_cells_builders_and_descriptions_are_compared(made):
    latest, before, first = tables_of(made)[0].instances
    assert first.details.changes is None
    changes = before.details.changes
    assert changes.diff.old_id == first.id
    assert (changes.rows.added, changes.rows.removed, changes.rows.cells) == (1, 0, 0)
    head = changes.rows.added_head
    assert (head.columns, head.rows) == (["n", "twice"], [("2", "4")])
    assert list(changes.diff.builders) == ["numbers_index"]
    changes = latest.details.changes
    assert changes.rows.changed_cells == (
        ("1", "twice", "2", "3"),
        ("2", "twice", "4", "6"),
    )
    lines = changes.diff.builders["twice"].splitlines()
    assert {"-  factor: 2", "+  factor: 3"} <= set(lines)
    assert changes.diff.description == ("one more row", "another factor")


def test_columns_and_sources_are_compared_by_the_documents(vault):
    for table in ("a", "b"):
        vault.create_table(table)
    first = write(vault, "a", {"x": [1], "gone": ["g"]})
    write(vault, "b", {"y": [1]}, ("a", first))
    second = write(vault, "a", {"x": ["1"], "new": [True]})
    write(vault, "b", {"y": [1]}, ("a", second))
    a, b = tables_of(vault)
    changes = a.instances[0].details.changes
    assert list(changes.diff.columns_added) == ["new"]
    assert list(changes.diff.columns_removed) == ["gone"]
    assert list(changes.diff.columns_changed) == ["x"]
    changes = b.instances[0].details.changes
    assert changes.rows_state == "same"
    assert changes.diff.dependencies_added == (("a", second),)
    assert changes.diff.dependencies_removed == (("a", first),)
    assert not changes.is_empty


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("a b", "a  b ", ("'a b'", "'a  b '")),
        ("", "a", ("''", "'a'")),
        ("null", None, ("null", None)),
        ("s" * 100 + "a", "s" * 100 + "b", ("s" * 100 + "a", "s" * 100 + "b")),
        ("s" * 900 + "a", "s" * 900 + "b", ("…" + "s" * 50 + "a", "…" + "s" * 50 + "b")),
        ("s" * 900, "s" * 901, ("…" + "s" * 50, "…" + "s" * 51)),
    ],
)
def test_a_difference_of_two_texts_can_be_seen(vault, before, after, shown):
    vault.create_table("a")
    write(vault, "a", {"k": [1, 2], "x": ["same", before]})
    write(vault, "a", {"k": [1, 2], "x": ["same", after]})
    (table,) = tables_of(vault)
    assert table.instances[0].details.changes.rows.changed_cells == (("1", "x", *shown),)


def test_cells_are_shown_as_text_that_differs_where_they_differ(vault):
    vault.create_table("t")
    write(vault, "t", {"x": [[1], "1", None], "at": pd.to_datetime(["2026-01-01", None, None])})
    write(vault, "t", {"x": [[1], 1, None], "at": pd.to_datetime(["2026-01-01", None, None])})
    details = tables_of(vault)[0].instances[0].details
    assert details.head.rows == [("[1]", "2026-01-01 00:00:00"), ("1", None), (None, None)]
    # Cells that look the same are written as Python does.
    assert details.changes.rows.changed_cells == (("1", "x", "'1'", "1"),)


def test_a_text_that_is_too_long_is_not_compared(vault):
    vault.create_table("t")
    long = "".join(f"# line {number}\n" for number in range(5_000))
    for number in range(2):
        code = f"import pandas as pd\n\n\ndef f():\n    return pd.DataFrame({{'a': [{number}]}})\n"
        vault.create_code_module("m", text=code + long)
        vault.create_instance("t", builders={"t_index": BUILDER.format(number=number)})
        vault.execute_instance("t")
    diff = tables_of(vault)[0].instances[0].details.changes.diff
    assert list(diff.builders) == ["t_index"]
    assert diff.code == {"m": ""}
