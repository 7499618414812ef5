"""A table of builders, for commands to act on."""

from __future__ import annotations

import pytest

from tablevault import TableVault
from tests.operations.staleness import chain_once

__all__ = ["CODE", "DOUBLE", "INDEX", "chain_once", "furnish", "ids", "made"]

CODE = """
def rows(n=3):
    import pandas as pd

    return pd.DataFrame({"n": range(n)})


def double(n):
    return 2 * n
"""

INDEX = """builder_type: IndexBuilder
changed_columns: [n]
primary_key: [n]
python_function: rows
code_module: m
is_custom: true
return_type: dataframe
arguments: {}
"""

DOUBLE = """builder_type: ColumnBuilder
changed_columns: [twice]
python_function: double
code_module: m
is_custom: true
return_type: row-wise
arguments:
  n: <<self.n[index]>>
"""


def ids(vault: TableVault, table: str = "t") -> list[str]:
    return vault.get_table_instances(table)


def furnish(vault: TableVault) -> None:
    """Make a table of builders, with one instance."""
    vault.create_table("t", description="Numbers")
    vault.create_code_module("m", text=CODE)
    vault.create_instance("t", description="first", builders={"t_index": INDEX, "double": DOUBLE})
    vault.execute_instance("t")


@pytest.fixture
def made(enter, copy_of) -> TableVault:
    """Stand in a vault with a table of builders."""
    return enter(lambda path: copy_of(furnish, path))
