"""Detect builders that were edited in the folder of an instance instead of a temporary one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tablevault.errors import TableVaultError
from tablevault.history.checkout.hand_edits import MisplacedBuilders, make_temporary
from tablevault.history.commits.snapshot import Snapshot
from tablevault.names import builder_of_path, builder_path, builders_dir
from tablevault.transactions.parts import VaultParts
from tablevault.transactions.records import Request

_log = logging.getLogger("tablevault")
_TAKING_IN = frozenset({"create_instance", "create_builder_file"})


@contextmanager
def minding_misplaced(parts: VaultParts, request: Request) -> Iterator[None]:
    """Warn of builders that were edited in the folder of an instance.

    What the operation takes into a temporary instance is checked out again afterwards: the edit is
    on the branch then, and the folder shows the instance once more.
    """
    if not _find(parts):
        yield
        return
    takes_in = request.operation in _TAKING_IN
    if not takes_in:
        _guarded(parts, _warn)
    yield
    _guarded(parts, _put_back)
    if takes_in:
        _guarded(parts, _warn)


def _guarded(parts: VaultParts, act: Callable[[VaultParts], None]) -> None:
    """Act under the commit lock: else the folders may be about to follow a commit.

    A failure is logged and fails no operation: the next one tries again.
    """
    try:
        with parts.commit_lock():
            parts.worktree.refresh(parts.repository.main())
            act(parts)
    except (TableVaultError, OSError):
        _log.warning("Edits in the folders of instances were not checked.", exc_info=True)


def _warn(parts: VaultParts) -> None:
    """Name the edits that no temporary instance has, and how to make one of them."""
    for each in _find(parts):
        if not _is_adopted(parts, each):
            paths = sorted(each.blobs)
            _log.warning(
                "%s was edited, but the builders of an instance never change: the edit has no "
                "effect. This makes a temporary instance of it: %s",
                ", ".join(paths),
                make_temporary(parts.repository, each.temp, paths),
            )


def _put_back(parts: VaultParts) -> None:
    """Check out again the builders whose edits a temporary instance has by now."""
    snapshot = Snapshot(parts.repository, parts.repository.main())
    for each in _find(parts):
        if not _is_adopted(parts, each):
            continue
        folder = builders_dir(each.temp.table, each.temp.version)
        tracked = {f"{folder}/{entry.name}": entry for entry in snapshot.files(folder)}
        for path in each.blobs:
            # Crash here: the edit is on the branch, and the missing file is checked out again by
            # verify(repair=True).
            (parts.repository.path / path).unlink(missing_ok=True)
            if path in tracked:
                entry = tracked[path]
                parts.worktree.check_out_files({path: (entry.id, entry.executable)})
            _log.info("%s is as it was: %s has the edit.", path, each.temp.folder)


def _find(parts: VaultParts) -> list[MisplacedBuilders]:
    """Find edits in the folders of instances, while the working tree shows ``main``."""
    worktree, repository = parts.worktree, parts.repository
    if not worktree.follows_main():
        return []
    return worktree.instance_builders.misplaced(Snapshot(repository, repository.main()))


def _is_adopted(parts: VaultParts, found: MisplacedBuilders) -> bool:
    """Return whether the branch of the temporary instance holds the very same builders."""
    tip = parts.repository.tip(found.temp.ref)
    if tip is None:
        return False
    branch = Snapshot(parts.repository, tip)
    table, version = found.temp.table, found.temp.version
    return all(
        branch.blob_id(builder_path(table, version, builder_of_path(path))) == blob
        for path, blob in found.blobs.items()
    )
