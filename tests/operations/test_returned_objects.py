"""Objects that functions return: dicts in a column, equal with and without an interruption."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
import yaml

from tablevault import TableVault
from tablevault.errors import TVTableError
from tests.looking import check_clean
from tests.operations.building import row_builders

CODE = """
import datetime as dt
import enum
import os
from dataclasses import dataclass, field

import attrs
import pandas as pd
import pydantic

from tablevault import cached

class Level(enum.Enum):
    LOW = 1

@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 0

@dataclass
class Answer:
    point: Point
    day: dt.date = dt.date(2026, 1, 5)
    level: Level = Level.LOW
    others: list = field(default_factory=list)

    def __str__(self):
        return f"at {{self.point.x}}"

class Model(pydantic.BaseModel):
    x: int
    inner: list[int] = [1]

@attrs.frozen
class Attrs:
    x: int

class Opaque:
    pass

def rows(n):
    return pd.DataFrame({{"id": range(n)}})

def pay(what):
    with open({paid!r}, "a") as file:
        file.write(f"{{what}}\\n")

def check(id):
    if id == 2 and os.path.exists({down!r}):
        raise ConnectionError("no answer")
    pay(id)

def f(id):
    check(id)
    return {returned}

def items(frame):
    for id in frame["id"]:
        yield f(int(id))

def frame(frame):
    return pd.DataFrame({{"x": [f(int(id)) for id in frame["id"]]}})

@cached
def ask(point):
    pay(point)
    return point.x

def asks(id):
    return ask(Point(id % 2))
"""
RETURNED = {
    "Answer(Point(id), others=[Point(id, 1)])": lambda n: {
        "point": {"x": n, "y": 0},
        "day": dt.date(2026, 1, 5),
        "level": 1,
        "others": [{"x": n, "y": 1}],
    },
    "Point(id)": lambda n: {"x": n, "y": 0},
    "Model(x=id)": lambda n: {"x": n, "inner": [1]},
    "Attrs(id)": lambda n: {"x": n},
    "[Point(id)]": lambda n: [{"x": n, "y": 0}],
    "{'p': Point(id)}": lambda n: {"p": {"x": n, "y": 0}},
    "dt.date(2026, 1, 1 + id)": lambda n: dt.date(2026, 1, 1 + n),
}
KINDS = {
    "row-wise": {"python_function": "f"},
    "generator": {"python_function": "items", "arguments": {"frame": "<<self.id>>"}},
    "dataframe": {"python_function": "frame", "arguments": {"frame": "<<self.id>>"}},
}


class Bench:
    """Executes a table of four rows."""

    def __init__(self, vault: TableVault, folder: Path) -> None:
        self.vault = vault
        self.down, self.paid = folder / "down", folder / "paid"
        vault.create_table("t")

    def prepare(self, returned: str, **fields: object) -> None:
        text = CODE.format(paid=str(self.paid), down=str(self.down), returned=returned)
        self.vault.create_code_module("work", text=text)
        self.vault.create_instance("t", builders=row_builders(4, **fields))

    def column(self) -> list[object]:
        series = self.vault.get_dataframe("t")[0]["x"]
        assert series.dtype == object
        return series.tolist()

    def calls(self) -> int:
        return len(self.paid.read_text().splitlines())


@pytest.fixture
def bench(vault: TableVault, tmp_path: Path) -> Bench:
    return Bench(vault, tmp_path)


@pytest.mark.parametrize(
    ("returned", "kind", "dtypes"),
    [
        *((returned, "row-wise", {}) for returned in RETURNED),
        *((next(iter(RETURNED)), kind, {"x": "object"}) for kind in KINDS),
        *(("Point(id)", kind, {}) for kind in ("generator", "dataframe")),
    ],
)
def test_an_object_with_fields_is_a_dict(bench, vault_path, returned, kind, dtypes):
    expected = [RETURNED[returned](n) for n in range(4)]
    bench.down.touch()
    bench.prepare(returned, return_type=kind, dtypes=dtypes, **KINDS[kind])
    with pytest.raises(ConnectionError):
        bench.vault.execute_instance("t", process_id="p")
    bench.down.unlink()
    bench.vault.execute_instance("t", process_id="p")
    assert bench.column() == expected
    bench.vault.create_instance("t", copy=True)
    bench.vault.execute_instance("t", force_execute=True)
    assert bench.column() == expected
    paid = bench.calls()
    bench.vault.create_instance("t", copy=True)
    bench.vault.execute_instance("t")
    assert bench.column() == expected
    assert bench.calls() == paid
    check_clean(vault_path)


READS = """
def reads(x):
    return repr(x)
"""


@pytest.mark.parametrize("kind", KINDS)
def test_later_builders_see_what_a_later_execution_sees(bench, vault_path, kind):
    bench.prepare("[Answer(Point(id))]", return_type=kind, **KINDS[kind])
    module = vault_path / "code/work.py"
    module.write_text(module.read_text() + READS)
    reads = yaml.safe_load(row_builders(4)["f"])
    reads |= {"python_function": "reads", "changed_columns": ["seen"]}
    reads["arguments"] = {"x": "<<self.x[index]>>"}
    seen = []
    for _ in range(2):
        bench.vault.create_builder_file("t", "reads", text=yaml.safe_dump(reads))
        bench.vault.execute_instance("t")
        seen.append(bench.vault.get_dataframe("t")[0]["seen"].tolist())
        bench.vault.create_instance("t", copy=True)
        module.write_text(module.read_text().replace("repr(x)", "str(x)"))
    assert seen[0] == seen[1]
    assert "Point" not in seen[0][0]


def test_a_column_of_text_takes_the_text_of_an_object(bench):
    bench.prepare("Answer(Point(id))", dtypes={"x": "string"})
    bench.vault.execute_instance("t")
    assert bench.vault.get_dataframe("t")[0]["x"].tolist() == [f"at {n}" for n in range(4)]


def test_a_member_of_an_enumeration_is_its_value(bench):
    bench.prepare("Level.LOW")
    bench.vault.execute_instance("t")
    series = bench.vault.get_dataframe("t")[0]["x"]
    assert (series.dtype, series.tolist()) == ("Int64", [1] * 4)


@pytest.mark.parametrize("returned", ["Opaque()", "[Opaque()]", "Answer(Opaque())", "{Point(1)}"])
def test_what_has_no_fields_is_an_error_that_says_what_to_return(bench, returned):
    bench.prepare(returned)
    with pytest.raises(TVTableError, match=r'"x" in row 0 cannot be kept.*lists and dicts'):
        bench.vault.execute_instance("t")
    assert bench.vault.get_table_instances("t") == []


def test_an_argument_counts_by_its_class_and_fields(bench):
    bench.prepare("1", python_function="asks")
    bench.vault.execute_instance("t")
    assert bench.vault.get_dataframe("t")[0]["x"].tolist() == [0, 1, 0, 1]
    assert bench.calls() == 2
