"""A page about a vault for a browser: one HTML file that needs nothing else."""

from __future__ import annotations

from tablevault._lazy import lazily

TYPE_CHECKING = False  # as typing has it, which takes longer to load
if TYPE_CHECKING:
    from tablevault.report import (
        file as file,
    )

__getattr__ = lazily(__name__)
