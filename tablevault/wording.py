"""Texts that name calls: Python calls in Python, commands in a shell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Self


class Blank:
    """A value that only the reader knows; the name of its parameter stands for it."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return its placeholder in a call."""
        return "..."

    def __reduce__(self) -> str:
        """Stay the one blank that there is."""
        return "BLANK"


BLANK = Blank()


class Call:
    """An operation with arguments, under the names that the Python API gives them.

    Parameters
    ----------
    operation : str
        A method of :class:`tablevault.TableVault`, a function of the package, or "TableVault".
    **arguments : object
        Values by parameter. A text that comes first belongs to the first parameter of the
        operation, and is written without its name.
    """

    __slots__ = ("arguments", "operation")

    def __init__(self, operation: str, /, **arguments: object) -> None:
        self.operation = operation
        self.arguments: Mapping[str, object] = arguments

    def __str__(self) -> str:
        """Format it as Python."""
        words = [f"{name}={value!r}" for name, value in self.arguments.items()]
        for name, first in [*self.arguments.items()][:1]:
            if first is BLANK:
                words[0] = name
            elif isinstance(first, str):
                words[0] = repr(first)
        return f"{self.operation}({', '.join(words)})"

    def __reduce__(self) -> tuple[object, tuple[()]]:
        """Rebuild from parts: errors cross processes."""
        return partial(Call, self.operation, **self.arguments), ()


@dataclass(frozen=True, slots=True)
class OperationName:
    """The name of an operation, without arguments."""

    name: str

    def __str__(self) -> str:
        """Format it as Python."""
        return self.name


@dataclass(frozen=True, slots=True)
class Parameter:
    """The name of one parameter of an operation, with a text as its value or without."""

    operation: str
    name: str
    value: str = ""

    def __str__(self) -> str:
        """Format it as Python."""
        return f"{self.name}={self.value!r}" if self.value else self.name


@dataclass(frozen=True, slots=True)
class Either:
    """Two texts for what has no common name: one for Python, one for a prompt."""

    python: str
    prompt: str

    def __str__(self) -> str:
        """Return the text for Python."""
        return self.python


Named = Call | OperationName | Parameter | Either
"""Parts of a text that differ between Python and a prompt."""


class Wording(str):
    """A text made of words and of calls: itself as Python, and written differently for a shell.

    It is a ``str``, so code that shows a hint needs no special case. What is joined with ``+``
    or an f-string is Python from then on: join with ``Wording(one, other)`` instead.

    Examples
    --------
    >>> hint = Wording("Make one: ", Call("create_instance", table_name="t"), ".")
    >>> str(hint)
    "Make one: create_instance('t')."
    """

    __slots__ = ("parts",)

    parts: Sequence[str | Named]

    def __new__(cls, *parts: str | Named) -> Self:
        """Join texts and calls; a wording among them keeps its calls."""
        flat: list[str | Named] = []
        for part in parts:
            flat.extend(part.parts if isinstance(part, Wording) else [part])
        made = super().__new__(cls, "".join(map(str, flat)))
        made.parts = tuple(flat)
        return made

    def written(self, write: Callable[[Named], str]) -> str:
        """Return the text with each call written by `write`."""
        return "".join(part if isinstance(part, str) else write(part) for part in self.parts)

    def __reduce__(self) -> tuple[object, tuple[str | Named, ...]]:
        """Rebuild from parts."""
        return Wording, tuple(self.parts)


def written(text: str, write: Callable[[Named], str]) -> str:
    """Return any text with the calls in it, if it knows of any, written by `write`."""
    return text.written(write) if isinstance(text, Wording) else text


def encoded(text: str) -> Any:  # noqa: ANN401 - JSON
    """Return a text as JSON that :func:`decoded` makes the same text of."""
    if not isinstance(text, Wording) or all(isinstance(part, str) for part in text.parts):
        return str.__str__(text)
    return [part if isinstance(part, str) else _encoded(part) for part in text.parts]


def decoded(parts: object) -> str:
    """Return the text that was encoded."""
    if not isinstance(parts, list):
        return str(parts)
    return Wording(*(part if isinstance(part, str) else _decoded(part) for part in parts))


_NAMED: Mapping[str, Callable[..., Named]] = {
    kind.__name__: kind for kind in (Call, OperationName, Parameter, Either)
}


def _encoded(named: Named) -> Mapping[str, object]:
    """Return a part that is no plain text as JSON; a blank is null."""
    if isinstance(named, Call):
        values = {
            name: None if value is BLANK else value for name, value in named.arguments.items()
        }
        return {"kind": "Call", "operation": named.operation, "arguments": values}
    return {"kind": type(named).__name__, **asdict(named)}


def _decoded(facts: Mapping[str, Any]) -> Named:
    """Return the part that was encoded."""
    fields = dict(facts)
    kind = _NAMED[fields.pop("kind")]
    if kind is Call:
        values = fields["arguments"].items()
        return Call(
            fields["operation"],
            **{name: BLANK if value is None else value for name, value in values},
        )
    return kind(**fields)


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return a hint with the known name that is most like `name`; "" if none is like it."""
    import difflib

    near = difflib.get_close_matches(str(name), list(known), 1)
    return f'Did you mean "{near[0]}"?' if near else ""
