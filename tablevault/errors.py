"""Every error that TableVault raises, and the part of a traceback that belongs to a user."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Self

from tablevault.wording import Named, Wording

CALLER = "tablevault.engine.execution.invocation"
"""The module whose frames call functions of users."""
LOADER = "tablevault.engine.code"
"""The module that it calls to load these functions."""


class TableVaultError(Exception):
    """Base of every error that TableVault raises by itself.

    Parameters
    ----------
    message : str
        What was wrong, with the name and the value.
    hint : str, default ""
        What to do next. Printed after the message. A :class:`tablevault.wording.Wording` names
        calls in it, which a prompt shows as commands.
    **facts : str or int or None
        What the message was made from; each becomes an attribute.
    """

    def __init__(self, message: str, hint: str = "", **facts: str | int | None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.facts: Mapping[str, str | int | None] = dict(facts)

    def with_facts(self, message: str | None = None, /, **facts: str | int | None) -> Self:
        """Return the same error with further facts, and with another message if one is given."""
        text = self.message if message is None else message
        return type(self)(text, self.hint, **{**self.facts, **facts})

    def __getattr__(self, name: str) -> str | int | None:
        """Return a fact by its name, so that a caller need not parse the text."""
        if name != "facts" and name in self.facts:
            return self.facts[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __str__(self) -> str:
        """Join message and hint into the text that a person reads."""
        return self.wording

    @property
    def wording(self) -> Wording:
        """Message and hint, with the calls that they name."""
        return Wording(self.message, " ", self.hint) if self.hint else Wording(self.message)

    def formatted(self, write: Callable[[Named], str]) -> str:
        """Return the text with the calls that it names written by `write`."""
        return self.wording.written(write)

    def __reduce__(
        self,
    ) -> tuple[Callable[[], TableVaultError], tuple[()], dict[str, list[str]] | None]:
        """Rebuild from parts: errors cross processes, and keyword facts are not in ``args``."""
        notes = vars(self).get("__notes__")
        state = {"__notes__": notes} if notes else None
        return partial(type(self), self.message, self.hint, **self.facts), (), state


class TVArgumentError(TableVaultError):
    """A wrong argument, an unknown table or instance, a forbidden name."""


class TVFileError(TableVaultError):
    """A code module, builder, function or copy source that is missing or cannot be used."""


class TVBuilderError(TableVaultError):
    """A builder that is missing, malformed, part of a cycle, or that returned the wrong thing."""


class TVTableError(TableVaultError):
    """A dataframe or artifact that is missing, unreadable, or does not fit its declaration."""


class TVLockError(TableVaultError):
    """Another process holds a resource; ``holder``, ``author`` and ``since`` name it."""


class TVProcessError(TableVaultError):
    """A process that is not active, already runs, already ended, or cannot be resumed."""


class TVBudgetError(TableVaultError):
    """A budget of paid calls is used up; the execution ended before the next call."""


class TVExecutorError(TableVaultError):
    """An executor that makes no calls: shut down, lost, or with workers of another release."""


class TVPendingError(TableVaultError):
    """A batch that a provider has not answered yet; executing again later goes on."""


class TVRefreshError(TableVaultError):
    """Tables could not be refreshed; ``failed``, ``left`` and ``made`` name the tables."""

    @property
    def wording(self) -> Wording:
        """Message, with the hint below where that has lines for tables."""
        is_long = "\n" in self.message
        return Wording(self.message, "\n", self.hint) if is_long else super().wording


class TVArtifactError(TableVaultError):
    """An artifact that cannot be stored or removed."""


class TVForcedError(TableVaultError):
    """A process that ``stop_process(force=True)`` stopped."""


class TVImplementationError(TableVaultError):
    """A state that TableVault believed impossible: please report it."""


class TVOpenAIError(TableVaultError):
    """Kept for scripts that name it; nothing raises it."""


class TVFormatError(TVArgumentError):
    """A vault written in a format newer than this release can read."""


class TVSecretError(TVArgumentError):
    """A text that looks like a key, where it would be kept; ``path``, ``line``, ``kind``."""


class TVRemoteError(TableVaultError):
    """A remote that is unknown, cannot be reached or refuses: nothing has happened there."""


class TVCredentialsError(TVRemoteError):
    """A remote requires credentials; there are none, or it rejects them."""


class TVTransferError(TVRemoteError):
    """An object that a remote lacks, does not accept, or delivers damaged."""


class TVOutcomeUnknownError(TableVaultError):
    """The connection was lost before the remote answered: it may have done what was asked, or not.

    Not a :class:`TVRemoteError`: code that catches that class can rely on nothing having happened.
    """


class TableReferenceError(TableVaultError):
    """A table reference that is malformed or cannot be resolved.

    Facts ``builder``, ``field``, ``text``, ``start`` and ``end`` say where; where they are known
    the error prints the text with a caret line under the place.
    """

    @property
    def wording(self) -> Wording:
        """Message and hint, then place, text and caret line."""
        lines = [""]
        builder, field = self.facts.get("builder"), self.facts.get("field")
        if builder:
            lines.append(f'  in builder "{builder}"' + (f", field {field}" if field else ""))
        text, start, end = (self.facts.get(k) for k in ("text", "start", "end"))
        if isinstance(text, str) and isinstance(start, int) and isinstance(end, int):
            lines.extend(_caret(text, start, end))
        return Wording(super().wording, "\n".join(lines))


def _caret(text: str, start: int, end: int) -> list[str]:
    """Show the line of `text` that holds `start`, with ``^~~`` under the span."""
    first = text.rfind("\n", 0, start) + 1
    last = text.find("\n", start)
    line = text[first : last if last >= 0 else len(text)]
    width = max(1, min(end, first + len(line)) - start)
    return [f"    {line}", "    " + " " * (start - first) + "^" + "~" * (width - 1)]


def message_of(error: BaseException) -> str:
    """Return the text of an exception; one that a user has written may fail to make it."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - whatever it is, it must not hide the exception itself
        return "it gives no text"


