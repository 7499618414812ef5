"""The record of one call, and of the files that it names."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from tablevault.secrets import text_to_keep

Outcome = Literal["ok", "error", "rejected"]

ARGUMENTS_BYTES: Final = 10
ROW_BYTES: Final = 8
"""Sizes of the two parts of the inputs of a call, see `tablevault.engine.calls.keys`."""

NO_ROW: Final = -1
"""The row of a call that is not for a single row: its result is a whole dataframe."""
UNKNOWN_ROW: Final = -2
"""The row of a call of an earlier attempt, whose table may have had other rows."""


class CallRecord(NamedTuple):
    """The record of one call; a tuple, since there are millions.

    Attributes
    ----------
    id : int
        Number in the store; 0 before it is recorded.
    builder : str
        Name of the builder whose function was called.
    row : int
        Position of the row that it was made for; `NO_ROW` if the result is a whole dataframe.
    inputs, code : bytes
        Its key, see `tablevault.engine.calls.keys`.
    outcome : {"ok", "error", "rejected"}
        Whether the function returned, raised, or returned values that its columns do not take.
    value : str, optional
        Its result, as tagged JSON; None if it raised.
    started_at, duration_s : float
        Seconds since the epoch, seconds; 0.0 where it was not measured.
    error : str, optional
        Class and text of the exception.
    process : str, optional
        Id of the process that made it; None before it is recorded.
    model : str, optional
        Model, if the function reported it.
    input_tokens, output_tokens : int, optional
        Tokens that were sent and received, if the function reported them.
    cost : float, optional
        Its cost, in the currency of the report.
    files : str, optional
        Artifacts that its values name, see `encode_files`.
    attempts : int
        How often the function was called for it, retries included; default 1.
    """

    id: int
    builder: str
    row: int
    inputs: bytes
    code: bytes
    outcome: Outcome
    value: str | None
    started_at: float
    duration_s: float
    error: str | None
    process: str | None = None
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None
    files: str | None = None
    attempts: int = 1


def error_text(error: BaseException) -> str:
    """Return the text of an exception for a record: without secrets, in valid UTF-8."""
    return text_to_keep(error).encode("utf-8", "backslashreplace").decode()


_OID: Final = re.compile(r"[0-9a-f]{64}")


class KeptFile(NamedTuple):
    """A file in the object store: its object id, its size in bytes, whether it is executable."""

    oid: str
    size: int
    executable: bool = False


def encode_files(files: Mapping[str, KeptFile]) -> str:
    """Encode files by name: ``{"a.png":["<object id>",17]}``; a third item if executable: ``true``.

    Parameters
    ----------
    files : mapping of str to KeptFile
        By their names in the artifact folder.
    """
    found = {name: list(file if file.executable else file[:2]) for name, file in files.items()}
    return json.dumps(found, separators=(",", ":"))


def decode_files(text: str | None) -> dict[str, KeptFile]:
    """Decode the text that `encode_files` made; empty for None and for any other text."""
    if text is None:
        return {}
    try:
        found = json.loads(text)
        files = {name: KeptFile(*file) for name, file in found.items()}
        is_right = all(_OID.fullmatch(file.oid) and file.size >= 0 for file in files.values())
    except (ValueError, TypeError, AttributeError):
        return {}
    return files if is_right else {}
