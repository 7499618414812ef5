"""What an execution needs before its first call: builders, code, origin, and what may be reused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from tablevault.errors import TableReferenceError, TableVaultError, TVArgumentError
from tablevault.history.commits.documents import TableDocument
from tablevault.history.commits.snapshot import decode_text
from tablevault.history.git.trees import Edit
from tablevault.model.instance import Instance
from tablevault.model.temp import TempInstance
from tablevault.model.view import VaultView
from tablevault.names import CODE_DIR, TempRef, code_path
from tablevault.operations.execution_control import Fixed
from tablevault.queries.expected import ExpectedInputs
from tablevault.queries.modules import fingerprints_now, module_texts
from tablevault.queries.read import VaultInputs
from tablevault.queries.reuse_source import (
    code_ids,
    content_of_temp,
    earlier_of,
    file_texts,
    find_origin,
)
from tablevault.queries.staleness import Place
from tablevault.wording import BLANK, Call, Parameter, Wording

if TYPE_CHECKING:
    from tablevault.engine.builders.order import Plan
    from tablevault.engine.calls.ledger import Ledger, Terms
    from tablevault.engine.code import Code
    from tablevault.engine.execution.preview import ExpectedTable
    from tablevault.engine.execution.reuse import Past
    from tablevault.engine.tables import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class TempBuilders:
    """A temporary instance, and the texts of its builders by name."""

    temp: TempInstance
    texts: Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What is known before the first function is called."""

    plan: Plan
    temp: TempRef
    inputs: ExpectedInputs
    sources: tuple[Source, ...]
    origin: Instance | None
    """The instance that is started from."""
    why_not: str
    """Why there is none."""


def find_with_builders(view: VaultView, temp: TempRef) -> TempInstance:
    """Find a temporary instance that can be executed."""
    found = view.table(temp.table).temp(temp.version)
    if found.document.external_edit:
        raise TVArgumentError(
            f'{found.ref.instance_id} of table "{temp.table}" is an external edit.',
            Wording(
                "Fill it: ",
                Call("write_instance", table_df=BLANK, table_name=temp.table, version=temp.version),
                ". Or delete it, and create it without ",
                Parameter("create_instance", "external_edit"),
                ".",
            ),
            table=temp.table,
            version=temp.version,
        )
    return found


def prepare(
    view: VaultView,
    builders: TempBuilders,
    fixed: Fixed,
    *,
    forced: bool,
    expected: Mapping[Place, ExpectedTable] = MappingProxyType({}),
) -> Prepared:
    """Parse builders, order them, and fix the instances that they read, if they are not yet.

    Of tables that are `expected` to be made before, these are read instead.
    """
    from tablevault.engine.builders.builder import parse_builder
    from tablevault.engine.builders.order import make_plan

    temp = builders.temp.ref
    parsed = [
        parse_builder(name, decode_text(data, f"{name}.yaml"), table=temp.table)
        for name, data in builders.texts.items()
    ]
    plan = make_plan(parsed, table=temp.table)
    inputs = ExpectedInputs(view, temp.table, expected)
    inputs.hold_on_to(fixed.sources)
    sources = _sources(inputs, plan)
    if forced:
        origin, why_not = None, "forced"
    elif fixed.origin is not None:
        origin = view.instance(fixed.origin) if fixed.origin else None
        why_not = "first run"
    else:
        origin, why_not = find_origin(view, builders.temp)
    return Prepared(
        plan=plan,
        temp=temp,
        inputs=inputs,
        sources=tuple(dict.fromkeys(sources)),
        origin=origin,
        why_not=why_not,
    )


def _sources(inputs: VaultInputs, plan: Plan) -> tuple[Source, ...]:
    """Fix the instances that builders read; who names one that is not there is told where."""
    from tablevault.engine.builders.order import blamed

    found = []
    for needed in plan.external:
        try:
            found.append(inputs.resolve(needed.table, needed.selector))
        except TableReferenceError as error:
            raise blamed(error, plan.order, needed) from error
    return tuple(found)


def terms_of(document: TableDocument, *, forced: bool, accept_code: bool | None) -> Terms:
    """Return which calls count for an execution on a table."""
    from tablevault.engine.calls.ledger import Terms

    return Terms(forced=forced, private=document.side_effects, accept_code=accept_code)


def past_of(
    view: VaultView,
    prepared: Prepared,
    code: VaultCode,
    ledger: Ledger,
    artifacts: Path,
) -> Past:
    """Return what may be taken over; `artifacts` is the folder that functions write files into."""
    from tablevault.engine.execution.reuse import Past

    earlier, why_not = None, prepared.why_not
    if prepared.origin is not None:
        try:
            earlier = earlier_of(view, prepared.origin)
        except TableVaultError as error:
            why_not = f"{prepared.origin.instance_id} cannot be read: {error.message}"
    return Past(
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
        Edits by hand that stand in no commit yet.
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
        self.code_of = code_ids(self._texts, self._blobs)
        self.fingerprint = fingerprints_now(path, self._texts)

    def used(self) -> dict[str, str]:
        """Return the git blob ids of the modules that ran or that these may import."""
        names = {name for each in self.code.used for name in self.code_of(each, True)}
        return {name: blob for name, blob in self._blobs.items() if name in names}

    def shipped(self) -> dict[str, str]:
        """Return ids of the modules of the package that were needed."""
        return {
            name: found
            for each in sorted(self.code.shipped)
            for name, found in self.code_of(each, False).items()
        }


def is_custom(plan: Plan) -> bool:
    """Return whether a builder calls, or by a reference may call, a module of the vault."""
    return any(builder.is_custom is not False for builder in plan.order)