def reason_of(error: BaseException) -> str:
    """Return the text of an exception; of one of the operating system no number, but the path."""
    if not isinstance(error, OSError) or not error.strerror:
        return message_of(error)
    path = error.filename
    return error.strerror if path is None else f'{error.strerror}: "{os.fsdecode(path)}"'


def user_traceback(error: BaseException) -> TracebackType | None:
    """Return the traceback from the function of a user on; None if none was called."""
    trace = error.__traceback__
    while trace is not None and _module(trace) != CALLER:
        trace = trace.tb_next
    while trace is not None and _module(trace) in {CALLER, LOADER}:
        trace = trace.tb_next
    return trace


class WorkerTraceback(Exception):  # noqa: N818 - it is the cause of an error, and never raised
    """The traceback of an exception that was raised in a worker of an executor.

    Parameters
    ----------
    text : str
        The traceback.
    worker : str
        Host and process.
    line : tuple of str and int, optional
        File and line in the user's code.
    """

    def __init__(self, text: str, worker: str, line: tuple[str, int] | None) -> None:
        super().__init__(text, worker, line)
        self.line = line

    def __str__(self) -> str:
        """Return the text of the traceback."""
        return f'in worker {self.args[1]}:\n"""\n{self.args[0]}"""'


def user_line(error: BaseException) -> tuple[str, int] | None:
    """Return file and line in the user's code where `error` was raised, the innermost one.

    Frames in other folders than the function's own are libraries that it calls.
    """
    trace = user_traceback(error)
    if trace is None:
        cause = error.__cause__
        return cause.line if isinstance(cause, WorkerTraceback) else None
    folder = _folder(trace)
    found = trace
    while trace is not None:
        found = trace if _folder(trace) == folder else found
        trace = trace.tb_next
    return found.tb_frame.f_code.co_filename, found.tb_lineno


def _module(trace: TracebackType) -> str:
    """Return the name of the module of a frame."""
    return str(trace.tb_frame.f_globals.get("__name__"))


def _folder(trace: TracebackType) -> str:
    """Return the folder of the file of a frame."""
    return trace.tb_frame.f_code.co_filename.rpartition("/")[0]
