"""The contract of what functions receive and return, a rule a test."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import threading
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tablevault.engine.builders.builder import parse_builder
from tablevault.engine.builders.resolve_fields import resolve
from tablevault.engine.execution.run import with_old_rows
from tablevault.engine.tables import RunTables
from tablevault.errors import TableReferenceError, TVBuilderError, TVFileError, TVTableError
from tablevault.frames.casting import cast
from tablevault.frames.dtypes import infer
from tablevault.names import InstanceId
from tests.counted_progress import CountedProgress
from tests.engine.builder_texts import KEYS, column, index, rows


def test_columns_stand_in_the_order_of_execution(execute):
    texts = {
        "t_index": index(),
        "a": column("[z]", arguments="{x: '<<self.y>>'}"),
        "b": column("[y, x]"),
    }
    functions = {
        "rows": rows,
        "f": lambda x=None: pd.DataFrame({"z": KEYS} if x is not None else {"y": KEYS, "x": KEYS}),
    }
    frame = execute(texts, functions).frame
    assert list(frame.columns) == ["k", "n", "y", "x", "z"]
    assert isinstance(frame.index, pd.RangeIndex)


# -- dataframe --------------------------------------------------------------------------------


@pytest.mark.parametrize("return_type", ["dataframe", "generator"])
def test_an_async_function_may_return_what_others_return(fill, return_type):
    async def call():
        await asyncio.sleep(0)
        return pd.DataFrame({"o": [1, 2, 3]}) if return_type == "dataframe" else [1, 2, 3]

    assert fill(call, return_type=return_type)["o"].tolist() == [1, 2, 3]


# -- index builders ---------------------------------------------------------------------------


def test_an_index_builder_decides_the_rows(make):
    frame = make(lambda: iter([("a", 1), ("b", 2)]), return_type="generator")
    assert frame.to_numpy().tolist() == [["a", 1], ["b", 2]]


@pytest.mark.parametrize("return_type", ["dataframe", "row-wise", "generator"])
def test_without_rows_column_builders_are_not_called(execute, return_type):
    texts = {"t_index": index(), "o": column(return_type=return_type, dtypes="{o: Int64}")}
    result = execute(texts, {"rows": lambda: rows().head(0), "f": lambda: 1 / 0})
    assert result.frame.shape == (0, 3)
    assert result.frame["o"].dtype == "Int64"


@pytest.mark.parametrize("labels", [[2, 0, 1], [0, 0, 0]])
@pytest.mark.parametrize("key", ["[]", "[k]"])
def test_rows_stay_in_the_order_returned(make, labels, key):
    frame = make(lambda: rows().set_index(pd.Index(labels)), primary_key=key)
    assert list(frame["k"]) == KEYS


# -- fields -----------------------------------------------------------------------------------


def test_arguments_that_do_not_fit_are_found_before_anything_is_called(execute):
    texts = {"t_index": index(), "o": column(arguments="{y: 1}")}
    with pytest.raises(TVBuilderError, match=r'"f\(x\)".*missing a required argument'):
        execute({**texts, "o": column()}, {"rows": lambda: 1 / 0, "f": lambda x: x})
    with pytest.raises(TVBuilderError, match="unexpected keyword argument 'y'"):
        execute(texts, {"rows": lambda: 1 / 0, "f": lambda x=1: x})


def test_a_missing_function_is_found_before_anything_is_called(execute):
    texts = {"t_index": index(is_custom="true"), "o": column(is_custom="true")}
    with pytest.raises(TVFileError, match=r'Function "f"'):
        execute(texts, code={"m": "def rows():\n    return 1 / 0"})


# -- errors and isolation ---------------------------------------------------------------------


class OwnError(Exception):
    """An exception of the user's."""


@pytest.mark.parametrize("return_type", ["dataframe", "row-wise", "generator"])
@pytest.mark.parametrize("threads", [1, 3])
def test_the_exception_of_a_function_is_not_changed(fill, return_type, threads):
    error = OwnError("mine")

    def call():
        raise error

    with pytest.raises(OwnError) as caught:
        fill(call, return_type=return_type, n_threads=threads)
    assert caught.value is error
    assert caught.value.__cause__ is None
    assert (str(error), error.args) == ("mine", ("mine",))


