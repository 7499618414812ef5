from __future__ import annotations

import pytest


@pytest.fixture
def repository(new_repository):
    return new_repository()
