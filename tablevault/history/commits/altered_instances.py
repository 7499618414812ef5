"""Instances that commits by plain git have changed, although an instance never changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tablevault.errors import TVFileError
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.repository import Repository
from tablevault.names import TABLES_DIR, CommitId, artifacts_dir, instance_dir, table_dir
from tablevault.paths import is_of_instance, temp_of_builder

Made = Callable[[str], tuple[CommitId, str] | None]
"""Returns the commit that made an instance and the name of its table then, None when none did."""
_MOST_STEPS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Altered:
    """Files of one instance that are not what was made."""

    table: str
    version: str
    instance_id: str
    paths: tuple[str, ...]


def altered_instances(snapshot: Snapshot, made: Made) -> Iterator[Altered]:
    """Walk the instances of a commit that are not what the commits that made them hold."""
    for table in snapshot.table_names():
        for version in snapshot.versions(table):
            paths = _differing(snapshot, table, version, made)
            if paths:
                yield Altered(
                    table=table,
                    version=version,
                    instance_id=_id_of(snapshot, table, version),
                    paths=paths,
                )


def altered_by(repository: Repository, commit: CommitId, made: Made) -> Iterator[Altered]:
    """Walk the instances that a commit of plain git has changed, or removed.

    A merge that takes an instance from one of its parents changes none, and neither does a revert
    that brings an earlier instance back as it was.
    """
    parents = repository.commit(commit).parents
    snapshot = Snapshot(repository, commit)
    for table, version in changed_instances(repository, commit, parents):
        before = Snapshot(repository, parents[0])
        paths = _differing(snapshot, table, version, made)
        # Not what an earlier commit has changed, and this one left so.
        if paths and _differing(before, table, version, made) != paths:
            instance_id = _id_of(before, table, version)
            yield Altered(table=table, version=version, instance_id=instance_id, paths=paths)


def changed_instances(
    repository: Repository, commit: CommitId, parents: Sequence[CommitId]
) -> Iterator[tuple[str, str]]:
    """Walk tables and versions whose instance in the first parent is in none of them like here."""
    snapshot = Snapshot(repository, commit)
    others = [Snapshot(repository, each) for each in parents]
    if not others or any(_is_same(snapshot, each, TABLES_DIR) for each in others):
        return
    for table in others[0].table_names():
        if any(_is_same(snapshot, each, table_dir(table)) for each in others):
            continue
        for version in others[0].versions(table):
            now = _files(snapshot, table, version)
            is_taken = any(_files(each, table, version) == now for each in others)
            if not is_taken and _id_of(others[0], table, version):
                yield table, version


def commit_that_altered(repository: Repository, altered: Altered) -> CommitId:
    """Return the commit in the history of ``main`` to which a file of an instance is due."""
    path = altered.paths[0]
    found = repository.main()
    blob = Snapshot(repository, found).blob_id(path)
    for _ in range(_MOST_STEPS):
        same = (
            parent
            for parent in repository.commit(found).parents
            if Snapshot(repository, parent).blob_id(path) == blob
        )
        before = next(same, None)
        if before is None:
            break
        found = before
    return found


def _is_same(one: Snapshot, other: Snapshot, folder: str) -> bool:
    """Return whether a folder is the same in two commits."""
    return one.tree_id(folder) == other.tree_id(folder)


def _differing(snapshot: Snapshot, table: str, version: str, made: Made) -> tuple[str, ...]:
    """Name the files of the instance that are not those of the commit that made it, sorted."""
    now = _files(snapshot, table, version)
    origin = made(_id_of(snapshot, table, version))
    if origin is None:
        return (min(path for path, _ in now.values()) if now else instance_dir(table, version),)
    commit, name = origin
    then = _files(Snapshot(snapshot.repository, commit), name, version)
    found = (
        now.get(key, then.get(key, ("", "")))[0]
        for key in now.keys() | then.keys()
        if now.get(key, ("", ""))[1] != then.get(key, ("", ""))[1]
    )
    return tuple(sorted(path.replace(table_dir(name), table_dir(table), 1) for path in found))


def _files(snapshot: Snapshot, table: str, version: str) -> dict[str, tuple[str, str]]:
    """Return paths and git ids of the files of an instance, by what they are to it.

    The index builder is called as its table was when it was made.
    """
    folder = instance_dir(table, version)
    folders = [folder]
    instance_id = _id_of(snapshot, table, version)
    if instance_id and snapshot.owner_of_artifacts(table) == instance_id:
        folders.append(artifacts_dir(table, version, multiple=False))
    found = {}
    for each in folders:
        for entry in snapshot.files(each):
            path = f"{each}/{entry.name}"
            if is_of_instance(path):
                key = path.removeprefix(f"{table_dir(table)}/")
                is_index = temp_of_builder(path) is not None and path.endswith("_index.yaml")
                found[f"{version}/builders/_index" if is_index else key] = path, entry.id
    return found


def _id_of(snapshot: Snapshot, table: str, version: str) -> str:
    """Return the id of the instance, "" for a document that names none, or cannot be read."""
    try:
        document = snapshot.instance(table, version)
    except TVFileError:
        return ""
    return "" if document is None else document.id
