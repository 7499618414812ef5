"""Calls of a file as a dataframe."""

from __future__ import annotations

import pyarrow as pa

from tablevault.engine.calls.call_file import SCHEMA
from tablevault.engine.calls.summaries import calls_of_file


def test_what_cannot_be_in_a_file_from_elsewhere_is_left_out():
    columns = {
        "builder": ["b", "b", None],
        "row": [0, -7, 1],
        "outcome": ["ok", "ok", "ok"],
        "started_at": [float("nan"), 1e300, 1.0],
        "cost": [float("inf"), 0.5, 1.0],
    }
    table = pa.table(
        [
            pa.array(columns.get(field.name, [None] * 3), pa.string()).dictionary_encode()
            if pa.types.is_dictionary(field.type)
            else pa.array(columns.get(field.name, [None] * 3), field.type)
            for field in SCHEMA
        ],
        schema=SCHEMA,
    )
    calls = calls_of_file(table, "base_1_x")
    assert calls["row"].tolist() == [0, -7]
    assert calls[["started_at", "cost"]].isna().to_numpy().tolist() == [
        [True, True],
        [True, False],
    ]
    assert calls["made_in"].tolist() == ["base_1_x"] * 2
