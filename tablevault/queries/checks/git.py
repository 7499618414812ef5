"""The git repository: its files, its refs, and everything that these reach."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from tablevault.errors import TVFileError, TVFormatError
from tablevault.history.checkout.worktree_status import find_blobs
from tablevault.history.commits.setup import settings_are_readable
from tablevault.history.git.object_files import PACKED_REFS, Refs, damaged_ref, logged, read_refs
from tablevault.history.git.reachability import Reachability
from tablevault.history.git.repository import Repository
from tablevault.history.merge.validate_commits import invalid_files_in
from tablevault.names import MAIN, VAULT_DOCUMENT
from tablevault.paths import kind_of_document
from tablevault.problems import Problem
from tablevault.vault import Vault


def check_opening(path: Path, *, read: bool) -> list[Problem]:
    """Find what keeps git from working at all; then nothing else can be checked.

    Unless libgit2 may `read` the vault, it is not opened.
    """
    found = list(_check_head(path / ".git" / "HEAD"))
    try:
        # A new one: an open repository does not notice that its settings changed.
        assert not read or Repository(path).handle is not None
    except TVFileError as error:
        if not found and settings_are_readable(path):
            found.append(_unusable(".git", error.message, error.hint))
    if not settings_are_readable(path):
        text = "Git cannot read its settings."
        advice = "Remotes have to be added again."
        found.append(_unusable(".git/config", text, advice, repairable=True))
    return found


def _unusable(where: str, text: str, advice: str, *, repairable: bool = False) -> Problem:
    """Describe what keeps git from working."""
    return Problem(
        kind="repository",
        severity="error",
        where=where,
        text=text,
        advice=advice,
        repairable=repairable,
    )


def _check_head(head: Path) -> Iterator[Problem]:
    """Check what HEAD names."""
    try:
        text = head.read_bytes().strip()
    except OSError as error:
        text, wrong = b"", f"HEAD cannot be read: {error.strerror}."
    else:
        wrong = "HEAD is damaged: it names no branch."
    is_id = len(text) == 40 and not text.strip(b"0123456789abcdef")  # noqa: PLR2004 - digits
    if not (is_id or text.startswith(b"ref: refs/heads/")):
        advice = "Write `ref: refs/heads/main` into it."
        yield _unusable(".git/HEAD", wrong, advice, repairable=True)


def check_refs(path: Path) -> tuple[list[Problem], Refs]:
    """Read all refs, and find those that are damaged."""
    refs = read_refs(path / ".git")
    found = list(refs.problems)
    if MAIN not in refs.targets and not any(each.where == PACKED_REFS for each in found):
        found.append(damaged_ref(path / ".git", MAIN, "There is no branch main."))
    return found, refs


def check_branch(path: Path, refs: Refs) -> Iterator[Problem]:
    """Find out whether the branch that is checked out is there."""
    text = (path / ".git" / "HEAD").read_text("utf-8", "replace").rstrip("\n")
    branch = text.removeprefix("ref: ")
    if branch != text and branch not in refs.targets:
        yield Problem(
            kind="ref",
            severity="warning",
            where=".git/HEAD",
            text=f'There is no branch "{branch}", which is checked out.',
            advice="`git symbolic-ref HEAD refs/heads/main` goes back to main.",
        )


def check_tracked(vault: Vault) -> Iterator[Problem]:
    """Find documents on ``main`` that cannot be read, and names that no other vault would pull."""
    repository = vault.repository
    if vault.snapshot().blob(VAULT_DOCUMENT) is None:
        yield _unfit(VAULT_DOCUMENT, "it is missing")
    for path, problem in invalid_files_in(repository, repository.main()):
        yield _unfit(path, problem)


def check_config(vault: Vault) -> Iterator[Problem]:
    """Find limits and prices that cannot be read."""
    try:
        document = vault.snapshot().vault()
    except (TVFileError, TVFormatError):
        return  # `check_tracked` finds that
    try:
        assert document.config is not None
    except TVFileError as error:
        yield Problem(
            kind="settings",
            severity="warning",
            where=VAULT_DOCUMENT,
            text=f"Limits and prices cannot be read: {error.message}",
            advice=error.hint,
        )


def _unfit(path: str, problem: str) -> Problem:
    """Describe a file that should not be on ``main`` as it is."""
    is_document = bool(kind_of_document(path))
    restore = f"Restore it from history: git log -p -- {shlex.quote(path)}"
    return Problem(
        kind="file",
        severity="error" if is_document else "warning",
        where=path,
        text=f"No vault can be opened or pull with it: {problem}.",
        advice=restore if is_document else "Rename or remove it, and commit.",
    )


def broken(vault: Vault, reach: Reachability, refs: Refs) -> Iterator[Problem]:
    """Name what refs need and what cannot be read."""
    path = vault.path
    files = {each.id for each in reach.broken.values() if each.is_file}
    elsewhere = find_blobs(vault.repository, vault.store, files)
    tips = {target: ref for ref, target in refs.targets.items()}
    # If more is missing than what they name, tags are not at fault.
    tags_alone = all(tips.get(name, "").startswith("refs/tags/") for name in reach.broken)
    for each in reach.broken.values():
        ref = tips.get(each.id, "")
        is_elsewhere = logged(path / ".git", ref) not in ("", each.id)
        if is_elsewhere or tags_alone:
            yield damaged_ref(path / ".git", ref, f"Object {each.id} is {each.state}.")
            continue
        yield Problem(
            kind="git object",
            severity="error",
            where=each.id,
            text=f"It is {each.state}: {each.role}.",
            advice="Bring it from another clone of the vault: `git fetch`, or copy its "
            ".git/objects into this one.",
            repairable=each.id in elsewhere,
        )
