from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the folder of a vault to be."""
    return tmp_path / "cities.vault"
