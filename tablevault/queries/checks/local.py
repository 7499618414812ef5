"""What this machine keeps for itself: settings, index, temporary folders, processes, leftovers."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tablevault.errors import TVBuilderError, TVFileError
from tablevault.files.disk import entries_of, files_below
from tablevault.history.catalog.catalog import Index
from tablevault.history.catalog.in_memory import FreshIndex, wrong_with_index
from tablevault.history.checkout.hand_edits import make_temporary
from tablevault.history.checkout.worktree_status import Inspection
from tablevault.history.commits.setup import (
    missing_attributes,
    missing_hooks,
    missing_settings,
    other_push_hook,
    with_calls,
)
from tablevault.history.commits.snapshot import Snapshot, decode_text
from tablevault.names import calls_path, record_file
from tablevault.problems import Problem, Severity
from tablevault.vault import Vault
from tablevault.wording import BLANK, Call, OperationName, Wording

_FILES = (
    "commit.lock",
    "journal.lock",
    "objects.lock",
    "pack.lock",
    "checked-out",
    "moving",
    "index.sqlite",
    "objects.sqlite",
    "history.jsonl",
    "empty",
    "no-links",
    "no-links.new",
)
_FOLDERS = (
    "tmp",
    "processes",
    "temp-folders",
    "artifacts",
    "texts",
    "incomplete",
    "logs",
    "remotes",
)
_LEFT_S = 3600.0
"""A file that was not written to for so long, and that no record names, is left of a crash."""
_GIT_LOCKS = ("index.lock", "HEAD.lock", "config.lock", "packed-refs.lock", "shallow.lock")


def check_state(vault: Vault) -> Iterator[Problem]:
    """Find files where folders should be, and the other way round: nothing works around these."""
    for names, is_right, wanted in (
        (_FILES, stat.S_ISREG, "file"),
        (_FOLDERS, stat.S_ISDIR, "folder"),
    ):
        for name in names:
            status = _stat(vault.state / name)
            if status is not None and not is_right(status.st_mode):
                yield _state(f".git/tablevault/{name}", f"It is no {wanted}.")
    for name in ("tmp", "processes"):
        if _stat(vault.state / name) is None:
            yield _state(f".git/tablevault/{name}", "The folder is missing.")
    for folder in ("processes", "temp-folders"):
        for entry in entries_of(vault.state / folder):
            if not entry.is_file(follow_symlinks=False):
                yield _state(f".git/tablevault/{folder}/{entry.name}", "It is no file.")


def check_calls(vault: Vault) -> Iterator[Problem]:
    """Find records of calls that cannot be read."""
    problem = vault.calls.problem()
    if problem:
        yield Problem(
            kind="state",
            severity="warning",
            where=".git/tablevault/calls.sqlite",
            text=f"The records of calls are damaged: {problem}. Results that no instance holds"
            " are lost.",
            advice=Wording(
                "Move the file aside: ",
                Call("verify", repair=True),
                ". Instances are not concerned.",
            ),
            repairable=True,
        )


def check_settings(vault: Vault) -> Iterator[Problem]:
    """Find settings and hooks that stock git needs and that are missing."""
    keys = (f".git/config:{key}" for key in missing_settings(vault.path))
    hooks = (f".git/hooks/{name}" for name in missing_hooks(vault.path / ".git"))
    for where in (*keys, *hooks):
        yield Problem(
            kind="settings",
            severity="warning",
            where=where,
            text="It is missing, or is another one.",
            advice="Opening the vault sets it.",
            repairable=True,
        )
    hook = other_push_hook(vault.path)
    if hook is not None and "pre-push" not in missing_hooks(vault.path / ".git"):
        yield Problem(
            kind="settings",
            severity="note",
            where="pre-push",
            text=f'`git push` runs "{hook}" and not the hook of the vault: it sends no objects.',
            advice=Wording(
                Call("push"),
                " sends them. That hook does, too, if it calls "
                '`python -m tablevault.drivers.hooks pre-push "$@"`.',
            ),
        )


def check_attributes(vault: Vault) -> Iterator[Problem]:
    """Find what git has to know of large files."""
    has_calls = _has_calls(vault.snapshot())
    for where, text in _attributes(vault):
        for line in missing_attributes(text if has_calls else with_calls(text)):
            yield Problem(
                kind="settings",
                severity="warning",
                where=f"{where}: {line}",
                text="The line is missing: without it git may take large files into its own store, "
                "or turn line ends.",
                advice="Write it back, and commit.",
            )


def _has_calls(main: Snapshot) -> bool:
    """Return whether an instance on ``main`` has a file of calls."""
    return any(
        main.blob_id(calls_path(table, version)) is not None
        for table in main.table_names()
        for version in main.versions(table)
    )


def _attributes(vault: Vault) -> Iterator[tuple[str, bytes]]:
    """Return the attributes that count: those on main, and those that git reads first."""
    yield "main:.gitattributes", vault.snapshot().blob(".gitattributes") or b""
    path = vault.path / ".gitattributes"
    if path.is_file():
        yield ".gitattributes", path.read_bytes()


def check_index(vault: Vault, fresh: FreshIndex) -> Iterator[Problem]:
    """Fold history again from nothing, and compare."""
    wrong = wrong_with_index(vault.state / "index.sqlite", vault.repository, fresh)
    if wrong:
        yield Problem(
            kind="index",
            severity="warning",
            where=".git/tablevault/index.sqlite",
            text=f"The derived index is wrong: {wrong}.",
            advice="Delete it: it is made again.",
            repairable=True,
        )


def check_worktree(vault: Vault, *, data: bool) -> Iterator[Problem]:
    """Compare working tree and git's index with main, while main is checked out."""
    worktree, repository = vault.worktree, vault.repository
    main = repository.main()
    if not worktree.follows_main():
        return
    misplaced = list(_misplaced(vault))
    inspection = Inspection(repository, vault.store, main)
    known = {problem.where for problem in misplaced}
    files = (each for each in inspection.files(data=data) if each.where not in known)
    found = [*misplaced, *files, *inspection.index()]
    if found and worktree.checked_out() != main:
        # A process crashed as it wrote files. After a plain `git commit` there is nothing to find.
        yield Problem(
            kind="working tree",
            severity="warning",
            where=".git/tablevault/checked-out",
            text="The working tree was not written wholly from the tip of main.",
            advice="The next operation does that, too.",
            repairable=True,
        )
        return
    yield from found


