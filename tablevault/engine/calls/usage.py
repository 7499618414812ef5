"""``tablevault.report_usage``: functions report the model, tokens and cost of the running call."""

from __future__ import annotations

import logging
import math
import operator
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from decimal import Decimal
from numbers import Real
from typing import Final, NamedTuple

from tablevault.engine.calls.spending import add_known
from tablevault.errors import TVArgumentError

_MOST_TOKENS: Final = 10**12
_LONGEST_SHOWN: Final = 60
_log = logging.getLogger("tablevault")


def report_usage(
    model: str | None = None,
    input_tokens: int | None = None,
    output_tokens: int | None = None,
    cost: float | None = None,
) -> None:
    """Add to the record of the call that is running.

    It belongs to the innermost call: that of a function with :func:`tablevault.cached`, else that
    of the builder's function; what a generator reports before an item belongs to the item. Several
    reports in one call are added up, also when the call fails in the end. Outside of an execution
    nothing happens.

    A thread that the function starts has to run in its context, as in ``asyncio.to_thread(ask)``
    or ``pool.submit(contextvars.copy_context().run, ask)``; functions with ``cached`` need not.
    What is reported elsewhere during an execution, or after the call has ended, is not recorded,
    and a warning says so. What is reported in another operating system process is lost.

    Parameters
    ----------
    model : str, optional
        What was asked. Several in one call are joined with ``", "``, each once, in the order in
        which they were reported.
    input_tokens, output_tokens : int, optional
        Tokens that were sent and received, at least 0.
    cost : float, optional
        What it cost, at least 0, in the one currency in which all is reported.

    Raises
    ------
    TVArgumentError
        A value is negative, not finite, or of a wrong type. Nothing is added.

    Examples
    --------
    >>> report_usage("small-1", input_tokens=812, output_tokens=40, cost=0.0013)
    """
    used = UsageReport(
        _checked_model(model),
        _checked_tokens("input_tokens", input_tokens),
        _checked_tokens("output_tokens", output_tokens),
        _checked_cost(cost),
    )
    if used == NOTHING:
        return
    usage = CURRENT.get()
    if usage is not None and usage.add(used):
        return
    if _runs:
        _log.warning(
            "report_usage: no call of a builder is known in this thread; the report is not "
            "recorded. Start threads with contextvars.copy_context().run, and report before the "
            "function returns."
        )


class UsageReport(NamedTuple):
    """Model, tokens and cost of a call, with the fields of `records.CallRecord`."""

    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None

    def plus(self, other: UsageReport) -> UsageReport:
        """Return the sum of two reports."""
        if self is NOTHING:
            return other
        if other is NOTHING:
            return self
        return UsageReport(
            _joined(self.model, other.model),
            add_known(self.input_tokens, other.input_tokens),
            add_known(self.output_tokens, other.output_tokens),
            add_known(self.cost, other.cost),
        )


NOTHING: Final = UsageReport()


def usage_in(response: object) -> UsageReport:
    """Return the usage that the response of a provider states; `NOTHING` if it states none.

    Responses of openai (chat completions and responses), anthropic and those that follow them are
    objects, or mappings, with ``model`` and ``usage``; the latter has ``prompt_tokens`` and
    ``completion_tokens``, or ``input_tokens`` and ``output_tokens``.
    """
    usage = _field(response, "usage")
    sent = _count(usage, "prompt_tokens", "input_tokens")
    received = _count(usage, "completion_tokens", "output_tokens")
    if sent is None and received is None:
        return NOTHING
    model = _field(response, "model")
    is_name = isinstance(model, str) and model.strip() and _is_writable(model)
    return UsageReport(str(model) if is_name else None, sent, received)


def _field(value: object, name: str) -> object:
    """Return a field of an object or a mapping; None if it is missing or reading it fails."""
    try:
        return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
    except Exception:  # noqa: BLE001 - a class of the user may do as it likes
        return None


