"""Values and names as people read them."""

from __future__ import annotations

from datetime import date
from uuid import UUID

import numpy as np

from tablevault.queries.diff import format_cell
from tablevault.report.format import person


def test_cells_and_people_are_shown_without_words_of_python():
    values = [b"\x00\xff", [date(2024, 1, 2)], UUID(int=5), np.array([1.5]), float("inf")]
    assert [format_cell(each, has_none=False) for each in values] == [
        "00ff",
        '["2024-01-02"]',
        "00000000-0000-0000-0000-000000000005",
        "[1.5]",
        "inf",
    ]
    people = ["Ana <a@b.c>", "<a@b.c>", " "]
    assert [person(each) for each in people] == ["Ana", "<a@b.c>", "unknown"]
