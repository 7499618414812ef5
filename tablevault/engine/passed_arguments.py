"""The arguments of a call as its function gets them: with the values of environment variables.

Such a value goes to the function alone. Whatever is recorded or compared has the name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

from tablevault.engine.argument_values import compile_arguments, map_text
from tablevault.engine.calls.keys import FileText
from tablevault.engine.environment import KEYWORD
from tablevault.engine.reference import Tables
from tablevault.engine.resolve_fields import Job
from tablevault.errors import TVBuilderError
from tablevault.secrets import hide, is_secret

_written: dict[str, str] = {}
"""Texts with the value of a secret, as they are passed, and as they stand in a builder."""


class PassedArguments:
    """The arguments of the calls of one builder.

    These are read when a function is about to be called: results that are there need none.

    Parameters
    ----------
    job : Job
        The builder.
    tables : Tables
        What its arguments read, see `tablevault.engine.argument_values.compile_arguments`.
    """

    def __init__(self, job: Job, tables: Tables) -> None:
        self._job = job
        self._tables = tables
        self._call: Callable[[int | None], dict[str, Any]] | None = None

    def read(self) -> None:
        """Read the environment variables, once.

        Raises
        ------
        TVBuilderError
            One is not set.
        """
        job = self._job
        if self._call is None:
            node = map_text(job.arguments, lambda text: _filled(job.name, text))
            self._call = compile_arguments(node, self._tables, builder=job.name)

    def __call__(self, row: int | None) -> dict[str, Any]:
        """Evaluate the arguments of the call for one row, None when there is none."""
        if self._call is None:
            self.read()
        assert self._call is not None
        return self._call(row)


def by_name(file_text: FileText) -> FileText:
    """Return a `FileText` that lets secrets count by their names, too."""
    return lambda text: _written.get(text) or file_text(text)


def _filled(builder: str, text: str) -> str:
    """Put the values of environment variables into a text."""
    if "~ENV:" not in text:
        return text
    used: dict[str, str] = {}

    def value(match: re.Match[str]) -> str:
        """Read one variable."""
        found = os.environ.get(match[1])
        if found is None:
            raise TVBuilderError(
                f'Builder "{builder}" needs the environment variable "{match[1]}", which is not '
                "set.",
                "Set it, and run this again; its value is passed to the function and kept nowhere.",
                builder=builder,
                field="arguments",
                variable=match[1],
            )
        hide(match[1], found)
        used[match[1]] = found
        return found

    filled = KEYWORD.sub(value, text)
    if any(is_secret(name, found) for name, found in used.items()):
        _written[filled] = text
    return filled
