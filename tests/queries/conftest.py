"""Vaults that readers and the report are tested with."""

from __future__ import annotations

from tests.operations.staleness import chain, chain_once
from tests.report.conftest import made, made_once

__all__ = ["chain", "chain_once", "made", "made_once"]
