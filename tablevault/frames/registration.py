"""Registers the dtype ``artifact_string`` when pandas is imported, without importing it."""

from __future__ import annotations

import sys
from importlib import import_module

TYPE_CHECKING = False  # as in typing, which is slow to import

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_DTYPE = "tablevault.frames.artifact_string"


def register_dtype() -> None:
    """Let pandas know ``artifact_string``: now if it is imported already, else when it is."""
    if "pandas" in sys.modules:
        import_module(_DTYPE)
    else:
        sys.meta_path.insert(0, _PandasFinder())


class _PandasFinder:
    """Finds pandas as the other finders do, and acts once it has been loaded."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of pandas, whose loader registers the dtype; None for other modules."""
        if name != "pandas":
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        found = (each.find_spec(name, path, target) for each in others)
        spec = next((each for each in found if each is not None), None)
        if spec is not None and spec.loader is not None:
            self._follow(spec.loader)
        return spec

    def _follow(self, loader: object) -> None:
        """Register the dtype after this loader has loaded pandas, and leave no trace in it."""
        load = loader.exec_module  # type: ignore[attr-defined]

        def exec_module(module: ModuleType) -> None:
            """Load pandas."""
            del loader.exec_module  # type: ignore[attr-defined]
            load(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            import_module(_DTYPE)

        loader.exec_module = exec_module  # type: ignore[attr-defined]
