"""The operations of a vault as a table, newest first, those that failed included."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from tablevault.errors import TVArgumentError
from tablevault.history import logbook
from tablevault.history.altered import altered_by
from tablevault.journal.past import read_past
from tablevault.names import CommitId, TableId, is_temp_id
from tablevault.queries.checks.instances import made_by
from tablevault.queries.logged import Entry, Wanted, logged, may_be_flagged
from tablevault.queries.resolve import find_table, find_temp_by_id
from tablevault.vault import Vault
from tablevault.wording import BLANK, Call, Wording

if TYPE_CHECKING:
    import pandas as pd

_MOST_STEPS = 10_000


def log(vault: Vault, table: str, instance_id: str, limit: int | None) -> pd.DataFrame:
    """Give the operations as a dataframe."""
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
    wanted = Wanted(limit=most)
    if table:
        table_id = table_id_of(vault, table)
        about = _commits_of(vault, table, table_id, instance_id) if instance_id else None
        wanted = Wanted(table_id=table_id, instance_id=instance_id, commits=about, limit=most)
    found = logged(vault.journal.index.read, read_past(vault.state), wanted)
    return [_flagged(vault, entry) for entry in found]


def _flagged(vault: Vault, entry: Entry) -> Entry:
    """Mark a commit of plain git that has changed an instance."""
    if not may_be_flagged(entry):
        return entry
    repository, made = vault.journal.repository, made_by(vault.journal.index)
    altered = next(altered_by(repository, CommitId(entry.commit), made), None)
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
    """Give a limit as SQLite understands it."""
    if limit is None:
        return -1
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise TVArgumentError(
            f"limit is {limit!r}; it must be a whole number of at least 0, or None for all.",
            limit=str(limit),
        )
    return min(limit, 1 << 62)


def table_id_of(vault: Vault, table: object) -> TableId:
    """Find the table that has a name now, or else the one that had it last."""
    snapshot = vault.snapshot()
    if isinstance(table, str) and not snapshot.has_table(table):
        gone = vault.journal.index.table_of_deleted(table)
        if gone is not None:
            return gone
    return find_table(vault, snapshot, table).id


def _commits_of(vault: Vault, table: str, table_id: TableId, instance_id: str) -> list[CommitId]:
    """List the commits about one instance: how it was prepared, made, and what became of it."""
    if is_temp_id(instance_id):
        temp = find_temp_by_id(vault, vault.snapshot(), table, instance_id)
        return list(preparation(vault, temp.tip))
    instance = vault.journal.index.instance(instance_id)
    if instance is None or instance.table_id != table_id:
        raise TVArgumentError(
            f'Table "{table}" never had an instance "{instance_id}".',
            Wording("List those there are: ", Call("get_table_instances", table_name=table), "."),
            table=table,
            instance=instance_id,
        )
    commits = logbook.commits_about(vault.journal.index.read, instance_id)
    parents = vault.journal.repository.commit(instance.commit).parents
    if len(parents) > 1:
        commits.extend(preparation(vault, parents[-1]))
    return commits


def preparation(vault: Vault, tip: CommitId) -> Iterator[CommitId]:
    """Return the commits on the branch of a temporary instance, from `tip` to its creation."""
    repository = vault.journal.repository
    for _ in range(_MOST_STEPS):
        commit = repository.commit(tip)
        yield tip
        if commit.message.first("Vault-Operation") == "create_instance" or not commit.parents:
            return
        tip = commit.parents[0]


def _frame(found: Iterable[Entry]) -> pd.DataFrame:
    """Put the operations into columns of fixed dtypes."""
    import pandas as pd

    rows = list(found)

    def texts(name: str) -> pd.Series[str]:
        return pd.Series([getattr(row, name) for row in rows], dtype="string")

    ended = pd.Series([round(row.ended * 1e6) for row in rows], dtype="int64")
    lasted = [
        None if row.started is None else round((row.ended - row.started) * 1e6) for row in rows
    ]
    return pd.DataFrame(
        {
            "time": ended.astype("datetime64[us]").dt.tz_localize("UTC"),
            "operation": texts("operation"),
            "table_name": texts("table"),
            "version": texts("version"),
            "instance_id": texts("instance_id"),
            "rows": pd.Series([row.rows for row in rows], dtype="Int64"),
            "success": pd.Series([row.success for row in rows], dtype="bool"),
            "error": texts("error"),
            "author": texts("author"),
            "duration": pd.Series(lasted, dtype="Int64").astype("timedelta64[us]"),
            "subject": texts("subject"),
            "process_id": texts("process_id"),
            "parent_id": texts("parent_id"),
            "commit": texts("commit"),
        }
    )
