"""A vault at a glance: its tables with their latest instances."""

from __future__ import annotations

from tablevault import render
from tablevault.vault import Vault

_MOST = 5
_COLUMNS = ("table", "instance", "version", "made", "state")


def text(vault: Vault) -> str:
    """Say in a line which vault this is, whether or not it still is there."""
    return f"TableVault({str(vault.path)!r}, {vault.author!r})"


def html(vault: Vault) -> str:
    """Show tables and their latest instances in a notebook; what stands in them is no markup."""
    return render.table_html(str(vault.path), _COLUMNS, _rows(vault))


def _rows(vault: Vault) -> list[tuple[str, ...]]:
    """Give one row for each of the latest instances, the newest first."""
    snapshot = vault.snapshot()
    rows: list[tuple[str, ...]] = []
    for name in snapshot.table_names():
        instances = vault.journal.index.instances(snapshot.table(name).id)[::-1]
        rows.extend(
            (
                name if number == 0 else "",
                str(instance.instance_id),
                instance.version,
                instance.materialized_at[:19].replace("T", " "),
                ("active" if instance.active else "inactive")
                + ("" if instance.success else ", partial")
                + (f", {render.counted(instance.errors, 'error')}" if instance.errors else ""),
            )
            for number, instance in enumerate(instances[:_MOST])
        )
        if not instances:
            rows.append((name, "no instance", "", "", ""))
        elif len(instances) > _MOST:
            rows.append(("", f"and {len(instances) - _MOST:,} earlier", "", "", ""))
    return rows
