"""TableVault: tables made with Python, every step of their making kept in git."""

from __future__ import annotations

from tablevault._lazy import after_loading

# As typing has it, which takes as long to load as the rest of Python.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from tablevault.core import (
        TableVault as TableVault,
    )
    from tablevault.core import (
        clone_vault as clone_vault,
    )
    from tablevault.core import (
        compress_vault as compress_vault,
    )
    from tablevault.core import (
        decompress_vault as decompress_vault,
    )
    from tablevault.core import (
        delete_vault as delete_vault,
    )
    from tablevault.engine.calls.cached import cached
    from tablevault.engine.calls.usage import report_usage
    from tablevault.errors import TableVaultError as TableVaultError

__version__ = "0.1.0"
__all__ = [
    "TableVault",
    "TableVaultError",
    "cached",
    "clone_vault",
    "compress_vault",
    "decompress_vault",
    "delete_vault",
    "report_usage",
]

after_loading("pandas", "tablevault.frames.artifacts")  # so that pandas knows artifact_string


def __getattr__(name: str) -> object:
    """Load a public name when it is first used, so that the import itself costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'tablevault' has no attribute {name!r}")
    if name == "TableVaultError":
        from tablevault import errors

        return errors.TableVaultError
    if name == "cached":
        from tablevault.engine.calls import cached

        return cached.cached
    if name == "report_usage":
        from tablevault.engine.calls import usage

        return usage.report_usage
    from tablevault import core

    return getattr(core, name)
