"""The modules of the package, and their syntax trees, parsed when a test first asks for them."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import tablevault

PACKAGE = Path(tablevault.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))


@functools.cache
def parsed() -> dict[Path, ast.Module]:
    """Return the tree of each module."""
    return {path: ast.parse(path.read_bytes()) for path in MODULES}
