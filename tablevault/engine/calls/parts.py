"""The values that a fingerprint consists of, and their form on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

DIGEST_SIZE = 16

PartKind = Literal["function", "class", "constant", "import", "statements", "module", "file"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A definition that decides what a function returns.

    Attributes
    ----------
    kind : str
        function, class, constant, import; "statements" for those of a module that are run as it is
        imported; "module" for a whole module; "file" for one that is not Python.
    module : str
        Name of the module, "" for a file.
    name : str
        Global name in the module, "" for statements and whole modules; path below ``code/`` of a
        file.
    used_by : str
        Name of the definition that uses it, "" for the function itself.
    is_outside : bool
        Whether the module lies outside the vault.
    digest : bytes
        16 bytes.
    """

    kind: PartKind
    module: str
    name: str
    used_by: str
    is_outside: bool
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text constant of three words or more: a prompt, not a key or a pattern.

    Attributes
    ----------
    module, name : str
        Where it is, as in `Part`.
    value : str
        The constant; of an f-string its literal parts, with ``{}`` where a value goes; of a text
        file its content.
    """

    module: str
    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideModule:
    """A module that a function uses and that is not kept in the vault."""

    module: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """All code that decides what a function returns.

    Attributes
    ----------
    module, function : str
        Whose fingerprint it is.
    digest : bytes
        16 bytes: equal when all parts are.
    parts : tuple of Part
        Sorted by module and name.
    texts : tuple of Text
        Text constants in the parts that could be prompts, in order of the parts.
    outside : tuple of OutsideModule
        Modules outside the vault that are used, sorted by name; users are warned of them.
    dynamic : tuple of str
        Why whole modules were taken: ``"`f` uses `globals()`, so its whole module counts"``.
    """

    module: str
    function: str
    digest: bytes
    parts: tuple[Part, ...]
    texts: tuple[Text, ...]
    outside: tuple[OutsideModule, ...]
    dynamic: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """Return the fingerprint as plain values for JSON; `from_record` reads it."""
        record = asdict(self)
        record["digest"] = self.digest.hex()
        record["parts"] = [asdict(part) | {"digest": part.digest.hex()} for part in self.parts]
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Fingerprint:
        """Return the fingerprint that `record` has made plain values of.

        Raises
        ------
        KeyError, TypeError, ValueError
            It is no record of a fingerprint.
        """
        parts: Sequence[Mapping[str, Any]] = record["parts"]
        return cls(
            module=record["module"],
            function=record["function"],
            digest=bytes.fromhex(record["digest"]),
            parts=tuple(
                Part(**{**part, "digest": bytes.fromhex(part["digest"])}) for part in parts
            ),
            texts=tuple(Text(**text) for text in record["texts"]),
            outside=tuple(OutsideModule(**module) for module in record["outside"]),
            dynamic=tuple(record["dynamic"]),
        )
