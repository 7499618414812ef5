"""Vaults that readers and the report are tested with."""

from __future__ import annotations

from tests.report.conftest import made, made_once

__all__ = ["made", "made_once"]
