"""Operations as values that say what they claim and what they change, and their one runner."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import Field, dataclass, field, fields, replace
from types import MappingProxyType
from typing import ClassVar, Final, Generic, Never, Protocol, Self, TypeVar, cast

from tablevault.history.commits.change import Change
from tablevault.history.commits.snapshot import Snapshot
from tablevault.names import ProcessId
from tablevault.transactions.allowed_secrets import Admitted
from tablevault.transactions.begin import Actor, Setup, recorded_request, remembering_refusal
from tablevault.transactions.parts import VaultParts
from tablevault.transactions.records import Hold, Json, Record, Request
from tablevault.transactions.transaction import Transaction, running


class OpenView(Protocol):
    """The vault at one commit, as the runner hands it to operations."""

    @property
    def snapshot(self) -> Snapshot:
        """The files of the commit."""
        ...


class OpenVault(Protocol):
    """What the runner needs of an opened vault."""

    @property
    def parts(self) -> VaultParts:
        """The parts of the vault."""
        ...

    def actor(self, process_id: str) -> Actor:
        """Return who asks, and under which process id."""
        ...

    def live_view(self, snapshot: Snapshot) -> OpenView:
        """Return the view of a commit."""
        ...


V = TypeVar("V", bound=OpenVault)
W = TypeVar("W", bound=OpenView)
Prepared = TypeVar("Prepared")
C = TypeVar("C")

NOT_RECORDED: Final = MappingProxyType({"is_recorded": False})
"""Metadata of a field that is no part of the record: it ends with the caller."""
UNLESS_DEFAULT: Final = MappingProxyType({"skips_default": True})
"""Metadata of a field that is recorded only where it is not its default."""

_OPERATIONS: dict[str, type[Operation[OpenVault, OpenView, object]]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(Generic[V, W, Prepared]):
    """One change of a vault.

    The fields are its record on disk, under the names of the API, but for those with
    `NOT_RECORDED`. Methods are called in the order in which they stand here.

    Attributes
    ----------
    admitted : tuple of Admitted
        What looks like a key in the texts that were handed in, and is allowed.
    """

    operation_name: ClassVar[str]
    restarts: ClassVar[bool]
    """Whether the record is enough to run it again."""

    admitted: tuple[Admitted, ...] = field(default=(), metadata=NOT_RECORDED)

    def run(self, vault: V, process_id: str = "") -> ProcessId:
        """Run the operation, or go on with the paused one that has this id.

        Parameters
        ----------
        vault : Vault
            The opened vault.
        process_id : str
            Id of the process; made up when empty.

        Raises
        ------
        TVProcessError
            The process id was used before, or runs just now.
        TVLockError
            Another process holds what the operation needs.
        TableVaultError
            What is wrong with the request.
        """
        actor = vault.actor(process_id)
        with remembering_refusal(vault.parts, actor, self._subject):
            asked = self.checked(vault)
            recorded = recorded_request(vault.parts, self.operation_name, process_id)
            if recorded is not None:
                asked = asked.resumed(recorded.arguments, process_id)
            return asked.start(vault, actor)

    def checked(self, vault: V) -> Self:
        """Return it with arguments in their normal form; raise what is wrong with them alone.

        Called once, and not for an operation that is read from its record.
        """
        return self

    def resumed(self, recorded: Mapping[str, Json], process_id: str) -> Self:
        """Return what counts when a paused process is called again: what it was asked for first.

        Fields that are not recorded are those of the new call.
        """
        return replace(self, **_of_fields(type(self), recorded))

    def start(self, vault: V, actor: Actor) -> ProcessId:
        """Run it; one that runs in another interpreter is handed over."""
        return perform(vault, self, actor)

    def gathered(self, vault: V) -> Self:
        """Return it with what it reads outside the vault; nothing was written so far."""
        return self

    def acting(self, actor: Actor) -> Actor:
        """Return who acts."""
        return actor

    def claims(self, view: W, record: Record) -> Sequence[Hold]:
        """Check the request on the newest commit, and name the resources that it needs.

        Called again after each wait for another process. `record` has the decisions of an earlier
        attempt.
        """
        raise NotImplementedError

    def prepare(self, vault: V, tx: Transaction) -> Prepared:
        """Do the long work, without a lock of the whole vault."""
        return cast("Prepared", None)

    def publishes(self, prepared: Prepared) -> bool:
        """Return whether there is a change to publish."""
        return True

    def plan(self, view: W, tx: Transaction, prepared: Prepared, at: float) -> Change:
        """Return the change of the newest commit, which includes edits by hand.

        Cheap, without clock or random ids: repeated when ``main`` moved meanwhile. `at` is the
        time of the change (Unix s).
        """
        raise NotImplementedError

    def finish(self, vault: V, tx: Transaction, prepared: Prepared) -> None:
        """Do what follows once it has happened; a failure must not be reported as its failure."""

    @property
    def request(self) -> Request:
        """What is recorded."""
        arguments = {
            each.name: _plain(getattr(self, each.name)) for each in fields(self) if _stays(each)
        }
        for each in fields(self):
            if each.metadata.get("skips_default") and arguments[each.name] == each.default:
                del arguments[each.name]
        return Request(operation=self.operation_name, arguments=arguments)

    @property
    def _subject(self) -> Request:
        """What is remembered of a request that is refused: texts in it may be secret."""
        names = ("table_name", "version")
        found: dict[str, Json] = {
            name: str(getattr(self, name)) for name in names if hasattr(self, name)
        }
        return Request(operation=self.operation_name, arguments=found)


def operation(name: str, *, restarts: bool = True) -> Callable[[type[C]], type[C]]:
    """Register a class of operations under the name that records and commits give it.

    Parameters
    ----------
    name : str
        The name; that of the method of the API, where it has one.
    restarts : bool
        Whether the record is enough to run it again when its process has crashed.
    """

    def register(kind: type[C]) -> type[C]:
        known = cast("type[Operation[OpenVault, OpenView, object]]", kind)
        known.operation_name, known.restarts = name, restarts
        _OPERATIONS[name] = known
        return kind

    return register


def decoded_operation(request: Request) -> Operation[OpenVault, OpenView, object] | None:
    """Return the operation that was recorded.

    Arguments that a later release has added have their defaults.

    Returns
    -------
    Operation or None
        None for one that no module has registered, and for one whose record is not enough.
    """
    kind = _OPERATIONS.get(request.operation)
    if kind is None or not kind.restarts:
        return None
    return kind(**_of_fields(kind, request.arguments))


def perform(
    vault: V,
    asked: Operation[V, W, Prepared],
    actor: Actor,
    within: AbstractContextManager[None] | None = None,
) -> ProcessId:
    """Run an operation in this interpreter; `within` is entered for its work."""
    asked = asked.gathered(vault)
    request, setup = asked.request, setup_of(vault, asked)

    def plan(snapshot: Snapshot, at: float) -> Change:
        return asked.plan(cast("W", vault.live_view(snapshot)), tx, prepared, at)

    with (
        running(vault.parts, request, asked.acting(actor), setup) as tx,
        within or nullcontext(),
    ):
        tx.ask_anew(request)
        for each in asked.admitted:
            tx.admit(each)
        prepared = asked.prepare(vault, tx)
        if asked.publishes(prepared):
            tx.publish(plan)
        asked.finish(vault, tx, prepared)
    return tx.process_id


def setup_of(vault: V, asked: Operation[V, W, Prepared]) -> Setup:
    """Return what checks the request of an operation as it begins, and names its claims."""
    return lambda record, snapshot: asked.claims(cast("W", vault.live_view(snapshot)), record)


def _of_fields(kind: type[object], recorded: Mapping[str, Json]) -> dict[str, Never]:
    """Return the recorded arguments that are fields of an operation.

    They are JSON: what does not fit the type of its field is refused later, as what a caller gives.
    """
    known = {
        each.name
        for each in fields(cast("type[Operation[OpenVault, OpenView, object]]", kind))
        if _stays(each)
    }
    found = {name: each for name, each in recorded.items() if name in known}
    return cast("dict[str, Never]", found)


def _stays(each: Field[object]) -> bool:
    """Return whether a field is part of the record."""
    return bool(each.metadata.get("is_recorded", True))


def _plain(value: object) -> Json:
    """Return a value as JSON has it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return cast("Json", value)
