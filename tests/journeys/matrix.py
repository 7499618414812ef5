"""The operations of the lock matrix, on a vault with a table of each kind.

``python -m tests.journeys.matrix VAULT OPERATION`` begins one, says "held" as soon as it holds
all that it needs, and holds it until its input ends; then it gives up.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pandas as pd

from tablevault import TableVault
from tablevault.transactions.transaction import Transaction

INDEX = """\
builder_type: IndexBuilder
changed_columns: [n]
python_function: create_data_table_from_list
code_module: table_generation
arguments: {vals: [1, 2]}
"""
READER = """\
builder_type: IndexBuilder
changed_columns: [n]
python_function: create_data_table_from_table
code_module: table_generation
arguments: {df: "<<single.n>>"}
"""
CUSTOM = """\
builder_type: IndexBuilder
changed_columns: [n]
python_function: make
code_module: words
is_custom: true
arguments: {}
"""
CODE = "import pandas as pd\n\n\ndef make():\n    return pd.DataFrame({'n': [1]})\n"
KINDS = {"single": {}, "multiple": {"allow_multiple_artifacts": True},
         "effects": {"has_side_effects": True}}  # fmt: skip


class GivenUpError(Exception):
    """The operation held all that it needs."""


def furnish(path: Path) -> None:
    """Make the tables: of each an origin, a spare instance, and temporaries to be filled."""
    vault = TableVault(path, "ana", create=True)
    vault.create_code_module("words", text=CODE)
    for table, settings in KINDS.items():
        vault.create_table(table, **settings)
        # On a table with side effects the later instance leaves the earlier one inactive.
        for version in ("spare", "origin"):
            vault.create_instance(table, version=version, external_edit=True)
            vault.write_instance(pd.DataFrame({"n": [1]}), table, version=version)
        for version in ("one", "two"):
            for make, text in (("x", INDEX), ("c", CUSTOM)):
                builders = {f"{table}_index": text}
                vault.create_instance(table, version=f"{make}{version}", builders=builders)
            vault.create_instance(table, version=f"w{version}", external_edit=True)
    for version in ("one", "two"):
        vault.create_table(f"reader{version}")
        vault.create_instance(f"reader{version}", builders={f"reader{version}_index": READER})
        vault.create_table(f"custom{version}")
        vault.create_instance(f"custom{version}", builders={f"custom{version}_index": CUSTOM})


def instance(vault: TableVault, table: str, version: str) -> str:
    """Return the id of a materialised instance."""
    return vault.get_table_instances(table, version=version)[0]


Act = Callable[[TableVault, str, str], object]
ACTS: dict[str, Act] = {
    "rename": lambda vault, table, _: vault.rename_table(f"{table}-new", table),
    "delete_table": lambda vault, table, _: vault.delete_table(table),
    "create_instance": lambda vault, table, which: vault.create_instance(
        table, version=f"new{which}", origin_id=instance(vault, table, "origin")
    ),
    "replace_instance": lambda vault, table, which: vault.create_instance(
        table, version=f"x{which}", external_edit=True
    ),
    "create_builder": lambda vault, table, which: vault.create_builder_file(
        table, "more", version=f"x{which}"
    ),
    "delete_builder": lambda vault, table, which: vault.delete_builder_file(
        f"{table}_index", table, version=f"c{which}"
    ),
    "execute": lambda vault, table, which: vault.execute_instance(table, version=f"x{which}"),
    "write": lambda vault, table, which: vault.write_instance(
        pd.DataFrame({"n": [which]}), table, version=f"w{which}"
    ),
    "delete_instance": lambda vault, table, _: vault.delete_instance(
        instance(vault, table, "spare"), table
    ),
    "delete_origin": lambda vault, table, _: vault.delete_instance(
        instance(vault, table, "origin"), table
    ),
    "read": lambda vault, table, _: vault.get_dataframe(table, version="origin"),
    "execute_reader": lambda vault, _, which: vault.execute_instance(f"reader{which}"),
    "execute_custom": lambda vault, _, which: vault.execute_instance(f"custom{which}"),
    "create_code": lambda vault, _, which: vault.create_code_module(f"m{which}", text="x = 1\n"),
    "delete_code": lambda vault, _, which: vault.delete_code_module("words"),
    "create_table": lambda vault, _, which: vault.create_table(f"t{which}"),
}


def _hold(path: Path, name: str, table: str, which: str) -> None:
    """Begin an operation, and hold what it holds."""

    def publish(*_: object) -> NoReturn:
        sys.stdout.write("held\n")
        sys.stdout.flush()
        sys.stdin.read()
        raise GivenUpError

    Transaction.publish = publish  # type: ignore[method-assign, assignment]
    try:
        ACTS[name](TableVault(path, "holder"), table, which)
    except GivenUpError:
        sys.exit(27)


if __name__ == "__main__":
    _hold(Path(sys.argv[1]), *sys.argv[2:5])
