"""Builders into a frame: calls functions, and trusts nothing that they return."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import pandas as pd

from tablevault.engine import results
from tablevault.engine.checkpoint import Checkpoint, NoCheckpoint, Part
from tablevault.engine.inputs import Inputs, Source
from tablevault.engine.plan import Plan
from tablevault.engine.rows import call_rows
from tablevault.engine.settle import Job, settle
from tablevault.engine.tables import RunTables
from tablevault.errors import TVBuilderError
from tablevault.progress import Progress, Silent

Function = Callable[..., Any]

ARTIFACT_FOLDER = "~ARTIFACT_FOLDER~"
"""Keyword for the artifact folder of the table that is being built."""


class Load(Protocol):
    """Finds the function of a builder, as `tablevault.engine.code.Code.load_function` does."""

    def __call__(self, module: str, function: str, *, is_custom: bool) -> Function:
        """Give the function; raises TVFileError when there is none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderResult:
    """What one builder did: what was called, how often, for which columns and how many rows."""

    name: str
    module: str
    function: str
    is_custom: bool
    columns: tuple[str, ...]
    rows: int
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """A finished table and how it came to be.

    Attributes
    ----------
    frame : DataFrame
        Columns in the order of execution, RangeIndex, dtypes as declared or inferred.
    sources : tuple of Source
        Instances that were read, each once.
    builders : tuple of BuilderResult
        In the order of execution.
    plan : Plan
        As executed: what references said about columns is known in it.
    dtypes : mapping of str to str
        Declared dtypes.
    primary_key : tuple of str
        Columns that name a row; no two rows have the same values in them.
    keep_old : bool
        Whether the index builder wants old rows to stay.
    """

    frame: pd.DataFrame
    sources: tuple[Source, ...]
    builders: tuple[BuilderResult, ...]
    plan: Plan
    dtypes: Mapping[str, str]
    primary_key: tuple[str, ...]
    keep_old: bool


