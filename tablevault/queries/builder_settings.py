"""Settings of a builder: its function, its columns, and the arguments that people change."""

from __future__ import annotations

import re
from dataclasses import dataclass

_MOST_ARGUMENTS = 12
_REFERENCE = re.compile(r"<<[^<>]*(?:<<[^<>]*>>[^<>]*)*>>")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderSettings:
    """What a person sets in a builder, as it is written there."""

    name: str
    text_id: str
    """Git id of its text."""
    function: str
    """Module and function."""
    columns: tuple[str, ...]
    arguments: tuple[tuple[str, str], ...]
    """Name and value; one that only passes a reference on is left out."""
    more_arguments: int


def builder_settings(name: str, text_id: str, text: str) -> BuilderSettings:
    """Return the settings of a builder; a text that is no builder has a name only."""
    from tablevault.engine.builders.document import read_written

    written = read_written(text)
    given = [each for each in written.arguments if not _REFERENCE.fullmatch(each[1])]
    return BuilderSettings(
        name=name,
        text_id=text_id,
        function=".".join(filter(None, (written.module, written.function))),
        columns=written.columns,
        arguments=tuple(given[:_MOST_ARGUMENTS]),
        more_arguments=max(0, len(given) - _MOST_ARGUMENTS),
    )
