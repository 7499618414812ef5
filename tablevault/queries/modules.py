"""The code modules as they are now, edits by hand included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from tablevault.history.commits.snapshot import Snapshot, decode_text
from tablevault.history.git.trees import Edit, Put, Remove
from tablevault.model.view import VaultView
from tablevault.names import CODE_DIR, code_path
from tablevault.queries.reuse_source import files_beside_modules, fingerprints

if TYPE_CHECKING:
    from tablevault.engine.execution.reuse import FingerprintOf


def code_edits(view: VaultView) -> list[Edit]:
    """Find what was edited by hand since the commit that the working tree shows."""
    worktree, main = view.parts.worktree, view.snapshot
    laid = worktree.laid()
    return worktree.code_edits(main if laid is None else Snapshot(main.repository, laid))


def module_texts(main: Snapshot, edits: Sequence[Edit] = ()) -> dict[str, str]:
    """Return the text of each module by its name, with edits by hand."""
    modules = main.code_modules().items()
    found = {name: main.text_of(blob, code_path(name)) for name, blob in modules}
    for edit in edits:
        name = PurePosixPath(edit.path).stem
        if isinstance(edit, Put):
            found[name] = decode_text(edit.data, edit.path)
        elif isinstance(edit, Remove):
            found.pop(name, None)
    return {name: found[name] for name in sorted(found)}


def fingerprints_now(path: Path, texts: Mapping[str, str]) -> FingerprintOf:
    """Return a function that gives fingerprints of modules with these texts, in a vault."""
    sources = {f"{name}.py": text.encode("utf-8", "surrogatepass") for name, text in texts.items()}
    return fingerprints(sources, files_beside_modules(path / CODE_DIR))
