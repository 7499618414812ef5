"""Limits and prices of paid calls, as a builder or ``vault.yaml`` states them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

_LARGEST: Final = 10**12
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
        super().__init__(f"{path} is {value!r}; it has to be {allowed}")
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
    """

    input: float
    output: float

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
        if not isinstance(model, str) or not model.strip():
            raise UnfitValueError("", model, "the name of a model as text")
        try:
            found: Any = _read(price, _PRICE_READERS, "a price")
        except UnfitValueError as error:
            raise UnfitValueError(path + error.path, error.value, error.allowed) from None
        missing = [name for name in _PRICE_READERS if name not in found]
        if missing:
            raise UnfitValueError(path, price, "{input: ..., output: ...}, both of them")
        prices[model] = Price(**found)
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
            raise UnfitValueError(
                f".{name!s:.60}", value, f"left out: fields of {what} are {', '.join(readers)}"
            )
        if value is None:
            continue
        try:
            found[str(name)] = readers[name](value)
        except UnfitValueError as error:
            raise UnfitValueError(f".{name}", value, error.allowed) from None
    return found


def _number(value: object, *, least: float, allowed: str) -> float:
    """Read a number, also as text."""
    number = math.nan
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
    if not least <= number <= _LARGEST:
        raise UnfitValueError("", value, allowed)
    return number


def _rate(value: object) -> float:
    """Read a number for each minute."""
    number = _number(value, least=0.0, allowed="a number above 0")
    if number == 0:
        raise UnfitValueError("", value, "a number above 0")
    return number


def _count(value: object) -> int:
    """Read a number of calls."""
    allowed = "a whole number of 0 or more"
    number = _number(value, least=0.0, allowed=allowed)
    if not number.is_integer():
        raise UnfitValueError("", value, allowed)
    return int(number)


def _amount(value: object) -> float:
    """Read an amount of money."""
    return _number(value, least=0.0, allowed="a number of 0 or more") + 0.0


def _name(value: object) -> str:
    """Read the name of limits."""
    if not isinstance(value, str) or not value.strip():
        raise UnfitValueError("", value, "text that is not empty")
    return value


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
    {"input": _amount, "output": _amount}
)
