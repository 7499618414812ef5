"""How the code behind two fingerprints differs, in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tablevault.engine.calls.parts import Fingerprint, Part, Text

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
