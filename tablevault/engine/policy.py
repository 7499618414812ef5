"""How calls are made: the builder fields that say it, read from YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tablevault.engine.fields import Place
from tablevault.limits import Limits, Price, UnfitValueError, read_limits

_MOST_TIMES: Final = 1000
_LONGEST_S: Final = 86_400.0
_SHARE: Final = "%"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Whether a call that failed is made again.

    Attributes
    ----------
    times : int
        How often, at most.
    wait_s, max_wait_s : float
        Seconds before the first time, and the longest: the wait doubles each time.
    on : tuple of str
        Exception classes after which it is made again; empty for all that may pass.
    """

    times: int = 0
    wait_s: float = 1.0
    max_wait_s: float = 60.0
    on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxErrors:
    """How many calls of a builder may fail.

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
        """Return whether so many errors are not too many for a table of so many rows."""
        return errors <= (self.number * rows / 100 if self.is_share else self.number)

    def __str__(self) -> str:
        """Return it as a builder states it."""
        return f"{self.number:g}{_SHARE if self.is_share else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLimits:
    """What limits the calls of one execution, besides what its builders say.

    Attributes
    ----------
    vault : Limits
        Those of the vault.
    prices : mapping of str to Price
        What tokens cost, by model.
    max_calls : int, optional
        Calls that this attempt may make.
    max_cost : float, optional
        What they may cost.
    rates : Path, optional
        File of rates that are shared with other processes; without it, no rate is kept.
    begun : Path, optional
        Folder in which calls under a budget are counted when they begin; without it, budgets do
        not know of calls that a kill interrupted.
    """

    vault: Limits = field(default_factory=Limits)
    prices: Mapping[str, Price] = field(default_factory=lambda: MappingProxyType({}))
    max_calls: int | None = None
    max_cost: float | None = None
    rates: Path | None = None
    begun: Path | None = None


def read_retry(value: object, place: Place) -> Retry:
    """Read ``retry``: a mapping, or only how many times."""
    known = {"times": 3, "wait_s": Retry().wait_s, "max_wait_s": Retry().max_wait_s, "on": []}
    if not isinstance(value, Mapping):
        return Retry(times=_times(value, place, f", or a mapping of {', '.join(known)}"))
    _refuse_unknown(value, tuple(known), place)
    given = known | {str(name): each for name, each in value.items() if each is not None}
    names = [given["on"]] if isinstance(given["on"], str) else given["on"]
    wait_s = _seconds(given["wait_s"], place.at(".wait_s"), least=0.0)
    longest = place.at(".max_wait_s")
    return Retry(
        times=_times(given["times"], place.at(".times")),
        wait_s=wait_s,
        max_wait_s=max(wait_s, _seconds(given["max_wait_s"], longest, least=0.0)),
        on=place.at(".on").words(names, "a list of exception classes"),
    )


def read_timeout(value: object, place: Place) -> float | None:
    """Read ``timeout_s``; "" is none."""
    if value == "":
        return None
    seconds = _seconds(value, place, least=0.0)
    if not seconds:
        raise place.wrong(value, "a number of seconds above 0")
    return seconds


def read_max_errors(value: object, place: Place) -> MaxErrors | None:
    """Read ``max_errors``: a number of rows, or percent of them as text; "" is no limit."""
    if value == "":
        return None
    allowed = 'a number of rows, or a share of them such as "5%"'
    is_share = isinstance(value, str) and value.strip().endswith(_SHARE)
    given = value.strip().removesuffix(_SHARE) if isinstance(value, str) else value
    number = place.number(given, allowed)
    if number < 0 or (is_share and number > 100) or not (is_share or number.is_integer()):  # noqa: PLR2004 - percent
        raise place.wrong(value, allowed)
    return MaxErrors(number=number, is_share=is_share)


def read_builder_limits(value: object, place: Place) -> Limits:
    """Read ``limits``."""
    try:
        return read_limits(value)
    except UnfitValueError as error:
        raise place.at(error.path).wrong(error.value, error.allowed) from None


def _times(value: object, place: Place, or_else: str = "") -> int:
    """Read how often; 0 is never."""
    allowed = f"a whole number from 0 to {_MOST_TIMES:,}{or_else}"
    number = place.number(value, allowed)
    if not number.is_integer() or not 0 <= number <= _MOST_TIMES:
        raise place.wrong(value, allowed)
    return int(number)


def _seconds(value: object, place: Place, *, least: float) -> float:
    """Read a number of seconds."""
    allowed = f"a number of seconds, at most {_LONGEST_S:,.0f}"
    seconds = place.number(value, allowed)
    if not least <= seconds <= _LONGEST_S:
        raise place.wrong(value, allowed)
    return seconds


def _refuse_unknown(fields: Mapping[object, object], known: tuple[str, ...], place: Place) -> None:
    """Refuse a field that does not exist."""
    for name, value in fields.items():
        if name not in known:
            raise place.at(f".{name!s:.60}").wrong(
                value, f"left out: fields of {place.field} are {', '.join(known)}"
            )
