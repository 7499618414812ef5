"""What an execution needs before its first call: builders, code, origin, reusable results."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from tablevault.errors import TableReferenceError, TableVaultError
from tablevault.history.catalog.fold import DEACTIVATION
from tablevault.history.commits.change import Change
from tablevault.history.commits.documents import TableDocument, timestamp
from tablevault.history.commits.snapshot import decode_text
from tablevault.history.git.trees import Edit
from tablevault.model.instance import Instance, TempInstance
from tablevault.model.view import VaultView
from tablevault.names import CODE_DIR, TempRef, code_path
from tablevault.queries.inputs import ExpectedInputs, Place, VaultInputs
from tablevault.queries.origin import (
    content_of_temp,
    earlier_of,
    file_texts,
    find_origin,
    fingerprints_now,
    module_texts,
)
from tablevault.transactions.operation import Operation, operation
from tablevault.transactions.records import Hold, Json, Record
from tablevault.transactions.transaction import Transaction
from tablevault.vault import Vault

if TYPE_CHECKING:
    from tablevault.engine.builders.order import Plan
    from tablevault.engine.calls.ledger import Ledger, ReusePolicy
    from tablevault.engine.code import Code
    from tablevault.engine.execution.context import RunOptions
    from tablevault.engine.execution.preview import ExpectedTable
    from tablevault.engine.tables import FixedInstance


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What is known before the first function is called."""

    plan: Plan
    temp: TempRef
    inputs: ExpectedInputs
    sources: tuple[FixedInstance, ...]
    origin: Instance | None
    """The instance that is started from."""
    why_not: str
    """Why there is none."""


def prepare(
    view: VaultView,
    temp: TempInstance,
    texts: Mapping[str, bytes],
    fixed: Fixed,
    *,
    forced: bool,
    expected: Mapping[Place, ExpectedTable] = MappingProxyType({}),
) -> Prepared:
    """Parse the texts of builders, order them, and fix the instances that they read.

    What is `fixed` already stays so. Of tables that are `expected` to be made before, these are
    read instead.
    """
    from tablevault.engine.builders.builder import parse_builder
    from tablevault.engine.builders.order import make_plan

    table = temp.ref.table
    parsed = [
        parse_builder(name, decode_text(data, f"{name}.yaml"), table=table)
        for name, data in texts.items()
    ]
    plan = make_plan(parsed, table=table)
    inputs = ExpectedInputs(view, table, expected)
    inputs.hold_on_to(fixed.sources)
    sources = _sources(inputs, plan)
    if forced:
        origin, why_not = None, "forced"
    elif fixed.origin is not None:
        origin = view.instance(fixed.origin) if fixed.origin else None
        why_not = "first run"
    else:
        origin, why_not = find_origin(view, temp)
    return Prepared(
        plan=plan,
        temp=temp.ref,
        inputs=inputs,
        sources=tuple(dict.fromkeys(sources)),
        origin=origin,
        why_not=why_not,
    )


def _sources(inputs: VaultInputs, plan: Plan) -> tuple[FixedInstance, ...]:
    """Fix the instances that builders read; an error names the builder and the field."""
    from tablevault.engine.builders.order import with_location

    found = []
    for needed in plan.external:
        try:
            found.append(inputs.resolve(needed.table, needed.selector))
        except TableReferenceError as error:
            raise with_location(error, plan.order, needed) from error
    return tuple(found)


def reuse_policy(document: TableDocument, *, forced: bool, accept_code: bool | None) -> ReusePolicy:
    """Return which calls count for an execution on a table."""
    from tablevault.engine.calls.ledger import ReusePolicy

    return ReusePolicy(forced=forced, private=document.side_effects, accept_code=accept_code)


def options_of(
    view: VaultView, prepared: Prepared, code: VaultCode, ledger: Ledger, artifacts: Path
) -> RunOptions:
    """Return what may be taken over; `artifacts` is the folder that functions write files into."""
    from tablevault.engine.execution.context import RunOptions

    earlier, why_not = None, prepared.why_not
    if prepared.origin is not None:
        try:
            earlier = earlier_of(view, prepared.origin)
        except TableVaultError as error:
            why_not = f"{prepared.origin.instance_id} cannot be read: {error.message}"
    return RunOptions(
        earlier=earlier,
        why_not=why_not,
        fingerprint=code.fingerprint,
        content=content_of_temp(view.snapshot, prepared.temp, prepared.origin, artifacts),
        ledger=ledger,
        file_text=file_texts(view.repository.path, artifacts),
    )


