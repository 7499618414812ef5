"""Dataframes as files of other programs, by the ending of their name."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import pandas as pd


def content(frame: pd.DataFrame, ending: str) -> bytes:
    """Return a dataframe as the bytes of a file."""
    sink = io.BytesIO()
    WRITERS[ending](frame, sink)
    return sink.getvalue()


def _write_csv(frame: pd.DataFrame, sink: BinaryIO) -> None:
    """Write CSV without row numbers; lists and mappings are JSON in their cell."""
    import pandas as pd

    flat = frame.copy(deep=False)
    for at in range(frame.shape[1]):
        column = frame.iloc[:, at]
        if pd.api.types.is_object_dtype(column.dtype) or "[" in str(column.dtype):
            flat.isetitem(at, column.map(_cell).array)
    flat.to_csv(sink, index=False, encoding="utf-8")


def _cell(value: object) -> object:
    """Return what a cell of CSV holds."""
    shown = plain(value)
    return _json(shown) if isinstance(shown, dict | list) else value


def _write_json(frame: pd.DataFrame, sink: BinaryIO) -> None:
    """Write one list of records."""
    lines = [_json(record) for record in _records(frame)]
    text = "[\n" + ",\n".join(lines) + "\n]\n" if lines else "[]\n"
    sink.write(text.encode("utf-8", "backslashreplace"))


def _write_lines(frame: pd.DataFrame, sink: BinaryIO) -> None:
    """Write one record a line."""
    text = "".join(f"{_json(record)}\n" for record in _records(frame))
    sink.write(text.encode("utf-8", "backslashreplace"))


def _write_parquet(frame: pd.DataFrame, sink: BinaryIO) -> None:
    """Write what a vault keeps: every dtype and nested value comes back."""
    from tablevault.frames.parquet import write_frame

    write_frame(frame, sink)


WRITERS: Mapping[str, Callable[[pd.DataFrame, BinaryIO], None]] = {
    "csv": _write_csv,
    "json": _write_json,
    "jsonl": _write_lines,
    "parquet": _write_parquet,
}


def _records(frame: pd.DataFrame) -> list[dict[str, object]]:
    """Return each row as a mapping."""
    names = list(map(str, frame.columns))
    columns = [list(map(plain, frame.iloc[:, at])) for at in range(frame.shape[1])]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def plain(value: object) -> object:
    """Return a value as JSON knows it: null, truth, number, text, list or mapping."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if hasattr(value, "dtype") and hasattr(value, "tolist"):  # of numpy and pandas
        return plain(value.tolist())
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return _text(value)


def _text(value: object) -> str | None:
    """Return what is no JSON as text: times as ISO 8601, bytes as hexadecimal digits."""
    import pandas as pd

    if value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, bytes):
        return value.hex()
    as_iso = getattr(value, "isoformat", None)
    return str(as_iso()) if callable(as_iso) else str(value)


def _json(value: object) -> str:
    """Write one line of JSON."""
    return json.dumps(value, ensure_ascii=False)
