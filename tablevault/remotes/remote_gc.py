"""Removes objects from a remote that none of its refs needs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from tablevault.errors import TVArgumentError, TVFileError, TVRemoteError
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.git_config import read_settings
from tablevault.history.git.reachability import pointers_of
from tablevault.names import MAIN, TABLES_DIR, BlobId, CommitId, ObjectId
from tablevault.paths import is_lfs_path
from tablevault.remotes.git_refs import list_refs
from tablevault.remotes.lfs.transfer import endpoint_of, open_transport
from tablevault.remotes.lfs.transport import StoredObject, Transport
from tablevault.remotes.remote_objects import commits_of, push_targets
from tablevault.remotes.reports import RemoteGcReport
from tablevault.vault import Vault
from tablevault.wording import Call, OperationName, Parameter, Wording

_BATCH = 500
_HEADS = "refs/heads/"

Refs = Mapping[str, Mapping[str, CommitId]]
"""Refs of the repositories that keep data in one place, by address."""


def collect_remote(vault: Vault, remote: str, *, grace_s: float, dry_run: bool) -> RemoteGcReport:
    """Remove objects from a remote that no ref needs: none of its own, and none of this vault.

    Interrupted uploads of large objects are removed, too.

    Somebody else may have sent objects whose refs come next, so young objects stay. The refs are
    read once more before each batch is removed, and after the last one; if one has moved, nothing
    more is removed. A push that relies on an old object asks for it again when its refs have moved:
    so either the push or this call sees the other. If it crashes, what is gone was not needed, and
    the next call removes the rest.

    Raises
    ------
    TVArgumentError
        `grace_s` is negative.
    TVRemoteError
        There is no such remote, it cannot be reached or does not list its objects; or it differs
        from this vault, which then cannot know what it needs.
    """
    if not grace_s >= 0:
        raise TVArgumentError(f"grace_s is {grace_s!r}.", "Give seconds, 0 or more.")
    with closing(open_transport(vault.path, remote, "upload", is_push=True)) as transport:
        refs = _read_refs(vault, remote)
        needed = _needed(vault, refs)
        unneeded = [each for each in transport.every() if each.upload_id or each.oid not in needed]
        now = time.time()
        old = [each for each in unneeded if now - each.modified_at >= grace_s]
        if not dry_run:
            for start in range(0, len(old), _BATCH):
                _refuse_change(remote, refs, _read_refs(vault, remote), start)
                _delete(transport, old[start : start + _BATCH])
            _refuse_change(remote, refs, _read_refs(vault, remote), len(old))
    uploads = sum(1 for each in old if each.upload_id)
    return RemoteGcReport(
        remote=remote,
        objects=len(old) - uploads,
        object_bytes=sum(each.size for each in old),
        uploads=uploads,
        young=len(unneeded) - len(old),
        dry_run=dry_run,
    )


def _read_refs(vault: Vault, remote: str) -> Refs:
    """Read the refs of a remote, and of others that keep their data in the same place."""
    place = endpoint_of(vault.path, remote, "upload").address
    names = [*read_settings(vault.path).names("remote", "url"), remote]
    sharing = [
        name
        for name in dict.fromkeys(names)
        if name == remote or endpoint_of(vault.path, name, "upload").address == place
    ]
    addresses = {address for name in sharing for address in (name, *push_targets(vault, name))}
    return {address: list_refs(vault.path, address) for address in sorted(addresses)}


def _needed(vault: Vault, refs: Refs) -> set[ObjectId]:
    """Return the objects that refs need, but for those of deleted instances.

    A branch needs all that its newest commit names, whatever was deleted on ``main`` since.
    """
    repository = vault.repository
    main = repository.main()
    for address, there in refs.items():
        if there.get(MAIN) != main or not all(repository.has(each) for each in there.values()):
            raise TVRemoteError(
                f'Remote "{address}" and this vault differ, so it is not known what the remote '
                "needs; nothing was removed.",
                Wording("Bring both up to date: ", Call("pull"), ", then ", Call("push"), "."),
                remote=address,
            )
    tips = [(ref, tip) for there in refs.values() for ref, tip in there.items()]
    named = commits_of(repository, (tip for _, tip in tips))
    heads = (tip for ref, tip in tips if ref.startswith(_HEADS))
    branches = {*heads, *repository.temp_refs().values()} - {main}
    found = pointers_of(repository, {*named, *branches})
    gone = vault.index.deleted_objects()
    needed = {pointer.oid for pointer in found if pointer.oid not in gone}
    for tip in commits_of(repository, branches):
        needed.update(_named(Snapshot(repository, tip)))
    return needed


def _named(snapshot: Snapshot) -> Iterator[ObjectId]:
    """Return the objects that the files of a commit name."""
    for entry in snapshot.files(TABLES_DIR):
        path = f"{TABLES_DIR}/{entry.name}"
        if is_lfs_path(path):
            with contextlib.suppress(TVFileError):  # somebody committed the bytes themselves
                yield snapshot.pointer_of(BlobId(entry.id), path).oid


def _refuse_change(remote: str, before: Refs, now: Refs, removed: int) -> None:
    """Raise TVRemoteError if refs have moved."""
    if before != now:
        raise TVRemoteError(
            "Somebody pushed meanwhile, so it is not known any more what the remote needs. "
            f"{removed:,} objects were removed.",
            Wording(
                "Pull: ",
                Call("pull", remote=remote),
                ". Then see whether it lacks any of them, by ",
                OperationName("verify"),
                " with ",
                Parameter("verify", "remote", remote),
                ".",
            ),
            remote=remote,
        )


def _delete(transport: Transport, objects: Sequence[StoredObject]) -> None:
    """Delete objects, several at once."""
    with ThreadPoolExecutor(transport.limits.threads, "tablevault-gc") as pool:
        for _ in pool.map(transport.delete, objects):
            pass
