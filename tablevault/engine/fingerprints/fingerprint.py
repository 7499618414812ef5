"""The fingerprint of a function, its form on disk, and how two of them differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

DIGEST_SIZE = 16

PartKind = Literal["function", "class", "constant", "import", "statements", "module", "file"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CodePart:
    """A piece of code that can change the results of a function.

    Attributes
    ----------
    kind : str
        function, class, constant, import; "statements" for those that run when a module is
        imported; "module" for a whole module; "file" for a file that is not Python.
    module : str
        Name of the module, "" for a file.
    name : str
        Global name in the module, "" for statements and whole modules; path below ``code/`` of a
        file.
    used_by : str
        Name of the first definition that uses it, "" for the function itself.
    is_outside : bool
        Whether the module is outside the vault.
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
class TextConstant:
    """A text constant of three words or more: a prompt rather than a key or a pattern.

    Attributes
    ----------
    module, name : str
        Its location, as in `CodePart`.
    value : str
        The constant; for an f-string its literal parts with ``{}`` for values; for a text file its
        content.
    """

    module: str
    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideModule:
    """A module outside the vault that a function uses."""

    module: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """All code that can change the results of a function.

    Attributes
    ----------
    module, function : str
        The function.
    digest : bytes
        16 bytes; equal if all parts are equal.
    parts : tuple of CodePart
        Sorted by module and name.
    texts : tuple of TextConstant
        Text constants in the parts that may be prompts, in order of the parts.
    outside : tuple of OutsideModule
        Modules outside the vault that are used, sorted by name; an execution warns of them.
    dynamic : tuple of str
        Why whole modules are included: ``"`f` uses `globals()`, so its whole module counts"``.
    """

    module: str
    function: str
    digest: bytes
    parts: tuple[CodePart, ...]
    texts: tuple[TextConstant, ...]
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
        """Return the fingerprint of a `record`.

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
                CodePart(**{**part, "digest": bytes.fromhex(part["digest"])}) for part in parts
            ),
            texts=tuple(TextConstant(**text) for text in record["texts"]),
            outside=tuple(OutsideModule(**module) for module in record["outside"]),
            dynamic=tuple(record["dynamic"]),
        )


_Key = tuple[str, str, str]


def reasons(before: Fingerprint, after: Fingerprint) -> list[str]:
    """Return why a function may return other values than before, as sentences.

    Parameters
    ----------
    before, after : Fingerprint
        Fingerprints of the function of one builder.

    Returns
    -------
    list of str
        Sentences without a full stop, the function itself first; empty if the digests are equal.
        Added and removed definitions are named only if no other one has changed.
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
        found = [_added(part) for key, part in new.items() if key not in old]
        found += [_removed(part) for key, part in old.items() if key not in new]
    return list(dict.fromkeys(found))


def changed_texts(before: Fingerprint, after: Fingerprint) -> list[TextConstant]:
    """Return the texts of three words or more that only one of two fingerprints has.

    For an edited text these are the old one, then the new one. A moved text is no change.
    """
    old = Counter(text.value for text in before.texts)
    new = Counter(text.value for text in after.texts)
    return [*_texts_not_in(before, new), *_texts_not_in(after, old)]


def _texts_not_in(fingerprint: Fingerprint, others: Counter[str]) -> Iterator[TextConstant]:
    """Yield the texts of a fingerprint that are not among `others`."""
    for text in fingerprint.texts:
        if not others[text.value]:
            yield text


def _by_key(fingerprint: Fingerprint) -> dict[_Key, CodePart]:
    """Return the parts by module and name."""
    return {
        ("", part.module, part.name) if part.module else ("file", "", part.name): part
        for part in fingerprint.parts
    }


def _changed(part: CodePart, after: Fingerprint) -> str:
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


def _why_whole(part: CodePart, after: Fingerprint) -> str:
    """Return why a whole module is included."""
    sentences = [each for each in after.dynamic if f"`{part.module}`" in each]
    sentences += [each for each in after.dynamic if f"`{part.used_by}`" in each]
    return next(iter(sentences), "")


def _added(part: CodePart) -> str:
    """Return a sentence about an added part."""
    return f"`{part.used_by or part.module}` now uses {_named(part)}"


def _removed(part: CodePart) -> str:
    """Return a sentence about a removed part."""
    return f"`{part.used_by or part.module}` no longer uses {_named(part)}"


def _named(part: CodePart) -> str:
    """Return the name of a part in a sentence."""
    match part.kind:
        case "statements":
            return f"statements that `{part.module}` runs when it is imported"
        case "module" | "file":
            return f"{part.kind} `{part.name or part.module}`"
        case _:
            return f"`{part.name}`"
