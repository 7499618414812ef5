"""Where a module that is not the vault's comes from, found out without running anything.

Modules of the standard library and installed packages are **libraries**: their code does not
count. Everything else that an import would find, a script's neighbour or what is on
``PYTHONPATH``, is **outside**: its source decides results and is not kept in the vault.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

OWN_PACKAGE = "tablevault"
SHIPPED = "tablevault.engine.functions"
"""Functions that come with TableVault: the one part of it whose code counts."""


_PACKAGE_FOLDERS = frozenset({"site-packages", "dist-packages"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The text of a module.

    Attributes
    ----------
    name : str
        Dotted name.
    path : str
        Path below ``code/`` for the vault's modules, of the file for others, "" without one.
    data : bytes
        The file as it is; for one that is no Python source, the compiled code.
    is_package : bool
        Whether modules below it are imported through it.
    is_outside : bool
        Whether it is neither the vault's nor shipped with TableVault.
    """

    name: str
    path: str
    data: bytes
    is_package: bool
    is_outside: bool


class Locator(Protocol):
    """What finds modules that the vault does not have."""

    def locate(self, name: str) -> Source | None:
        """Return the source of a module by its dotted name, None for libraries and unknown ones."""


class ImportSystem:
    """Finds modules as an import statement of this interpreter would.

    Finders are asked for specs, which imports nothing: not even the packages around a module.
    """

    def __init__(self) -> None:
        self._specs: dict[str, importlib.machinery.ModuleSpec | None] = {}

    def locate(self, name: str) -> Source | None:
        """Return the source of a module outside, or of a shipped one."""
        if not all(part.isidentifier() for part in name.split(".")):
            return None
        top = name.partition(".")[0]
        is_shipped = f"{name}.".startswith(f"{SHIPPED}.")
        if top in sys.stdlib_module_names or (top == OWN_PACKAGE and not is_shipped):
            return None
        spec = self._shipped(name) if is_shipped else self._spec(name)
        if spec is None or (not is_shipped and _is_installed(spec)):
            return None
        return Source(
            name=name,
            path=spec.origin if spec.origin and spec.has_location else "",
            data=_read(spec),
            is_package=spec.submodule_search_locations is not None,
            is_outside=not is_shipped,
        )

    def _spec(self, name: str) -> importlib.machinery.ModuleSpec | None:
        """Return how a module would be loaded."""
        if name not in self._specs:
            self._specs[name] = self._find(name)
        return self._specs[name]

    def _find(self, name: str) -> importlib.machinery.ModuleSpec | None:
        if name == "__main__":
            return _main()
        package, _, _ = name.rpartition(".")
        path: Sequence[str] | None = None
        if package:
            around = self._spec(package)
            if around is None or around.submodule_search_locations is None:
                return None
            path = list(around.submodule_search_locations)
        for finder in sys.meta_path:
            # A finder of the user's may raise whatever it likes: an import would, too.
            with contextlib.suppress(Exception):
                if spec := finder.find_spec(name, path):
                    return spec
        return None

    @staticmethod
    def _shipped(name: str) -> importlib.machinery.ModuleSpec | None:
        """Return how a shipped module would be loaded."""
        folder = Path(__file__).parents[1] / "functions"
        relative = name.removeprefix(SHIPPED)
        path = folder / (f"{relative[1:]}.py" if relative else "__init__.py")
        if not path.is_file():
            return None
        loader = importlib.machinery.SourceFileLoader(name, str(path))
        spec = importlib.machinery.ModuleSpec(name, loader, origin=str(path))
        spec.has_location = True
        spec.submodule_search_locations = None if relative else [str(folder)]
        return spec


def _main() -> importlib.machinery.ModuleSpec | None:
    """Return a spec of the running script, which has none itself."""
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    if not path:
        return None
    spec = importlib.machinery.ModuleSpec("__main__", None, origin=str(path))
    spec.has_location = True
    return spec


def _is_installed(spec: importlib.machinery.ModuleSpec) -> bool:
    """Return whether a module is built in or lies in a folder for installed packages."""
    if spec.origin in {"built-in", "frozen"}:
        return True
    places = [spec.origin] if spec.origin and spec.has_location else []
    places += list(spec.submodule_search_locations or [])
    return any(
        _PACKAGE_FOLDERS.intersection(path.parts) or path.is_relative_to(root)
        for path in (Path(place).absolute() for place in places)
        for root in _libraries()
    )


@lru_cache(maxsize=1)
def _libraries() -> tuple[Path, ...]:
    """Return the folders of the standard library and of installed packages."""
    named = [sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    return tuple({form for each in named for form in (Path(each).absolute(), Path(each).resolve())})


def _read(spec: importlib.machinery.ModuleSpec) -> bytes:
    """Return what a module is made of, nothing for a folder without ``__init__.py``."""
    if spec.origin and spec.has_location:
        with contextlib.suppress(OSError):
            return Path(spec.origin).read_bytes()
    source = getattr(spec.loader, "get_source", None)  # from a zip archive
    with contextlib.suppress(Exception):
        return (source(spec.name) or "").encode() if source else b""
    return b""