@pytest.mark.parametrize("threads", [1, 3])
def test_the_exception_of_a_row_has_a_note_that_names_builder_function_row_and_key(
    execute, threads
):
    def call(k):
        if k == "Bob":
            raise OwnError("mine")
        return k

    texts = {
        "t_index": index(primary_key="[k, n]"),
        "o": column(
            return_type="row-wise", n_threads=threads, arguments="{k: '<<self.k[index]>>'}"
        ),
    }
    with pytest.raises(OwnError) as caught:
        execute(texts, {"rows": rows, "f": call})
    assert caught.value.__notes__ == [
        'In builder "o", function "f" of module "m", row 1 (k \'Bob\' (str), n 2 (int))'
    ]


def test_the_exception_of_a_generator_names_the_row_that_it_was_to_make(fill):
    def call():
        yield 1
        raise OwnError("mine")

    with pytest.raises(OwnError) as caught:
        fill(call, return_type="generator")
    assert caught.value.__notes__ == ['In builder "o", function "f" of module "m", row 1']


def test_an_exception_of_a_function_that_is_called_once_names_no_row(make):
    def call():
        raise OwnError("mine")

    with pytest.raises(OwnError) as caught:
        make(call)
    assert caught.value.__notes__ == ['In builder "t_index", function "rows" of module "m"']


def test_one_exception_that_is_raised_again_is_noted_once_a_place(fill):
    error = OwnError("mine")

    def call():
        raise error

    for _ in range(2):
        with pytest.raises(OwnError):
            fill(call)
    assert len(error.__notes__) == 1


def test_an_exception_that_takes_no_notes_passes(fill):
    class ClosedError(Exception):
        def add_note(self, note):
            raise TypeError("no")

    def call():
        raise ClosedError

    with pytest.raises(ClosedError):
        fill(call)


@pytest.mark.parametrize("return_type", ["dataframe", "row-wise", "generator"])
@pytest.mark.parametrize("threads", [1, 3])
def test_functions_may_run_an_event_loop_where_one_runs_already(fill, return_type, threads):
    async def ask():
        await asyncio.sleep(0)
        return 5

    def call():
        if return_type == "generator":
            return (asyncio.run(ask()) for _ in range(3))
        found = asyncio.run(ask())
        return pd.DataFrame({"o": [found] * 3}) if return_type == "dataframe" else found

    async def cell():
        return fill(call, return_type=return_type, n_threads=threads)

    assert asyncio.run(cell())["o"].tolist() == [5, 5, 5]


def test_a_module_may_run_an_event_loop_as_it_is_loaded(execute):
    code = "import asyncio, pandas as pd\nasync def ask():\n    return 5\n"
    code += "N = asyncio.run(ask())\ndef rows():\n    return pd.DataFrame({'k': [N]})\n"

    async def cell():
        return execute({"t_index": index("[k]", is_custom="true")}, code={"m": code}).frame

    assert asyncio.run(cell())["k"].tolist() == [5]


def test_an_exception_inside_a_generator_is_not_changed(fill):
    error = OwnError("mine")

    def call():
        yield 1
        raise error

    with pytest.raises(OwnError) as caught:
        fill(call, return_type="generator")
    assert caught.value is error


@pytest.mark.parametrize("threads", [1, 2])
def test_a_function_that_changes_its_arguments_changes_nothing_else(execute, inputs, threads):
    (name,) = inputs.instances["one"]
    inputs.instances["one"][name] = pd.DataFrame({"v": pd.Series([[1]], dtype=object)})
    seen = []

    def spoil(own, people, cell, listed, plain):
        seen.append((own["k"].tolist(), people["id"].tolist(), cell, listed, [*plain]))
        own.loc[:, "k"] = "spoilt"
        people.loc[:, "id"] = 0
        people["id"].array[:] = 0
        cell.append(2)
        listed.append(3)
        plain.append(4)
        return 1

    arguments = """
  own: <<self>>
  people: <<people>>
  cell: "<<one.v[index::0]>>"
  listed: "<<people.id[city::Paris]>>"
  plain: [0]
"""
    text = column(arguments=arguments, return_type="row-wise", n_threads=threads)
    result = execute({"t_index": index(), "o": text}, {"rows": rows, "f": spoil})
    expected = (KEYS, [1, 2, 3, 4], [1, 2], [1, 3, 3], [0])
    assert seen == [expected] * 3
    assert result.frame["k"].tolist() == KEYS
    assert inputs.instances["people"][next(iter(inputs.instances["people"]))]["id"].tolist() == [
        1,
        2,
        3,
        4,
    ]
    assert inputs.instances["one"][name]["v"].tolist() == [[1]]


