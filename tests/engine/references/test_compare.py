from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pytest

from tablevault.engine.references import View, evaluate, parse_template
from tablevault.errors import TableReferenceError


class OneTable:
    """A single table, t, with one column c."""

    def __init__(self, values):
        frame = pd.DataFrame({"c": values})
        self._view = View(("c",), lambda names: frame[list(names)])

    def view(self, table, selector):
        return self._view


def positions(values, condition):
    """Return the rows that a condition on column c selects."""
    found = evaluate(parse_template(f"<<t.index[c::{condition}]>>"), OneTable(values))
    return [] if found is None else found if isinstance(found, list) else [found]


TIMES = ["2023-01-01", "2023-01-01T12:00", None, "2023-02-01"]
NAIVE = pd.Series(pd.to_datetime(TIMES, format="ISO8601"))
DECIMALS = pd.Series([Decimal("1.10"), Decimal(10), None, Decimal("2.5")], dtype=object)
SIZES = pd.Categorical(
    ["large", "small", "medium", None, "small"],
    categories=["small", "medium", "large"],
    ordered=True,
)
ZONED = NAIVE.dt.tz_localize("Europe/Paris")


@pytest.mark.parametrize(
    ("values", "condition", "expected"),
    [
        (pd.array([1, 2, None], dtype="Int64"), "1", [0]),
        (pd.array([1, 2, None], dtype="Int64"), "1.0", [0]),
        (pd.array([1, 2, None], dtype="Int64"), "1e0", [0]),
        (pd.array([1, 2, None], dtype="Int64"), "+2", [1]),
        (pd.array([1, 2, None], dtype="Int64"), "1.5", []),
        (pd.array([1, 2, None], dtype="Int64"), "nan", []),
        (pd.array([1, 2, None], dtype="Int64"), "-inf:inf", [0, 1]),
        (pd.array([2**62, 2**62 + 1], dtype="Int64"), str(2**62 + 1), [1]),
        (pd.array([1, 200], dtype="UInt8"), "200", [1]),
        (pd.array([0.1, 2.5, None], dtype="Float64"), "0.1", [0]),
        (pd.array([0.1, 2.5, None], dtype="Float64"), "0.1:2.5", [0]),
        (pd.Series([0.5, float("nan")]), "0:9", [0]),
        (pd.array([True, None, False], dtype="boolean"), "FALSE", [2]),
        (pd.array([True, None, False], dtype="boolean"), "1.0", [0]),
        (pd.Series(["a", None, "b"], dtype=object), "a", [0]),
        (pd.Series([1, None, "1", [1]], dtype=object), "1", [0, 2]),
        (pd.array(["a", None, "B"], dtype="string"), "None", []),
        (pd.array(["a", None, "B"], dtype="string"), "''", []),
        (pd.array(["", None, "B"], dtype="string"), "''", [0]),
        (pd.Categorical(["x", None, "y", "x"]), "x", [0, 3]),
        (pd.Categorical([10, None, 9]), "9.0", [2]),
        (pd.Categorical([10, None, 9]), "9:10", [2]),
        (NAIVE, "2023-01-01", [0]),
        (NAIVE, "'2023-01-01 12:00'", [1]),
        (NAIVE, "2023-01-01:2023-02-01", [0, 1]),
        (ZONED, "'2023-01-01T12:00'", [1]),
        (ZONED, "'2023-01-01T11:00+00:00'", [1]),
        (pd.Series(pd.to_timedelta(["1 day", None])), "1 day", [0]),
        (pd.Series(pd.PeriodIndex(["2023-01", "2023-02"], freq="M")), "2023-02", [1]),
        (pd.array([1, None], dtype=pd.ArrowDtype(pa.int64())), "1", [0]),
        (pd.array(["a", None], dtype=pd.ArrowDtype(pa.string())), "a", [0]),
        (pd.Series([dt.date(2023, 1, 1), None], dtype=object), "2023-01-01", [0]),
        (DECIMALS, "1.1", [0]),
        (DECIMALS, "'1.100'", [0]),
        (DECIMALS, "2:11", [1, 3]),
        (DECIMALS, "-inf:inf", [0, 1, 3]),
        (DECIMALS, "nan", []),
        (DECIMALS.astype(pd.ArrowDtype(pa.decimal128(5, 2))), "1.1", [0]),
        (DECIMALS.astype(pd.ArrowDtype(pa.decimal128(5, 2))), "2:11", [1, 3]),
        (SIZES, "small", [1, 4]),
        (SIZES, "small:large", [1, 2, 4]),
        (SIZES, "medium:large", [2]),
        (SIZES, "huge", []),
        (SIZES, "small:huge", []),
        (pd.Categorical([10, None, 9], categories=[10, 9], ordered=True), "9:10", [2]),
    ],
)
def test_values_are_compared_as_the_dtype_says(values, condition, expected):
    assert positions(values, condition) == expected


