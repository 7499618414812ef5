from __future__ import annotations

from pathlib import Path

import pytest

from tablevault import TableVault


@pytest.fixture
def vault_path(tmp_path: Path) -> Path:
    return tmp_path / "vaults" / "vault"


@pytest.fixture
def vault(vault_path: Path) -> TableVault:
    return TableVault(vault_path, "ana", create=True)
