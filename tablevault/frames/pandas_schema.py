"""What pandas.read_parquet needs besides Arrow types to give the dtypes that were written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeAlias

import pandas as pd
import pyarrow as pa

from tablevault.frames.encoding import StoredColumn

Metadata: TypeAlias = dict[bytes, bytes] | None


def pandas_metadata(frame: pd.DataFrame, columns: Sequence[StoredColumn]) -> Metadata:
    """Return metadata for an Arrow schema, in the form of pandas; None if there is no need.

    See "Storing pandas DataFrame objects in Apache Parquet format" in the developer guide of
    pandas. Only columns are listed that pandas would take for another dtype.

    Parameters
    ----------
    frame : DataFrame
        Names are text.
    columns : sequence of StoredColumn
        The columns of `frame`, in order.
    """
    listed = [
        {"name": name, "field_name": name, "pandas_type": "object", "numpy_type": found}
        for name, dtype, stored in zip(frame.columns, frame.dtypes, columns, strict=True)
        if (found := _dtype_to_make(dtype, stored))
    ]
    if not listed:
        return None
    text = json.dumps(
        {
            "index_columns": [
                {"kind": "range", "name": None, "start": 0, "stop": len(frame), "step": 1}
            ],
            "column_indexes": [],
            "columns": listed,
            "creator": {"library": "tablevault", "version": "1"},
            "pandas_version": "2.2.0",
        },
        separators=(",", ":"),
    )
    return {b"pandas": text.encode("ascii")}


def _dtype_to_make(dtype: Any, stored: StoredColumn) -> str | None:  # noqa: ANN401 - any dtype
    """Return the name of the dtype that pandas has to be told of, None for none."""
    if stored.form in ("objects", "category"):
        is_whole = pa.types.is_integer(stored.array.type)
        return "Int64" if is_whole and stored.array.null_count else None  # floats would round
    if stored.form == "artifact" or (stored.form == "string" and stored.facts["na"] == "NA"):
        return "string"  # artifact_string is known only where this package is imported
    if isinstance(dtype, pd.IntervalDtype) or not hasattr(dtype, "__from_arrow__"):
        return None
    name = str(dtype)
    try:
        return name if pd.api.types.pandas_dtype(name) == dtype else None
    except (TypeError, ValueError, NotImplementedError):
        return None
