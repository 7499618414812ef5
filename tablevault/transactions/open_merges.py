"""Detect a merge by plain git that is not completed, without merging."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.repository import Repository
from tablevault.lfs.files import replace_file
from tablevault.names import CommitId, TempRef, temp_of_ref
from tablevault.transactions.parts import VaultParts


def may_be_unfinished(parts: VaultParts) -> bool:
    """Return whether :func:`.git_merges.complete_merge` may have something to do."""
    tip = parts.repository.main()
    return is_open_merge(parts, tip) or bool(astray(parts.repository, tip))


def is_open_merge(parts: VaultParts, tip: CommitId) -> bool:
    """Return whether a commit is a merge by git in which something may be left to do."""
    return is_by_git(parts.repository, tip) and _closed(parts) != tip


def is_by_git(repository: Repository, tip: CommitId) -> bool:
    """Return whether a commit is a merge of two sides that no operation has made."""
    commit = repository.commit(tip)
    return len(commit.parents) == 2 and not commit.message.first("Vault-Operation")  # noqa: PLR2004 - sides


def astray(repository: Repository, tip: CommitId) -> dict[CommitId, TempRef]:
    """Return the temporary instances of tables that a commit does not have, by their tips."""
    main = Snapshot(repository, tip)
    temps = {tip: temp_of_ref(ref) for ref, tip in repository.temp_refs().items()}
    return {
        tip: temp
        for tip, temp in temps.items()
        if temp is not None and not main.has_table(temp.table)
    }


def close_merge(parts: VaultParts, tip: CommitId) -> None:
    """Take note of a merge in which nothing is left to do, so that none works it out again."""
    with contextlib.suppress(OSError):  # a vault can be read where nothing can be written
        replace_file(_note(parts), f"{tip}\n".encode("ascii"))


def _closed(parts: VaultParts) -> str:
    """Read the note."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return _note(parts).read_text("ascii").strip()
    return ""


def _note(parts: VaultParts) -> Path:
    """Return the file of the note."""
    return parts.state / "completed"
