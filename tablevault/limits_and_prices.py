"""Limits and prices of paid calls, as a builder or ``vault.yaml`` states them."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Final

_LARGEST: Final = 10**12
_LONGEST_NAME: Final = 200
_LONGEST_SHOWN: Final = 60
_TOKENS_OF_A_PRICE: Final = 1_000_000


class UnfitValueError(ValueError):
    """A value that a field cannot have.

    Attributes
    ----------
    path : str
        Where it stands within the field, such as ``.calls``; "" for the field itself.
    value : object
        The value.
    allowed : str
        What it has to be.
    """

    def __init__(self, path: str, value: object, allowed: str) -> None:
        super().__init__(f"{path} is {_shown(value)}; it has to be {allowed}")
        self.path = path
        self.value = value
        self.allowed = allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How fast functions may be called, and for how much.

    Attributes
    ----------
    name : str
        All who name the same limits share their rates, in all processes of a vault. The default,
        "", is that of the vault.
    calls_per_minute : float, optional
        Calls that begin within a minute.
    tokens_per_minute : float, optional
        Tokens that are sent and received within a minute, as functions report them.
    calls : int, optional
        Calls of one execution.
    cost : float, optional
        What the calls of one execution cost, in the currency in which functions report it.
    """

    name: str = ""
    calls_per_minute: float | None = None
    tokens_per_minute: float | None = None
    calls: int | None = None
    cost: float | None = None

    @property
    def has_rate(self) -> bool:
        """Whether calls may have to wait."""
        return self.calls_per_minute is not None or self.tokens_per_minute is not None

    @property
    def has_budget(self) -> bool:
        """Whether calls may end the execution."""
        return self.calls is not None or self.cost is not None

    def fields(self) -> dict[str, str | int | float]:
        """Return the fields that are set, by name, as `read_limits` takes them."""
        found = {name: getattr(self, name) for name in _READERS}
        return {name: value for name, value in found.items() if value not in (None, "")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What the tokens of a model cost, for a million of them.

    Attributes
    ----------
    input, output : float
        For tokens that are sent, and that are received.
    batch : float
        The share of both that tokens cost in a batch of the provider, such as 0.5.
    """

    input: float
    output: float
    batch: float = 1.0

    def fields(self) -> dict[str, float]:
        """Return what is set, by name."""
        found = {"input": self.input, "output": self.output}
        return found if self.batch == 1 else {**found, "batch": self.batch}

    def in_batch(self) -> Price:
        """Return the price of tokens in a batch of the provider."""
        return Price(input=self.input * self.batch, output=self.output * self.batch)

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        """Return what a call costs."""
        return (input_tokens * self.input + output_tokens * self.output) / _TOKENS_OF_A_PRICE


def read_limits(written: object) -> Limits:
    """Read limits.

    Parameters
    ----------
    written : object
        A mapping with some of the fields of `Limits`; numbers may be text. Null leaves one out.

    Raises
    ------
    UnfitValueError
        It is no mapping, or a field is unknown or has a value that it cannot have.
    """
    found: Any = _read(written, _READERS, "limits")
    return Limits(**found)


def read_prices(written: object) -> Mapping[str, Price]:
    """Read prices, by model.

    Parameters
    ----------
    written : object
        A mapping of names of models to ``{input: ..., output: ...}``.

    Raises
    ------
    UnfitValueError
        It is no such mapping, or a price is negative or no number.
    """
    if not isinstance(written, Mapping):
        raise UnfitValueError("", written, "a mapping of models to {input: ..., output: ...}")
    prices = {}
    for model, price in written.items():
        path = f".{model!s:.60}"
        if not _is_name(model):
            raise UnfitValueError(path, price, f"the price of a model, named by {_NAME}")
        try:
            found: Any = _read(price, _PRICE_READERS, "a price")
        except UnfitValueError as error:
            raise UnfitValueError(path + error.path, error.value, error.allowed) from None
        missing = {"input", "output"} - found.keys()
        if missing:
            raise UnfitValueError(path, price, "{input: ..., output: ...}, both of them")
        prices[str(model)] = Price(**found)
    return MappingProxyType(prices)


def _read(
    written: object, readers: Mapping[str, Callable[[object], object]], what: str
) -> dict[str, object]:
    """Read the fields of a mapping."""
    if not isinstance(written, Mapping):
        raise UnfitValueError("", written, f"a mapping with some of {', '.join(readers)}")
    found = {}
    for name, value in written.items():
        if name not in readers:
            raise UnfitValueError(f".{name!s:.60}", value, _left_out(str(name), readers, what))
        if value is None:
            continue
        try:
            found[str(name)] = readers[name](value)
        except UnfitValueError as error:
            raise UnfitValueError(f".{name}", value, error.allowed) from None
    return found


def _left_out(name: str, known: Mapping[str, object], what: str) -> str:
    """Return what an unknown field has to be, with the field that is spelt like it."""
    import difflib

    near = difflib.get_close_matches(name, known, n=1)
    meant = f' (did you mean "{near[0]}"?)' if near else ""
    return f"left out{meant}: fields of {what} are {', '.join(known)}"


def _shown(value: object) -> str:
    """Return a value as an error shows it."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no int of more than 4,300 digits
        text = "a number without end"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _number(
    value: object,
    allowed: str,
    *,
    largest: float = _LARGEST,
    is_whole: bool = False,
    least: float = 0,
) -> float:
    """Read a number from `least` to `largest`, also as text."""
    number = math.nan
    if not isinstance(value, bool) and isinstance(value, numbers.Real | str):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
    if not least <= number <= largest or (is_whole and not number.is_integer()):
        raise UnfitValueError("", value, allowed)
    return int(number) if is_whole else number + 0.0  # which makes 0.0 of -0.0


_rate = partial(_number, allowed=f"a number above 0, at most {_LARGEST:,}", least=math.ulp(0))
_count = partial(_number, allowed=f"a whole number from 0 to {_LARGEST:,}", is_whole=True)
_amount = partial(_number, allowed=f"a number from 0 to {_LARGEST:,}")
_share = partial(_number, allowed="a number from 0 to 1", largest=1)


def _name(value: object) -> str:
    """Read the name of limits."""
    if not _is_name(value):
        raise UnfitValueError("", value, _NAME)
    return str(value)


def _is_name(value: object) -> bool:
    """Return whether a value names limits or a model: it goes into commits, and onto screens."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= _LONGEST_NAME
        and value.isprintable()
        and value == value.strip()
    )


_NAME: Final = f"text of 1 to {_LONGEST_NAME} characters on one line, without blanks at its ends"


_READERS: Final[Mapping[str, Callable[[object], object]]] = MappingProxyType(
    {
        "name": _name,
        "calls_per_minute": _rate,
        "tokens_per_minute": _rate,
        "calls": _count,
        "cost": _amount,
    }
)
_PRICE_READERS: Final[Mapping[str, Callable[[object], object]]] = MappingProxyType(
    {"input": _amount, "output": _amount, "batch": _share}
)
