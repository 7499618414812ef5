"""Modules that load when they are first named, or together with another one."""

from __future__ import annotations

import importlib
import sys

# As typing has it, which takes as long to load as the rest of Python.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType


def lazily(package: str) -> Callable[[str], ModuleType]:
    """Return a module ``__getattr__`` (PEP 562) that imports the modules of `package` by name."""

    def load(name: str) -> ModuleType:
        if not name.startswith("_"):
            try:
                return importlib.import_module(f"{package}.{name}")
            except ModuleNotFoundError as error:
                if error.name != f"{package}.{name}":
                    raise
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return load


def after_loading(name: str, module: str) -> None:
    """Import `module` as soon as `name` is loaded, at once if it is; load neither by itself."""
    if name in sys.modules:
        importlib.import_module(module)
    else:
        sys.meta_path.insert(0, _Watch(name, module))


class _Watch:
    """A finder that finds nothing by itself, and notices when a module is loaded."""

    def __init__(self, name: str, module: str) -> None:
        self._name, self._module = name, module

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Let the other finders find the module, and stand before its loader.

        Who only asks whether the module is there does not load it, so this stays in its place.
        """
        if name != self._name:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            if finder is not self and find and (spec := find(name, path, target)):
                if spec.loader is not None:
                    spec.loader = _Before(spec.loader, self._loaded)
                found: ModuleSpec = spec
                return found
        return None

    def _loaded(self) -> None:
        """Import the other module."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        importlib.import_module(self._module)


class _Before:
    """A loader that calls back when a module is loaded, and leaves no trace in it."""

    def __init__(self, loader: Loader, loaded: Callable[[], None]) -> None:
        self._loader, self._loaded = loader, loaded

    def __getattr__(self, name: str) -> object:
        """Answer as the loader does, for example for resources."""
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Let the loader make the module."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Let the loader fill the module, and call back."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._loaded()
