"""``execute_instance``: builders of a temporary instance are run, and the result materialised."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from tablevault.engine.builders.field_values import EXECUTOR_FORMS, parse_executor
from tablevault.errors import TVArgumentError, TVProcessError, TVTableError
from tablevault.history.commits.change import Change
from tablevault.history.commits.snapshot import Snapshot
from tablevault.model.view import VaultView
from tablevault.names import ProcessId, TempRef, check_version
from tablevault.operations.call_artifacts import ArtifactFolder
from tablevault.operations.call_costs import account_of, run_of, total_of
from tablevault.operations.materialize import (
    NewInstance,
    Result,
    plan_instance,
    prepared_document,
    result_holds,
    store,
)
from tablevault.operations.prepare_execution import (
    BeforeFirstCall,
    DeactivateInstances,
    ExecutionControl,
    Prepared,
    VaultCode,
    fixed_by,
    is_custom,
    options_of,
    prepare,
    reuse_policy,
)
from tablevault.queries.calls import call_sources
from tablevault.render import counted
from tablevault.transactions.background import Handed, check_interpreter, launch
from tablevault.transactions.begin import Actor, begin
from tablevault.transactions.claims import alone, code_hold, instance_hold, temp_hold
from tablevault.transactions.operation import (
    NOT_RECORDED,
    UNLESS_DEFAULT,
    Operation,
    decoded_operation,
    operation,
    perform,
    setup_of,
)
from tablevault.transactions.records import Hold, Json, Record
from tablevault.transactions.transaction import EditedBranch, Transaction
from tablevault.vault import Vault
from tablevault.wording import Call, OperationName, Parameter, Wording

if TYPE_CHECKING:
    from tablevault.engine.calls.ledger import Ledger
    from tablevault.engine.execution.budgets import RunLimits
    from tablevault.engine.execution.run import Ready, RunResult


@operation("execute_instance")
@dataclass(frozen=True, slots=True, kw_only=True)
class ExecuteInstance(Operation[Vault, VaultView, "_Executed | None"]):
    """Run the builders of a temporary instance and materialise what they make.

    See `TableVault.execute_instance`. A trial (`sample`) makes no instance.
    """

    table_name: str
    version: str
    force_execute: bool = False
    background: bool = False
    accept_code: bool | None = None
    sample: int | None = field(default=None, metadata=UNLESS_DEFAULT)
    max_calls: int | None = field(default=None, metadata=UNLESS_DEFAULT)
    max_cost: float | None = field(default=None, metadata=UNLESS_DEFAULT)
    allow_secret: bool = field(default=False, metadata=UNLESS_DEFAULT)
    executor: str = field(default="", metadata=UNLESS_DEFAULT)
    pool: object = field(default=None, metadata=NOT_RECORDED)
    """An executor of the caller's, instead of one that has a name."""
    begun: Callable[[], None] | None = field(default=None, metadata=NOT_RECORDED)
    """Is called when the first function is about to be called."""

    @property
    def temp(self) -> TempRef:
        """The temporary instance."""
        return TempRef(table=self.table_name, version=self.version)

    def checked(self, vault: Vault) -> Self:
        """Return it with numbers of Python's, and within their ranges."""
        check_budget("execute_instance", self.max_calls, self.max_cost)
        _check_executor(self)
        return replace(
            self,
            version=check_version(self.version),
            sample=_checked_sample(self.sample),
            max_calls=None if self.max_calls is None else int(self.max_calls),
            max_cost=None if self.max_cost is None else float(self.max_cost),
        )

    def resumed(self, recorded: Mapping[str, Json], process_id: str) -> Self:
        """Return the paused execution; what may be spent, a trial and `accept_code` are new."""
        table_name, version = str(recorded["table_name"]), str(recorded["version"])
        if self.sample is not None and "sample" not in recorded:
            raise _not_a_trial(TempRef(table=table_name, version=version), process_id, self.sample)
        return replace(
            self,
            table_name=table_name,
            version=version,
            force_execute=bool(recorded["force_execute"]),
            background=self.background or bool(recorded.get("background")),
            allow_secret=self.allow_secret or bool(recorded.get("allow_secret")),
            executor=self.executor or str(recorded.get("executor", "")),
        )

    def start(self, vault: Vault, actor: Actor) -> ProcessId:
        """Run it here, or begin here, where mistakes are raised, and hand it over."""
        if not self.background:
            return perform(vault, self, actor)
        check_interpreter()
        record, lock = begin(vault.parts, self.request, actor, setup_of(vault, self))
        order: dict[str, Json] = {
            "path": str(vault.path),
            "author": vault.author,
            "lock_timeout_s": vault.lock_timeout_s,
        }
        record = replace(record, request=self.request)
        launch(vault.parts, record, lock, "tablevault.operations.processes", order)
        return record.process_id

    def claims(self, view: VaultView, record: Record) -> Sequence[Hold]:
        """Claim the version and what an instance needs; share what is read."""
        table, found = self.table_name, view.table(self.table_name).temp_with_builders(self.version)
        fixed = fixed_by(record)
        prepared = prepare(view, found, found.builders(), fixed, forced=self.force_execute)
        mine = [
            temp_hold(table, self.version),
            *(
                instance_hold(each.table, each.instance_id, exclusive=False)
                for each in prepared.sources
            ),
        ]
        if prepared.origin is not None:
            origin_table = view.name_of(prepared.origin)
            mine.append(instance_hold(origin_table, prepared.origin.instance_id, exclusive=False))
        holds = [*map(alone, mine), *result_holds(view.snapshot.table(table), self.temp)]
        if is_custom(prepared.plan):
            holds.append(code_hold(exclusive=False))
        return holds

    def prepare(self, vault: Vault, tx: Transaction) -> _Executed | None:
        """Run the builders, and store what they make."""
        attempt = _begin_attempt(vault, tx, self)
        if self.sample is not None:
            attempt.run_first(self.sample)
            return None
        run = attempt.run()
        if not len(run.frame.columns):
            raise TVTableError(
                f'The builders of table "{self.table_name}" make no column.',
                "Name at least one column in changed_columns.",
                table=self.table_name,
            )
        new = store(vault, tx, attempt.branch, run.frame, attempt.result(run))
        return _Executed(new=new, ledger=attempt.ledger)

    def publishes(self, prepared: _Executed | None) -> bool:
        """Return whether it made all rows."""
        return prepared is not None

    def plan(
        self, view: VaultView, tx: Transaction, prepared: _Executed | None, at: float
    ) -> Change:
        """Merge the branch of the temporary instance, and tag the instance."""
        assert prepared is not None, "a trial publishes nothing"
        return plan_instance(view, tx, prepared.new, at)

    def finish(self, vault: Vault, tx: Transaction, prepared: _Executed | None) -> None:
        """Record that the instance holds the calls."""
        if prepared is not None:
            tx.follow_up(lambda: prepared.ledger.assign(prepared.new.instance_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Executed:
    """What an execution made: the instance, and the calls that made it."""

    new: NewInstance
    ledger: Ledger


def perform_handed(vault: Vault, handed: Handed, outcome: AbstractContextManager[None]) -> None:
    """Execute the instance for which this interpreter was started; `outcome` is entered for it."""
    record = vault.records.read(handed.process_id)
    asked = None if record is None else decoded_operation(record.request)
    if not isinstance(asked, ExecuteInstance):
        raise TVProcessError(
            f'The record of process "{handed.process_id}" is gone.', process=handed.process_id
        )
    actor = replace(vault.actor(handed.process_id), lock=handed.lock)
    perform(vault, replace(asked, begun=handed.ready), actor, outcome)


def _checked_sample(sample: int | None) -> int | None:
    """Return the number of rows of a trial as an int of Python's; refuse one that is not any."""
    if sample is not None and sample < 1:
        raise TVArgumentError(
            Wording("Argument ", Parameter("execute_instance", "sample"), f" is {sample}."),
            "It has to be at least 1; without it all rows are made.",
            argument="sample",
        )
    return None if sample is None else operator.index(sample)


def _check_executor(asked: ExecuteInstance) -> None:
    """Raise TVArgumentError for the name of no executor, and for one that cannot be handed over."""
    executor = Parameter("execute_instance", "executor")
    if asked.pool is not None and asked.background:
        raise TVArgumentError(
            Wording("Argument ", executor, " is an object, which a background process cannot use."),
            f"Give a name, {EXECUTOR_FORMS}, or execute here.",
            argument="executor",
        )
    if asked.pool is not None and not isinstance(asked.pool, Executor):
        raise TVArgumentError(
            Wording(
                "Argument ",
                executor,
                " of ",
                OperationName("execute_instance"),
                f" is {asked.pool!r:.80} ({type(asked.pool).__name__}).",
            ),
            "It has to be an executor of concurrent.futures; of a Dask client, pass "
            "client.get_executor().",
            argument="executor",
        )
    if not asked.executor:
        return
    try:
        parse_executor(asked.executor)
    except ValueError:
        raise TVArgumentError(
            Wording("Argument ", executor, f' is "{asked.executor}".'),
            f"It has to be {EXECUTOR_FORMS}.",
            argument="executor",
        ) from None


def check_budget(operation_name: str, max_calls: int | None, max_cost: float | None) -> None:
    """Raise TVArgumentError for a budget that is below 0 or no number of calls."""
    for name, value in (("max_calls", max_calls), ("max_cost", max_cost)):
        if value is None:
            continue
        if not value >= 0 or (name == "max_calls" and int(value) != value):
            raise TVArgumentError(
                Wording("Argument ", Parameter(operation_name, name), f" is {value}."),
                "It has to be 0 or more; without it there is no such limit.",
                argument=name,
            )


def _not_a_trial(temp: TempRef, process_id: str, sample: int) -> TVArgumentError:
    """Make the error for a trial under the id of an execution that waits to make all rows."""
    return TVArgumentError(
        f'Process "{process_id}" is a paused execution of all rows, no trial of '
        f"{counted(sample, 'row')}.",
        Wording(
            "Go on with all rows: ",
            Call(
                "execute_instance",
                table_name=temp.table,
                version=temp.version,
                process_id=process_id,
            ),
            ".",
        ),
        process=process_id,
        sample=sample,
    )


def _begin_attempt(vault: Vault, tx: Transaction, asked: ExecuteInstance) -> _Attempt:
    """Take in what was edited by hand, open the records of calls, and find the artifacts."""
    from tablevault.engine.calls.ledger import Ledger

    temp = asked.temp
    branch = tx.edited_branch(temp)
    view = vault.live_view(tx.snapshot())
    texts = Snapshot(vault.repository, branch.commit).builder_files(*temp)
    table = view.table(temp.table)
    found, fixed = table.temp_with_builders(temp.version), fixed_by(tx.record)
    prepared = prepare(view, found, texts, fixed, forced=asked.force_execute)
    origin = prepared.origin
    ledger = Ledger(
        vault.calls,
        temp=found.creation,
        process=tx.process_id,
        policy=reuse_policy(
            table.document, forced=asked.force_execute, accept_code=asked.accept_code
        ),
        sources=call_sources(table, origin),
    )
    ledger.account = account_of(table, temp.version)
    start = prepared_document(vault.parts, branch).origin[0] or (
        "" if origin is None else origin.instance_id
    )
    return _Attempt(
        vault=vault,
        tx=tx,
        asked=asked,
        branch=branch,
        view=view,
        prepared=prepared,
        code=VaultCode(view),
        ledger=ledger,
        files=ArtifactFolder(vault, tx, branch, start),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """One attempt at an execution, with all that it needs."""

    vault: Vault
    tx: Transaction
    asked: ExecuteInstance
    branch: EditedBranch
    view: VaultView
    prepared: Prepared
    code: VaultCode
    ledger: Ledger
    files: ArtifactFolder

    def run(self) -> RunResult:
        """Call the functions; what they raise passes."""
        from tablevault.engine.execution.run import run_all

        with self._ready() as run:
            return run_all(run)

    def run_first(self, rows: int) -> None:
        """Call the functions for the first rows; no instance is made of what they return."""
        from tablevault.engine.execution.run import run_first

        with self._ready() as run:
            run_first(run, rows)
            self.ledger.end_trial()

    @contextmanager
    def _ready(self) -> Iterator[Ready]:
        """Check all that can be checked before the first call."""
        from tablevault.engine.execution.executors import Executors
        from tablevault.engine.execution.file_transfer import VaultHome
        from tablevault.engine.execution.run import ARTIFACT_FOLDER, ready

        vault, prepared, code = self.vault, self.prepared, self.code
        folder = vault.temp_folders.artifacts(self.branch.temp)
        folder.mkdir(parents=True, exist_ok=True)
        pool = self.asked.pool
        executors = Executors(pool if isinstance(pool, Executor) else self.asked.executor)
        with closing(code.code), closing(executors), self.ledger as ledger:
            options = options_of(self.view, prepared, code, ledger, folder)
            with ready(
                prepared.plan,
                inputs=prepared.inputs,
                load=code.code.load_function,
                keywords={ARTIFACT_FOLDER: str(folder), "~PROCESS_ID~": self.tx.process_id},
                progress=vault.progress(),
                options=replace(
                    options,
                    control=ExecutionControl(self.tx, self._decided, self._before_first_call()),
                    files=self.files,
                    limits=self._limits(),
                    batches=vault.state / "batches",
                    executors=executors,
                    home=VaultHome.of(vault.path, folder, vault.path / ".git" / "HEAD"),
                    modules=code.code.modules_of,
                ),
            ) as run:
                yield run

    def _decided(self) -> Mapping[str, Json]:
        """Return the decisions that the process keeps from its first call on."""
        if self.asked.begun is not None:
            self.asked.begun()
        origin = self.prepared.origin
        return {
            "sources": [list(each) for each in self.prepared.inputs.fixed],
            "origin": "" if origin is None else origin.instance_id,
            "code": dict(self.code.used()),
            "shipped": dict(self.code.shipped()),
        }

    def _before_first_call(self) -> BeforeFirstCall | None:
        """Return what deactivates the instances of a table with side effects."""
        table, vault = self.asked.table_name, self.vault
        if not self.view.snapshot.table(table).side_effects:
            return None

        def deactivate() -> None:
            if vault.view().table(table).active_instances():
                actor = replace(vault.actor(""), parent=self.tx.process_id)
                perform(vault, DeactivateInstances(table_name=table), actor)

        return BeforeFirstCall(deactivate)

    def _limits(self) -> RunLimits:
        """Return what limits the calls."""
        from tablevault.engine.execution.budgets import RunLimits

        config, state = self.view.snapshot.vault().config, self.vault.state
        return RunLimits(
            vault=config.limits,
            prices=config.prices,
            max_calls=self.asked.max_calls,
            max_cost=self.asked.max_cost,
            rates=state / "rates.sqlite",
            begun=state / "begun",
        )

    def result(self, run: RunResult) -> Result:
        """Return what the instance was made from: texts by git ids, instances that were read."""
        vault, prepared, origin = self.vault, self.prepared, self.prepared.origin
        spent = self.ledger.spent()
        sources = dict.fromkeys((*prepared.sources, *run.sources))
        plan, branch = run.plan, Snapshot(vault.repository, self.branch.commit)
        blobs = branch.builders(plan.table, prepared.temp.version)
        document = prepared_document(vault.parts, self.branch)
        if not document.origin[0] and origin is not None:
            document = replace(document, origin=(origin.instance_id, self.view.name_of(origin)))
        return Result(
            document=replace(
                document,
                dependencies=tuple((source.table, source.instance_id) for source in sources),
                primary_key=run.primary_key,
                builders={builder.name: blobs[builder.name] for builder in plan.order},
                code=self.code.used(),
                shipped=self.code.shipped(),
                execution={each.name: run_of(each, spent.get(each.name)) for each in run.builders},
            ),
            spent=total_of(spent),
            reuses=origin.document.digest if origin and run.is_same else "",
            kept=self.files.pointers,
            calls=lambda sink, digest: self.ledger.write_calls(sink, digest, run.rows),
        )
