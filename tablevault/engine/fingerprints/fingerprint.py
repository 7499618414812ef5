"""The fingerprint of a function, its form on disk, and how two of them differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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


_Key = tuple[str, str, str]


def reasons(before: Fingerprint, after: Fingerprint) -> list[str]:
    """Return why a function may return other values than before.

    Parameters
    ----------
    before, after : Fingerprint
        Of the same builder's function.

    Returns
    -------
    list of str
        Sentences without a full stop, the function itself first; empty when the digests are equal.
        Definitions that came or went are named only where nothing that stayed has changed.
    """
    if before.digest == after.digest:
        return []
    if (before.module, before.function) != (after.module, after.function):
        old_name = f"`{before.function}` of `{before.module}`"
        return [f"`{after.function}` of `{after.module}` is used instead of {old_name}"]
    old, new = _by_key(before), _by_key(after)
    changed = [part for key, part in new.items() if key in old and old[key].digest != part.digest]
    changed.sort(key=lambda part: part.used_by != "")
    if changed:
        found = [_changed(part, after) for part in changed]
    else:
        found = [_came(part) for key, part in new.items() if key not in old]
        found += [_went(part) for key, part in old.items() if key not in new]
    return list(dict.fromkeys(found))


def changed_texts(before: Fingerprint, after: Fingerprint) -> list[Text]:
    """Return the texts of three words or more that only one of two fingerprints has.

    Where a text was edited this is the old one, then the new one. Moving a text is no change.
    """
    old = Counter(text.value for text in before.texts)
    new = Counter(text.value for text in after.texts)
    return [*_missing(before, new), *_missing(after, old)]


def _missing(fingerprint: Fingerprint, there: Counter[str]) -> Iterator[Text]:
    """Yield the texts of a fingerprint that are not among others."""
    for text in fingerprint.texts:
        if not there[text.value]:
            yield text


def _by_key(fingerprint: Fingerprint) -> dict[_Key, Part]:
    """Return the parts by what they are."""
    return {
        ("", part.module, part.name) if part.module else ("file", "", part.name): part
        for part in fingerprint.parts
    }


def _changed(part: Part, after: Fingerprint) -> str:
    """Return a sentence about a part that changed."""
    if part.is_outside:
        return f"module `{part.module}` (outside the vault) changed"
    if not part.used_by and part.kind in {"function", "class", "constant"}:
        return f"`{part.name}` changed"
    if part.kind == "module":
        why = _why_whole(part, after)
        return f"module `{part.module}` changed" + (f": {why}" if why else "")
    return _CHANGED[part.kind].format(
        name=part.name, module=part.module, user=part.used_by or part.module
    )


_CHANGED = {
    "function": "`{user}` calls `{name}`, which changed",
    "class": "`{user}` uses class `{name}`, which changed",
    "constant": "constant `{name}` in `{user}` changed",
    "import": "the import of `{name}` in `{module}` changed",
    "statements": "statements that `{module}` runs when it is imported changed",
    "file": "`{user}` opens file `{name}`, which changed",
}


def _why_whole(part: Part, after: Fingerprint) -> str:
    """Return why a module counts as a whole."""
    sentences = [each for each in after.dynamic if f"`{part.module}`" in each]
    sentences += [each for each in after.dynamic if f"`{part.used_by}`" in each]
    return next(iter(sentences), "")


def _came(part: Part) -> str:
    """Return a sentence about a part that was not there before."""
    return f"`{part.used_by or part.module}` now uses {_named(part)}"


def _went(part: Part) -> str:
    """Return a sentence about a part that is no longer there."""
    return f"`{part.used_by or part.module}` no longer uses {_named(part)}"


def _named(part: Part) -> str:
    """Return what a part is called."""
    match part.kind:
        case "statements":
            return f"statements that `{part.module}` runs when it is imported"
        case "module" | "file":
            return f"{part.kind} `{part.name or part.module}`"
        case _:
            return f"`{part.name}`"
