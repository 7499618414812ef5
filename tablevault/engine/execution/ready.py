"""A run before its first call: everything that can be checked is."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

from tablevault.engine.builders.arguments import unset_variables
from tablevault.engine.builders.builder import Builder
from tablevault.engine.builders.order import Plan
from tablevault.engine.builders.reads import growing
from tablevault.engine.builders.resolve_fields import Job, resolve_all
from tablevault.engine.calls.cached import CachedCalls, recording
from tablevault.engine.calls.ledger import Ledger, Part
from tablevault.engine.calls.parts import DIGEST_SIZE, Fingerprint, OutsideModule
from tablevault.engine.calls.reasons import changed_texts
from tablevault.engine.calls.usage import accepting_usage
from tablevault.engine.execution.caller import by_name
from tablevault.engine.execution.context import RunContext, RunOptions
from tablevault.engine.execution.invocation import Invoker
from tablevault.engine.execution.limiting import Limiting
from tablevault.engine.execution.reuse import Decision, Reuse
from tablevault.engine.execution.step import Step
from tablevault.engine.tables import Draft, Inputs, RunTables
from tablevault.errors import TVBuilderError
from tablevault.progress import Progress, Silent
from tablevault.render import counted
from tablevault.wording import Either, Wording

Function = Callable[..., Any]

_COROUTINES: Final = 16
"""Calls of a coroutine function at the same time, by default."""
_told_of: set[OutsideModule] = set()

ARTIFACT_FOLDER = "~ARTIFACT_FOLDER~"
"""Keyword for the artifact folder of the table that is being built."""


class Load(Protocol):
    """Finds the function of a builder, as `tablevault.engine.code.Code.load_function` does."""

    def __call__(self, module: str, function: str, *, is_custom: bool) -> Function:
        """Return the function; raises TVFileError when there is none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A run whose next step is the first call.

    Attributes
    ----------
    plan : Plan
        As it is executed: what references said about columns is known in it.
    jobs : tuple of Job
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
    jobs: tuple[Job, ...]
    codes: Mapping[str, Fingerprint]
    steps: tuple[Step, ...]
    context: RunContext
    reuse: Reuse

    @property
    def draft(self) -> Draft:
        """The table under construction."""
        return self.context.tables.draft

    def decide_index(self) -> Decision:
        """Decide what becomes of the index builder."""
        return self.reuse.decide_index(self.jobs[0], self.plan.index)

    def column_steps(self) -> Iterator[tuple[Job, Step, Builder]]:
        """Yield the column builders in their order, each as it is run and as it is written."""
        written = {builder.name: builder for builder in self.plan.order}
        for job, step in zip(self.jobs[1:], self.steps[1:], strict=True):
            yield job, step, written[job.name]


@contextlib.contextmanager
def ready(
    plan: Plan,
    *,
    inputs: Inputs,
    load: Load,
    keywords: Mapping[str, str],
    progress: Progress | None = None,
    options: RunOptions | None = None,
) -> Iterator[Ready]:
    """Check every field, function and dtype of a plan, for a body that calls functions.

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
    options : RunOptions, optional
        What may be taken over from an earlier instance, or from earlier calls; nothing by
        default.

    Yields
    ------
    Ready
        The run.

    Raises
    ------
    TVBuilderError
        A builder is malformed, or nobody can know whether results of another prompt count.
    TVFileError
        A module or function is missing.
    TableReferenceError
        A reference cannot be evaluated.
    """
    options = options or RunOptions()
    folder = keywords.get(ARTIFACT_FOLDER)
    tables = RunTables(inputs, None if folder is None else Path(folder))
    jobs, plan = resolve_all(plan, tables, keywords)
    cached_calls = None
    if options.ledger is not None:
        cached_calls = CachedCalls(options.ledger, options.fingerprint, by_name(options.file_text))
    progress = progress or Silent()
    limiting = Limiting(options.limits, progress)
    with (
        contextlib.closing(limiting),
        recording(cached_calls),
        accepting_usage(),
        contextlib.closing(Invoker()) as invoker,
    ):
        context = RunContext(
            options=options,
            tables=tables,
            key_columns=jobs[0].primary_key,
            progress=progress,
            executor=invoker,
            limiting=limiting,
        )
        functions = {
            job.name: invoker(load, job.module, job.function, is_custom=job.is_custom)
            for job in jobs
        }
        jobs = tuple(_with_threads(job, functions[job.name]) for job in jobs)
        for job in jobs:
            _check_arguments(job, functions[job.name])
        codes = {job.name: _code_of(job, options) for job in jobs}
        _warn_of_outside(codes)
        _warn_of_growing(jobs, options)
        _warn_of_unset(jobs)
        if options.ledger is not None:
            options.ledger.begin(_parts(jobs), codes.values())
            limiting.start(jobs, options.ledger)
            _refuse_unclear(jobs, codes, options.ledger)
        yield Ready(
            plan=plan,
            jobs=jobs,
            codes=codes,
            steps=tuple(Step(job, functions[job.name], codes[job.name], context) for job in jobs),
            context=context,
            reuse=Reuse(options, inputs, tables.draft),
        )


def _with_threads(job: Job, function: Function) -> Job:
    """Decide how many calls are made at the same time, where the builder does not say."""
    if job.n_threads:
        return job
    is_async = inspect.iscoroutinefunction(function)
    return replace(job, n_threads=_COROUTINES if is_async else 1)


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


def _warn_of_growing(jobs: Sequence[Job], options: RunOptions) -> None:
    """Warn of arguments that hand a whole column to the call of each row.

    A builder that stands in the earlier instance with the same arguments is meant so.
    """
    known = {} if options.earlier is None else options.earlier.builders
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


def _warn_of_unset(jobs: Sequence[Job]) -> None:
    """Warn of environment variables that the first call of a builder will miss, perhaps late."""
    for job in jobs:
        for name in unset_variables(job.arguments):
            logging.getLogger("tablevault").warning(
                'Builder "%s" needs the environment variable "%s" as soon as it calls its '
                "function; it is not set.",
                job.name,
                name,
            )


def _code_of(job: Job, options: RunOptions) -> Fingerprint:
    """Return what stands for the code of a builder: its fingerprint, or the version it is given."""
    if not job.code_version:
        found = options.fingerprint(job.module, job.function, job.is_custom)
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
