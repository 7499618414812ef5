"""Vaults that readers and the report are tested with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console
from rich.tree import Tree

from tablevault import TableVault
from tests.operations.staleness import chain, chain_once
from tests.report.conftest import made, made_once

__all__ = ["chain", "chain_once", "made", "made_once", "papers", "printed"]


def printed(tree: Tree) -> str:
    """Return what a wide terminal shows of a tree."""
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123 - rich keeps it
    console.print(tree)
    text = console.export_text()
    console.file.close()
    return text


def furnish(vault: TableVault) -> None:
    vault.create_code_module("metrics", text="x = 1\n")
    vault.create_table("papers", description="those we read")
    vault.create_instance("papers", external_edit=True, description="first")
    (Path(vault.get_artifact_folder("papers")) / "a[b].txt").write_text("1")
    frame = pd.DataFrame({"file": ["a[b].txt"], "score[0]": [1]})
    vault.write_instance(frame, "papers", dtypes={"file": "artifact_string"})
    builder = "builder_type: ColumnBuilder\n"
    vault.create_instance("papers", version="v 2", builders={"column": builder})


@pytest.fixture
def papers(copy_of: Callable[..., TableVault], vault_path: Path) -> TableVault:
    """Return a vault with a table that has an instance and a temporary one."""
    return copy_of(furnish, vault_path)
