"""The calls that instances hold, for whoever looks for some."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from tablevault.errors import TableVaultError
from tablevault.model.instance import Instance
from tablevault.model.view import Table
from tablevault.vault import Vault

if TYPE_CHECKING:
    import pandas as pd

    from tablevault.engine.calls.call_file import CallFile, CallSource, CallSources

_log = logging.getLogger("tablevault")


def call_sources(table: Table, origin: Instance | None) -> CallSources:
    """Return the instances whose calls an execution of a table may find.

    The calls of its origin are brought from a remote when they are not here. Those of the other
    instances of the table count where they are here, the newest ones first.
    """
    from tablevault.engine.calls.call_file import CallSources

    return CallSources(
        origin=None if origin is None else _source(origin),
        others=_others(table, origin),
    )


def source_of(vault: Vault, instance_id: str) -> CallSource | None:
    """Return the calls and the dataframe of an instance; nothing is brought from a remote.

    None when the instance was deleted, or its dataframe is not here.
    """
    view = vault.view()
    instance = view.instance(instance_id)
    view.release()  # for what is read later
    if instance is None or instance.deleted_at or not instance.has_frame():
        return None
    return _source(instance, fetch=False)


def _source(instance: Instance, *, fetch: bool = True) -> CallSource:
    """Return the calls of an instance; nothing is looked for yet."""
    from tablevault.engine.calls.call_file import CallSource

    return CallSource(
        instance=instance.instance_id,
        calls=cache(lambda: read_calls(instance, fetch=fetch)),
        frame=cache(lambda: _frame(instance)),
    )


def _others(table: Table, origin: Instance | None) -> Iterator[CallSource]:
    """Yield the other instances of a table, the newest ones first."""
    for each in reversed(table.instances()):
        if origin is None or each.instance_id != origin.instance_id:
            yield _source(each, fetch=False)


def _frame(instance: Instance) -> pd.DataFrame | None:
    """Read the dataframe of an instance; None when it cannot be had."""
    from tablevault.frames.parquet import read_frame

    try:
        return read_frame(instance.frame_file())
    except TableVaultError as error:
        _log.warning("The calls of %s are left out: %s", instance.instance_id, error)
        return None


def read_calls(instance: Instance, *, fetch: bool = True) -> CallFile | None:
    """Read the calls of an instance; None when it has none that can be believed.

    Parameters
    ----------
    fetch : bool, default True
        Whether to bring them from a remote when they are not here.
    """
    from tablevault.engine.calls.call_file import CallFile, CallFileError

    store = instance.parts.store
    try:
        pointer = instance.calls_pointer
        if pointer is None or not (fetch or store.has(pointer)):
            return None
        return CallFile.read(store.file(pointer), instance.document.digest)
    except (TableVaultError, CallFileError) as error:
        _log.warning("The calls of %s are left out: %s", instance.instance_id, error)
        return None
