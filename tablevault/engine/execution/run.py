"""Builders into a frame: calls functions, and trusts nothing that they return."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd

from tablevault.engine.builders.order import Plan
from tablevault.engine.builders.resolve_fields import Job
from tablevault.engine.execution.caller import Trial
from tablevault.engine.execution.finder import Gaps
from tablevault.engine.execution.ready import Ready
from tablevault.engine.execution.step import BuilderResult
from tablevault.engine.matching import NEW, match_rows
from tablevault.engine.results import check_key
from tablevault.engine.tables import Source
from tablevault.errors import TVTableError
from tablevault.frames.casting import cast
from tablevault.frames.inference import infer


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
    rows : range
        Where in `frame` the rows stand that were made; others stay in front of them.
    is_same : bool
        Whether everything was taken over, and the index builder made what it had made.
    """

    frame: pd.DataFrame
    sources: tuple[Source, ...]
    builders: tuple[BuilderResult, ...]
    plan: Plan
    dtypes: Mapping[str, str]
    primary_key: tuple[str, ...]
    rows: range
    is_same: bool


def run_all(run: Ready) -> RunResult:
    """Run all builders.

    Parameters
    ----------
    run : Ready
        From `tablevault.engine.execution.ready.ready`, within its body.

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
    TableReferenceError
        A reference cannot be evaluated.
    BaseException
        What a function raised, unchanged.
    """
    index = run.jobs[0]
    run.context.options.control.begin()
    done = [run.steps[0].run(run.decide_index())]
    run.reuse.match(index)
    gaps = Gaps(run.draft)
    for job, step, written in run.column_steps():
        done.append(step.run(run.reuse.decide(job, written), lacking=gaps.rows_lacking(job)))
        gaps.add(job.changed_columns, step.null_rows)
    frame = made = run.draft.finished(run.plan.columns)
    dtypes = {name: dtype for job in run.jobs for name, dtype in job.dtypes.items()}
    if index.keep_old and run.context.earlier is not None:
        frame = with_old_rows(made, run.context.earlier, index, dtypes)
        if run.context.options.ledger is not None:
            changed = {str(name) for name in frame if frame[name].dtype != made[name].dtype}
            run.context.options.ledger.note_cast(changed)
    return RunResult(
        frame=frame,
        sources=run.context.tables.sources,
        builders=tuple(done),
        plan=run.plan,
        dtypes=MappingProxyType(dtypes),
        primary_key=index.primary_key,
        rows=range(len(frame) - len(made), len(frame)),
        is_same=run.reuse.index_is_same() and all(each.reused == each.rows for each in done[1:]),
    )


def run_first(run: Ready, rows: int) -> tuple[BuilderResult, ...]:
    """Run the index builder, and row-wise builders for the first rows: a trial.

    Functions that make whole columns at once are not called: what they would be given differs from
    what the whole run gives them. Nor are those of rows that need such a column. So every call is
    one that the whole run finds.

    Parameters
    ----------
    run : Ready
        From `tablevault.engine.execution.ready.ready`, within its body.
    rows : int
        Rows for which row-wise builders are called, at least 1.

    Returns
    -------
    tuple of BuilderResult
        What was done; `tablevault.engine.execution.partial` reads what was made.

    Raises
    ------
    BaseException
        As `run_all`.
    """
    run.context.options.control.begin()
    whole = Trial(rows=sys.maxsize, behind=frozenset())
    done = [run.steps[0].run(run.decide_index(), whole)]
    run.reuse.match(run.jobs[0])
    gaps = Gaps(run.draft)
    for job, step, written in run.column_steps():
        behind = gaps.behind(job)
        waiting = frozenset(behind.rows.nonzero()[0].tolist())
        trial = Trial(rows=rows, behind=waiting)
        done.append(step.run(run.reuse.decide(job, written, behind), trial))
        gaps.add(job.changed_columns, trial.missing)
    return tuple(done)


def with_old_rows(
    frame: pd.DataFrame, earlier: pd.DataFrame, index: Job, declared: Mapping[str, str]
) -> pd.DataFrame:
    """Put earlier rows in front of new ones.

    Parameters
    ----------
    frame, earlier : DataFrame
        What was made, and the earlier instance. Columns go by name; one that `earlier` lacks is
        null in its rows.
    index : Job
        The index builder. With a primary key only rows stay whose key was not made again;
        without one all of them, each time.
    declared : mapping of str to str
        Declared dtypes by column.

    Returns
    -------
    DataFrame
        Columns of `frame`, RangeIndex. Dtypes as declared, or those that hold the values of kept
        and new rows together; a column in which either part has no value has that of the other.

    Raises
    ------
    TVTableError
        An earlier value does not fit the declared dtype of its column.
    """
    key = list(index.primary_key)
    stays = np.ones(len(earlier), dtype=np.bool_)
    if key and set(key) <= set(earlier.columns):
        both = {name: _joined(earlier[name], frame[name], declared.get(name)) for name in key}
        keys = pd.DataFrame(both)
        new = keys.iloc[len(earlier) :].reset_index(drop=True)
        stays = match_rows(keys.iloc[: len(earlier)], new, key) == NEW
    if not stays.any():
        return frame
    kept = earlier.loc[stays]
    columns = {}
    for name in frame.columns:
        old = kept[name] if name in kept.columns else _nulls(len(kept), frame[name])
        columns[name] = _joined(old, frame[name], declared.get(name))
    joined = pd.DataFrame(columns)
    check_key(joined, index)
    return joined


def _joined(old: pd.Series, new: pd.Series, declared: str | None) -> pd.Series:
    """Put the values of two columns behind each other, with the dtype that holds all."""
    if declared is not None:
        old = _cast(old, new, declared)
    elif not new.notna().any() and old.notna().any():
        new = _nulls(len(new), old)
    if not old.notna().any():
        old = _nulls(len(old), new)
    if old.dtype == new.dtype or _are_times(old, new):
        return pd.concat([old, new], ignore_index=True)
    values = [*old.astype(object), *new.astype(object)]
    if isinstance(old.dtype, pd.CategoricalDtype) and isinstance(new.dtype, pd.CategoricalDtype):
        return pd.Series(values, dtype="category")
    return infer(values, str(new.name))


def _cast(old: pd.Series, new: pd.Series, declared: str) -> pd.Series:
    """Cast earlier values to a declared dtype."""
    try:
        return old if old.dtype == new.dtype else cast(old, declared)
    except TVTableError as error:
        raise TVTableError(
            f"keep_old: an earlier row does not fit: {error.message}",
            "Declare a dtype that holds old and new values, or leave keep_old out.",
            **error.facts,
        ) from error


def _are_times(old: pd.Series, new: pd.Series) -> bool:
    """Return whether two columns differ in the unit of their times or durations alone."""
    zones = [getattr(series.dtype, "tz", None) for series in (old, new)]
    kinds = {getattr(series.dtype, "kind", "") for series in (old, new)}
    return kinds in ({"M"}, {"m"}) and zones[0] == zones[1]


def _nulls(rows: int, like: pd.Series) -> pd.Series:
    """Return a column of nulls with the dtype of another."""
    if like.dtype == object:
        return pd.Series([None] * rows, dtype=object)
    return like.iloc[:0].reindex(range(rows))
