"""Bars of instances over time, and the dates below them."""

from __future__ import annotations

from dataclasses import replace

from tablevault.queries.vault_summary import vault_summary
from tablevault.report.charts import timeline
from tests.report.conftest import CODE, make_numbers, write


def instances_of(vault):
    return vault_summary(vault._vault).tables[0].instances


def test_bars_of_several_days_have_the_date_of_each(vault):
    vault.create_table("t")
    for number in range(9):
        write(vault, "t", {"x": [number]})
    instances = instances_of(vault)
    days = [f"2026-03-{9 - number // 3:02}T10:2{number}:30Z" for number in range(9)]
    spread = [
        replace(each, instance=replace(each.instance, materialized_at=at))
        for each, at in zip(instances, days, strict=True)
    ]
    words = [words for _, words in timeline(spread).ticks]
    assert words == ["2026-03-07", "10:26", "2026-03-08", "2026-03-09", "10:20"]


def test_a_single_call_is_visible_in_a_bar(vault):
    vault.create_table("numbers")
    vault.create_code_module("m", text=CODE)
    for count in (1, 300, 301):
        make_numbers(vault, count, 2)
    (*_, first), (*_, many), (*_, last) = (bar.parts for bar in timeline(instances_of(vault)).bars)
    assert (first[0], many[0], last[0]) == ("computed", "reused", "reused")
    assert (many[2], last[2]) == (1, 63)