def test_a_frame_that_its_function_keeps_cannot_change_the_table(execute):
    kept = rows()

    def later():
        kept.loc[:, "k"] = "spoilt"
        return pd.DataFrame({"o": KEYS})

    result = execute({"t_index": index(), "o": column()}, {"rows": lambda: kept, "f": later})
    assert result.frame["k"].tolist() == KEYS


# -- threads ----------------------------------------------------------------------------------


def test_after_a_failure_no_further_row_is_begun(execute):
    begun = []
    both = threading.Barrier(2, timeout=100)

    def call(row):
        begun.append(row)
        both.wait()
        raise OwnError(row)

    texts = {
        "t_index": index(),
        "o": column(return_type="row-wise", n_threads=2, arguments="{row: <<self.index>>}"),
    }
    with pytest.raises(OwnError) as caught:
        execute(texts, {"rows": rows, "f": call})
    assert sorted(begun) == [0, 1]
    assert caught.value.args == (0,)


# -- what is told -----------------------------------------------------------------------------


def test_explicit_dependencies_are_sources(execute):
    texts = {"t_index": index(dependencies="[people.name, vers(base), 'self.k']")}
    result = execute(texts, {"rows": rows})
    assert [each.table for each in result.sources] == ["people", "vers"]


def test_sources_are_named_once(execute, inputs):
    arguments = "{a: '<<people.name[id::1]>>', b: '<<people(base).age>>', c: '<<vers.v>>'}"
    texts = {"t_index": index(arguments=arguments)}
    result = execute(texts, {"rows": lambda a, b, c: rows()})
    assert [each.table for each in result.sources] == ["people", "vers"]
    assert result.sources[1].instance_id == InstanceId(list(inputs.instances["vers"])[-1])


def test_a_column_is_read_once(execute, inputs):
    arguments = "{a: '<<people.name[id::<<self.n[index]>>]>>'}"
    texts = {"t_index": index(), "o": column(arguments=arguments, return_type="row-wise")}
    execute(texts, {"rows": rows, "f": lambda a: a})
    assert sorted(asked for _, columns in inputs.asked for asked in columns) == ["id", "name"]


def test_calls_and_rows_are_counted(execute):
    progress = CountedProgress()
    texts = {"t_index": index(), "o": column(return_type="row-wise", n_threads=2)}
    result = execute(texts, {"rows": rows, "f": lambda: 1}, progress=progress)
    assert progress.counters == {"calls": 4, "t_index": 3, "o": 3}
    assert [(each.name, each.rows, each.calls) for each in result.builders] == [
        ("t_index", 3, 1),
        ("o", 3, 3),
    ]


def test_what_the_index_builder_declares_is_in_the_result(execute):
    text = index(primary_key="[k]", keep_old="true", dtypes="{n: Int32}")
    result = execute({"t_index": text}, {"rows": rows})
    assert result.primary_key == ("k",)
    assert dict(result.dtypes) == {"n": "Int32"}


def test_columns_of_later_builders_are_not_there_yet(execute):
    texts = {"t_index": index(arguments="{x: '<<self.k>>'}")}
    with pytest.raises(TableReferenceError, match=r'no column "z"'):
        execute({"t_index": index(arguments="{x: '<<self.z>>'}")}, {"rows": lambda x: rows()})
    assert execute(texts, {"rows": lambda x: rows()}).frame.shape == (3, 2)


def test_a_decorated_function_is_asked_for_what_it_takes_itself(fill):
    @functools.wraps(lambda client, row: None)
    def with_client(**given):
        return given["row"]

    frame = fill(with_client, return_type="row-wise", arguments="{row: <<self.index>>}")
    assert frame["o"].tolist() == [0, 1, 2]


def test_a_key_that_is_no_text_is_no_parameter(fill):
    with pytest.raises(TVBuilderError, match="field arguments is 1"):
        fill(lambda **given: 1, arguments="{1: x}")