def run(
    plan: Plan,
    *,
    inputs: Inputs,
    load: Load,
    keywords: Mapping[str, str],
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> RunResult:
    """Run all builders of a plan.

    Every field, function and dtype is checked before the first function is called.

    Parameters
    ----------
    plan : Plan
        From `make_plan`.
    inputs : Inputs
        The tables that may be read.
    load : Load
        Finds functions.
    keywords : mapping of str to str
        Texts such as ``~PROCESS_ID~`` and what stands for them; replaced in the text of all
        fields, never inside data that a reference brings.
    progress : Progress, optional
        Is told of each builder and counts ``calls``.
    checkpoint : Checkpoint, optional
        What an earlier attempt has finished, which is not computed again, and where this one
        notes what it has; nothing by default.

    Returns
    -------
    RunResult
        The table. Nothing in it shares memory with what functions were given or returned.

    Raises
    ------
    TVBuilderError
        A function returned what its builder does not promise.
    TVTableError
        A value does not fit its dtype, or the primary key is null or not unique.
    TVFileError
        A module or function is missing.
    TableReferenceError
        A reference cannot be evaluated.
    BaseException
        What a function raised, unchanged.
    """
    progress = progress or Silent()
    checkpoint = checkpoint or NoCheckpoint()
    folder = keywords.get(ARTIFACT_FOLDER)
    tables = RunTables(inputs, None if folder is None else Path(folder))
    jobs, plan = settle(plan, tables, keywords)
    functions = {job.name: load(job.module, job.function, is_custom=job.is_custom) for job in jobs}
    for job in jobs:
        _check_arguments(job, functions[job.name])
    checkpoint.begin(
        [Part(name=job.name, columns=job.changed_columns, dtypes=job.dtypes) for job in jobs]
    )
    done = [_run_job(job, functions[job.name], tables, (progress, checkpoint)) for job in jobs]
    return RunResult(
        frame=tables.draft.finished(plan.columns),
        sources=tables.sources,
        builders=tuple(done),
        plan=plan,
        dtypes=MappingProxyType({k: v for job in jobs for k, v in job.dtypes.items()}),
        primary_key=jobs[0].primary_key,
        keep_old=jobs[0].keep_old,
    )


def _check_arguments(job: Job, function: Function) -> None:
    """Refuse arguments that the function does not take, before anything is paid for."""
    names = job.known_keywords()
    if names is None:
        return
    try:
        signature = inspect.signature(function, follow_wrapped=False)  # what is called
    except (ValueError, TypeError):  # some functions written in C have none
        return
    try:
        signature.bind(**dict.fromkeys(names))
    except TypeError as error:
        raise TVBuilderError(
            f'Builder "{job.name}": arguments do not fit "{job.function}{signature}": {error}.',
            "Name its parameters in the field arguments.",
            builder=job.name,
            field="arguments",
        ) from error


def _run_job(
    job: Job, function: Function, tables: RunTables, kept: tuple[Progress, Checkpoint]
) -> BuilderResult:
    """Run one builder, unless an earlier attempt has, and add its columns to the draft."""
    progress, checkpoint = kept
    draft = tables.draft
    rows = None if job.kind == "index" else draft.rows
    draft.grow(job.changed_columns)
    calls = 0
    counting = threading.Lock()

    def call(row: int | None = None) -> Any:  # noqa: ANN401 - functions return anything
        """Call the function with its arguments evaluated."""
        nonlocal calls
        keywords = job.keywords(tables, row)
        with counting:
            calls += 1
            progress.count("calls")
        return function(**keywords)

    row_by_row = job.return_type == "row-wise"
    progress.start(job.name, draft.rows if row_by_row else rows)
    try:
        before = checkpoint.finished(job.name)
        if before is not None and tuple(before) == job.changed_columns:
            columns = before
        elif row_by_row:
            columns = _row_wise(job, call, tables, kept)
        elif rows == 0:
            columns = results.row_columns([], job)  # no rows, nothing to ask a function for
        elif job.return_type == "dataframe":
            columns = results.frame_columns(call(), job, rows)
        else:
            columns = _generated(job, call, rows, kept)
        finished = _finish(job, columns, tables)
        if columns is not before:
            checkpoint.finish(job.name, finished)
    finally:
        progress.finish(job.name)
    return BuilderResult(
        name=job.name,
        module=job.module,
        function=job.function,
        is_custom=job.is_custom,
        columns=job.changed_columns,
        rows=draft.rows,
        calls=calls,
    )


def _row_wise(
    job: Job, call: Callable[[int], Any], tables: RunTables, kept: tuple[Progress, Checkpoint]
) -> dict[str, pd.Series]:
    """Call once for each row that is there and that no earlier attempt has finished.

    In one thread the function of a row sees the rows before it in its own columns. Between
    threads that would depend on luck, so there its own columns stay null until the end.
    """
    progress, checkpoint = kept
    draft = tables.draft
    finished: list[tuple[Any, ...]] = [()] * draft.rows

    def enter(row: int, values: tuple[Any, ...]) -> None:
        """Enter the values of a row."""
        finished[row] = values
        if job.n_threads == 1:
            draft.put(row, dict(zip(job.changed_columns, values, strict=True)))
        progress.advance(job.name)

    def keep(row: int, values: tuple[Any, ...]) -> None:
        """Enter the values of a row once they outlive this process."""
        checkpoint.append(job.name, row, values)
        enter(row, values)

    before = checkpoint.rows(job.name, job.changed_columns)
    for row in sorted(before):
        enter(row, before[row])
    call_rows(
        lambda row: results.row_values(call(row), job, row),
        [row for row in range(draft.rows) if row not in before],
        keep,
        n_threads=job.n_threads,
    )
    return results.row_columns(finished, job)


def _generated(
    job: Job, call: Callable[[], Any], rows: int | None, kept: tuple[Progress, Checkpoint]
) -> dict[str, pd.Series]:
    """Call once and take items as they come; those an earlier attempt took stay as they were."""
    progress, checkpoint = kept
    finished = []
    before = checkpoint.rows(job.name, job.changed_columns)
    for row, item in enumerate(results.items_of(call(), job, rows)):
        values = results.row_values(item, job, row)
        if row not in before:
            checkpoint.append(job.name, row, values)
        finished.append(before.get(row, values))
        progress.advance(job.name)
    return results.row_columns(finished, job)


def _finish(job: Job, columns: Mapping[str, pd.Series], tables: RunTables) -> dict[str, pd.Series]:
    """Give columns their dtypes and add them; the index builder's decide the number of rows."""
    finished = {name: results.typed(series, name, job) for name, series in columns.items()}
    if job.kind == "index":
        tables.draft.set_rows(len(next(iter(finished.values()), ())))
        results.check_key(pd.DataFrame(finished), job)
    for name, series in finished.items():
        tables.draft.set_column(name, series)
    return finished