class VaultCode:
    """The code modules as they are when an execution begins, and which of them it needed.

    Parameters
    ----------
    view : VaultView
        The vault.
    edits : sequence of Edit
        Edits by hand that are in no commit yet.
    """

    def __init__(self, view: VaultView, edits: Sequence[Edit] = ()) -> None:
        from tablevault.engine.code import Code, home_of

        main, path = view.snapshot, view.repository.path
        self._blobs = main.code_modules()
        self._texts = module_texts(main, edits)
        paths = {name: str(path / code_path(name)) for name in self._texts}
        # What is in no commit cannot be found by other processes.
        home = "" if edits else home_of(str(path), main.tree_id(CODE_DIR) or "")
        self.code: Code = Code(self._texts, paths, home)
        self.fingerprint = fingerprints_now(path, self._texts)

    def used(self) -> dict[str, str]:
        """Return the git blob ids of the modules that ran or that these may import."""
        from tablevault.engine.code import imported_modules

        names = {name for each in self.code.used for name in imported_modules(each, self._texts)}
        return {name: blob for name, blob in self._blobs.items() if name in names}

    def shipped(self) -> dict[str, str]:
        """Return ids of the modules of the package that were needed."""
        from tablevault.engine.code import shipped_id

        return {name: shipped_id(name) for name in sorted(self.code.shipped)}


def is_custom(plan: Plan) -> bool:
    """Return whether a builder calls, or by a reference may call, a module of the vault."""
    return any(builder.is_custom is not False for builder in plan.order)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """Decisions that a paused execution keeps, so that it goes on as it began.

    Attributes
    ----------
    sources : sequence of (str, str, str)
        Table, selector and instance id of references.
    origin : str, optional
        Id of the instance that it started from, "" when there was none; None for an execution
        that has not begun.
    """

    sources: Sequence[tuple[str, str, str]] = ()
    origin: str | None = None


def fixed_by(record: Record | None) -> Fixed:
    """Return the decisions that a paused execution keeps; none for a new one."""
    if record is None or "sources" not in record.plan:
        return Fixed()
    return Fixed(
        sources=cast("Sequence[tuple[str, str, str]]", record.plan["sources"]),
        origin=cast("str", record.plan.get("origin", "")),
    )


class ExecutionControl:
    """Stops an execution between two rows if asked to, and keeps its record up to date.

    Implements :class:`tablevault.engine.execution.context.Control`.

    Parameters
    ----------
    tx : Transaction
        The execution.
    decided : callable
        Returns the decisions to keep, when the first function is about to be called.
    before_first_call : callable
        Is called before each call of a function, such as a `BeforeFirstCall`.
    """

    def __init__(
        self,
        tx: Transaction,
        decided: Callable[[], Mapping[str, Json]],
        before_first_call: Callable[[], object] | None = None,
    ) -> None:
        self._tx = tx
        self._decided = decided
        self._before_first_call = before_first_call
        # A paused process stays paused, whatever is wrong now.
        tx.pauses = bool(tx.record.plan)

    def begin(self) -> None:
        """Note what was decided; from now on a named process that fails is paused."""
        self._tx.note(self._decided())
        self._tx.pauses = True

    def calling(self) -> None:
        """Do what comes before the first call."""
        if self._before_first_call is not None:
            self._before_first_call()

    def check(self) -> None:
        """Raise TVProcessError if the process is to stop."""
        self._tx.check()

    def ended(self, builder: str) -> None:
        """Note a step of the process."""
        self._tx.step(builder)
        self._tx.check()


class BeforeFirstCall:
    """Does something once, just before the first function of an execution is called.

    When it fails, no function was called, and the next call tries again.
    """

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act
        self._lock = threading.Lock()
        self._is_done = False

    def __call__(self) -> None:
        """Do it, unless that is done; other threads wait until it is."""
        if self._is_done:  # for each call: without the lock
            return
        with self._lock:
            if not self._is_done:
                self._act()
                self._is_done = True


@operation(DEACTIVATION, restarts=False)
@dataclass(frozen=True, slots=True, kw_only=True)
class DeactivateInstances(Operation[Vault, VaultView, None]):
    """Make all instances of a table inactive, by a child of the execution that is to call.

    A commit of its own, so that readers everywhere see it while functions run, and so that it
    stays when the execution fails.
    """

    table_name: str

    def claims(self, view: VaultView, record: Record) -> Sequence[Hold]:
        """Claim nothing: the execution holds the table."""
        return []

    def plan(self, view: VaultView, tx: Transaction, prepared: None, at: float) -> Change:
        """Name the instances."""
        table = view.table(self.table_name)
        active = [each.instance_id for each in table.active_instances()]
        subject = f"{table.name}: execution begins, {len(active)} instances inactive"
        pairs = [
            ("Table", table.name),
            ("Table-Id", table.id),
            ("Time", timestamp(at)),
            *(("Deactivates", instance_id) for instance_id in active),
        ]
        return Change(message=tx.message(subject, pairs), main=())
