"""The operations of a vault as a table, newest first, those that failed included."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from tablevault.errors import TVArgumentError
from tablevault.history.catalog import operation_log
from tablevault.history.catalog.operation_log import PLAIN_COMMIT, Read
from tablevault.history.commits.altered_instances import altered_by
from tablevault.history.git.commit_message import author_name
from tablevault.history.git.repository import Repository
from tablevault.model.view import VaultView
from tablevault.names import TEMP_PREFIX, CommitId, TableId, is_temp_id, version_of
from tablevault.queries.checks.instances import made_by
from tablevault.transactions.records import read_history
from tablevault.vault import Vault
from tablevault.wording import BLANK, Call, Wording, decoded

if TYPE_CHECKING:
    import pandas as pd

Entry = operation_log.Entry
_MOST_STEPS = 10_000
_COLUMNS = (
    *("time", "operation", "table_name", "version", "instance_id", "rows", "success", "error"),
    *("author", "duration", "subject", "process_id", "parent_id", "commit"),
)

Past = Mapping[str, object]
"""A line of the local history."""


def log(vault: Vault, table: str, instance_id: str, limit: int | None) -> pd.DataFrame:
    """Return the operations as a dataframe."""
    return _frame(entries(vault, table, instance_id, limit))


def entries(vault: Vault, table: str, instance_id: str, limit: int | None) -> list[Entry]:
    """List operations, newest first.

    Raises
    ------
    TVArgumentError
        There is no such table or instance and never was, an instance is named without its table,
        or the limit is no number of operations.
    """
    most = _checked(limit)
    if instance_id and not table:
        raise TVArgumentError(
            f'Instance "{instance_id}" is named without its table.',
            Wording("Name it: ", Call("log", table_name=BLANK, instance_id=instance_id), "."),
        )
    # Before the view: what it says of an operation that left a commit is known already.
    local = list(uncommitted(read_history(vault.state)))
    view = vault.view(with_temps=True)
    table_id = table_id_of(view, table) if table else ""
    if instance_id:
        about = _commits_of(view, table, table_id, instance_id)
        found = operation_log.entries(view.catalog.read, commits=about)
    else:
        found = operation_log.entries(view.catalog.read, table_id=table_id, limit=most)
    known = {entry.process_id for entry in found} - {""}
    found.extend(
        entry
        for entry in local
        if entry.process_id not in known
        and (not table_id or is_about(view.catalog.read, entry, table_id))
        and instance_id in ("", entry.instance_id)
    )
    found.sort(key=lambda entry: entry.ended, reverse=True)
    return [_flagged(view, entry) for entry in (found if most < 0 else found[:most])]


def _flagged(view: VaultView, entry: Entry) -> Entry:
    """Mark a commit of plain git that has changed an instance."""
    if not (entry.operation == PLAIN_COMMIT and entry.commit and entry.table):
        return entry
    made = made_by(view.catalog)
    altered = next(altered_by(view.repository, CommitId(entry.commit), made), None)
    if altered is None:
        return entry
    return entry._replace(
        table=altered.table,
        version=altered.version,
        instance_id=altered.instance_id,
        success=False,
        error=f"It changes {altered.paths[0]}, but an instance never changes: "
        f"`git revert {entry.commit[:12]}` takes it back.",
    )


def _checked(limit: object) -> int:
    """Return a limit as SQLite understands it."""
    if limit is None:
        return -1
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise TVArgumentError(
            f"limit is {limit!r}; it must be a whole number of at least 0, or None for all.",
            limit=str(limit),
        )
    return min(limit, 1 << 62)


def table_id_of(view: VaultView, table: object) -> TableId:
    """Find the table that has a name now, or else the one that had it last."""
    if isinstance(table, str) and not view.snapshot.has_table(table):
        gone = view.catalog.table_of_deleted(table)
        if gone is not None:
            return gone
    return view.table(table).id


def _commits_of(
    view: VaultView, table: str, table_id: str, instance_id: str
) -> Collection[CommitId]:
    """List the commits about one instance: how it was prepared, made, and what became of it."""
    repository = view.repository
    if is_temp_id(instance_id):
        temp = view.table(table).temp(version_of(instance_id))
        return list(preparation(repository, temp.tip))
    instance = view.catalog.instance(instance_id)
    if instance is None or instance.table_id != table_id:
        raise no_such_instance(table, instance_id)
    commits = operation_log.commits_about(view.catalog.read, instance_id)
    parents = repository.commit(instance.commit).parents
    if len(parents) > 1:
        commits.extend(preparation(repository, parents[-1]))
    return commits


def no_such_instance(table: str, instance_id: str) -> TVArgumentError:
    """Make the error for an instance that a table never had."""
    return TVArgumentError(
        f'Table "{table}" never had an instance "{instance_id}".',
        Wording("List those there are: ", Call("get_table_instances", table_name=table), "."),
        table=table,
        instance=instance_id,
    )


def preparation(repository: Repository, tip: CommitId) -> Iterator[CommitId]:
    """Return the commits on the branch of a temporary instance, from `tip` to its creation."""
    for _ in range(_MOST_STEPS):
        commit = repository.commit(tip)
        yield tip
        if commit.message.first("Vault-Operation") == "create_instance" or not commit.parents:
            return
        tip = commit.parents[0]


def uncommitted(pasts: Iterable[Past]) -> Iterator[Entry]:
    """Return the operations that left no commit, oldest first: most of them failed."""
    for past in pasts:
        error = past.get("error")
        kind, text = error if isinstance(error, list) and len(error) == 2 else ("", "")  # noqa: PLR2004 - class and text
        operation, table, version = (
            _text(past, key) for key in ("operation", "table_name", "version")
        )
        what = f"{table}/{version}" if table and version else table
        words = operation.replace("_", " ")
        if isinstance(rows := past.get("sample"), int):
            words += f", trial of {rows:,} row{'' if rows == 1 else 's'}"
        yield Entry(
            process_id=_text(past, "process_id"),
            ended=_time(past, "ended_at") or 0.0,
            started=_time(past, "started_at"),
            author=author_name(_text(past, "author")),
            operation=operation,
            table=table,
            version=version,
            instance_id=_text(past, "instance_id")
            or (f"{TEMP_PREFIX}{version}" if version else ""),
            subject=f"{what}: {words}" if what else words,
            commit="",
            success=not kind,
            error=_error(str(kind), decoded(text)),
            rows=None,
            parent_id=_text(past, "parent"),
        )


def _error(kind: str, text: str) -> str:
    """Return class and text of what ended an operation, with the calls that the text names."""
    return Wording(kind, ": ", text) if text else kind


def is_about(read: Read, entry: Entry, table_id: str) -> bool:
    """Return whether the name that a failed operation gave was that of the table at the time."""
    known = operation_log.tables_named(read, entry.table) if entry.table else []
    owners = [(since, each) for each, since in known if since <= entry.ended]
    return bool(owners) and max(owners)[1] == table_id


def _text(past: Past, key: str) -> str:
    """Return a field of the local history as text."""
    value = past.get(key)
    return value if isinstance(value, str) else ""


def _time(past: Past, key: str) -> float | None:
    """Return a field of the local history as a time."""
    value = past.get(key)
    return float(value) if isinstance(value, int | float) else None


def _frame(found: Iterable[Entry]) -> pd.DataFrame:
    """Put the operations into columns of fixed dtypes."""
    import pandas as pd

    frame = pd.DataFrame(found, columns=Entry._fields).rename(columns={"table": "table_name"})
    ended, started = (1e6 * frame[name].astype("Float64") for name in ("ended", "started"))
    frame["time"] = ended.round().astype("int64").astype("datetime64[us]").dt.tz_localize("UTC")
    frame["duration"] = (ended - started).round().astype("Int64").astype("timedelta64[us]")
    dtypes = {name: "string" for name in _COLUMNS if name not in ("time", "duration")}
    return frame[[*_COLUMNS]].astype({**dtypes, "rows": "Int64", "success": "bool"})
