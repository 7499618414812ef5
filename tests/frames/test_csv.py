"""CSV files as columns: exact, or an error that names the line."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tablevault.errors import TVTableError
from tablevault.frames.casting import cast
from tablevault.frames.csv import read_csv


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def read(text: str | bytes, names: tuple[str, ...] = (), **dtypes: str) -> pd.DataFrame:
        path = tmp_path / "x.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return read_csv(path, dtypes, names)

    return read


def declared(read: Any, dtype: str, *fields: str) -> list[Any]:
    frame = read("\n".join(["n,c", *(f"0,{field}" for field in fields)]), c=dtype)
    return cast(frame["c"], dtype).tolist()


def cells(series: pd.Series) -> list[Any]:
    return [None if value is pd.NA else value for value in series.astype(object)]


def test_declared_text_stays_as_it_stands_in_the_file(read):
    texts = ["00501", "+49123", "1.10", "1e5", "TRUE", " x ", "2026-01-05", "1_000", "0x1F"]
    assert declared(read, "string", *texts) == texts


@pytest.mark.parametrize("dtype", ["string", "str", "object", "category", "artifact_string"])
def test_only_an_empty_field_is_null_in_declared_text(read, dtype):
    found = declared(read, dtype, "NA", "null", "nan", "None", "", "n/a")
    assert [text if isinstance(text, str) else None for text in found] == [
        *("NA", "null", "nan", "None", None, "n/a")
    ]


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "boolean", "datetime64[ns]"])
def test_the_usual_words_are_null_where_no_text_is_declared(read, dtype):
    found = declared(read, dtype, "", "NA", "null", "NaN", "#N/A")
    assert all(pd.isna(value) for value in found)


def test_long_ids_beside_empty_fields_stay_exact(read):
    ids = ["1234567890123456789", "", "1234567890123456788"]
    assert declared(read, "Int64", *ids)[::2] == [1234567890123456789, 1234567890123456788]
    inferred = read("n,c\n" + "\n".join(f"0,{each}" for each in ids))["c"]
    assert (str(inferred.dtype), cells(inferred)[::2]) == (
        "Int64",
        [1234567890123456789, 1234567890123456788],
    )


def test_declared_numbers_booleans_and_times_are_read_from_their_text(read):
    assert declared(read, "Int64", " 7 ", "+7", "007", "7.0", "1e3") == [7, 7, 7, 7, 1000]
    assert declared(read, "Float64", "0.1", "1e-7", "-0", "inf") == [0.1, 1e-7, -0.0, float("inf")]
    assert declared(read, "boolean", "yes", "0", "TRUE", "false") == [True, False, True, False]
    assert declared(read, "datetime64[s]", "2026-01-05T09:41") == [pd.Timestamp("2026-01-05 09:41")]
    assert declared(read, "period[M]", "2026-01") == [pd.Period("2026-01", "M")]


@pytest.mark.parametrize(
    ("dtype", "field"),
    [
        ("Int64", '"1,000"'),
        ("Int64", "1_000"),
        ("Int64", "1.5"),
        ("Float64", "1_000.5"),
        ("Float64", "9007199254740993"),
        ("Float64", "1e400"),
        ("Float32", "16777217"),
        ("boolean", "maybe"),
        ("datetime64[ns]", "05/01/2026"),
    ],
)
def test_text_that_a_dtype_would_change_is_an_error(read, dtype, field):
    with pytest.raises(TVTableError, match='Column "c", row 0'):
        declared(read, dtype, field)


def test_columns_that_nobody_declared_get_the_dtype_of_their_values(read):
    frame = read(
        "int,big,float,bool,text,mixed,none\n"
        "1,18446744073709551615,1.5,True,a,1,\n"
        "+2,0,-2,false,NA,x,\n"
        ",,inf,,,,NA\n"
    )
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {
        "int": "Int64",
        "big": "UInt64",
        "float": "Float64",
        "bool": "boolean",
        "text": "string",
        "mixed": "string",
        "none": "string",
    }
    assert cells(frame["int"]) == [1, 2, None]
    assert cells(frame["big"]) == [2**64 - 1, 0, None]
    assert cells(frame["float"]) == [1.5, -2, float("inf")]
    assert cells(frame["bool"]) == [True, False, None]
    assert cells(frame["text"]) == ["a", None, None]
    assert cells(frame["mixed"]) == ["1", "x", None]
    assert cells(frame["none"]) == [None] * 3


def test_every_digit_of_a_float_counts(read):
    floats = [0.1 + 0.2, 5e-324, 1.7976931348623157e308, 2.2250738585072011e-308, 1 / 3]
    frame = read("c\n" + "\n".join(map(repr, floats)))
    assert frame["c"].tolist() == floats


@pytest.mark.parametrize(
    "fields",
    [
        ["9007199254740993", "0.5"],
        ["18446744073709551616", "1"],
        ["1e400", "1"],
        ["1" + "0" * 400, "0.5"],
        ["1" * 5000, "0.5"],
    ],
)
def test_numbers_that_would_be_rounded_stay_text(read, fields):
    assert read("c\n" + "\n".join(fields))["c"].tolist() == fields


def test_whole_numbers_that_a_float_holds_may_stand_beside_floats(read):
    assert read("c\n9007199254740992\n0.5")["c"].tolist() == [2.0**53, 0.5]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a,b\n1,2,3\n", 2),
        ("a,b\n1,2\n3,4,5\n", 3),
        ('a,b\n"x\ny",2\n\n1,2,3\n', 5),
        ("a,b\n1,2,\n", 2),
        ("a,b\r\n1,2\r\n1,2,3\r\n", 3),
    ],
)
def test_a_row_longer_than_the_header_is_an_error_with_its_line(read, text, line):
    with pytest.raises(TVTableError, match=f"has 3 fields in line {line}; the header has 2"):
        read(text)


def test_short_rows_end_with_nulls(read):
    frame = read("a,b\n1\n2,x\n", b="string")
    assert cells(frame["b"]) == [None, "x"]


def test_quoted_fields_hold_commas_quotes_and_line_breaks(read):
    frame = read('a,b\n"x,y","l\r\nm"\n"say ""hi""",\n', a="string", b="string")
    assert frame["a"].tolist() == ["x,y", 'say "hi"']
    assert frame["b"][0] == "l\r\nm"


