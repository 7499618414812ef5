"""The part of a traceback that belongs to a user: what a function of theirs raised, and where."""

from __future__ import annotations

from types import TracebackType

CALLER = "tablevault.engine.execution.invocation"
"""The module whose frames call functions of users."""


def user_traceback(error: BaseException) -> TracebackType | None:
    """Return the traceback from the function of a user on; None if none was called."""
    trace = error.__traceback__
    while trace is not None and not _calls(trace):
        trace = trace.tb_next
    while trace is not None and _calls(trace):
        trace = trace.tb_next
    return trace


def user_line(error: BaseException) -> tuple[str, int] | None:
    """Return file and line in the user's code where `error` was raised, the innermost one.

    Frames in other folders than the function's own are libraries that it calls.
    """
    trace = user_traceback(error)
    if trace is None:
        return None
    folder = _folder(trace)
    found = trace
    while trace is not None:
        found = trace if _folder(trace) == folder else found
        trace = trace.tb_next
    return found.tb_frame.f_code.co_filename, found.tb_lineno


def _calls(trace: TracebackType) -> bool:
    """Return whether a frame is one that calls functions of users."""
    return trace.tb_frame.f_globals.get("__name__") == CALLER


def _folder(trace: TracebackType) -> str:
    """Return the folder of the file of a frame."""
    return trace.tb_frame.f_code.co_filename.rpartition("/")[0]
