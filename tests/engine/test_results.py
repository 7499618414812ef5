from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from tablevault.engine.results import check_fit
from tablevault.errors import TVTableError
from tablevault.frames.casting import cast

VALUES = [
    *(0, 1, -(1 << 63), (1 << 63) - 1, 1 << 63, -(1 << 63) - 1, 1 << 53, (1 << 53) + 1),
    *(True, 1.0, 1.5, float("nan"), float("inf"), "1", "text", None, b"1", [1]),
]


@pytest.mark.parametrize("dtype", ["Int64", "UInt64", "Int8", "Float64", "boolean", "string"])
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_fits_exactly_if_its_column_can_be_cast(value, dtype):
    builder = SimpleNamespace(name="b", changed_columns=("o",), dtypes={"o": dtype})
    try:
        cast(pd.Series([value], dtype=object, name="o"), dtype)
    except TVTableError:
        with pytest.raises(TVTableError, match='Builder "b": Column "o", row 7'):
            check_fit((value,), builder, 7)
    else:
        check_fit((value,), builder, 7)
