"""A vault with one table, whose functions note each call: for tests that count what is paid."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tablevault import TableVault

HEAD = """
import os
from pathlib import Path
import pandas as pd

def pay(what):
    with open({paid!r}, "a") as file:
        file.write(f"{{what}}\\n")

def rows(**columns):
    return pd.DataFrame(columns)
"""
INDEX = {
    "builder_type": "IndexBuilder",
    "python_function": "rows",
    "code_module": "work",
    "is_custom": True,
}
ASK = {
    "builder_type": "ColumnBuilder",
    "changed_columns": ["x"],
    "python_function": "ask",
    "code_module": "work",
    "is_custom": True,
    "return_type": "row-wise",
    "arguments": {"id": "<<self.id[index]>>"},
}
EXECUTE = """
import sys
from tablevault import TableVault
TableVault(sys.argv[1], "B").execute_instance(sys.argv[2])
"""
IDS = {"id": list(range(12))}


class Bench:
    """A vault with one module and one table, whose functions note each call."""

    def __init__(self, vault: TableVault, path: Path, paid: Path) -> None:
        self.vault = vault
        self.path = path
        self.paid = paid
        vault.create_table("t")

    def code(self, text: str) -> None:
        self.vault.create_code_module("work", text=HEAD.format(paid=str(self.paid)) + text)

    def repair(self, text: str) -> None:
        """Edit the module by hand: a paused process holds it."""
        (self.path / "code/work.py").write_text(HEAD.format(paid=str(self.paid)) + text)

    def prepare(self, columns=IDS, *, version="base", table="t", **fields) -> None:
        index = {**INDEX, "changed_columns": list(columns), "arguments": columns}
        index["primary_key"] = fields.pop("primary_key", list(columns)[:1])
        builders = {f"{table}_index": index, "ask": {**ASK, **fields}}
        texts = {name: yaml.safe_dump(builder) for name, builder in builders.items()}
        self.vault.create_instance(table, version, builders=texts)

    def run(self, columns=IDS, *, version="base", table="t", options=None, **fields) -> int:
        """Prepare and execute; give the number of calls."""
        before = self.calls()
        self.prepare(columns, version=version, table=table, **fields)
        self.vault.execute_instance(table, version, **(options or {}))
        return self.calls() - before

    def fail_at_8(self, *, process_id="", **fields) -> Path:
        """Prepare and execute, with no answer at 8 while the returned file exists."""
        down = self.paid.with_name("down")
        down.touch()
        self.code(FAILS_AT_8.format(down=str(down)))
        self.prepare(**fields)
        with pytest.raises(ConnectionError):
            self.vault.execute_instance("t", process_id=process_id)
        return down

    def calls(self) -> int:
        return len(self.paid.read_text().splitlines()) if self.paid.exists() else 0

    def x(self, table="t"):
        return self.vault.get_dataframe(table)[0]["x"].tolist()

    def told(self) -> dict[str, object]:
        _, instance = self.vault.get_dataframe("t")
        return self.vault.get_descriptions(instance, "t")["execution"]["ask"]


DOUBLE = """
def ask(id):
    pay(id)
    return 2 * id
"""
FAILS_AT_8 = """
def ask(id):
    if id == 8 and os.path.exists({down!r}):
        raise ConnectionError("no answer")
    pay(id)
    return 2 * id
"""
EXPECTED = [2 * n for n in range(12)]
