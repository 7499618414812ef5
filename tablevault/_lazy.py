"""Modules of a room that load when they are first named."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType


def lazily(package: str) -> Callable[[str], ModuleType]:
    """Give a module ``__getattr__`` (PEP 562) that imports the modules of `package` by name."""

    def load(name: str) -> ModuleType:
        if not name.startswith("_"):
            try:
                return importlib.import_module(f"{package}.{name}")
            except ModuleNotFoundError as error:
                if error.name != f"{package}.{name}":
                    raise
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return load
