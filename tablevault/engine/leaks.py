"""Secrets in what functions return: an error, before anything of it is kept."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from tablevault.engine.resolve_fields import Job
from tablevault.errors import TVTableError
from tablevault.secrets import has_secrets, leaked


def refuse_leak(text: str, job: Job, row: int) -> None:
    """Refuse what a function returned, as tagged JSON, if it holds a secret; `row` -1 for none.

    Raises
    ------
    TVTableError
        It holds the value of an environment variable that a builder has read.
    """
    if variable := leaked(text):
        raise _error(variable, job, "" if row < 0 else f" for row {row}", row=row)


def refuse_leaks(columns: Mapping[str, pd.Series], job: Job) -> None:
    """Refuse columns that a function returned if a cell holds a secret; raises as `refuse_leak`."""
    if not has_secrets():
        return
    for name, series in columns.items():
        if series.dtype != object and not pd.api.types.is_string_dtype(series.dtype):
            continue
        for row, cell in enumerate(series):
            if variable := leaked(str(cell)):
                raise _error(variable, job, f" in column {name}, row {row}", column=name, row=row)


def _error(variable: str, job: Job, where: str, **facts: str | int) -> TVTableError:
    """Make the error."""
    return TVTableError(
        f'Builder "{job.name}": what function "{job.function}" returned{where} holds the value of '
        f'the environment variable "{variable}", which would be kept for ever.',
        "Leave it out, for instance where the text of an exception is returned.",
        builder=job.name,
        variable=variable,
        **facts,
    )
