"""Python values as JSON text, and back as they were."""

from __future__ import annotations

import json

from tablevault.frames.tagged_json import from_json, to_json


def test_json_is_plain_where_json_can_say_it() -> None:
    value = {"a": [1, 2.5, None, True, "x"], "b": {}}
    assert json.loads(to_json(value)) == value


def test_equal_sets_give_equal_text() -> None:
    assert to_json({"b", "a", 1}) == to_json({1, "a", "b"})


def test_nesting_of_a_hundred_levels_comes_back() -> None:
    value: list[object] = []
    for _ in range(100):
        value = [value]
    assert from_json(to_json(value)) == value
