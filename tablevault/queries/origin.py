"""The instance that an execution starts from, and what may be taken over from it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from tablevault.errors import TableReferenceError, TableVaultError, TVArgumentError
from tablevault.history.documents import InstanceDocument
from tablevault.history.index import IndexedInstance
from tablevault.history.snapshot import Snapshot
from tablevault.names import (
    BlobId,
    InstanceId,
    TempRef,
    artifacts_dir,
    code_path,
    is_instance_id,
)
from tablevault.queries.artifacts import artifact_ids
from tablevault.queries.read import VaultInputs, frame_file, instance_document
from tablevault.queries.resolve import find_latest
from tablevault.vault import Vault

if TYPE_CHECKING:
    import pandas as pd

    from tablevault.engine.builder import Builder
    from tablevault.engine.inputs import Source
    from tablevault.engine.reuse import CodeOf, Earlier


def find_origin(
    vault: Vault, snapshot: Snapshot, temp: TempRef, document: InstanceDocument
) -> tuple[IndexedInstance | None, str]:
    """Find the instance to start from; when there is none, say why.

    The one that was named when the temporary instance was created; else the latest active one of
    the version, else of the table, of those that are complete if there is one.
    """
    named = document.origin[0]
    if named:
        origin = vault.journal.index.instance(InstanceId(named))
        if origin is None or origin.deleted_at:
            return None, "its origin was deleted"
        return origin, ""
    for version in (temp.version, ""):
        for complete in (True, False):
            found = find_latest(
                vault, snapshot, temp.table, version, active_only=True, successful_only=complete
            )
            if found is not None:
                return found, ""
    return None, "first run"


def table_of_origin(snapshot: Snapshot, origin: IndexedInstance) -> str:
    """Give the name that the table of an instance has now."""
    names = (origin.table_name, *snapshot.table_names())
    return next(
        name
        for name in names
        if snapshot.has_table(name) and snapshot.table(name).id == origin.table_id
    )


def earlier_of(vault: Vault, snapshot: Snapshot, origin: IndexedInstance) -> Earlier:
    """Give what may be taken over from an instance.

    Raises
    ------
    TableVaultError
        Its dataframe is not here, or cannot be read.
    """
    from tablevault.engine.reuse import Earlier
    from tablevault.frames.parquet import read_frame

    document = instance_document(vault, origin)
    then = Snapshot(vault.journal.repository, origin.commit)
    texts = {
        name: then.text_of(BlobId(blob), code_path(name)) for name, blob in document.code.items()
    }
    return Earlier(
        frame=read_frame(frame_file(vault, origin)),
        builders=_builders(then, origin, document),
        code_of=code_ids(texts, document.code, document.shipped),
        inputs=EarlierInputs(vault, snapshot, document),
        is_complete=document.success,
        content=_lazily(lambda: artifact_ids(vault, origin)),
    )


def code_ids(
    texts: Mapping[str, str], blobs: Mapping[str, str], shipped: Mapping[str, str] | None = None
) -> CodeOf:
    """Give a function that names the texts a module consists of.

    Parameters
    ----------
    texts, blobs : mapping of str to str
        Text and git blob id of each code module.
    shipped : mapping of str to str, optional
        Id of each module that comes with the package; those of today when None.
    """
    from tablevault.engine.code import shipped_id
    from tablevault.engine.recipes import imported_modules

    def code_of(module: str, is_custom: bool) -> Mapping[str, str]:
        if not is_custom:
            known = shipped_id(module) if shipped is None else shipped.get(module, "")
            return {module: known}
        return {name: blobs[name] for name in imported_modules(module, texts) if name in blobs}

    return code_of


def content_of_temp(
    vault: Vault, snapshot: Snapshot, temp: TempRef, origin: IndexedInstance | None
) -> Callable[[str], str]:
    """Give a function that tells what is in an artifact of an instance that is being made.

    A file that is not in its folder is the one that materialising will find: that of the origin,
    or of the folder that the instances of the table share.
    """
    folder = vault.journal.faces.artifacts(temp)

    @cache
    def elsewhere() -> dict[str, str]:
        """Give the artifacts of earlier instances."""
        shared = artifacts_dir(temp.table, temp.version, multiple=False)
        found = {
            entry.name: snapshot.pointer_of(BlobId(entry.id), f"{shared}/{entry.name}").oid
            for entry in snapshot.files(shared)
        }
        before = {} if origin is None else artifact_ids(vault, origin)
        return {**{name: str(oid) for name, oid in found.items()}, **before}

    @cache
    def content(name: str) -> str:
        """Hash the file, or give the hash it is known by."""
        with contextlib.suppress(OSError, ValueError), (folder / name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
        return elsewhere().get(name, "")

    return content


class EarlierInputs:
    """Tables as an instance read them: what it depends on.

    Implements :class:`tablevault.engine.inputs.Inputs`.
    """

    def __init__(self, vault: Vault, snapshot: Snapshot, document: InstanceDocument) -> None:
        self._vault = vault
        self._read = document.dependencies
        self._inputs = VaultInputs(vault=vault, snapshot=snapshot, own_table="")

    def resolve(self, table: str, selector: str) -> Source:
        """Find the instance that a reference meant then."""
        index = self._vault.journal.index
        ids = [instance_id for name, instance_id in self._read if name == table]
        found = [each for each in map(index.instance, ids) if each is not None]
        if is_instance_id(selector):
            found = [each for each in found if each.instance_id == selector]
        elif selector:
            found = [each for each in found if each.version == selector]
        if not found:
            raise TableReferenceError(
                f'Table "{table}" was not read then.', "Run the builder again.", table=table
            )
        latest = max(found, key=lambda each: each.materialized_at)
        try:
            self._inputs.hold_on_to([(table, selector, latest.instance_id)])
        except TVArgumentError as error:
            raise TableReferenceError(error.message, error.hint, **error.facts) from error
        return self._inputs.resolve(table, selector)

    def columns(self, source: Source) -> tuple[str, ...]:
        """Give the names of all columns, in order."""
        return self._inputs.columns(source)

    def frame(self, source: Source, columns: Sequence[str] | None) -> pd.DataFrame:
        """Give the named columns, all when None."""
        return self._inputs.frame(source, columns)

    def contents(self, source: Source, columns: Sequence[str]) -> pd.DataFrame:
        """Give the named columns, with what is in files for their paths."""
        return self._inputs.contents(source, columns)


def _builders(
    then: Snapshot, origin: IndexedInstance, document: InstanceDocument
) -> dict[str, Builder]:
    """Read the builders as they were; one that cannot be read any more is left out."""
    from tablevault.engine.builder import parse_recorded

    found = {}
    table = origin.table_name
    for name, blob in document.builders.items():
        with contextlib.suppress(TableVaultError):
            found[name] = parse_recorded(name, then.text_of(BlobId(blob), name), table=table)
    return found


def _lazily(read: Callable[[], Mapping[str, str]]) -> Callable[[str], str]:
    """Give a function that looks up a name in what is read when first asked."""
    kept = cache(read)
    return lambda name: kept().get(name, "")
