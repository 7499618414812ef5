"""Builders into a frame: calls functions, and trusts nothing that they return."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import pandas as pd

from tablevault.engine.builder_result import BuilderResult
from tablevault.engine.calls.cached import CachedCalls, recording
from tablevault.engine.calls.ledger import Ledger, Part
from tablevault.engine.calls.parts import DIGEST_SIZE, Fingerprint, OutsideModule
from tablevault.engine.calls.reasons import changed_texts
from tablevault.engine.calls.usage import accepting_usage
from tablevault.engine.inputs import Inputs, Source
from tablevault.engine.invocation import Invoker
from tablevault.engine.keep_old import with_old_rows
from tablevault.engine.plan import Plan
from tablevault.engine.reads import growing
from tablevault.engine.reuse import Past, Reuse
from tablevault.engine.settle import Job, settle
from tablevault.engine.step import Step, StepContext
from tablevault.engine.tables import RunTables
from tablevault.errors import TVBuilderError
from tablevault.progress import Progress, Silent
from tablevault.render import counted
from tablevault.wording import Either, Wording

Function = Callable[..., Any]

_told_of: set[OutsideModule] = set()

ARTIFACT_FOLDER = "~ARTIFACT_FOLDER~"
"""Keyword for the artifact folder of the table that is being built."""


class Load(Protocol):
    """Finds the function of a builder, as `tablevault.engine.code.Code.load_function` does."""

    def __call__(self, module: str, function: str, *, is_custom: bool) -> Function:
        """Give the function; raises TVFileError when there is none."""
        ...


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


def run(
    plan: Plan,
    *,
    inputs: Inputs,
    load: Load,
    keywords: Mapping[str, str],
    progress: Progress | None = None,
    past: Past | None = None,
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
    past : Past, optional
        What may be taken over from an earlier instance, or from earlier calls; nothing by
        default.

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
    past = past or Past()
    folder = keywords.get(ARTIFACT_FOLDER)
    tables = RunTables(inputs, None if folder is None else Path(folder))
    jobs, plan = settle(plan, tables, keywords)
    cached_calls = None
    if past.ledger is not None:
        cached_calls = CachedCalls(past.ledger, past.fingerprint, past.file_text)
    with (
        recording(cached_calls),
        accepting_usage(),
        contextlib.closing(Invoker()) as invoke,
    ):
        context = StepContext(
            tables=tables,
            progress=progress,
            control=past.control,
            invoke=invoke,
            ledger=past.ledger,
            earlier=None if past.earlier is None else past.earlier.frame,
            key_columns=jobs[0].primary_key,
            file_text=past.file_text,
            files=past.files,
        )
        functions = {
            job.name: invoke(load, job.module, job.function, is_custom=job.is_custom)
            for job in jobs
        }
        for job in jobs:
            _check_arguments(job, functions[job.name])
        codes = {job.name: _code_of(job, past) for job in jobs}
        _warn_of_outside(codes)
        _warn_of_growing(jobs, past)
        if past.ledger is not None:
            past.ledger.begin(_parts(jobs), codes.values())
            _refuse_unclear(jobs, codes, past.ledger)
        context.control.begin()
        steps = [Step(job, functions[job.name], codes[job.name].digest, context) for job in jobs]
        reuse = Reuse(past, inputs, tables.draft)
        done = _run_steps(jobs, steps, plan, reuse)
    frame = made = tables.draft.finished(plan.columns)
    dtypes = {name: dtype for job in jobs for name, dtype in job.dtypes.items()}
    if jobs[0].keep_old and context.earlier is not None:
        frame = with_old_rows(made, context.earlier, jobs[0], dtypes)
        if past.ledger is not None:
            changed = {str(name) for name in frame if frame[name].dtype != made[name].dtype}
            past.ledger.note_cast(changed)
    return RunResult(
        frame=frame,
        sources=tables.sources,
        builders=tuple(done),
        plan=plan,
        dtypes=MappingProxyType(dtypes),
        primary_key=jobs[0].primary_key,
        rows=range(len(frame) - len(made), len(frame)),
        is_same=reuse.index_is_same() and all(each.reused == each.rows for each in done[1:]),
    )


def _parts(jobs: Sequence[Job]) -> list[Part]:
    """Describe the builders of a run for whoever reads what it has made so far."""
    return [
        Part(
            name=job.name,
            columns=job.changed_columns,
            dtypes=job.dtypes,
            primary_key=job.primary_key,
        )
        for job in jobs
    ]


def _warn_of_outside(codes: Mapping[str, Fingerprint]) -> None:
    """Warn, once in a program, of code that decides results, and that the vault does not keep."""
    outside = {each for code in codes.values() for each in code.outside}
    for each in sorted(outside - _told_of, key=lambda found: found.module):
        _told_of.add(each)
        logging.getLogger("tablevault").warning(
            'Module "%s" is used from %s; it is not kept in the vault.', each.module, each.path
        )


def _warn_of_growing(jobs: Sequence[Job], past: Past) -> None:
    """Warn of arguments that hand a whole column to the call of each row.

    A builder that stands in the earlier instance with the same arguments is meant so.
    """
    known = {} if past.earlier is None else past.earlier.builders
    for job in jobs:
        before = known.get(job.name)
        if job.return_type != "row-wise" or (before and before.arguments == job.arguments):
            continue
        for place, reference in growing(job.arguments, job.changed_columns):
            logging.getLogger("tablevault").warning(
                'Builder "%s": %s is "%s", all rows in the call for each row, so that one more '
                'row changes all calls. If the value of the row is meant, write "%s".',
                job.name,
                place,
                reference,
                f"{reference.removesuffix('>>').rstrip()}[index]>>",
            )


def _run_steps(
    jobs: Sequence[Job], steps: Sequence[Step], plan: Plan, reuse: Reuse
) -> list[BuilderResult]:
    """Run the builders in their order, the index builder first."""
    written = {builder.name: builder for builder in plan.order}
    done = [steps[0].run(reuse.decide_index(jobs[0], written[jobs[0].name]))]
    reuse.match(jobs[0])
    for job, step in zip(jobs[1:], steps[1:], strict=True):
        done.append(step.run(reuse.decide(job, written[job.name])))
    return done


def _code_of(job: Job, past: Past) -> Fingerprint:
    """Return what stands for the code of a builder: its fingerprint, or the version it is given."""
    if not job.code_version:
        found = past.fingerprint(job.module, job.function, job.is_custom)
        assert found is not None, "what was loaded is there"
        return found
    facts = json.dumps([job.module, job.function, job.is_custom, job.code_version])
    return Fingerprint(
        module=job.module,
        function=job.function,
        digest=hashlib.blake2b(facts.encode(), digest_size=DIGEST_SIZE).digest(),
        parts=(),
        texts=(),
        outside=(),
        dynamic=(),
    )


def _refuse_unclear(jobs: Sequence[Job], codes: Mapping[str, Fingerprint], ledger: Ledger) -> None:
    """Refuse to go on with results of another prompt: nobody can know whether they are meant.

    A changed function was corrected for the rows that failed. A changed text is perhaps another
    question.
    """
    if ledger.terms.accept_code is not None:
        return
    for job in jobs:
        for before, rows in ledger.own_codes(job.name):
            texts = changed_texts(before, codes[job.name])
            if before.digest == codes[job.name].digest or not texts:
                continue
            shown = " ".join(texts[0].value.split())
            raise TVBuilderError(
                f'Builder "{job.name}": the text "{shown:.60}" in `{texts[0].name}` of module '
                f'"{texts[0].module}" changed after {counted(rows, "row")} had been made.',
                Wording(
                    "Say what is meant: ",
                    Either("accept_code=True", "--accept-code yes"),
                    " keeps these rows, ",
                    Either("accept_code=False", "--accept-code no"),
                    " makes them anew.",
                ),
                builder=job.name,
                module=texts[0].module,
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
