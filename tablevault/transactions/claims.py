"""Claims of processes on tables, instances and modules, and which of them exclude others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from tablevault.errors import TVLockError
from tablevault.names import TABLES_DIR, TEMP_PREFIX, VAULT_DOCUMENT, InstanceId, is_instance_id
from tablevault.transactions.records import Hold, Record, RecordStore
from tablevault.wording import Call, Either, OperationName, Wording

CODE = "code"
"""All code modules together."""
PULL = "pull"
"""One process at a time merges what comes from a remote."""


def table_hold(table: str) -> Hold:
    """Claim a table with everything in it, which is never shared."""
    return Hold(resource=f"{TABLES_DIR}/{table}", exclusive=True)


def temp_hold(table: str, version: str) -> Hold:
    """Claim a temporary instance, which is never shared."""
    return Hold(resource=f"{TABLES_DIR}/{table}/{TEMP_PREFIX}{version}", exclusive=True)


def instance_hold(table: str, instance_id: str, *, exclusive: bool) -> Hold:
    """Claim a materialised instance."""
    return Hold(resource=f"{TABLES_DIR}/{table}/{instance_id}", exclusive=exclusive)


def claimed_instance(hold: Hold) -> tuple[str, InstanceId] | None:
    """Return table and id of the materialised instance that is claimed; None for other claims."""
    match hold.resource.split("/"):
        case [folder, table, name] if folder == TABLES_DIR and is_instance_id(name):
            return table, InstanceId(name)
    return None


def artifacts_hold(table: str) -> Hold:
    """Claim the artifact folder that all instances of a table share."""
    return Hold(resource=f"{TABLES_DIR}/{table}/artifacts", exclusive=True)


def code_hold(*, exclusive: bool) -> Hold:
    """Claim the code modules."""
    return Hold(resource=CODE, exclusive=exclusive)


def config_hold() -> Hold:
    """Claim the configuration of the vault."""
    return Hold(resource=VAULT_DOCUMENT, exclusive=True)


def pull_hold() -> Hold:
    """Claim the right to merge what comes from a remote."""
    return Hold(resource=PULL, exclusive=True)


def alone(hold: Hold) -> Hold:
    """Claim a resource against what is started within the process, or what it is within, too."""
    return replace(hold, alone=True)


def blocking(
    files: RecordStore, holds: Sequence[Hold], family: frozenset[str]
) -> tuple[Record, Hold] | None:
    """Find a process that excludes `holds`, and the claim it does so with.

    `family` are the ids of the process itself and of its ancestors, which exclude nothing.
    """
    for record in files.every():
        if record.process_id in family:
            continue
        for held in record.holds:
            if any(hold.excludes(held) for hold in holds):
                return record, held
    return None


def blocking_within(
    files: RecordStore, holds: Sequence[Hold], parent: str
) -> tuple[Record, Hold] | None:
    """Find an ancestor that excludes `holds` although they are claimed within it."""
    above = set(ancestors(files, parent))
    for record in files.every() if above else ():
        if record.process_id in above:
            for held in record.holds:
                if held.alone and any(_intrudes(hold, held) for hold in holds):
                    return record, held
    return None


def _intrudes(hold: Hold, held: Hold) -> bool:
    """Return whether a claim reaches for what an ancestor keeps for itself.

    A claim on a whole table does not, unless it is to be alone with it.
    """
    is_within = f"{hold.resource}/".startswith(f"{held.resource}/")
    return hold.excludes(held) and (hold.alone or is_within)


def ancestors(files: RecordStore, parent: str) -> Iterable[str]:
    """Return the ids of `parent` and of all processes above it."""
    seen: set[str] = set()
    while parent and parent not in seen:
        seen.add(parent)
        record = next((r for r in files.every() if r.process_id == parent), None)
        parent = "" if record is None else record.parent
    return seen


def descendants(files: RecordStore, process_id: str) -> list[Record]:
    """List the processes that were started within a process, and within these; deepest first."""
    records = list(files.every())
    found: list[Record] = []
    parents = {process_id}
    while parents:
        children = [
            record for record in records if record.parent in parents and record not in found
        ]
        found.extend(children)
        parents = {child.process_id for child in children}
    return found[::-1]


def lock_error(record: Record, held: Hold, *, alive: bool, waited_s: float) -> TVLockError:
    """Make the error that names holder, author, since when, and how to get rid of it."""
    since = datetime.fromtimestamp(record.started_at, UTC).astimezone()
    operation = record.request.operation
    what = _spoken(held.resource)
    state = "" if alive else "paused "
    waited = f"; waited {waited_s:g} s" if alive else ""
    text = Wording(
        f'{what} is held by {state}process "{record.process_id}" (',
        OperationName(operation),
        f", {record.author or 'unknown'}, since {since:%Y-%m-%d %H:%M:%S %Z}){waited}.",
    )
    resumed = record.resumption
    stop = Call("stop_process", to_stop_process_id=record.process_id)
    hint: str
    if alive:
        hint = Wording("Wait until it ends", _LONGER, ".")
        if operation != "stop_process":
            end = Call("stop_process", to_stop_process_id=record.process_id, force=True)
            hint = Wording("Wait until it ends", _LONGER, ", or end it: ", end, ".")
    elif operation == "stop_process":  # which cannot be stopped itself
        hint = Wording(resumed, ": it ends itself and what it was to stop.")
    else:
        editing = ""
        if operation == "execute_instance":
            editing = ", after editing files of its builders or in code/ if need be"
        hint = Wording(resumed, f" to go on with it{editing}, or give it up: ", stop, ".")
    return TVLockError(
        text,
        hint,
        holder=record.process_id,
        author=record.author,
        operation=operation,
        since=since.isoformat(timespec="seconds"),
        resource=held.resource,
    )


_LONGER = Either(", open the vault with a longer lock_timeout", "")


def within_error(record: Record, held: Hold, operation: str) -> TVLockError:
    """Make the error for an operation that would have to wait for the one it is called in."""
    return TVLockError(
        Wording(
            f"{_spoken(held.resource)} cannot be changed by ",
            OperationName(operation),
            f" within a function that process {record.process_id} (",
            OperationName(record.request.operation),
            ") calls: it works with that itself.",
        ),
        "Do it when that process has ended.",
        holder=record.process_id,
        operation=record.request.operation,
        resource=held.resource,
    )


def _spoken(resource: str) -> str:
    """Return what a resource is."""
    parts = resource.split("/")
    if parts == [CODE]:
        return "The code folder"
    if parts == [VAULT_DOCUMENT]:
        return "The configuration of the vault"
    if parts == [PULL]:
        return "What comes from remotes"
    table = f'able "{parts[1]}"'
    if len(parts) == 2:  # noqa: PLR2004 - tables/<table>
        return f"T{table}"
    if parts[2] == "artifacts":
        return f"The artifact folder of t{table}"
    return f'Instance "{parts[2]}" of t{table}'
