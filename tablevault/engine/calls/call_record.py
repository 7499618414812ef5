"""What is recorded of one call."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from tablevault.secrets import text_to_keep

Outcome = Literal["ok", "error", "rejected"]

WHOLE: Final = -1
"""The row of a call whose result is a whole dataframe."""
ELSEWHERE: Final = -2
"""The row of a call of an earlier attempt, in which the table may have had other rows."""


class CallRecord(NamedTuple):
    """One call as it is recorded; a tuple, since there are millions.

    Attributes
    ----------
    id : int
        Number in the store; 0 for one that is not recorded yet.
    builder : str
        Name of the builder whose function was called.
    row : int
        Position of the row that it was made for; `WHOLE` where the result is a whole dataframe.
    inputs, code : bytes
        Its key, see `tablevault.engine.calls.keys`.
    outcome : {"ok", "error", "rejected"}
        Whether the function returned, raised, or returned what its columns do not take.
    value : str, optional
        What it returned, as tagged JSON; None when it raised.
    started_at, duration_s : float
        Seconds since the epoch, seconds; 0.0 where nobody measured.
    error : str, optional
        Class and text of what was raised.
    process : str, optional
        Id of the process that made it; None for one that is not recorded yet.
    model : str, optional
        What was asked, where the function reported it.
    input_tokens, output_tokens : int, optional
        Tokens that were sent and received, where the function reported them.
    cost : float, optional
        What it cost, in the currency of whoever reported it.
    files : str, optional
        Artifacts that came with it, see `tablevault.engine.calls.kept_files.encode_files`.
    attempts : int
        How often the function was called for it, again after errors; default 1.
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
    """Return the text of an exception as a record holds it: without keys, and all UTF-8."""
    return text_to_keep(error).encode("utf-8", "backslashreplace").decode()
