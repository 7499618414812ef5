"""CSV files as columns: declared ones as text, others with the dtype of their values."""

from __future__ import annotations

import contextlib
import csv
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tablevault.errors import TVTableError
from tablevault.frames.column_encoding import whole_array
from tablevault.frames.dtypes import normalise_columns, parse_dtype

# The words that pandas.read_csv takes for a missing value.
_NULLS = pa.array(
    [
        *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND"),
        *("1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    ],
    pa.large_string(),
)
_EMPTY = pa.array([""], pa.large_string())
_TRUE = pa.array(["True", "TRUE", "true"], pa.large_string())
_BOOLEANS = pa.array(["True", "TRUE", "true", "False", "FALSE", "false"], pa.large_string())
_WHOLE = r"^[+-]?[0-9]+$"
_NUMBER = r"(?i)^[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|inf|infinity)$"
_FIRST = 100
"""Values that are checked before all others."""
_SURE_DIGITS = 15
"""A float64 holds every whole number of so many digits."""
_MOST_DIGITS = 308
_TEXT_DTYPES = frozenset({"string", "artifact_string", "object", "category"})
_CUTS_AT_NUL = int(pd.__version__.split(".")[0]) < 3  # noqa: PLR2004 - pandas 2.2 drops the rest


def read_csv(
    path: str | os.PathLike[str], dtypes: Mapping[str, str], names: Sequence[str] = ()
) -> pd.DataFrame:
    """Read a CSV file with a header, separated by commas, in UTF-8.

    Parameters
    ----------
    path : str or path
        The file, or what else ``pandas.read_csv`` opens.
    dtypes : mapping of str to str
        Declared dtypes by column. Columns that the file lacks are ignored.
    names : sequence of str, optional
        What the columns are called in `dtypes`: the names in the header in any order, or others
        in the order of the file. The names in the header when empty.

    Returns
    -------
    DataFrame
        Named as in the header; an unnamed column is ``Unnamed: <position>``, and of two with
        one name the later is numbered. RangeIndex. A declared column is text as it stands in the
        file, ready for :func:`tablevault.frames.casting.cast`; in one of text only an empty
        field is null, in others so are words such as ``NA`` and ``null``. Any other column is
        ``Int64``, ``UInt64``, ``Float64``, ``boolean`` or ``string``. Numbers stay text if
        ``Float64`` would round whole ones.

    Raises
    ------
    TVTableError
        The file is empty, is not UTF-8, ends inside quotes, or has a row longer than the header;
        names the line.
    FileNotFoundError
        There is no such file.
    """
    cells = _read_cells(path)
    header = [name or f"Unnamed: {at}" for at, name in enumerate(cells.iloc[0])]
    body = normalise_columns(cells.iloc[1:].set_axis(header, axis=1))
    called = dict(zip(body.columns, names, strict=False))
    if not names or set(names) == set(body.columns):
        called = {name: name for name in body.columns}
    columns = {}
    for name in body.columns:
        texts = whole_array(pa.array(body[name], pa.large_string()))
        # A copy: of a slice, if_else of pyarrow 21 damages the last value.
        texts = texts.take(pa.array(np.arange(len(texts))))
        dtype = dtypes.get(called.get(name, name))
        columns[name] = _inferred(texts) if dtype is None else _declared(texts, dtype)
    return pd.DataFrame(columns, index=body.index)


def _read_cells(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read all fields as text; the header is row 0, short rows end with empty fields."""
    if _CUTS_AT_NUL:
        _refuse_nul(path)
    try:
        # With the header as a row its length is that of all rows, else pandas takes the first
        # columns for an index where rows are longer.
        return pd.read_csv(
            path, header=None, dtype="string[pyarrow]", na_filter=False, encoding="utf-8-sig"
        )
    except pd.errors.EmptyDataError:
        problem, hint = "is empty", "A CSV file begins with the names of its columns."
    except UnicodeDecodeError as error:
        problem, hint = f"is not UTF-8: {error}", "Save it as UTF-8."
    except pd.errors.ParserError as error:
        if found := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error)):
            width, line, fields = map(int, found.groups())
            line = _line_of_longer(path, width) or line
            problem = f"has {fields} fields in line {line}; the header has {width}"
            hint = "Put quotes around fields that contain a comma, or name every column."
        else:
            problem = f"cannot be read as CSV: {error}"
            hint = "Close all quotes; write a quote inside a quoted field twice."
    raise TVTableError(f'"{path}" {problem}.', hint, path=str(path))


def _line_of_longer(path: str | os.PathLike[str], width: int) -> int | None:
    """Return the line where the first longer row begins: pandas counts rows, not lines."""
    with (
        contextlib.suppress(OSError, ValueError, csv.Error),
        Path(path).open(encoding="utf-8-sig", newline="") as file,
    ):
        reader = csv.reader(file)
        before = 0
        for row in reader:
            if len(row) > width:
                return before + 1
            before = reader.line_num
    return None


def _refuse_nul(path: str | os.PathLike[str]) -> None:
    """Raise an error for a NUL character: this pandas would drop the rest of its field."""
    with contextlib.suppress(OSError), Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            if b"\0" in block and not os.fspath(path).endswith((".gz", ".bz2", ".zip", ".xz")):
                raise TVTableError(
                    f'"{path}" contains a NUL character.',
                    "Save it as UTF-8, without NUL characters.",
                    path=str(path),
                )


def _declared(texts: pa.Array, dtype: str) -> pd.Series:
    """Return a declared column as its text."""
    name = str(parse_dtype(dtype))
    present = _without(texts, _EMPTY if name in _TEXT_DTYPES else _NULLS)
    if name == "object":
        return pd.Series(present.to_pylist(), dtype=object)
    return _column(present, pd.StringDtype())


def _inferred(texts: pa.Array) -> pd.Series:
    """Return an undeclared column, with the dtype of its values."""
    present = _without(texts, _NULLS)
    first = pc.drop_null(present)[:_FIRST]
    if not len(first):
        return _column(present, pd.StringDtype())
    if _all(pc.is_in(first, _BOOLEANS)) and _all(pc.is_in(pc.drop_null(present), _BOOLEANS)):
        is_true = pc.if_else(pc.is_valid(present), pc.is_in(present, _TRUE), None)
        return _column(is_true, pd.BooleanDtype())
    if _all(pc.match_substring_regex(_trimmed(first), _NUMBER)):
        numbers = _numbers(_trimmed(present))
        if numbers is not None:
            return numbers
    return _column(present, pd.StringDtype())


def _trimmed(texts: pa.Array) -> pa.Array:
    """Return texts without what Arrow does not read around and before a number."""
    return pc.replace_substring_regex(pc.utf8_trim_whitespace(texts), r"^\+", "")


def _numbers(texts: pa.Array) -> pd.Series | None:
    """Return numbers, None if there are others than numbers or some would be rounded."""
    if _all(pc.match_substring_regex(texts, _WHOLE)):
        for kind, dtype in ((pa.int64(), pd.Int64Dtype()), (pa.uint64(), pd.UInt64Dtype())):
            with contextlib.suppress(pa.ArrowInvalid):  # too large
                return _column(texts.cast(kind), dtype)
    elif _all(pc.match_substring_regex(texts, _NUMBER)):
        floats = texts.cast(pa.float64())
        if _is_exact(texts, floats):
            return _column(floats, pd.Float64Dtype())
    return None


def _is_exact(numbers: pa.Array, floats: pa.Array) -> bool:
    """Return whether no whole number was rounded, and none is too large for a float64."""
    words = pc.match_substring_regex(numbers, "(?i)inf")
    if pc.any(pc.and_(pc.is_inf(floats), pc.invert(words))).as_py():
        return False
    long = pc.and_(
        pc.match_substring_regex(numbers, _WHOLE), pc.greater(pc.utf8_length(numbers), _SURE_DIGITS)
    )
    texts = numbers.filter(long).to_pylist()
    return all(len(text) <= _MOST_DIGITS and int(text) == float(text) for text in texts)


def _without(texts: pa.Array, words: pa.Array) -> pa.Array:
    """Return the texts, null where they are among the words."""
    return pc.if_else(pc.is_in(texts, words), None, texts)


def _all(matches: pa.Array) -> bool:
    """Return whether all matches hold, without nulls."""
    return bool(pc.all(matches).as_py())


def _column(array: pa.Array, dtype: Any) -> pd.Series:  # noqa: ANN401 - pandas' dtypes
    """Return an Arrow array as a column."""
    return pd.Series(dtype.__from_arrow__(pa.chunked_array([array])))
