"""Import a vault of TableVault 0.1: its history becomes commits, in order."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tablevault.errors import TVArgumentError
from tablevault.files.vault_folders import building, put_in_place
from tablevault.history.catalog.catalog import tag_moves
from tablevault.history.commits.documents import InstanceDocument, TableDocument, timestamp
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.commit_message import Message, trailers
from tablevault.history.git.refs import RefMove, move_refs
from tablevault.history.git.trees import Edit, Put, Remove
from tablevault.lfs.drafts import Draft
from tablevault.names import (
    MAIN,
    CommitId,
    InstanceId,
    TableId,
    artifacts_dir,
    builder_path,
    check_module_name,
    check_table_name,
    check_version,
    code_path,
    frame_path,
    instance_dir,
    instance_document,
    new_process_id,
    table_document,
)
from tablevault.operations.instances import CreateInstance
from tablevault.operations.materialize import instance_subject, instance_trailers
from tablevault.operations.v01_format import OldInstance, OldTable, OldVault, read_table
from tablevault.operations.vaults import create_vault
from tablevault.paths import check_artifact_name, is_hidden
from tablevault.secrets import find_secrets
from tablevault.transactions.allowed_secrets import admit
from tablevault.transactions.records import Request
from tablevault.vault import Vault, absolute

_OWNER = "import"


@dataclass(kw_only=True)
class ImportReport:
    """What was imported, and what was not.

    Attributes
    ----------
    tables, instances, temps, modules : int
        How many there are now.
    notes : list of str
        What is other than it was, for a person.
    """

    tables: int = 0
    instances: int = 0
    temps: int = 0
    modules: int = 0
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Return a few lines for people."""
        counts = (
            (self.tables, "table"),
            (self.instances, "instance"),
            (self.temps, "temporary instance"),
            (self.modules, "code module"),
        )
        shown = ", ".join(f"{count:,} {what}{'' if count == 1 else 's'}" for count, what in counts)
        return "\n".join([f"Imported {shown}.", *self.notes])


def import_original(old: Path, new: Vault, *, allow_secret: bool) -> ImportReport:
    """Read the vault at `old` and make a `new` one, at a path that is free; `old` stays as it is.

    Built beside and renamed into place.

    Raises
    ------
    TVArgumentError
        `old` is no vault of TableVault 0.1, a name in it cannot be used, or there is something at
        the path of `new`.
    TVSecretError
        Something in it looks like a key, and that is not allowed.
    TVFileError
        A file of it cannot be read.
    """
    source, path = OldVault(absolute(old)), new.path
    if os.path.lexists(path):
        raise TVArgumentError(f'"{path}" is there already.', "Name a new folder.", path=str(path))
    request = Request(operation="import_original", arguments={"allow_secret": allow_secret})
    admit(request, source.texts(), "Take it out of that file.")
    with building(path) as beside:
        vault = Vault(path=beside, author=new.author, progress=new.progress)
        create_vault(vault, source.description, allow_secret=allow_secret)
        report = _VaultImport(vault, source, allow_secret=allow_secret).run()
        put_in_place(beside, path)
    return report


