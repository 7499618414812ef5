"""What travels between an execution and the workers of an executor: values and exceptions."""

from __future__ import annotations

import contextlib
import io
import pickle  # noqa: TID251 - what an executor of the caller's sends to its own workers
import sys
import traceback
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import pandas as pd

from tablevault.engine.execution.retrying import headers_of, status_of
from tablevault.errors import WorkerTraceback, message_of, user_line, user_traceback

_PROTOCOL: Final = 5
_PLAIN: Final = frozenset({str, int, float, bool, bytes, type(None)})


class UnsendableError(Exception):
    """A value that cannot go to another process, or that cannot be read there."""


class VaultFile(NamedTuple):
    """A file of the vault in one state."""

    path: str
    size: int
    mtime_ns: int
    is_executable: bool


class LinkedText(NamedTuple):
    """A text that names files of the vault, or its artifact folder."""

    text: str
    files: tuple[VaultFile, ...]


class Link(Protocol):
    """Finds texts that name files of a vault."""

    root: str
    """Such texts contain it."""

    def __call__(self, text: str) -> LinkedText | None:
        """Return a text with the files that it names; None if it names none."""
        ...


class Parcel:
    """A value that is pickled only if it is sent to another process.

    That a value cannot be pickled, or read where it arrives, is found by whoever opens the parcel:
    it breaks neither the executor nor what is sent together with it.

    Parameters
    ----------
    value : object
        The value.
    link : Link, optional
        Finds the texts in it that name files of a vault; by default none.

    Attributes
    ----------
    is_sent : bool
        Whether it was pickled.
    links : sequence of LinkedText
        The linked texts of a value that was sent.
    """

    __slots__ = ("_data", "_link", "_problem", "_value", "is_sent", "links")

    def __init__(self, value: object, link: Link | None = None) -> None:
        self.is_sent = False
        self.links: Sequence[LinkedText] = ()
        self._value = value
        self._link = link
        self._data: bytes | None = None
        self._problem = ""

    def open(self, texts: Sequence[str] | None = None) -> Any:  # noqa: ANN401 - functions return anything
        """Return the value; see `copy`."""
        self._value = self.copy(texts)
        self._data = None
        return self._value

    def copy(self, texts: Sequence[str] | None = None) -> Any:  # noqa: ANN401 - as above
        """Return a new copy of a value that was sent.

        Parameters
        ----------
        texts : sequence of str, optional
            What takes the place of each of `links`, by default their own texts.

        Raises
        ------
        UnsendableError
            It could not be sent, or cannot be read here.
        """
        if self._data is not None:
            found = [link.text for link in self.links] if texts is None else texts
            try:
                return _LinkReader(self._data, found).load()
            except Exception as error:  # noqa: BLE001 - classes of users fail as they like
                self._problem = f"{type(error).__name__}: {message_of(error)}"
        if self._problem:
            raise UnsendableError(self._problem)
        return self._value

    def __reduce__(self) -> tuple[object, tuple[bytes | None, str, Sequence[LinkedText]]]:
        """Pickle the value, or why that is impossible."""
        if self._data is not None or self._problem:
            return _received, (self._data, self._problem, self.links)
        try:
            return _received, _written(self._value, self._link)
        except Exception as error:  # noqa: BLE001 - classes of users fail as they like
            return _received, (None, f"{type(error).__name__}: {message_of(error)}", ())

    def __dask_tokenize__(self) -> str:
        """Return a name of its own: Dask takes tasks of one name for one task."""
        return uuid.uuid4().hex


def _received(data: bytes | None, problem: str, links: Sequence[LinkedText] = ()) -> Parcel:
    """Return the parcel that was sent."""
    parcel = Parcel(None)
    parcel.is_sent, parcel.links = True, links
    parcel._data, parcel._problem = data, problem  # noqa: SLF001 - its own module
    return parcel


class _LinkWriter(pickle.Pickler):
    """Pickles a value with numbers in place of linked texts."""

    def __init__(self, sink: io.BytesIO, link: Link) -> None:
        super().__init__(sink, protocol=_PROTOCOL)
        self.links: dict[LinkedText, int] = {}
        self._link = link

    def persistent_id(self, value: object) -> int | None:
        """Return the number of a linked text; None for other values, which are pickled."""
        if type(value) is not str or (found := self._link(value)) is None:
            return None
        return self.links.setdefault(found, len(self.links))

    def reducer_override(self, value: object) -> Any:  # noqa: ANN401 - what pickle takes
        """Take texts out of Arrow, where `persistent_id` does not see them."""
        if not isinstance(value, pd.arrays.ArrowStringArray):
            return NotImplemented
        texts = pd.Series(value)
        if not texts.str.contains(self._link.root, regex=False).any():
            return NotImplemented
        return pd.array, (texts.tolist(), texts.dtype)


class _LinkReader(pickle.Unpickler):  # noqa: S301 - from our own worker
    """Reads a value with texts in place of numbers."""

    def __init__(self, data: bytes, texts: Sequence[str]) -> None:
        super().__init__(io.BytesIO(data))
        self._texts = texts

    def persistent_load(self, number: int) -> str:
        """Return the text with a number."""
        return self._texts[number]


def _written(value: object, link: Link | None) -> tuple[bytes, str, Sequence[LinkedText]]:
    """Return what `_received` takes."""
    if link is None:
        return packed(value), "", ()
    sink = io.BytesIO()
    writer = _LinkWriter(sink, link)
    writer.dump(value)
    return sink.getvalue(), "", tuple(writer.links)


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
