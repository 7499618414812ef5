"""What reads: a snapshot in, a value out; takes no lock and writes no record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tablevault._lazy import lazily

if TYPE_CHECKING:
    from tablevault.queries import (
        dataset as dataset,
        describe as describe,
        locate as locate,
        processes as processes,
        read as read,
        tree as tree,
    )

__getattr__ = lazily(__name__)