INDEX = """builder_type: IndexBuilder
changed_columns: [k, v]
primary_key: {key}
python_function: f
code_module: m
arguments: {{}}
keep_old: true
"""


@pytest.fixture
def keep(inputs):
    """Join one earlier row with new ones, as an execution does."""

    def keep(old: Any, new: Any, dtype: str | None = None, key: str = "[]") -> pd.Series:
        builder = parse_builder("t_index", INDEX.format(key=key), table="t")
        index = resolve(builder, RunTables(inputs), {})
        earlier, frame = (
            pd.DataFrame({"k": infer(range(at, at + len(values)), "k"), "v": typed(values, dtype)})
            for at, values in ((0, old), (100, new))
        )
        return with_old_rows(frame, earlier, index, {"v": dtype} if dtype else {})["v"]

    return keep


def typed(values: Any, dtype: str | None) -> pd.Series:
    if isinstance(values, pd.Series):
        return values
    return infer(values, "v") if dtype is None else cast(pd.Series(values, dtype=object), dtype)


@pytest.mark.parametrize(
    ("old", "new", "dtype"),
    [
        ([5], [None], "Int64"),
        ([5], [], "Int64"),
        ([None], [5], "Int64"),
        ([1.5], [3], "Float64"),
        ([3], [1.5], "Float64"),
        ([True], [None], "boolean"),
        ([5], [2**63], "UInt64"),
        ([-5], [2**63], "object"),
        ([2**53 + 1], [0.5], "object"),
        ([0.5], [2**53 + 1], "object"),
        (["a"], [None], "string"),
        ([[1]], [None], "object"),
        ([[1]], [[2]], "object"),
        ([dt.date(2026, 1, 5)], [None], "object"),
        ([Decimal("1.10")], [Decimal("2.5")], "object"),
    ],
)
def test_values_stay_and_decide_the_dtype_together(keep, old, new, dtype):
    made = keep(old, new)
    assert str(made.dtype) == dtype
    found = [None if value is None or value is pd.NA else value for value in made]
    assert found == [*old, *new]


def test_values_of_several_kinds_become_text_as_if_all_were_made_at_once(keep):
    assert keep([5], ["x"]).tolist() == ["5", "x"]


@pytest.mark.parametrize("units", [("s", "ns"), ("ns", "us")])
def test_times_keep_every_digit(keep, units):
    old, new = (
        pd.Series(np.array(["2026-01-05T09:41:00"], f"M8[{unit}]") + np.timedelta64(1, unit))
        for unit in units
    )
    assert keep(old, new).tolist() == [old[0], new[0]]


def test_times_in_two_zones_keep_theirs(keep):
    old = pd.Series([pd.Timestamp("2026-01-05", tz="UTC")])
    new = pd.Series([pd.Timestamp("2026-01-05", tz="Europe/Rome")])
    assert keep(old, new).tolist() == [old[0], new[0]]


def test_categories_of_both_stay(keep):
    old, new = (pd.Series([text], dtype="category") for text in ("old", "new"))
    for dtype in (None, "category"):
        made = keep(old, new, dtype)
        assert (str(made.dtype), made.tolist()) == ("category", ["old", "new"])


def test_a_declared_dtype_decides_alone(keep):
    assert keep([5], ["x"], "string").tolist() == ["5", "x"]
    with pytest.raises(TVTableError, match="an earlier row does not fit"):
        keep(pd.Series(["x"], dtype="string"), [5], "Int64")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ([1.5, 3.0], [3], [1.5, 3.0]),
        ([1, 2], [], [1, 2]),
        ([2**53 + 1], [0.5], [2**53 + 1, 0.5]),
    ],
)
def test_keys_are_compared_as_all_values_together_have_them(inputs, old, new, expected):
    builder = parse_builder("t_index", INDEX.format(key="[k]"), table="t")
    index = resolve(builder, RunTables(inputs), {})
    earlier, frame = (
        pd.DataFrame({"k": infer(values, "k"), "v": infer(values, "v")}) for values in (old, new)
    )
    made = with_old_rows(frame, earlier, index, {})
    assert made["k"].tolist() == made["v"].tolist() == expected