def _count(usage: object, *names: str) -> int | None:
    """Return the first field that holds a number of tokens."""
    for name in names:
        value = _field(usage, name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS:
            return value
    return None


def parts_of(used: UsageReport, parts: int) -> list[UsageReport]:
    """Divide the usage of one call among its rows; the first ones get the remaining tokens."""
    sent, received = (used.input_tokens, used.output_tokens)
    cost = None if used.cost is None else used.cost / parts

    def share(tokens: int | None, at: int) -> int | None:
        """Return the tokens of one row."""
        return None if tokens is None else tokens // parts + (at < tokens % parts)

    return [
        UsageReport(used.model, share(sent, at), share(received, at), cost) for at in range(parts)
    ]


class Meter:
    """Adds up the usage of one call of a builder, with the cached calls within it.

    Parameters
    ----------
    price : callable
        Returns a report with its cost, computed from the price of the model if it has none.
    """

    __slots__ = ("_price", "cost", "tokens")

    def __init__(self, price: Callable[[UsageReport], UsageReport]) -> None:
        self._price = price
        self.tokens = 0
        self.cost = 0.0

    def add(self, used: UsageReport) -> UsageReport:
        """Add a report, and return it with its cost."""
        used = self._price(used)
        self.tokens += (used.input_tokens or 0) + (used.output_tokens or 0)
        self.cost += used.cost or 0.0
        return used


class Usage:
    """Adds up the reports of one call; for several threads.

    Parameters
    ----------
    builder : str
        Name of the builder that makes the call.
    meter : Meter, optional
        Receives each report, too.
    """

    __slots__ = ("_is_closed", "_used", "builder", "meter")

    def __init__(self, builder: str, meter: Meter | None = None) -> None:
        self.builder = builder
        self.meter = meter
        self._used = NOTHING
        self._is_closed = False

    @property
    def has_any(self) -> bool:
        """Whether anything was reported since the last `take`."""
        return self._used is not NOTHING

    def add(self, used: UsageReport, *, is_metered: bool = False) -> bool:
        """Add a report; False when the call has ended.

        `is_metered`: the meter has counted it already, in a call within this one.
        """
        with _lock:
            if not self._is_closed and used is not NOTHING:
                if self.meter is not None and not is_metered:
                    used = self.meter.add(used)
                self._used = self._used.plus(used)
            return not self._is_closed

    def take(self) -> UsageReport:
        """Return the sum of the reports since the last `take`."""
        if self._used is NOTHING:
            return NOTHING
        with _lock:
            used, self._used = self._used, NOTHING
            return used

    def close(self) -> UsageReport:
        """Return the same, and refuse further reports."""
        self._is_closed = True
        return self.take()


_lock = threading.Lock()
CURRENT: ContextVar[Usage | None] = ContextVar("tablevault_usage", default=None)
"""The usage of the running call; None outside of a call."""
_runs: set[object] = set()
"""One item for each running execution of this process."""


@contextmanager
def accepting_usage() -> Iterator[None]:
    """Warn of reports outside of a call while the body, an execution, runs."""
    run = object()
    _runs.add(run)
    try:
        yield
    finally:
        _runs.discard(run)


@contextmanager
def charging(usage: Usage) -> Iterator[None]:
    """Add the reports within the body to the usage of a call."""
    token = CURRENT.set(usage)
    try:
        yield
    finally:
        CURRENT.reset(token)


def _joined(one: str | None, other: str | None) -> str | None:
    """Join the names of models, each once."""
    if one is None or other is None:
        return other if one is None else one
    names = one.split(", ")
    return one if other in names else f"{one}, {other}"


def _checked_model(model: object) -> str | None:
    """Return the name of a model."""
    if model is None:
        return None
    if not isinstance(model, str) or not model.strip() or not _is_writable(model):
        raise _refusal("model", model, "the name of a model as text")
    return str(model)


def _is_writable(text: str) -> bool:
    """Return whether text can be stored: not with half of a surrogate pair, or NUL."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _checked_tokens(name: str, value: object) -> int | None:
    """Return a number of tokens, of NumPy too."""
    if value is None:
        return None
    try:
        number = -1 if _is_flag(value) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = -1
    if not 0 <= number <= _MOST_TOKENS:
        raise _refusal(name, value, f"a whole number from 0 to {_MOST_TOKENS:,}")
    return int(number)


def _checked_cost(value: object) -> float | None:
    """Return a cost."""
    if value is None:
        return None
    cost = -1.0
    if isinstance(value, Real | Decimal) and not _is_flag(value):
        try:
            cost = float(value)
        except (OverflowError, ValueError):  # 10**400, Decimal("sNaN")
            cost = math.inf
    if not 0 <= cost <= _MOST_TOKENS:
        raise _refusal("cost", value, f"a number from 0 to {_MOST_TOKENS:,}")
    return cost + 0.0  # no -0.0


def _is_flag(value: object) -> bool:
    """Return whether a value is True or False, of NumPy too."""
    return isinstance(value, bool) or type(value).__name__ in {"bool_", "bool"}


def _refusal(name: str, value: object, wanted: str) -> TVArgumentError:
    """Return the error for an argument of the wrong type or size."""
    try:
        shown = repr(value)
    except Exception:  # noqa: BLE001 - a class of the user may fail at that
        shown = object.__repr__(value)
    if len(shown) > _LONGEST_SHOWN:
        shown = f"{shown[:_LONGEST_SHOWN]}..."
    return TVArgumentError(
        f"Argument {name} of report_usage is {shown} ({type(value).__name__}).",
        f"It has to be {wanted}, or None.",
        argument=name,
    )
