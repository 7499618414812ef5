"""Measure the modules of the standard library: the functions that the builders call."""

from __future__ import annotations

import ast
import shutil
import sysconfig
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

Function = ast.FunctionDef | ast.AsyncFunctionDef


def collect(artifact_folder: str) -> pd.DataFrame:
    """Copy the library's top-level modules into the artifact folder; one row for each.

    `artifact_folder` is what ``~ARTIFACT_FOLDER~`` in the builder stands for.
    """
    names = []
    for source in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        shutil.copyfile(source, Path(artifact_folder) / source.name)
        names.append(source.name)
    return pd.DataFrame({"module": [name.removesuffix(".py") for name in names], "source": names})


def measure(path: str) -> tuple[int, int, int, int]:
    """Count lines, functions, classes and imported modules of one file."""
    text = Path(path).read_bytes()
    nodes = list(ast.walk(ast.parse(text)))
    functions = sum(isinstance(node, Function) for node in nodes)
    classes = sum(isinstance(node, ast.ClassDef) for node in nodes)
    return len(text.splitlines()), functions, classes, len(_imports(nodes))


def documented(path: str, count_private: bool) -> float | None:
    """Return the share of functions with a docstring; None when the file has no function.

    `count_private` says whether a name with one leading underscore, as in ``_helper``, counts.
    """
    functions = [
        node
        for node in ast.walk(ast.parse(Path(path).read_bytes()))
        if isinstance(node, Function) and (count_private or not _is_private(node.name))
    ]
    if not functions:
        return None
    return sum(ast.get_docstring(each) is not None for each in functions) / len(functions)


def rank(modules: pd.DataFrame, at_least: int) -> pd.DataFrame:
    """Order modules by the share that is documented, those with few functions left out."""
    ranked = modules[modules["functions"] >= at_least].sort_values(
        ["documented", "functions", "module"], ascending=[False, False, True]
    )
    columns = ranked[["module", "documented", "functions"]].reset_index(drop=True)
    return columns.assign(place=columns.index + 1)


def _is_private(name: str) -> bool:
    """Return whether a name is like ``_helper``, not like ``helper`` or ``__init__``."""
    return name.startswith("_") and not name.endswith("__")


def _imports(nodes: Iterable[ast.AST]) -> set[str]:
    """Return the top-level names of all modules that are imported anywhere in the file."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found
