"""Two clones of one vault."""

from __future__ import annotations

import pytest

from tests import clones


@pytest.fixture
def ana(tmp_path):
    return clones.make_vault(tmp_path)


@pytest.fixture
def part(ana, tmp_path):
    return lambda: clones.clone(ana, tmp_path)
