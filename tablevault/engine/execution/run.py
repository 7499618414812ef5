"""A run of all builders: what can be checked is checked before the first call."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pandas as pd

from tablevault.engine.builders.arguments import unset_variables
from tablevault.engine.builders.builder import PROVIDER_BATCH, Builder
from tablevault.engine.builders.order import Plan
from tablevault.engine.builders.reads import growing, reads_other_rows
from tablevault.engine.builders.resolve_fields import ResolvedBuilder, resolve_all
from tablevault.engine.calls.cached import CachedCalls, recording
from tablevault.engine.calls.ledger import BuilderColumns, Ledger
from tablevault.engine.calls.usage import accepting_usage
from tablevault.engine.execution.caller import by_name
from tablevault.engine.execution.concurrency import CallExecutor
from tablevault.engine.execution.context import RunContext, RunOptions
from tablevault.engine.execution.executors import CallPlace, slots_of
from tablevault.engine.execution.invocation import Invoker
from tablevault.engine.execution.limiting import Limiting
from tablevault.engine.execution.missing_cells import MissingCells
from tablevault.engine.execution.remote_calls import RemoteCalls
from tablevault.engine.execution.remote_rows import AHEAD
from tablevault.engine.execution.reuse import Decision, Reuse
from tablevault.engine.execution.step import BuilderResult, Step
from tablevault.engine.fingerprints.fingerprint import (
    DIGEST_SIZE,
    Fingerprint,
    OutsideModule,
    changed_texts,
)
from tablevault.engine.matching import NEW_ROW, match_rows
from tablevault.engine.results import check_key
from tablevault.engine.tables import FixedInstance, Inputs, RunTables, TableDraft
from tablevault.errors import TVBuilderError, TVTableError
from tablevault.frames.casting import cast
from tablevault.frames.dtypes import infer
from tablevault.progress import Progress
from tablevault.render import counted
from tablevault.wording import Either, Wording

Function = Callable[..., Any]

_COROUTINES: Final = 16
"""Calls of a coroutine function at the same time, by default."""
_warned: set[OutsideModule] = set()

ARTIFACT_FOLDER = "~ARTIFACT_FOLDER~"
"""Keyword for the artifact folder of the table that is being built."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A run whose next step is the first call.

    Attributes
    ----------
    plan : Plan
        As it is executed: what references said about columns is known in it.
    builders : tuple of ResolvedBuilder
        The builders, in the order of execution.
    codes : mapping of str to Fingerprint
        The code of each.
    steps : tuple of Step
        What runs each.
    context : RunContext
        What they share.
    reuse : Reuse
        Decides what is taken over from the earlier instance.
    """

    plan: Plan
    builders: tuple[ResolvedBuilder, ...]
    codes: Mapping[str, Fingerprint]
    steps: tuple[Step, ...]
    context: RunContext
    reuse: Reuse

    @property
    def draft(self) -> TableDraft:
        """The table under construction."""
        return self.context.tables.draft

    def decide_index(self) -> Decision:
        """Decide what becomes of the index builder."""
        return self.reuse.decide_index(self.builders[0], self.plan.index)

    def column_steps(self) -> Iterator[tuple[ResolvedBuilder, Step, Builder]]:
        """Yield the column builders in their order, each as it is run and as it is written."""
        written = {each.name: each for each in self.plan.order}
        for builder, step in zip(self.builders[1:], self.steps[1:], strict=True):
            yield builder, step, written[builder.name]


@contextlib.contextmanager
def ready(
    plan: Plan,
    *,
    inputs: Inputs,
    load: Callable[..., Function],
    keywords: Mapping[str, str],
    progress: Progress,
    options: RunOptions,
) -> Iterator[Ready]:
    """Check every field, function and dtype of a plan, for a body that calls functions.

    Parameters
    ----------
    plan : Plan
        From `make_plan`.
    inputs : Inputs
        The tables that may be read.
    load : callable
        Finds functions, as `tablevault.engine.code.Code.load_function` does.
    keywords : mapping of str to str
        Texts such as ``~PROCESS_ID~`` and what stands for them; replaced in the text of all
        fields, never inside data that a reference brings.
    progress : Progress
        Shows each builder and counts ``calls``.
    options : RunOptions
        What may be taken over from an earlier instance, or from earlier calls.

    Yields
    ------
    Ready
        The run.

    Raises
    ------
    TVBuilderError
        A builder is malformed, or it is open whether results of another prompt count.
    TVFileError
        A module or function is missing.
    TableReferenceError
        A reference cannot be evaluated.
    """
    folder = keywords.get(ARTIFACT_FOLDER)
    tables = RunTables(inputs, None if folder is None else Path(folder))
    builders, plan = resolve_all(plan, tables, keywords)
    cached_calls = CachedCalls(options.ledger, options.fingerprint, by_name(options.file_text))
    limiting = Limiting(options.limits, progress)
    with (
        contextlib.closing(limiting),
        recording(cached_calls),
        accepting_usage(),
        contextlib.closing(Invoker()) as invoker,
        contextlib.ExitStack() as stack,
    ):
        context = RunContext(
            options=options,
            tables=tables,
            key_columns=builders[0].primary_key,
            progress=progress,
            executor=invoker,
            limiting=limiting,
        )
        functions = {
            builder.name: invoker(
                load, builder.module, builder.function, is_custom=builder.is_custom
            )
            for builder in builders
        }
        places = {builder.name: _place(builder, options) for builder in builders}
        builders = tuple(
            _with_threads(builder, functions[builder.name], places[builder.name], plan.columns)
            for builder in builders
        )
        for builder in builders:
            _check_arguments(builder, functions[builder.name])
        codes = {builder.name: _code_of(builder, options) for builder in builders}
        _warn_of_outside(codes)
        _warn_of_growing(builders, options)
        _warn_of_unset(builders)
        options.ledger.begin(_parts(builders), codes.values())
        limiting.start(builders, options.ledger)
        _refuse_unclear(builders, codes, options.ledger)
        executors: dict[str, CallExecutor] = {builder.name: invoker for builder in builders}
        for builder in builders:
            if (executor := places[builder.name].executor) is not None:
                function = functions[builder.name]
                remote = RemoteCalls(
                    executor,
                    builder,
                    function,
                    modules=options.modules(function),
                    most_items=_most_items(builder, tables.draft),
                    home=options.home,
                )
                executors[builder.name] = stack.enter_context(contextlib.closing(remote))
        yield Ready(
            plan=plan,
            builders=builders,
            codes=codes,
            steps=tuple(
                Step(
                    builder,
                    functions[builder.name],
                    codes[builder.name],
                    replace(context, executor=executors[builder.name]),
                )
                for builder in builders
            ),
            context=context,
            reuse=Reuse(options, inputs, tables.draft),
        )


def _place(builder: ResolvedBuilder, options: RunOptions) -> CallPlace:
    """Return where the function of a builder is called."""
    if options.executors is None or builder.mode == PROVIDER_BATCH:
        return CallPlace()
    return options.executors.place(builder.executor)


def _most_items(builder: ResolvedBuilder, draft: TableDraft) -> Callable[[], int]:
    """Return what tells how many items are taken of a generator; one too many is an error."""
    return lambda: sys.maxsize if builder.kind == "index" else draft.rows + 1


def _with_threads(
    builder: ResolvedBuilder, function: Function, place: CallPlace, columns: Sequence[str]
) -> ResolvedBuilder:
    """Decide how many calls are made at the same time, where the builder does not say."""
    if builder.n_threads:
        return builder
    is_async = inspect.iscoroutinefunction(function)
    threads = place.threads or 1
    if place.executor is not None:
        threads = slots_of(place.executor) * AHEAD
    if is_async:
        threads = _COROUTINES * (1 if place.executor is None else slots_of(place.executor))
    if (
        threads > 1
        and not is_async
        and reads_other_rows(builder.arguments, builder.changed_columns, columns)
    ):
        threads = 1
    return replace(builder, n_threads=threads)


def _parts(builders: Sequence[ResolvedBuilder]) -> list[BuilderColumns]:
    """Describe the builders of a run, for readers of what it has made so far."""
    return [
        BuilderColumns(
            name=builder.name,
            columns=builder.changed_columns,
            dtypes=builder.dtypes,
            primary_key=builder.primary_key,
        )
        for builder in builders
    ]


def _warn_of_outside(codes: Mapping[str, Fingerprint]) -> None:
    """Warn, once in a program, of code that decides results, and that the vault does not keep."""
    outside = {each for code in codes.values() for each in code.outside}
    for each in sorted(outside - _warned, key=lambda found: found.module):
        _warned.add(each)
        logging.getLogger("tablevault").warning(
            'Module "%s" is used from %s; it is not kept in the vault.', each.module, each.path
        )


def _warn_of_growing(builders: Sequence[ResolvedBuilder], options: RunOptions) -> None:
    """Warn of arguments that hand a whole column to the call of each row.

    A builder that stands in the earlier instance with the same arguments is meant so.
    """
    known = {} if options.earlier is None else options.earlier.builders
    for builder in builders:
        before = known.get(builder.name)
        if builder.return_type != "row-wise" or (before and before.arguments == builder.arguments):
            continue
        for place, reference in growing(builder.arguments, builder.changed_columns):
            logging.getLogger("tablevault").warning(
                'Builder "%s": %s is "%s", all rows in the call for each row, so that one more '
                'row changes all calls. If the value of the row is meant, write "%s".',
                builder.name,
                place,
                reference,
                f"{reference.removesuffix('>>').rstrip()}[index]>>",
            )


def _warn_of_unset(builders: Sequence[ResolvedBuilder]) -> None:
    """Warn of environment variables that the first call of a builder will miss, perhaps late."""
    for builder in builders:
        for name in unset_variables(builder.arguments):
            logging.getLogger("tablevault").warning(
                'Builder "%s" needs the environment variable "%s" as soon as it calls its '
                "function; it is not set.",
                builder.name,
                name,
            )


def _code_of(builder: ResolvedBuilder, options: RunOptions) -> Fingerprint:
    """Return what stands for the code of a builder: its fingerprint, or the version it is given."""
    if not builder.code_version:
        found = options.fingerprint(builder.module, builder.function, builder.is_custom)
        assert found is not None, "what was loaded is there"
        return found
    facts = json.dumps([builder.module, builder.function, builder.is_custom, builder.code_version])
    return Fingerprint(
        module=builder.module,
        function=builder.function,
        digest=hashlib.blake2b(facts.encode(), digest_size=DIGEST_SIZE).digest(),
        parts=(),
        texts=(),
        outside=(),
        dynamic=(),
    )


def _refuse_unclear(
    builders: Sequence[ResolvedBuilder], codes: Mapping[str, Fingerprint], ledger: Ledger
) -> None:
    """Refuse to go on with results of another prompt: only the user can say whether they count.

    A changed function was corrected for the rows that failed. A changed text is perhaps another
    question.
    """
    if ledger.policy.accept_code is not None:
        return
    for builder in builders:
        for before, rows in ledger.own_codes(builder.name):
            texts = changed_texts(before, codes[builder.name])
            if before.digest == codes[builder.name].digest or not texts:
                continue
            shown = " ".join(texts[0].value.split())
            raise TVBuilderError(
                f'Builder "{builder.name}": the text "{shown:.60}" in `{texts[0].name}` of module '
                f'"{texts[0].module}" changed after {counted(rows, "row")} had been made.',
                Wording(
                    "Say what is meant: ",
                    Either("accept_code=True", "--accept-code yes"),
                    " keeps these rows, ",
                    Either("accept_code=False", "--accept-code no"),
                    " makes them anew.",
                ),
                builder=builder.name,
                module=texts[0].module,
            )


def _check_arguments(builder: ResolvedBuilder, function: Function) -> None:
    """Refuse arguments that the function does not take, before anything is paid for."""
    names = builder.known_keywords()
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
            f'Builder "{builder.name}": arguments do not fit "{builder.function}{signature}": '
            f"{error}.",
            "Name its parameters in the field arguments.",
            builder=builder.name,
            field="arguments",
        ) from error


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
    sources: tuple[FixedInstance, ...]
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
        From `ready`, within its body.

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
    index = run.builders[0]
    run.context.options.control.begin()
    done = [run.steps[0].run(run.decide_index())]
    run.reuse.match(index)
    missing = MissingCells(run.draft)
    for builder, step, written in run.column_steps():
        done.append(step.run(run.reuse.decide(builder, written), missing.rows_lacking(builder)))
        missing.add(builder.changed_columns, step.missing)
    frame = made = run.draft.finished(run.plan.columns)
    dtypes = {name: dtype for builder in run.builders for name, dtype in builder.dtypes.items()}
    if index.keep_old and run.context.earlier is not None:
        frame = with_old_rows(made, run.context.earlier, index, dtypes)
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
        From `ready`, within its body.
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
    done = [run.steps[0].run(run.decide_index())]
    run.reuse.match(run.builders[0])
    missing = MissingCells(run.draft)
    for builder, step, written in run.column_steps():
        unknown = missing.unknown(builder)
        waiting = frozenset(unknown.rows.nonzero()[0].tolist())
        done.append(step.run(run.reuse.decide(builder, written, unknown), waiting, rows))
        missing.add(builder.changed_columns, step.missing)
    return tuple(done)


def with_old_rows(
    frame: pd.DataFrame, earlier: pd.DataFrame, index: ResolvedBuilder, declared: Mapping[str, str]
) -> pd.DataFrame:
    """Put earlier rows in front of new ones.

    Parameters
    ----------
    frame, earlier : DataFrame
        What was made, and the earlier instance. Columns go by name; one that `earlier` lacks is
        null in its rows.
    index : ResolvedBuilder
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
        stays = match_rows(keys.iloc[: len(earlier)], new, key) == NEW_ROW
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
