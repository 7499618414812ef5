"""What functions return is taken apart, and held against what their builder declares."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tablevault.engine.results import check_values
from tablevault.errors import TVBuilderError, TVTableError
from tablevault.frames.casting import cast

VALUES = [
    *(0, 1, -(1 << 63), (1 << 63) - 1, 1 << 63, -(1 << 63) - 1, 1 << 53, (1 << 53) + 1),
    *(True, 1.0, 1.5, float("nan"), float("inf"), "1", "text", None, b"1"),
]


@pytest.mark.parametrize("dtype", ["Int64", "UInt64", "Int8", "Float64", "boolean", "string"])
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_fits_exactly_if_its_column_can_be_cast(value, dtype):
    builder = SimpleNamespace(name="b", changed_columns=("o",), dtypes={"o": dtype})
    try:
        cast(pd.Series([value], dtype=object, name="o"), dtype)
    except TVTableError:
        with pytest.raises(TVTableError, match='Builder "b": Column "o", row 7'):
            check_values((value,), builder, 7)
    else:
        check_values((value,), builder, 7)


def test_frame_columns_go_by_name_when_the_names_agree(fill):
    frame = fill(lambda: pd.DataFrame({"q": [1, 2, 3], "p": [4, 5, 6]}), "[p, q]")
    assert frame[["p", "q"]].to_numpy().tolist() == [[4, 1], [5, 2], [6, 3]]


def test_frame_columns_go_by_position_when_they_do_not(fill):
    frame = fill(lambda: pd.DataFrame({"x": [1, 2, 3], "p": [4, 5, 6]}), "[p, q]")
    assert list(frame["p"]) == [1, 2, 3]
    assert list(frame["q"]) == [4, 5, 6]


@pytest.mark.parametrize("number", [0, 1, 2, 5])
def test_a_column_builder_returns_a_row_for_each_row(fill, number):
    with pytest.raises(TVBuilderError, match=rf'"o".*returned {number} rows?.*has 3'):
        fill(lambda: pd.DataFrame({"o": range(number)}))


@pytest.mark.parametrize("labels", [[10, 11, 12], [2, 1, 0], [0, 0, 0], ["a", "b", "c"]])
def test_rows_go_by_position_whatever_the_index_says(fill, labels):
    frame = fill(lambda: pd.DataFrame({"o": [5, 6, 7]}, index=labels))
    assert list(frame["o"]) == [5, 6, 7]
    assert len(frame) == 3


@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_frame_has_as_many_columns_as_declared(fill, number):
    returned = pd.DataFrame({f"c{n}": [1, 2, 3] for n in range(number)})
    with pytest.raises(TVBuilderError, match=rf'"o".*returned {number} columns?'):
        fill(lambda: returned, "[p, q]")


@pytest.mark.parametrize("value", [None, [1, 2, 3], pd.Series([1, 2, 3]), {"o": [1, 2, 3]}, 5])
def test_a_dataframe_function_returns_a_dataframe(fill, value):
    with pytest.raises(TVBuilderError, match=r'"o".*"f" returned .*DataFrame'):
        fill(lambda: value)


def test_a_number_of_rows_is_told_as_people_do(fill):
    with pytest.raises(TVBuilderError, match=r"returned 1 row\."):
        fill(lambda: pd.DataFrame({"o": [1]}))


def test_a_value_that_cannot_even_be_shown_is_refused(fill):
    class Silent:
        def __repr__(self):
            raise ValueError("no")

    with pytest.raises(TVBuilderError, match=r"cannot be shown \(Silent\)"):
        fill(Silent)


@pytest.mark.parametrize("value", ["ab", {"p": 1, "q": 2}, {1, 2}, 5, None, iter([1, 2]), b"xy"])
def test_several_columns_need_a_list_of_values(fill, value):
    with pytest.raises(TVBuilderError, match=r'"o".*row 0.*list or tuple of 2'):
        fill(lambda: value, "[p, q]", return_type="row-wise")


@pytest.mark.parametrize("value", [[1], [1, 2, 3], (), np.array([1, 2, 3])])
def test_a_row_has_as_many_values_as_declared(fill, value):
    with pytest.raises(TVBuilderError, match=rf'"o".*returned {len(value)} values? in row 0'):
        fill(lambda: value, "[p, q]", return_type="row-wise")


@pytest.mark.parametrize(
    "value", [[1, 2], (1, 2), np.array([1, 2]), pd.Series([1, 2]), pd.Series({"q": 2, "p": 1})]
)
def test_sequences_of_values_are_accepted(fill, value):
    frame = fill(lambda: value, "[p, q]", return_type="row-wise")
    assert frame[["p", "q"]].to_numpy().tolist() == [[1, 2]] * 3


@pytest.mark.parametrize("value", [[1], {"a": 1}, {1}, np.array([1, 2]), (1, 2)])
def test_one_column_holds_a_collection_as_object(fill, value):
    with pytest.raises(TVBuilderError, match=r"column \"o\" in row 0.*o: object"):
        fill(lambda: value, return_type="row-wise", dtypes="{o: string}")
    if isinstance(value, tuple):  # perhaps meant as the values of two columns
        with pytest.raises(TVBuilderError, match=r"column \"o\" in row 0.*o: object"):
            fill(lambda: value, return_type="row-wise")
    else:
        assert fill(lambda: value, return_type="row-wise")["o"].dtype == object
    frame = fill(lambda: value, return_type="row-wise", dtypes="{o: object}")
    assert frame["o"].dtype == object
    assert frame["o"].iloc[2] is not None
    assert type(frame["o"].iloc[0]) is type(value)


def test_one_of_several_columns_holds_a_collection_as_object(fill):
    with pytest.raises(TVBuilderError, match=r'column "q" in row 0'):
        fill(lambda: [1, [2]], "[p, q]", return_type="row-wise", dtypes="{q: Int64}")
    frame = fill(lambda: [1, [2]], "[p, q]", return_type="row-wise")
    assert list(map(str, frame[["p", "q"]].dtypes)) == ["Int64", "object"]


def test_a_frame_is_never_a_cell(fill):
    with pytest.raises(TVBuilderError):
        fill(pd.DataFrame, return_type="row-wise", dtypes="{o: object}")


@pytest.mark.parametrize(
    ("values", "dtype"),
    [([1, 2, 3], "Int64"), ([True, False, True], "boolean"), ([1.5, 2.5, None], "Float64")],
)
def test_undeclared_columns_are_inferred(fill, values, dtype):
    got = iter(values)
    frame = fill(lambda: next(got), return_type="row-wise")
    assert frame["o"].dtype == dtype


@pytest.mark.parametrize("return_type", ["row-wise", "generator"])
def test_none_is_null(fill, return_type):
    def call():
        return None if return_type == "row-wise" else iter([None, 1, None])

    frame = fill(call, return_type=return_type, dtypes="{o: Int64}")
    assert frame["o"].isna().tolist() == (
        [True] * 3 if return_type == "row-wise" else [True, False, True]
    )


def test_items_belong_to_rows_in_order(fill):
    frame = fill(lambda: iter([(1, "a"), [2, "b"], (3, "c")]), "[p, q]", return_type="generator")
    assert list(frame["p"]) == [1, 2, 3]
    assert list(frame["q"]) == ["a", "b", "c"]


def test_a_list_is_as_good_as_a_generator(fill):
    assert list(fill(lambda: [1, 2, 3], return_type="generator")["o"]) == [1, 2, 3]


def test_a_tuple_of_one_is_unwrapped(fill):
    assert list(fill(lambda: [(1,), (2,), 3], return_type="generator")["o"]) == [1, 2, 3]


@pytest.mark.parametrize("number", [0, 2])
def test_too_few_items_are_refused(fill, number):
    with pytest.raises(TVBuilderError, match=rf"yields only {number} items.*3 rows"):
        fill(lambda: range(number), return_type="generator")


def test_too_many_items_are_refused_without_waiting_for_the_end(fill):
    def endless():
        while True:
            yield 1

    with pytest.raises(TVBuilderError, match="yields more than 3 items"):
        fill(endless, return_type="generator")


@pytest.mark.parametrize("value", ["abc", {"a": 1}, {1, 2, 3}, None, 5, pd.DataFrame({"o": [1]})])
def test_what_is_no_iterable_of_rows_is_refused(fill, value):
    with pytest.raises(TVBuilderError, match=r'"o".*returned'):
        fill(lambda: value, return_type="generator")


def test_duplicate_keys_are_refused_with_rows_and_key(make):
    frame = pd.DataFrame({"k": ["a", "b", "a", "c", "c"], "n": [1, 2, 1, 4, 5]})
    with pytest.raises(TVTableError, match=r'"k".*\'a\'.*rows 0, 2\.'):
        make(lambda: frame, primary_key="[k]")
    with pytest.raises(TVTableError, match=r'"k", "n".*rows 0, 2\.'):
        make(lambda: frame, primary_key="[k, n]")
    with pytest.raises(TVTableError, match=r'"n"\) has the value 1 \(int\)'):
        make(lambda: frame, primary_key="[n]")


def test_a_null_key_is_refused_with_its_row(make):
    frame = pd.DataFrame({"k": ["a", None, None], "n": [1, 2, 3]})
    with pytest.raises(TVTableError, match=r'"k"\) is null in rows 1, 2'):
        make(lambda: frame, primary_key="[k]")


def test_declared_dtypes_are_applied(fill):
    frame = fill(lambda: pd.DataFrame({"o": ["1", "2", None]}), dtypes="{o: Int64}")
    assert frame["o"].dtype == "Int64"
    assert frame["o"].tolist()[:2] == [1, 2]


def test_categories_survive(fill):
    frame = fill(lambda: pd.DataFrame({"o": ["x", "y", "x"]}), dtypes="{o: category}")
    assert frame["o"].tolist() == ["x", "y", "x"]


def test_a_value_that_does_not_fit_is_named(fill):
    with pytest.raises(TVTableError, match=r'"o"') as caught:
        fill(lambda: pd.DataFrame({"o": ["1", "two", None]}), dtypes="{o: Int64}")
    assert caught.value.builder == "o"


@pytest.mark.parametrize("return_type", ["dataframe", "row-wise", "generator"])
def test_a_value_that_cannot_be_copied_names_builder_column_and_row(fill, return_type):
    def call():
        value = {"lock": threading.RLock()}
        returned = {"dataframe": pd.DataFrame({"o": [1, 2, value]}), "row-wise": value}
        return returned.get(return_type, [value])

    with pytest.raises(TVTableError, match=r'"o".*column "o" in row .*RLock') as caught:
        fill(call, return_type=return_type, dtypes="{o: object}")
    row = 2 if return_type == "dataframe" else 0
    assert (caught.value.builder, caught.value.column, caught.value.row) == ("o", "o", row)
