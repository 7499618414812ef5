"""Others who work in the vault meanwhile, and tables that read each other."""

from __future__ import annotations

import contextlib

import pytest

from tests.damaging import damaged, original
from tests.operations.staleness import chain, chain_once
from tests.operations.undoing import full

__all__ = ["busy", "chain", "chain_once", "damaged", "full", "original"]

BUSY = """
import os, sys
import pandas as pd
from tablevault import TableVault

path, name, stop, edits = sys.argv[1:]
vault = TableVault(path, name, lock_timeout=100)
vault.create_table(name)
sys.stdout.write("ready\\n")
sys.stdout.flush()
number = 0
while not os.path.exists(stop):
    number += 1
    vault.create_instance(name, external_edit=True)
    vault.write_instance(pd.DataFrame({"a": [number]}), name)
    assert vault.get_dataframe(name)[0]["a"].tolist() == [number]
    if number % 3 == 0:
        vault.delete_instance(vault.get_table_instances(name)[0], name)
    if edits and number % 4 == 0:
        with open(f"{path}/code/{name}.py", "w") as file:
            file.write(f"A = {number}")
    if number % 5 == 0:
        vault.create_code_module(f"{name}_{number}", text="A = 1\\n")
        vault.rename_table(name + "_", name)
        vault.rename_table(name, name + "_")
"""


@pytest.fixture
def busy(vault_path, tmp_path, python, finish):
    """Have two other processes work in the vault while this is entered, and edit code by hand."""

    @contextlib.contextmanager
    def work(*, edits=False):
        stop = tmp_path / "stop"
        writers = [python(BUSY, vault_path, name, stop, edits or "") for name in ("one", "two")]
        for writer in writers:
            assert writer.stdout.readline() == "ready\n"
        try:
            yield
        finally:
            stop.touch()
        for writer in writers:
            finish(writer)

    return work
