"""Readers of builder fields: they convert YAML values to typed ones, or raise an error."""

from __future__ import annotations

import math
import os
import re
import reprlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from tablevault.errors import TVBuilderError
from tablevault.limits_and_prices import Limits, UnfitValueError, read_limits

_FLAGS = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}
_WORDS = {None: "null", True: "true", False: "false"}
_SHOWN = 60


def is_false(value: object) -> bool:
    """Return whether a field that is true or false is false."""
    return _FLAGS.get(str(value).strip().lower()) is False


@dataclass(frozen=True, slots=True)
class FieldPath:
    """A field of a builder, as a path such as ``arguments.prompt[2]``."""

    builder: str
    field: str

    def at(self, step: str) -> FieldPath:
        """Return the place one step further in."""
        return FieldPath(self.builder, self.field + step)

    def wrong(self, value: object, allowed: str) -> TVBuilderError:
        """Return the error for a value that is not `allowed`."""
        # As in YAML; bounded, since a few aliases can expand to billions of values.
        shown = _WORDS.get(value) if value is None or isinstance(value, bool) else None
        shown = shown or reprlib.repr(value)
        if len(shown) > _SHOWN:
            shown = shown[: _SHOWN - 3] + "..."
        return TVBuilderError(
            f'Builder "{self.builder}": field {self.field} is {shown}.',
            f"It has to be {allowed}.",
            builder=self.builder,
            field=self.field,
        )

    def text(self, value: object) -> str:
        """Read text that is not empty; a whole number is taken as its digits."""
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(value, "text; put quotes around it if YAML reads it as something else")
        return value

    def choice(self, value: object, allowed: Collection[str]) -> str:
        """Read one of the words in `allowed`."""
        if not isinstance(value, str) or value not in allowed:
            raise self.wrong(value, "one of " + ", ".join(allowed))
        return value

    def flag(self, value: object) -> bool:
        """Read true or false, also as text or as 1 and 0."""
        read = _FLAGS.get(str(value).strip().lower())
        if read is None:
            raise self.wrong(value, "true or false")
        return read

    def number(self, value: object, allowed: str) -> float:
        """Read a number, also as text; NaN is none."""
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise self.wrong(value, allowed)
        try:
            number = float(value)
        except (ValueError, OverflowError):
            raise self.wrong(value, allowed) from None
        if math.isnan(number):
            raise self.wrong(value, allowed)
        return number

    def count(self, value: object) -> int:
        """Read a whole number of 1 or more, also as text."""
        allowed = "a whole number of 1 or more"
        number = self.number(value, allowed)
        if not number.is_integer() or number < 1:
            raise self.wrong(value, allowed)
        return int(number)

    def words(self, value: object, allowed: str) -> tuple[str, ...]:
        """Read a list of texts."""
        if not isinstance(value, list | tuple):
            raise self.wrong(value, allowed)
        return tuple(self.at(f"[{number}]").text(each) for number, each in enumerate(value))

    def names(self, value: object) -> tuple[str, ...]:
        """Read a list of column names, no two the same."""
        names = self.words(value, "a list of column names")
        seen: set[str] = set()
        for number, name in enumerate(names):
            if name in seen:
                raise self.at(f"[{number}]").wrong(name, "a column that is not named before")
            seen.add(name)
        return names

    def mapping(self, value: object) -> Mapping[object, object]:
        """Read a mapping."""
        if not isinstance(value, Mapping):
            raise self.wrong(value, "a mapping; write {} for an empty one")
        return value


_MOST_TIMES: Final = 1000
_LONGEST_S: Final = 86_400.0
_SHARE: Final = "%"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """The retries of a failed call.

    Attributes
    ----------
    times : int
        Maximum number of retries.
    wait_s, max_wait_s : float
        Seconds before the first retry, and the maximum: the wait doubles each time.
    on : tuple of str
        Exception classes that are retried; empty for all that may be temporary.
    """

    times: int = 0
    wait_s: float = 1.0
    max_wait_s: float = 60.0
    on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxErrors:
    """The number of calls of a builder that may fail.

    Attributes
    ----------
    number : float
        A number of rows, or of percent.
    is_share : bool
        Whether it is percent of the rows of the table.
    """

    number: float
    is_share: bool

    def allows(self, errors: int, rows: int) -> bool:
        """Return whether a table of so many rows may have so many errors."""
        return errors <= (self.number * rows / 100 if self.is_share else self.number)

    def __str__(self) -> str:
        """Format it as in a builder."""
        return f"{self.number:g}{_SHARE if self.is_share else ''}"


