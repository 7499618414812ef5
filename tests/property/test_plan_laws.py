"""Whatever is edited and however it failed: a plan counts the calls of the execution after it."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tablevault import TableVault
from tests.looking import calls_kept, state_of

pytestmark = pytest.mark.property

CODE = """\
import pandas as pd
from helper import mark

def pay(name):
    with open({paid!r}, "a") as file:
        file.write(name + "\\n")

def fails():
    with open({failing!r}) as file:
        return file.read()

def index(rows):
    pay("t_index")
    return pd.DataFrame(rows, columns=["k", "n", "s"])

def row(a, b):
    pay("x")
    if fails() == a:
        raise ConnectionError(a)
    return mark(f"{{a}}|{{b}}|{version}")

def number(a):
    pay("y")
    return None if a is None or a % 2 else a * {version}

def more(a):
    pay("z")
    return f"{{a}}+{version}"

def whole(frame):
    pay("w")
    return pd.DataFrame({{"w": [str(list(frame.iloc[i])) for i in range(len(frame))]}})

def each(frame):
    pay("e")
    for at, values in enumerate(frame.itertuples(index=False)):
        if fails() == f"e{{at}}":
            raise ConnectionError("e")
        yield str([{version}, *map(str, values)])

def after(a, before):
    pay("r")
    return f"{{a}} after {{sum(isinstance(each, str) for each in before)}}"
"""
HELPER = """\
def mark(text):
    return text + "{mark}"
