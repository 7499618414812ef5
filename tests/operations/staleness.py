"""Three tables that read each other, whose functions note each call."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from tablevault import TableVault

CODE = """
import pandas as pd

def pay(what):
    with open({paid!r}, "a") as file:
        file.write(f"{{what}}\\n")

def rows(ids):
    return pd.DataFrame({{"id": ids}})

def take(df):
    return df

def write(id):
    pay("write")
    return f"text {{id}}"

def judge(text):
    pay("judge")
    return rate(text)

def rate(text):
    return len(text)

def sum_up(score):
    pay("sum_up")
    return score + 1
"""
SHARED = {"code_module": "work", "is_custom": True}
INDEX = {**SHARED, "builder_type": "IndexBuilder", "primary_key": ["id"]}
COLUMN = {**SHARED, "builder_type": "ColumnBuilder", "return_type": "row-wise"}


def builders(table: str, ids=(1, 2, 3), **fields) -> dict[str, str]:
    """Return the builders of one of the tables texts, moods (of texts) and sums (of moods)."""
    index = {
        "texts": {
            "changed_columns": ["id"],
            "python_function": "rows",
            "arguments": {"ids": list(ids)},
        },
        "moods": {
            "changed_columns": ["id", "text"],
            "python_function": "take",
            "arguments": {"df": "<<texts.{id,text}>>"},
        },
        "sums": {
            "changed_columns": ["id", "score"],
            "python_function": "take",
            "arguments": {"df": "<<moods.{id,score}>>"},
        },
    }[table]
    name, column, read = {
        "texts": ("write", "text", {"id": "<<self.id[index]>>"}),
        "moods": ("judge", "score", {"text": "<<self.text[index]>>"}),
        "sums": ("sum_up", "sum", {"score": "<<self.score[index]>>"}),
    }[table]
    column = {"changed_columns": [column], "python_function": name, "arguments": read}
    found = {f"{table}_index": INDEX | index, name: COLUMN | column | fields}
    return {name: yaml.safe_dump(builder) for name, builder in found.items()}


class Chain:
    """A vault with the tables texts, moods and sums, each made from the one before."""

    def __init__(self, vault: TableVault, path: Path, paid: Path) -> None:
        self.vault = vault
        self.path = path
        self.paid = paid
        vault.create_code_module("work", text=CODE.format(paid=str(paid)))
        for table in ("texts", "moods", "sums"):
            vault.create_table(table)
            self.run(table)

    @classmethod
    def opened(cls, path: Path, paid: Path) -> Chain:
        """Open a copy of such a vault; calls are noted where they were."""
        chain = cls.__new__(cls)
        chain.vault, chain.path, chain.paid = TableVault(path, "Ana"), path, paid
        return chain

    def run(self, table: str, ids=(1, 2, 3), *, version: str = "base", **fields) -> None:
        """Execute a table anew."""
        self.vault.create_instance(table, version, builders=builders(table, ids, **fields))
        self.vault.execute_instance(table, version)

    def edit(self, old: str, new: str) -> None:
        """Edit the code by hand."""
        file = self.path / "code/work.py"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    def paid_for(self) -> dict[str, int]:
        """Return the calls since this was asked last, by function."""
        names = self.paid.read_text().split() if self.paid.exists() else []
        self.paid.unlink(missing_ok=True)
        return {name: names.count(name) for name in names}

    def states(self) -> dict[str, str]:
        """Return the state of each table, by name."""
        return {each.name: each.state for each in self.vault.status().tables}

    def reasons(self, table: str) -> tuple[str, ...]:
        """Return why a table is stale."""
        (found,) = (each for each in self.vault.status().tables if each.name == table)
        return found.reasons

    def count(self, table: str) -> int:
        """Count the instances of a table."""
        return len(self.vault.get_table_instances(table))


@pytest.fixture(scope="session")
def chain_once(sealed: Path, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """Make the tables once in each process of tests."""
    folder = tmp_path_factory.mktemp("chain")
    return Chain(TableVault(folder / "v", "Ana", create=True), folder / "v", folder / "paid")


@pytest.fixture
def chain(chain_once: Chain, vault_path: Path) -> Chain:
    """Return a copy of the tables, for which nothing was paid yet."""
    shutil.copytree(chain_once.path, vault_path, symlinks=True)
    made = Chain.opened(vault_path, chain_once.paid)
    made.paid_for()
    return made