def _misplaced(vault: Vault) -> Iterator[Problem]:
    """Find builders that were edited in the folder of an instance."""
    repository = vault.repository
    edited = vault.worktree.instance_builders.misplaced(vault.snapshot())
    for each in edited:
        for path in sorted(each.blobs):
            yield Problem(
                kind="working tree",
                severity="warning",
                where=path,
                text="It was edited, but the builders of an instance never change: the edit has "
                "no effect.",
                advice="This makes a temporary instance of it: "
                f"{make_temporary(repository, each.temp, sorted(each.blobs))}",
            )


def check_temp_folders(vault: Vault) -> Iterator[Problem]:
    """Compare the folders of temporary instances with their branches."""
    for temp, (text, repairable) in vault.temp_folders.faults().items():
        advice = f"Compare it with the branch temp/{temp.table}/{temp.version}, and keep one."
        yield Problem(
            kind="temporary folder",
            severity="warning",
            where=temp.folder,
            text=text,
            advice="" if repairable else advice,
            repairable=repairable,
        )


def check_builders(vault: Vault) -> Iterator[Problem]:
    """Find builders of temporary instances that no execution would accept.

    Those of materialised instances ran, whatever this release thinks of them.
    """
    from tablevault.engine.builders.document import check_builder_text

    for temp in vault.live_view().temps():
        for name, data in temp.builders().items():
            try:
                check_builder_text(name, decode_text(data, f"{name}.yaml"))
            except (TVBuilderError, TVFileError) as error:
                yield Problem(
                    kind="temporary folder",
                    severity="warning",
                    where=f"{temp.ref.folder}/builders/{name}.yaml",
                    text=error.message,
                    advice=error.hint,
                )


def check_processes(vault: Vault, index: Index) -> Iterator[Problem]:
    """Find records that cannot be read, and those of crashed processes."""
    files = vault.records
    for name in files.lasting_strays():
        yield Problem(
            kind="process",
            severity="warning",
            where=f".git/tablevault/processes/{name}.json",
            text="The record cannot be read: its process crashed as it began.",
            advice="Opening the vault removes it.",
            repairable=True,
        )
    for record in files.every():
        if files.is_alive(record.process_id) or (record.named and record.error[0]):
            continue
        has_happened = index.process(record.process_id) is not None
        yield Problem(
            kind="process",
            severity="warning" if has_happened else "note",
            where=record.process_id,
            text=Wording(
                OperationName(record.request.operation),
                f" crashed {'after' if has_happened else 'before'} its commit.",
            ),
            advice="Opening the vault does the rest."
            if has_happened
            else Wording(
                Call("TableVault", db_dir=BLANK, restart=True),
                " runs it again, ",
                Call("stop_process", to_stop_process_id=record.process_id),
                " gives it up.",
            ),
            repairable=has_happened,
        )


def check_leftovers(vault: Vault) -> Iterator[Problem]:
    """Find temporary files and locks that nobody needs any more."""
    records = {record_file(record.process_id) for record in vault.records.every()}
    now = time.time()
    for entry in entries_of(vault.state / "tmp"):
        if entry.name not in records and now - entry.stat().st_mtime > _LEFT_S:
            yield _leftover(f".git/tablevault/tmp/{entry.name}", "Files of a process that crashed.")
    if vault.worktree.is_left_locked():
        where = ".git/index.tablevault"
        yield replace(
            _leftover(where, "Left by a crash while git's index was written.", "warning"),
            advice="Opening the vault removes it.",
        )
    for path in _git_locks(vault.path / ".git"):
        status = _stat(path)
        if status is not None and now - status.st_mtime > _LEFT_S:
            yield Problem(
                kind="leftover",
                severity="warning",
                where=path.relative_to(vault.path).as_posix(),
                text="A lock of git, which stops all operations.",
                advice="If no git command runs in the vault, delete it.",
            )


def _git_locks(git_dir: Path) -> Iterator[Path]:
    """Walk the lock files of git."""
    yield from (git_dir / name for name in _GIT_LOCKS)
    yield from (path for path in files_below(git_dir / "refs") if path.suffix == ".lock")


def _state(where: str, text: str) -> Problem:
    """Describe something in the folder of the vault's own that is in the way."""
    return Problem(
        kind="state",
        severity="error",
        where=where,
        text=text,
        advice="Move it away.",
        repairable=True,
    )


def _leftover(where: str, text: str, severity: Severity = "note") -> Problem:
    """Describe what may go."""
    return Problem(
        kind="leftover",
        severity=severity,
        where=where,
        text=text,
        advice=Wording(Call("gc"), " removes it, too."),
        repairable=True,
    )


def _stat(path: Path) -> os.stat_result | None:
    """Stat of the name itself, None when there is nothing."""
    try:
        return path.lstat()
    except OSError:
        return None
