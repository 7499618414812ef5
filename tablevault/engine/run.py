"""Builders into a frame: calls functions, and trusts nothing that they return."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pandas as pd

from tablevault.engine.builder_result import BuilderResult
from tablevault.engine.execution.context import Trial
from tablevault.engine.gaps import Gaps
from tablevault.engine.inputs import Source
from tablevault.engine.keep_old import with_old_rows
from tablevault.engine.plan import Plan
from tablevault.engine.ready import Ready


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
        From `tablevault.engine.ready.ready`, within its body.

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
    run.context.control.begin()
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
        if run.context.ledger is not None:
            changed = {str(name) for name in frame if frame[name].dtype != made[name].dtype}
            run.context.ledger.note_cast(changed)
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
        From `tablevault.engine.ready.ready`, within its body.
    rows : int
        Rows for which row-wise builders are called, at least 1.

    Returns
    -------
    tuple of BuilderResult
        What was done; `tablevault.engine.partial` reads what was made.

    Raises
    ------
    BaseException
        As `run_all`.
    """
    run.context.control.begin()
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
