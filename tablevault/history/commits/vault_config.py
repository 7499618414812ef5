"""The part of ``vault.yaml`` that people set: limits and prices of paid calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import fields as fields_of
from typing import Final, TypeVar

import yaml

from tablevault.limits_and_prices import Limits, Price, UnfitValueError, read_limits, read_prices

Fields = dict[str, dict[str, object]]
T = TypeVar("T")

_LIMITS: Final = tuple(each.name for each in fields_of(Limits))
_PRICE: Final = tuple(each.name for each in fields_of(Price))
SECTIONS: Final = ("limits", "prices")
"""Fields of ``vault.yaml`` that hold the configuration."""


class UnknownSettingError(LookupError):
    """A key that names no setting.

    Attributes
    ----------
    near : str
        A key that is spelt like it, "" when there is none.
    """

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.near = _near(key)


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultConfig:
    """Limits and prices that hold for the whole vault.

    Attributes
    ----------
    limits : Limits
        Those of the vault; none are set by default.
    prices : dict of str to Price
        By model.
    """

    limits: Limits = field(default_factory=Limits)
    prices: Mapping[str, Price] = field(default_factory=dict)

    def fields(self) -> Fields:
        """Return what is set as plain values, in an order that depends on nothing else."""
        return {
            "limits": {name: _plain(value) for name, value in self.limits.fields().items()},
            "prices": {
                model: {name: _plain(value) for name, value in price.fields().items()}
                for model, price in sorted(self.prices.items())
            },
        }

    def value_at(self, key: str) -> object:
        """Return what a key names as plain values; None when it is not set.

        Raises
        ------
        UnknownSettingError
            No setting has that name.
        """
        found: object = self.fields()
        for name in setting_path(key):
            found = found.get(name) if isinstance(found, dict) else None
        return found

    def changed(self, changes: Mapping[str, object]) -> VaultConfig:
        """Return the configuration with other values, by key; None removes one.

        Raises
        ------
        UnknownSettingError
            No setting has that name.
        UnfitValueError
            A value cannot be that of its setting. Its path is the whole key.
        """
        fields: dict[str, object] = dict(self.fields())
        for key, value in changes.items():
            *above, last = setting_path(key)
            part = fields
            for depth, name in enumerate(above):
                below = part.setdefault(name, {})
                if not isinstance(below, dict):
                    raise UnfitValueError(".".join(above[: depth + 1]), below, "a mapping")
                part = below
            if value is None:
                part.pop(last, None)
            else:
                part[last] = value
        return parsed(fields)


def parsed(fields: Mapping[str, object]) -> VaultConfig:
    """Read limits and prices from the fields of ``vault.yaml``; null means none.

    Raises
    ------
    UnfitValueError
        A value cannot be that of its setting. Its path is the whole key.
    """

    def part(name: str, read: Callable[[object], T]) -> T:
        written = fields.get(name)
        try:
            return read({} if written is None else written)
        except UnfitValueError as error:
            raise UnfitValueError(name + error.path, error.value, error.allowed) from None

    return VaultConfig(limits=part("limits", read_limits), prices=part("prices", read_prices))


def setting_path(key: str) -> tuple[str, ...]:
    """Return the names that lead to a setting: ``prices.gpt-4.1.input`` is three of them.

    Raises
    ------
    UnknownSettingError
        No setting has that name.
    """
    section, dot, rest = key.partition(".")
    if section not in SECTIONS or (dot and not rest):
        raise UnknownSettingError(key)
    if not dot:
        return (section,)
    if section == "limits":
        if rest not in _LIMITS:
            raise UnknownSettingError(key)
        return section, rest
    # The name of a model may have dots itself.
    model, _, price = rest.rpartition(".")
    return (section, model, price) if model and price in _PRICE else (section, rest)


def known_settings() -> tuple[str, ...]:
    """Return the keys of all settings, with ``MODEL`` for the name of a model."""
    return (
        *(f"limits.{name}" for name in _LIMITS),
        *(f"prices.MODEL.{name}" for name in _PRICE),
    )


def fault_of_config(fields: Mapping[str, object], root: yaml.Node) -> str:
    """Return what is wrong with limits and prices, and in which line; "" when nothing is.

    Parameters
    ----------
    fields : dict
        The fields of ``vault.yaml``.
    root : yaml.Node
        The document that they were read from.
    """
    twice = _repeated([each for each in _named(root) if each[0] in SECTIONS])
    if twice is not None:
        return f"line {twice[1]}: {twice[0]} stands twice"
    try:
        parsed(fields)
    except UnfitValueError as error:
        return f"line {_line(root, '.' + error.path)}: {error}"
    return ""


def _plain(value: object) -> object:
    """Return a number as a person writes it: 500, not 500.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _near(key: str) -> str:
    """Return the key of a setting that is spelt like one that there is not."""
    import difflib

    section, _, rest = key.partition(".")
    if section in _LIMITS:
        return f"limits.{section}"
    if rest and difflib.get_close_matches(section, ["prices"]):
        return f"prices.{rest}"
    known = [*SECTIONS, *(f"limits.{name}" for name in _LIMITS)]
    return next(iter(difflib.get_close_matches(key, known, n=1)), "")


def _named(node: yaml.Node) -> list[tuple[str, int, yaml.Node]]:
    """Return the keys of a mapping with their lines and values; none for anything else."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return [
        (str(key.value), key.start_mark.line + 1, value)
        for key, value in pairs
        if isinstance(key, yaml.ScalarNode)
    ]


def _repeated(named: Sequence[tuple[str, int, yaml.Node]]) -> tuple[str, int] | None:
    """Find a key that a mapping has twice: YAML would silently take the last."""
    seen: set[str] = set()
    for name, line, node in named:
        if name in seen:
            return name, line
        seen.add(name)
        if (below := _repeated(_named(node))) is not None:
            return f"{name}.{below[0]}", below[1]
    return None


def _line(node: yaml.Node, path: str) -> int:
    """Find the line of what a path names, or of the last part of it that is there."""
    above = [(f".{name:.60}", line, below) for name, line, below in _named(node)]
    fitting = [each for each in above if f"{path}.".startswith(f"{each[0]}.")]
    if not fitting:
        return node.start_mark.line + 1
    # Of the models "a" and "a.b" the second one is meant, where both fit.
    start, line, below = max(fitting, key=lambda each: len(each[0]))
    left = path.removeprefix(start)
    return _line(below, left) if left and _named(below) else line
