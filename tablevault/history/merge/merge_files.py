"""Merge ``vault.yaml`` field by field, and all other files outside of ``tables/`` by line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pygit2
from pygit2.enums import FileMode

from tablevault.errors import TVFileError
from tablevault.history.commits.documents import VaultDocument
from tablevault.history.commits.snapshot import Snapshot, TreeEntry, edits_for
from tablevault.history.commits.vault_config import SECTIONS, VaultConfig, parsed
from tablevault.history.git.trees import Put, write_object
from tablevault.history.merge.merge_result import MergeResult, ThreeWay
from tablevault.names import TABLES_DIR, VAULT_DOCUMENT


def merge_vault_document(commits: ThreeWay, result: MergeResult) -> None:
    """Merge ``vault.yaml``; if one side alone changed it, take its text as it is."""
    base = None if commits.base is None else commits.base.vault()
    ours, theirs = commits.ours.vault(), commits.theirs.vault()
    if theirs in (ours, base):
        return
    if ours == base:
        data = commits.theirs.blob(VAULT_DOCUMENT)
        assert data is not None
        result.edits.append(Put(path=VAULT_DOCUMENT, data=data))
        return
    try:
        merged = replace(
            ours,
            description=result.merge_field(
                VAULT_DOCUMENT,
                "description",
                None if base is None else base.description,
                ours.description,
                theirs.description,
            ),
            format=max(ours.format, theirs.format),
            config_or_fault=_merge_config(result, base, ours, theirs),
        )
        data = merged.encode()
    except TVFileError as error:
        result.conflict(VAULT_DOCUMENT, error.message.rstrip("."), error.hint)
        return
    if merged != ours:
        result.edits.append(Put(path=VAULT_DOCUMENT, data=data))


def _merge_config(
    result: MergeResult, base: VaultDocument | None, ours: VaultDocument, theirs: VaultDocument
) -> VaultConfig | str:
    """Merge limits by field and prices by model; raise TVFileError if a side is not valid.

    A configuration that is not valid may still be taken whole, or be replaced by the other one.
    """
    before = None if base is None else base.config_or_fault
    if theirs.config_or_fault in (ours.config_or_fault, before):
        return ours.config_or_fault
    if ours.config_or_fault == before:
        return theirs.config_or_fault
    sections = [
        each.fields() if isinstance(each, VaultConfig) else {}
        for each in (before, ours.config, theirs.config)
    ]
    merged: dict[str, dict[str, object]] = {}
    for section in SECTIONS:
        known, mine, yours = (each.get(section, {}) for each in sections)
        merged[section] = {
            name: value
            for name in sorted({*mine, *yours})
            if (
                value := result.merge_field(
                    VAULT_DOCUMENT,
                    f"{section}.{name}",
                    known.get(name),
                    mine.get(name),
                    yours.get(name),
                )
            )
            is not None
        }
    return parsed(merged)


def merge_files(commits: ThreeWay, result: MergeResult) -> None:
    """Merge all files outside of ``tables/`` but ``vault.yaml``."""
    before, mine, yours = (
        {} if each is None else dict(_files(each))
        for each in (commits.base, commits.ours, commits.theirs)
    )
    for path in sorted({*mine, *yours}):
        base, ours, theirs = before.get(path), mine.get(path), yours.get(path)
        if theirs in (ours, base) or path == VAULT_DOCUMENT:
            continue
        if ours != base:
            merged = _merge_file(commits.ours, base, ours, theirs)
            if isinstance(merged, Put):
                result.edits.append(replace(merged, path=path))
                continue
            side = result.resolve(path)
            if side is None:
                result.conflict(path, merged)
            if side != "theirs":
                continue
        result.edits.extend(edits_for([(path, theirs)]))


def _merge_file(
    commit: Snapshot, base: TreeEntry | None, ours: TreeEntry | None, theirs: TreeEntry | None
) -> Put | str:
    """Return the file that both changes merge to, or why they do not merge.

    ``merge_file_from_index`` would give text, and fail where a file is no UTF-8 (pygit2 1.21).
    """
    if ours is None or theirs is None:
        here, there = ("deleted", "changed") if ours is None else ("changed", "deleted")
        return f"it was {here} here and {there} there"
    handle = commit.repository.handle
    trees = []
    for file in (base, ours, theirs):
        builder = handle.TreeBuilder()
        if file is not None:
            mode = FileMode.BLOB_EXECUTABLE if file.executable else FileMode.BLOB
            builder.insert("file", pygit2.Oid(hex=file.id), mode)
        trees.append(str(write_object(builder.write)))
    ancestor, mine, yours = trees
    index = handle.merge_trees(ancestor, mine, yours)
    if index.conflicts is not None:
        return "both sides changed the same lines"
    entry = index["file"]
    # As bytes and not by its id: what libgit2 wrote would not be synced.
    return Put(
        path="file",
        data=commit.repository.read_blob(str(entry.id)),
        executable=entry.mode == FileMode.BLOB_EXECUTABLE,
    )


def _files(commit: Snapshot) -> Iterator[tuple[str, TreeEntry]]:
    """Walk the files of a commit outside of ``tables/``, with their paths."""
    for entry in commit.entries(""):
        if entry.name == TABLES_DIR:
            continue
        if not entry.is_folder:
            yield entry.name, entry
            continue
        for inner in commit.files(entry.name):
            yield f"{entry.name}/{inner.name}", inner