@pytest.mark.parametrize(
    ("values", "condition", "kind"),
    [
        (pd.array([1], dtype="Int64"), "one", "a number"),
        (pd.array([1], dtype="Int64"), "1_0", "a number"),
        (pd.array([1], dtype="Int64"), "True", "a number"),
        (pd.array([1], dtype="Int64"), "1:x", "a number"),
        (pd.array([True], dtype="boolean"), "maybe", "true or false"),
        (pd.array([True], dtype="boolean"), "2", "true or false"),
        (NAIVE, "now", "a time in ISO 8601"),
        (NAIVE, "1/2/2023", "a time in ISO 8601"),
        (NAIVE, "2023-13-01", "a time in ISO 8601"),
        (pd.Series(pd.to_timedelta(["1 day"])), "soon", "a duration"),
        (pd.Series(pd.PeriodIndex(["2023-01"], freq="M")), "x", "a period"),
        (pd.Categorical([10, 9]), "x", "a number"),
    ],
)
def test_a_value_of_another_kind_is_refused(values, condition, kind):
    with pytest.raises(TableReferenceError, match=f'"c".*{kind}'):
        positions(values, condition)


@pytest.mark.parametrize(
    "values",
    [
        pd.array([None, 1], dtype="Int64"),
        pd.array([None, "a"], dtype="string"),
        pd.Categorical([None, "a"]),
        pd.Series([None, "a"]),
    ],
)
def test_a_missing_cell_is_null_whatever_holds_it(values):
    cell = evaluate(parse_template("<<t.c[index::0]>>"), OneTable(values))
    assert pd.isna(cell)


def test_cells_are_python_objects():
    for values, kind in [
        (pd.array([1], dtype="Int64"), int),
        (pd.array([1.5], dtype="Float64"), float),
        (pd.array([True], dtype="boolean"), bool),
        (NAIVE, pd.Timestamp),
    ]:
        assert type(evaluate(parse_template("<<t.c[index::0]>>"), OneTable(values))) is kind


def test_frames_keep_dtypes_and_positions():
    table = OneTable(pd.array([5, None, 5], dtype="Int8"))
    frame = evaluate(parse_template("<<t.{c,index}[c::5]>>"), table)
    assert frame["c"].dtype == "Int8"
    assert list(frame.index) == [0, 2]
    assert frame["index"].tolist() == [0, 2]


def test_a_nested_null_matches_nothing():
    table = OneTable(pd.array([None, 5], dtype="Int64"))
    assert evaluate(parse_template("<<t.c[c::<<t.c[index::0]>>]>>"), table) is None
    assert evaluate(parse_template("<<t.c[c::0:<<t.c[index::0]>>]>>"), table) is None


@pytest.mark.parametrize(
    "text",
    ["<<t.c[c::<<t.c[index::0:2]>>]>>", "<<t.c[c::<<t>>]>>", "<<t.<<t.c[index::9]>>>>"],
)
def test_a_nested_reference_gives_one_value(text):
    with pytest.raises(TableReferenceError) as caught:
        evaluate(parse_template(text), OneTable(pd.array([1, 5], dtype="Int64")))
    assert text[caught.value.start : caught.value.end].startswith("<<t")
    assert caught.value.start > 0


@pytest.mark.parametrize(
    "condition",
    [
        "c::b:d",
        " c :: b : d ",
        "c:: 'b' : 'd' ",
        "\tc ::\t'b'\t:\n'd'",
        "c::<<t.c[index::1]>> : <<t.c[index::3]>>",
        " c :: <<t.c[ index :: 1 ]>> : 'd'",
    ],
)
def test_white_space_around_words_means_nothing(condition):
    table = OneTable(pd.Series(["a", "b", "c", "d"]))
    assert evaluate(parse_template(f"<<t.index[{condition}]>>"), table) == [1, 2]
