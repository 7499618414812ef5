"""What travels between an execution and the workers of an executor: values and exceptions."""

from __future__ import annotations

import contextlib
import pickle  # noqa: TID251 - what an executor of the caller's sends to its own workers
import sys
import traceback
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tablevault.engine.execution.retrying import headers_of, status_of
from tablevault.errors import WorkerTraceback, message_of, user_line, user_traceback

_PROTOCOL: Final = 5
_PLAIN: Final = frozenset({str, int, float, bool, bytes, type(None)})


class UnsendableError(Exception):
    """A value that cannot go to another process, or that cannot be read there."""


class Parcel:
    """A value that is pickled only if it is sent to another process.

    That a value cannot be pickled, or read where it arrives, is found by whoever opens the parcel:
    it breaks neither the executor nor what is sent together with it.

    Parameters
    ----------
    value : object
        The value.

    Attributes
    ----------
    is_sent : bool
        Whether it was pickled.
    """

    __slots__ = ("_data", "_problem", "_value", "is_sent")

    def __init__(self, value: object) -> None:
        self.is_sent = False
        self._value = value
        self._data: bytes | None = None
        self._problem = ""

    def open(self) -> Any:  # noqa: ANN401 - functions return anything
        """Return the value.

        Raises
        ------
        UnsendableError
            It could not be sent, or cannot be read here.
        """
        if self._data is not None:
            try:
                self._value = pickle.loads(self._data)  # noqa: S301 - from our own worker
                self._data = None
            except Exception as error:  # noqa: BLE001 - classes of users fail as they like
                self._problem = f"{type(error).__name__}: {message_of(error)}"
        if self._problem:
            raise UnsendableError(self._problem)
        return self._value

    def __reduce__(self) -> tuple[object, tuple[bytes | None, str]]:
        """Pickle the value, or why that is impossible."""
        if self._data is not None or self._problem:
            return _received, (self._data, self._problem)
        try:
            return _received, (packed(self._value), "")
        except Exception as error:  # noqa: BLE001 - classes of users fail as they like
            return _received, (None, f"{type(error).__name__}: {message_of(error)}")

    def __dask_tokenize__(self) -> str:
        """Return a name of its own: Dask takes tasks of one name for one task."""
        return uuid.uuid4().hex


def _received(data: bytes | None, problem: str) -> Parcel:
    """Return the parcel that was sent."""
    parcel = Parcel(None)
    parcel.is_sent = True
    parcel._data, parcel._problem = data, problem  # noqa: SLF001 - its own module
    return parcel


def parcel(value: object) -> object:
    """Return a value as it can be sent; `opened` is the inverse."""
    return value if type(value) in _PLAIN else Parcel(value)


def opened(sent: object) -> Any:  # noqa: ANN401 - functions return anything
    """Return what `parcel` was given."""
    return sent.open() if isinstance(sent, Parcel) else sent


def packed(value: object) -> bytes:
    """Pickle a value."""
    return pickle.dumps(value, protocol=_PROTOCOL)


def unpacked(data: bytes) -> Any:  # noqa: ANN401 - functions take anything
    """Return a new copy of what was pickled here, or by the execution."""
    return pickle.loads(data)  # noqa: S301 - from the execution that sent the task


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """An exception that a function raised in a worker.

    Attributes
    ----------
    parcel : Parcel
        The exception, where it can be pickled and read.
    module, name, text : str
        Of its class, and what it says.
    facts : mapping of str to object
        What is known by its attributes of the answer of a server.
    trace : str
        The traceback from the function on.
    line : tuple of str and int, optional
        Where in the code of the user it was raised.
    """

    parcel: Parcel
    module: str
    name: str
    text: str
    facts: Mapping[str, Any]
    trace: str
    line: tuple[str, int] | None

    def error(self, worker: str) -> BaseException:
        """Return the exception, of the same class where that is possible.

        Its cause is the traceback in the worker, as it is with `concurrent.futures`.
        """
        error: BaseException
        try:
            error = self.parcel.open()
        except UnsendableError:
            error = self._rebuilt()
        if self.parcel.is_sent:  # else it is the very exception, raised in this process
            error.__cause__ = WorkerTraceback(self.trace, worker, self.line)
        return error

    def _rebuilt(self) -> BaseException:
        """Return an exception of the same name and text."""
        kind = getattr(sys.modules.get(self.module), self.name, None)
        if isinstance(kind, type) and issubclass(kind, BaseException):
            with contextlib.suppress(Exception):  # a class of the user may fail as it likes
                return self._of_kind(kind)
        return self._of_kind(type(self.name, (Exception,), {"__module__": self.module}))

    def _of_kind(self, kind: type[BaseException]) -> BaseException:
        """Return an exception of a class, without its constructor, which may need more."""
        error: BaseException = kind.__new__(kind, self.text)
        error.args = (self.text,)
        vars(error).update(self.facts)
        str(error)
        return error


class Response:
    """Status and headers of the answer of a server."""

    def __init__(self, status_code: int | None, headers: Mapping[str, str]) -> None:
        self.status_code = status_code
        self.headers = dict(headers)


def raised(error: BaseException) -> Raised:
    """Return an exception that was raised here as it can be sent."""
    try:
        unpacked(packed(error))
        sent = Parcel(error)
    except Exception as problem:  # noqa: BLE001 - many classes of exceptions cannot be read back
        sent = _received(None, f"{type(problem).__name__}: {message_of(problem)}")
    status, headers = status_of(error), headers_of(error)
    facts: dict[str, Any] = {"__notes__": list(getattr(error, "__notes__", ()))}
    if status is not None or headers:
        facts |= {"status_code": status, "response": Response(status, headers)}
    trace = user_traceback(error) or error.__traceback__
    return Raised(
        parcel=sent,
        module=type(error).__module__,
        name=type(error).__qualname__,
        text=message_of(error),
        facts=facts,
        trace="".join(traceback.format_exception(type(error), error, trace)),
        line=user_line(error),
    )