"""
FUNCTIONS = {"x": "row", "y": "number", "z": "more", "w": "whole", "e": "each", "r": "after"}


def builders(step: dict[str, object]) -> dict[str, str]:
    """Make the builders of one step."""
    arguments = {
        "x": {"a": "<<self.s[index]>>", "b": step["b"]},
        "y": {"a": "<<self.n[index]>>"},
        "z": {"a": step["z"]},
        "w": {"frame": step["frame"]},
        "e": {"frame": "<<self.{k,x}>>"},
        "r": {"a": "<<self.n[index]>>", "before": "<<self.r>>"},
    }
    kinds = {"w": "dataframe", "e": "generator"}
    made: dict[str, object] = {
        "t_index": {
            "builder_type": "IndexBuilder",
            "changed_columns": ["k", "n", "s"],
            "primary_key": step["key"],
            "python_function": "index",
            "code_module": "work",
            "is_custom": True,
            "arguments": {"rows": [list(row) for row in step["rows"]]},
        }
    }
    for name in step["built"]:
        kind = kinds.get(name, "row-wise")
        made[name] = {
            "builder_type": "ColumnBuilder",
            "changed_columns": [name],
            "python_function": FUNCTIONS[name],
            "code_module": "work",
            "is_custom": True,
            "return_type": kind,
            "arguments": arguments[name],
            "n_threads": step["threads"] if name != "r" else 1,
            "dtypes": {name: step["dtype"]} if name == "y" and step["dtype"] else {},
        }
        if kind == "row-wise":
            made[name] |= {"deduplicate": step["deduplicate"], "retry_null": step["retry_null"]}
    return {name: yaml.safe_dump(each) for name, each in made.items()}


texts = st.sampled_from(["a", "b", "c", None])
steps = st.fixed_dictionaries(
    {
        "rows": st.lists(
            st.tuples(st.sampled_from("abcdef"), st.sampled_from([0, 1, 2, None]), texts),
            max_size=5,
            unique_by=lambda row: row[0],
        ),
        "key": st.sampled_from([["k"], ["k"], []]),
        "b": st.sampled_from(["!", "?", "<<self.n[index]>>", "<<self.s>>"]),
        "z": st.sampled_from(["<<self.x[index]>>", "<<self.y[index]>>", "<<self.x>>"]),
        "frame": st.sampled_from(["<<self.n>>", "<<self.{n,s}>>", "<<self.y>>"]),
        "built": st.sampled_from(
            [["x", "y", "z", "w", "e"], ["x", "e"], ["x", "y", "z"], ["x"], ["r", "x"]]
        ).filter(bool),
        "threads": st.sampled_from([1, 1, 3]),
        "dtype": st.sampled_from(["", "", "Int64", "string"]),
        "deduplicate": st.sampled_from([False, False, True]),
        "retry_null": st.sampled_from([True, True, False]),
        "version": st.sampled_from([1, 1, 2]),
        "mark": st.sampled_from(["", "", "."]),
        "failing": st.sampled_from(["", "", "a", "b", "e1"]),
        "process": st.booleans(),
        "force": st.sampled_from([False, False, False, True]),
        "accept": st.sampled_from([None, None, True, False]),
        "sample": st.sampled_from([None, None, 1, 2]),
        "anew": st.booleans(),
    }
)


class Bench:
    """A vault whose functions note which of them was called."""

    def __init__(self, folder: Path, empty: Path) -> None:
        self.path = folder / "v"
        self.paid = folder / "paid"
        self.failing = folder / "failing"
        self.number = 0
        shutil.copytree(empty, self.path)
        self.vault = TableVault(self.path, "Ana")
        self.paused = ""

    def act(self, step: dict[str, object]) -> None:
        """Edit what the step says, plan, execute, and compare."""
        code = CODE.format(version=step["version"], paid=str(self.paid), failing=str(self.failing))
        (self.path / "code").mkdir(exist_ok=True)
        (self.path / "code/work.py").write_text(code)
        (self.path / "code/helper.py").write_text(HELPER.format(mark=step["mark"]))
        self.failing.write_text(step["failing"])
        self.edit(step)
        given = {"force_execute": step["force"], "accept_code": step["accept"]}
        before = self.state()
        plans = [self.vault.plan("t", **given), self.vault.plan("t", run_index=True, **given)]
        assert self.state() == before
        process = self.paused
        if not process and step["process"]:
            self.number += 1
            process = f"p{self.number}"
        counted, failed = self.count(process, given, None if self.paused else step["sample"])
        for plan in plans:
            self.compare(plan, counted, failed=failed or step["sample"] is not None)
        if step["sample"] is not None and not failed and not self.paused:
            after = self.vault.plan("t", run_index=True, **given)
            rest, failed = self.count("", given, None)
            self.compare(after, rest, failed=failed)
            if not step["force"]:
                self.compare(plans[1], counted + rest, failed=failed, twice={"t_index"})
            process = ""
        self.paused = process if failed and process else ""
        self.is_there = failed

    is_there = False

    def edit(self, step: dict[str, object]) -> None:
        """Make the temporary instance, or edit the one that is there."""
        made = builders(step)
        if self.is_there and step["anew"] and not self.paused:
            self.vault.delete_instance("TEMP_base", "t")
            self.is_there = False
        if not self.is_there:
            self.vault.create_instance("t", builders=made)
            return
        folder = self.path / "temp/t/base/builders"
        for file in folder.glob("*.yaml"):
            file.unlink()
        for name, text in made.items():
            (folder / f"{name}.yaml").write_text(text)

    def state(self) -> object:
        """Take down everything that a plan leaves as it is."""
        return state_of(self.path), calls_kept(self.path)

    def count(
        self, process: str, given: dict[str, object], sample: int | None
    ) -> tuple[Counter[str], bool]:
        """Execute; return the calls by builder, and whether it failed."""
        self.paid.write_text("")
        failed = True
        with contextlib.suppress(ConnectionError):
            self.vault.execute_instance("t", process_id=process, sample=sample, **given)
            failed = False
        return Counter(self.paid.read_text().split()), failed

    def compare(self, plan, counted, *, failed, twice=frozenset()) -> None:
        """Compare what was planned with what was counted."""
        for each in plan.builders:
            calls = counted[each.name] - (each.name in twice)
            if plan.rows_from != "index builder" and each.name != "t_index":
                continue
            if each.is_exact and not failed:
                assert each.calls == calls, plan
            else:
                assert each.calls >= calls, plan


@pytest.fixture(scope="module")
def empty(sealed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a vault with an empty table, to be copied."""
    path = tmp_path_factory.mktemp("laws") / "v"
    TableVault(path, "Ana", create=True).create_table("t")
    return path


@pytest.mark.sweep
@settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking takes minutes
)
@given(history=st.lists(steps, min_size=1, max_size=4))
def test_a_plan_counts_the_calls_of_the_next_execution(
    history: list[dict[str, object]], empty: Path
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), empty)
        for step in history:
            bench.act(step)
