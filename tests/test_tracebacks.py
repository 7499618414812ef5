"""What a user sees of an exception that a function of theirs raised."""

from __future__ import annotations

import asyncio
import traceback
from pathlib import Path

import pytest

import tablevault

CODE = """\
import pandas as pd


def rows():
    return pd.DataFrame({"id": [1, 2]})


def deeper(id):
    raise LookupError(f"no {id}")


def ask(id):
    return deeper(id)


def items():
    yield 1
    yield deeper(2)


def frame():
    return deeper(0)
"""
INDEX = """\
builder_type: IndexBuilder
changed_columns: [id]
primary_key: [id]
python_function: rows
code_module: work
is_custom: true
arguments: {}
"""
COLUMN = """\
builder_type: ColumnBuilder
changed_columns: [x]
code_module: work
is_custom: true
"""
ASK = 'arguments: {id: "<<self.id[index]>>"}\nreturn_type: row-wise\npython_function: ask\n'
KINDS = [
    (ASK, ["ask", "deeper"]),
    (ASK + "n_threads: 4\n", ["ask", "deeper"]),
    ("arguments: {}\nreturn_type: generator\npython_function: items\n", ["items", "deeper"]),
    ("arguments: {}\npython_function: frame\n", ["frame", "deeper"]),
]


@pytest.fixture
def prepare(vault):
    """Prepare an instance whose column builder fails."""
    vault.create_code_module("work", text=CODE)
    vault.create_table("t")
    return lambda fields: vault.create_instance(
        "t", builders={"t_index": INDEX, "ask": COLUMN + fields}
    )


@pytest.mark.parametrize(("fields", "functions"), KINDS)
@pytest.mark.parametrize("loop", [False, True])
def test_one_frame_of_ours_stands_between_the_caller_and_the_function(
    vault, prepare, fields, functions, loop
):
    prepare(fields)

    async def cell():
        vault.execute_instance("t")

    with pytest.raises(LookupError) as caught:
        asyncio.run(cell()) if loop else vault.execute_instance("t")
    frames = traceback.extract_tb(caught.value.__traceback__)
    ours = [
        each for each in frames if Path(tablevault.__file__).parent in Path(each.filename).parents
    ]
    assert len(ours) == 1
    assert [each.name for each in frames[frames.index(ours[0]) + 1 :]] == functions
    assert frames[frames.index(ours[0]) - 1].filename == __file__


def test_an_error_of_our_own_keeps_its_traceback(vault):
    with pytest.raises(tablevault.TableVaultError) as caught:
        vault.execute_instance("nowhere")
    assert len(traceback.extract_tb(caught.value.__traceback__)) > 2
