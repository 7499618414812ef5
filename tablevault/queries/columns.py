"""Which columns of other instances a column was made from, as the references of builders say."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from tablevault.errors import TableVaultError
from tablevault.history.documents import InstanceDocument
from tablevault.history.index import IndexedInstance
from tablevault.history.snapshot import Snapshot
from tablevault.names import SELF, BlobId, InstanceId, is_instance_id, version_of
from tablevault.queries.read import instance_document
from tablevault.vault import Vault

if TYPE_CHECKING:
    from tablevault.engine.builder import Builder

Field = tuple[InstanceId, str]
"""A column of an instance."""
_Named = tuple[str, str, tuple[str, ...] | None]
"""Table, selector and columns of a reference; all columns when None."""


def columns_read(
    vault: Vault, instance: IndexedInstance, document: InstanceDocument
) -> Mapping[str, tuple[Field, ...]]:
    """Give for each column of an instance the columns of others that its builder read for it.

    What a column of the same table was made from counts for who reads that. Left out is what a
    builder does not say: what a function reads by itself, references whose table another one
    gives, and builders that cannot be read any more.
    """
    from tablevault.engine.builder import parse_recorded
    from tablevault.engine.reference.view import POSITION_NAMES

    then = Snapshot(vault.journal.repository, instance.commit)
    made: dict[str, tuple[Field, ...]] = {}

    def read(named: _Named) -> Iterable[Field]:
        table, selector, columns = named
        if table == SELF:
            own = made if columns is None else [each for each in columns if each in made]
            return [field for each in own for field in made[each]]
        source = _source(document, table, selector)
        if source is None:
            return ()
        every = _every(vault, source)
        return [
            (source, each)
            for each in columns or every
            if each in every or each not in POSITION_NAMES
        ]

    for name, blob in document.builders.items():
        try:
            text = then.text_of(BlobId(blob), name)
            builder = parse_recorded(name, text, table=instance.table_name)
        except (TableVaultError, KeyError, ValueError):
            continue
        fields = tuple(
            dict.fromkeys(
                field for each in _named(builder, document.dtypes) for field in read(each)
            )
        )
        made.update(dict.fromkeys(builder.changed_columns or (), fields))
    return {column: fields for column, fields in made.items() if fields}


def _named(builder: Builder, own: Collection[str]) -> list[_Named]:
    """List what a builder reads: its arguments, and what else it depends on."""
    from tablevault.engine.reads import reads_of

    found: list[_Named] = []
    for each in reads_of(builder.arguments, own):
        found.append((SELF, "", each.cells))
        found.extend((whole.table, whole.selector, whole.columns) for whole in each.wholes)
    found.extend((each.table, each.selector, each.columns) for each in builder.dependencies)
    return found


def _source(document: InstanceDocument, table: str, selector: str) -> InstanceId | None:
    """Find the instance that a reference meant then."""
    found = [each for name, each in document.dependencies if name == table]
    if selector:
        said: Callable[[str], str] = str if is_instance_id(selector) else version_of
        found = [each for each in found if said(each) == selector]
    return found[0] if len(set(found)) == 1 else None


def _every(vault: Vault, instance_id: InstanceId) -> Iterable[str]:
    """Name all columns of an instance; none when it is not known here."""
    instance = vault.journal.index.instance(instance_id)
    try:
        return () if instance is None else instance_document(vault, instance).dtypes
    except TableVaultError:
        return ()
