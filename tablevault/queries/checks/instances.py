"""Checks of instances: tags, and dataframes against their documents."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from urllib.parse import unquote

from tablevault.errors import TableVaultError, reason_of
from tablevault.history.catalog.catalog import Catalog, IndexedInstance, expected_tags
from tablevault.history.commits.altered_instances import (
    Made,
    altered_instances,
    commit_that_altered,
)
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.object_files import read_refs
from tablevault.history.git.repository import Repository
from tablevault.model.instance import Instance
from tablevault.names import CommitId, ObjectId, is_instance_id, table_document
from tablevault.problems import Problem
from tablevault.vault import Vault

_TAGS = "refs/tags/"


def check_tags(vault: Vault, index: Catalog) -> Iterator[Problem]:
    """Compare the tags that there are with those that there should be."""
    expected, targets = (
        expected_tags(index, vault.snapshot()),
        read_refs(vault.path / ".git").targets,
    )
    for ref, commit in expected.items():
        target = targets.get(ref)
        if target is None:
            text = f"The tag is missing; it names commit {commit[:12]}."
        elif target != commit and not _makes(vault.repository, target, ref):
            text = f"The tag names {target[:12]} instead of commit {commit[:12]}."
        else:
            continue
        yield Problem(
            kind="tag",
            severity="warning",
            where=ref,
            text=text,
            advice=f"`git tag -f {ref.removeprefix(_TAGS)} {commit}` sets it.",
            repairable=True,
        )
    for ref in targets.keys() - expected.keys():
        instance_id = _instance_of(ref)
        if instance_id:
            yield _stray(ref, index.instance(instance_id))


def _makes(repository: Repository, target: str, ref: str) -> bool:
    """Return whether another commit made the instance, too: as by a cherry-pick."""
    try:
        message = repository.commit(CommitId(target)).message
    except (KeyError, ValueError, AttributeError):
        return False
    return message.first("Vault-Instance") == _instance_of(ref)


def _instance_of(ref: str) -> str:
    """Return the instance that a tag is named after, "" for a tag of a user."""
    if not ref.startswith(_TAGS) or ref.count("/") != 3:  # noqa: PLR2004 - refs/tags/<table>/<id>
        return ""
    name = unquote(ref.rpartition("/")[2])
    return name if is_instance_id(name) else ""


def _stray(ref: str, instance: IndexedInstance | None) -> Problem:
    """Describe a tag that is too much."""
    name = ref.removeprefix(_TAGS)
    if instance is None:
        return Problem(
            kind="tag",
            severity="note",
            where=ref,
            text="The history of main has no such instance.",
            advice=f"Merge {name} if it is wanted, else `git tag -d {name}`: that may be the last "
            "name of what it holds.",
        )
    reason = "was deleted" if instance.deleted_at else "is of a table with another name by now"
    return Problem(
        kind="tag",
        severity="warning",
        where=ref,
        text=f"The instance {reason}.",
        advice=f"`git tag -d {name}` removes it.",
        repairable=True,
    )


def check_frames(vault: Vault, index: Catalog, sound: Collection[ObjectId]) -> Iterator[Problem]:
    """Compare rows, columns and dtypes of each dataframe with what its document says.

    The bytes are proven by their sha256, and the logical digest was made as they were written;
    so it is not made again here, which would take many times as long. Objects that are not
    `sound` are found by other checks.
    """
    for instance in index.existing():
        try:
            wrong = _wrong_with_frame(Instance.of(instance, vault.parts, index), sound)
        except TableVaultError as error:
            wrong = error.message
        except (KeyError, OSError) as error:
            wrong = f"It cannot be read: {reason_of(error)}."
        if wrong:
            yield Problem(
                kind="dataframe",
                severity="error",
                where=instance.instance_id,
                text=f'{wrong} It is of table "{instance.table_name}", commit '
                f"{instance.commit[:12]}.",
                advice="The history was rewritten by hand: compare it with another clone.",
            )


def made_by(index: Catalog) -> Made:
    """Return what finds the commit that made an instance, and the name of its table then."""

    def made(instance_id: str) -> tuple[CommitId, str] | None:
        found = index.instance(instance_id) if instance_id else None
        return None if found is None else (found.commit, found.table_name)

    return made


def check_altered(vault: Vault, index: Catalog) -> Iterator[Problem]:
    """Find instances that a commit of plain git has changed on ``main``."""
    snapshot, repository = vault.snapshot(), vault.repository
    yield from _check_table_ids(snapshot)
    for altered in altered_instances(snapshot, made_by(index)):
        commit = commit_that_altered(repository, altered)
        more = f" and {len(altered.paths) - 1} more files" if len(altered.paths) > 1 else ""
        yield Problem(
            kind="instance",
            severity="warning",
            where=altered.paths[0],
            text=f"Commit {commit[:12]} changed it{more}, but instance {altered.instance_id!r} "
            "never changes: reads give what was made.",
            advice=f"`git revert {commit[:12]}` takes it back. To keep the change, make a new "
            "instance of it first.",
        )


def _check_table_ids(snapshot: Snapshot) -> Iterator[Problem]:
    """Find tables whose id is not the one that their instances name."""
    for table in snapshot.table_names():
        document = snapshot.table(table)
        found = (snapshot.instance(table, version) for version in snapshot.versions(table))
        named = {each.table_id for each in found if each is not None and each.table_id}
        if named and document.id not in named:
            path = table_document(table)
            yield Problem(
                kind="instance",
                severity="error",
                where=path,
                text=f"Its id is {document.id!r}, but the instances here are of table "
                f"{min(named)!r}: no read finds them.",
                advice=f"Write the id back: git log -p -- {path}",
            )


def _wrong_with_frame(instance: Instance, sound: Collection[ObjectId]) -> str:
    """Return what is wrong with the dataframe of an instance, "" when nothing is."""
    from tablevault.frames.parquet import read_form

    document = instance.snapshot.instance(instance.table_name, instance.version)
    pointer = instance.frame_pointer
    if document is None or pointer is None:
        return "The instance has no document." if document is None else "It has no dataframe."
    if document.id != instance.instance_id:
        return f"Its document is that of {document.id}."
    if pointer.oid not in sound:
        return ""
    rows, dtypes = read_form(instance.parts.store.path(pointer.oid))
    if rows != document.rows:
        return f"The dataframe has {rows:,} rows, its document says {document.rows:,}."
    if list(dtypes) != list(document.dtypes):
        return "The dataframe has other columns than its document says."
    others = [name for name, dtype in dtypes.items() if dtype not in ("", document.dtypes[name])]
    return f'Column "{others[0]}" has another dtype than its document says.' if others else ""