def read_retry(value: object, path: FieldPath) -> Retry:
    """Read ``retry``: a mapping, or only how many times."""
    known = {"times": 3, "wait_s": Retry().wait_s, "max_wait_s": Retry().max_wait_s, "on": []}
    if not isinstance(value, Mapping):
        return Retry(times=_times(value, path, f", or a mapping of {', '.join(known)}"))
    _refuse_unknown(value, tuple(known), path)
    given = known | {str(name): each for name, each in value.items() if each is not None}
    names = [given["on"]] if isinstance(given["on"], str) else given["on"]
    wait_s = _seconds(given["wait_s"], path.at(".wait_s"))
    return Retry(
        times=_times(given["times"], path.at(".times")),
        wait_s=wait_s,
        max_wait_s=max(wait_s, _seconds(given["max_wait_s"], path.at(".max_wait_s"))),
        on=path.at(".on").words(names, "a list of exception classes"),
    )


def read_timeout(value: object, path: FieldPath) -> float | None:
    """Read ``timeout_s``; "" is none."""
    if value == "":
        return None
    seconds = _seconds(value, path)
    if not seconds:
        raise path.wrong(value, "a number of seconds above 0")
    return seconds


def read_max_errors(value: object, path: FieldPath) -> MaxErrors | None:
    """Read ``max_errors``: a number of rows, or percent of them as text; "" is no limit."""
    if value == "":
        return None
    allowed = 'a number of rows, or a share of them such as "5%"'
    is_share = isinstance(value, str) and value.strip().endswith(_SHARE)
    given = value.strip().removesuffix(_SHARE) if isinstance(value, str) else value
    number = path.number(given, allowed)
    if number < 0 or (is_share and number > 100) or not (is_share or number.is_integer()):  # noqa: PLR2004 - percent
        raise path.wrong(value, allowed)
    return MaxErrors(number=number, is_share=is_share)


def read_builder_limits(value: object, path: FieldPath) -> Limits:
    """Read ``limits``."""
    try:
        return read_limits(value)
    except UnfitValueError as error:
        raise path.at(error.path).wrong(error.value, error.allowed) from None


def _times(value: object, path: FieldPath, or_else: str = "") -> int:
    """Read a number of retries."""
    allowed = f"a whole number from 0 to {_MOST_TIMES:,}{or_else}"
    number = path.number(value, allowed)
    if not number.is_integer() or not 0 <= number <= _MOST_TIMES:
        raise path.wrong(value, allowed)
    return int(number)


def _seconds(value: object, path: FieldPath) -> float:
    """Read a number of seconds."""
    allowed = f"a number of seconds, at most {_LONGEST_S:,.0f}"
    seconds = path.number(value, allowed)
    if not 0 <= seconds <= _LONGEST_S:
        raise path.wrong(value, allowed)
    return seconds


def _refuse_unknown(
    fields: Mapping[object, object], known: tuple[str, ...], path: FieldPath
) -> None:
    """Refuse a field that does not exist."""
    for name, value in fields.items():
        if name not in known:
            raise path.at(f".{name!s:.60}").wrong(
                value, f"left out: fields of {path.field} are {', '.join(known)}"
            )


# -- executors ----------------------------------------------------------------------------------

ExecutorKind = Literal["threads", "processes", "dask"]

EXECUTOR_FORMS: Final = "threads, threads:8, processes, processes:8 or dask://host:port"
_LOCAL: Final = re.compile(r"(threads|processes)(?::([1-9]\d{0,3}))?", re.ASCII)
_DASK: Final = re.compile(r"dask://([^\s/:]+|\[[0-9a-fA-F:.]+\]):(\d{1,5})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorName:
    """An executor that this package makes.

    Attributes
    ----------
    kind : {"threads", "processes", "dask"}
        Threads of this process, processes of this machine, or the workers of a Dask scheduler.
    workers : int
        How many threads or processes; 0 for Dask.
    address : str
        Host and port of the scheduler, "" for the others.
    """

    kind: ExecutorKind
    workers: int = 0
    address: str = ""


def parse_executor(text: str) -> ExecutorName:
    """Read the name of an executor.

    Without a number there are as many workers as this machine has processors.

    Raises
    ------
    ValueError
        It is none of `EXECUTOR_FORMS`.
    """
    if (local := _LOCAL.fullmatch(text)) is not None:
        workers = int(local[2]) if local[2] else os.cpu_count() or 1
        return ExecutorName(kind=local[1], workers=workers)  # type: ignore[arg-type]  # of the two
    if (dask := _DASK.fullmatch(text)) is not None:
        return ExecutorName(kind="dask", address=f"{dask[1]}:{dask[2]}")
    raise ValueError(text)
