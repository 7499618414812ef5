"""The readers of field values: lenient with scalars, and exact about what they refuse."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tablevault.errors import TVBuilderError

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
class Place:
    """A field of a builder, as a path such as ``arguments.prompt[2]``."""

    builder: str
    field: str

    def at(self, step: str) -> Place:
        """Return the place one step further in."""
        return Place(self.builder, self.field + step)

    def wrong(self, value: object, allowed: str) -> TVBuilderError:
        """Make the error that says that `value` stands where only `allowed` may."""
        # As YAML spells it; bounded: a few aliases can stand for billions of values.
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
