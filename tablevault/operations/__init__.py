"""What changes a vault: a file for each family of operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tablevault._lazy import lazily

if TYPE_CHECKING:
    from tablevault.operations import (
        archive as archive,
        builders as builders,
        code as code,
        execute as execute,
        instances as instances,
        tables as tables,
        vaults as vaults,
        write as write,
    )

__getattr__ = lazily(__name__)
