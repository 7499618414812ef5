from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a path at which a vault can be created."""
    return tmp_path / "cities.vault"
