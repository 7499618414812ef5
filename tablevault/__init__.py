"""TableVault: tables made with Python, every step of their making kept in git."""

from __future__ import annotations

from importlib import import_module

from tablevault.frames.registration import register_dtype

# As in typing, which takes longer to load than git waits for the text of a dataframe.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from tablevault.core import (
        TableVault,
        clone_vault,
        compress_vault,
        decompress_vault,
        delete_vault,
    )
    from tablevault.engine.calls.cached import cached
    from tablevault.engine.calls.usage import report_usage
    from tablevault.errors import TableVaultError

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
_MODULES = {
    "TableVaultError": "tablevault.errors",
    "cached": "tablevault.engine.calls.cached",
    "report_usage": "tablevault.engine.calls.usage",
}

register_dtype()


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: the command and git's drivers need none."""
    if name not in __all__:
        raise AttributeError(f"module 'tablevault' has no attribute {name!r}")
    return getattr(import_module(_MODULES.get(name, "tablevault.core")), name)
