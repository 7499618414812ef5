"""Package of the code modules of vaults; a process that imports one reads it from git."""

from __future__ import annotations

from pathlib import Path

from tablevault.engine.code import SETS, ModuleSet, path_and_tree
from tablevault.errors import TableVaultError
from tablevault.history.commits.snapshot import code_texts
from tablevault.history.git.repository import Repository
from tablevault.names import code_path

__path__: list[str] = []


def _read(key: str) -> ModuleSet | None:
    """Return the modules that a process has named, None when they are not here.

    They are read from git, as they were committed: nobody edits them meanwhile.
    """
    home = path_and_tree(key)
    if home is None:
        return None
    path, tree = home
    try:
        texts = code_texts(Repository(Path(path)), tree)
    except TableVaultError:
        return None  # an import error says what is missing
    return ModuleSet(texts, {name: str(Path(path) / code_path(name)) for name in texts})


SETS.read = _read