def test_a_byte_order_mark_is_no_part_of_a_name(read):
    assert list(read(b'\xef\xbb\xbf"a b",c\n1,2\n')) == ["a b", "c"]


def test_a_header_alone_gives_columns_without_rows(read):
    frame = read("a,b\n")
    assert (list(frame), len(frame)) == (["a", "b"], 0)


def test_names_that_are_missing_or_stand_twice_are_numbered(read):
    assert list(read("a,,a\n1,2,3\n")) == ["a", "Unnamed: 1", "a.1"]
    assert cells(read("a,a\n01,02\n", **{"a.1": "string"})["a.1"]) == ["02"]


def test_declared_names_may_be_others_than_those_of_the_header(read):
    frame = read("zip,name\n00501,Ann\n", ("code", "who"), code="string")
    assert frame["zip"].tolist() == ["00501"]
    frame = read("zip,name\n00501,Ann\n", ("name", "zip"), zip="string")
    assert frame["zip"].tolist() == ["00501"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"a\n\xff\n", "is not UTF-8"),
        ("a\n1\n".encode("utf-16"), "is not UTF-8|NUL"),
        (b'a\n"x\n', "cannot be read as CSV"),
    ],
)
def test_what_is_no_csv_is_an_error_that_names_the_file(read, content, problem):
    with pytest.raises(TVTableError, match=problem) as caught:
        read(content)
    assert str(caught.value.path).endswith("x.csv")


def test_a_nul_character_stays_or_is_refused(read):
    try:
        assert read("a\nx\0y\n")["a"].tolist() == ["x\0y"]
    except TVTableError as error:
        assert "NUL" in error.message  # noqa: PT017 - pandas 2.2 alone


def test_a_compressed_file_is_read_as_pandas_does(tmp_path):
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(b"a\n00501\n"))
    assert read_csv(path, {"a": "string"})["a"].tolist() == ["00501"]