class _VaultImport:
    """One import."""

    def __init__(self, vault: Vault, source: OldVault, *, allow_secret: bool) -> None:
        self._vault = vault
        self._source = source
        self._allow_secret = allow_secret
        self._report = ImportReport()
        self._tables: dict[str, TableDocument] = {}
        self._deactivated: set[str] = set()

    def run(self) -> ImportReport:
        """Write everything, in the order in which it happened."""
        tables, made = self._source.tables(), self._source.instances()
        self._check(tables, made)
        events: list[tuple[float, int, OldTable | OldInstance]] = [
            *((table.created_at, 0, table) for table in tables),
            *((instance.materialized_at, 1, instance) for instance in made),
        ]
        for _, _, event in sorted(events, key=lambda each: (each[0], each[1])):
            if isinstance(event, OldTable):
                self._add_table(event)
            else:
                self._add_instance(event, made)
        self._add_modules()
        self._follow()
        for temp in self._source.temps():
            self._add_temp(temp)
        return self._report

    def _check(self, tables: list[OldTable], made: list[OldInstance]) -> None:
        """Refuse names that cannot be had here, before anything is written."""
        for table in tables:
            check_table_name(table.name)
        for instance in made:
            check_version(instance.version)
        for module in self._source.modules():
            check_module_name(module)

    # -- events -------------------------------------------------------------------------------

    def _add_table(self, table: OldTable) -> None:
        """Write the commit that created a table."""
        document = TableDocument(
            id=TableId(str(uuid.uuid4())),
            description=table.description,
            multiple_artifacts=table.multiple_artifacts,
            side_effects=table.side_effects,
            created_by=table.author or self._vault.author,
            created_at=timestamp(table.created_at),
        )
        self._tables[table.name] = document
        pairs = [
            ("Operation", "create_table"),
            ("Process", table.process or new_process_id()),
            ("Table", table.name),
            ("Table-Id", document.id),
            ("Time", document.created_at),
        ]
        edits = [Put(path=table_document(table.name), data=document.encode())]
        message = Message(subject=f"{table.name}: create table", trailers=trailers(pairs))
        self._commit(edits, message, table.author, table.created_at)
        self._report.tables += 1

    def _add_instance(self, instance: OldInstance, made: list[OldInstance]) -> None:
        """Write the commit that made an instance: frame, artifacts, builders, code."""
        from tablevault.frames.parquet import write_frame

        table, version = instance.table, instance.version
        settings = self._tables[table]
        frame, text = read_table(instance)
        if text:
            self._report.notes.append(
                f"{table}/{instance.instance_id}: {', '.join(text)} did not fit the dtype that was "
                "declared, and stayed text."
            )
        store = self._vault.store
        with store.draft(_OWNER) as draft:
            file = write_frame(frame, draft)
        artifacts = self._artifacts(instance, settings)
        with store.locked():
            store.keep([draft, *(each for _, each in artifacts)])
        store.discard(_OWNER)
        builders = instance.texts("builders", ".yaml")
        code = instance.texts("EXECUTION_ARCHIVE", ".py")
        edits: list[Edit] = [Remove(path=instance_dir(table, version))]
        edits.append(Put(path=frame_path(table, version), data=draft.pointer.encode()))
        edits.extend(
            Put(path=builder_path(table, version, name), data=data)
            for name, data in builders.items()
        )
        edits.extend(Put(path=code_path(name), data=data) for name, data in code.items())
        edits.extend(self._artifact_edits(instance, settings, artifacts))
        document = InstanceDocument(
            description=instance.description,
            version=version,
            external_edit=instance.external_edit,
            origin=instance.origin,
            id=instance.instance_id,
            table_id=settings.id,
            operation=instance.operation,
            success=instance.success,
            author=instance.author or self._vault.author,
            process=instance.process,
            started_at=timestamp(instance.started_at),
            materialized_at=timestamp(instance.materialized_at),
            rows=file.rows,
            dtypes=file.dtypes,
            primary_key=instance.primary_key(list(file.dtypes)),
            digest=file.digest,
            dependencies=tuple((name, InstanceId(each)) for name, each in instance.dependencies),
            builders=self._blobs(builders),
            code=self._blobs(code),
        )
        edits.append(Put(path=instance_document(table, version), data=document.encode()))
        message = self._message(document, table, list(self._deactivations(instance, made)))
        self._commit(edits, message, instance.author, instance.materialized_at)
        self._report.instances += 1

    def _message(self, document: InstanceDocument, table: str, deactivated: list[str]) -> Message:
        """Write the message of the commit of an instance."""
        pairs = [
            ("Operation", document.operation),
            ("Process", document.process or new_process_id()),
            *instance_trailers(table, document),
            *(("Deactivates", each) for each in deactivated),
        ]
        subject = instance_subject(table, document)
        return Message(subject=subject, trailers=trailers(pairs))

    def _deactivations(self, instance: OldInstance, made: list[OldInstance]) -> Iterator[str]:
        """Return the instances that were inactive from here on."""
        for other in made:
            if (
                other.table == instance.table
                and other.deactivated_at is not None
                and other.deactivated_at <= instance.materialized_at
                and other.instance_id not in self._deactivated
            ):
                self._deactivated.add(other.instance_id)
                yield other.instance_id

    def _add_modules(self) -> None:
        """Write the code as it is now, where that is not what ran last."""
        modules = self._source.modules()
        snapshot = self._vault.snapshot()
        edits: list[Edit] = [
            Put(path=code_path(name), data=data)
            for name, data in modules.items()
            if snapshot.blob(code_path(name)) != data
        ]
        known = snapshot.code_modules()
        edits.extend(Remove(path=code_path(name)) for name in known if name not in modules)
        self._report.modules = len(modules)
        if edits:
            pairs = [("Operation", "create_code_module"), ("Process", new_process_id())]
            message = Message(subject="code: as it was at the import", trailers=trailers(pairs))
            self._commit(edits, message, "", None)

    def _add_temp(self, temp: OldInstance) -> None:
        """Create a temporary instance, with its builders."""
        texts = {
            name: data.decode("utf-8", "replace")
            for name, data in temp.texts("builders", ".yaml").items()
        }
        origin_id, origin_table = temp.origin
        if origin_id and self._vault.index.instance(origin_id) is None:
            origin_id = origin_table = ""
        CreateInstance(
            table_name=temp.table,
            version=temp.version,
            origin_id=origin_id,
            origin_table=origin_table,
            external_edit=temp.external_edit,
            builders=texts or None,
            description=temp.description,
            allow_secret=self._allow_secret,
        ).run(self._vault)
        self._report.temps += 1

    # -- parts --------------------------------------------------------------------------------

    def _artifacts(self, instance: OldInstance, settings: TableDocument) -> list[tuple[str, Draft]]:
        """Copy the artifacts of an instance into the store; return their names."""
        folder = instance.folder / "artifacts"
        if not settings.multiple_artifacts and instance.success:
            owner = next(
                table.artifact_instance
                for table in self._source.tables()
                if table.name == instance.table
            )
            if owner != instance.instance_id:
                return []
            folder = self._source.shared_artifacts(instance.table)
        files = sorted(
            path for path in folder.rglob("*") if path.is_file() and not is_hidden(path.name)
        )
        names = [path.relative_to(folder).as_posix() for path in files]
        for name in names:
            check_artifact_name(name)
        return list(zip(names, self._vault.store.drafts_of(files, _OWNER), strict=True))

    def _artifact_edits(
        self, instance: OldInstance, settings: TableDocument, artifacts: list[tuple[str, Draft]]
    ) -> Iterator[Edit]:
        """Put pointers where an instance keeps its artifacts."""
        if not artifacts:
            return
        own = settings.multiple_artifacts or not instance.success
        folder = artifacts_dir(instance.table, instance.version, multiple=own)
        if not own:
            owned = replace(settings, artifact_instance=instance.instance_id)
            self._tables[instance.table] = owned
            yield Remove(path=folder)
            yield Put(path=table_document(instance.table), data=owned.encode())
        for name, draft in artifacts:
            yield Put(path=f"{folder}/{name}", data=draft.pointer.encode())

    def _blobs(self, texts: Mapping[str, bytes]) -> dict[str, str]:
        """Return texts by their git ids."""
        return {name: self._vault.repository.blob_id(data) for name, data in texts.items()}

    def _commit(
        self, edits: Sequence[Edit], message: Message, author: str, at: float | None
    ) -> CommitId:
        """Write one commit on ``main``; it names what looks like a key, and was allowed."""
        import time

        repository = self._vault.repository
        main = repository.main()
        found = [
            str(each)
            for edit in edits
            if isinstance(edit, Put)
            for each in find_secrets(edit.path, edit.data)
        ]
        named = trailers(("Allowed-Secret", each) for each in found)
        message = replace(message, trailers=(*message.trailers, *named))
        commit = repository.write_commit(
            parents=[main],
            base=main,
            edits=edits,
            message=message,
            author=author or self._vault.author,
            at=time.time() if at is None else at,
        )
        move_refs(repository, [RefMove(ref=MAIN, old=main, new=commit)], message.subject)
        return commit

    def _follow(self) -> None:
        """Check out working tree and tags."""
        parts = self._vault.parts
        main = parts.repository.main()
        with parts.commit_lock():
            parts.worktree.refresh(main)
            moves = tag_moves(parts.repository, parts.index, Snapshot(parts.repository, main))
            if moves:
                parts.move(moves, "tags of instances")
