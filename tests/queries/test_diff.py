"""Differences of instances: rows, builders, code, sources, and how they are shown."""

from __future__ import annotations

from datetime import date

import pandas as pd
import pytest

from tablevault.errors import TVArgumentError
from tests.looking import check_clean, state_of

HOSTILE = "</pre><script>alert(1)</script>[bold]x[/bold]\x1b[31m\u202e"
CODE = """\
import pandas as pd
def make():
    return pd.DataFrame({{"id": [1, 2], "a": {values}}})
"""
INDEX = """\
builder_type: IndexBuilder
changed_columns: [id, a]
primary_key: [id]
python_function: make
code_module: made
is_custom: true
arguments: {}
"""


def write(vault, table, frame, version="base"):
    vault.create_instance(table, version=version, external_edit=True)
    vault.write_instance(frame, table, version=version)
    return vault.get_table_instances(table, version)[-1]


@pytest.fixture
def two(vault):
    """Make two instances that were written."""
    vault.create_table("t")
    first = write(vault, "t", pd.DataFrame({"a": ["x", "y", "z"], "b": [1, 2, 3]}))
    second = write(vault, "t", pd.DataFrame({"a": ["x", HOSTILE, "z", "w"], "b": [1, 2, 3, 4]}))
    return vault, first, second


def test_the_one_before_is_what_is_compared_with(two):
    vault, first, second = two
    diff = vault.diff("t", second)
    assert (diff.old_id, diff.new_id) == (first, second)
    assert diff.added["a"].tolist() == ["w"]
    assert diff.changed.to_dict("records") == [{"column": "a", "old": "y", "new": HOSTILE}]
    assert not diff.is_empty


def test_the_other_way_round(two):
    vault, first, second = two
    diff = vault.diff("t", first, second)
    assert diff.removed["a"].tolist() == ["w"]
    assert diff.changed["old"].tolist() == [HOSTILE]


def test_an_instance_is_no_different_from_itself(two):
    vault, first, _ = two
    diff = vault.diff("t", first, first)
    assert diff.is_empty
    assert "no difference" in str(diff)
    assert (len(diff.added), len(diff.removed), len(diff.changed)) == (0, 0, 0)


def test_what_a_vault_holds_is_text_wherever_it_is_shown(two):
    from rich.console import Console

    vault, _, second = two
    diff = vault.diff("t", second)
    html = diff._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    console = Console(width=200, force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(diff)
    for shown in (str(diff), captured.get(), html):
        assert "\x1b[31m" not in shown
        assert "\u202e" not in shown
        assert "[bold]x[/bold]" in shown


def test_frames_that_are_given_are_the_callers_own(two):
    vault, _, second = two
    diff = vault.diff("t", second)
    mine = diff.added
    mine["a"] = "spoiled"
    assert diff.added["a"].tolist() == ["w"]


def test_cells_are_shown_without_words_of_python(vault):
    vault.create_table("t")
    write(vault, "t", pd.DataFrame({"n": [1, 2], "day": [date(2024, 1, 2), None]}))
    last = write(vault, "t", pd.DataFrame({"n": [1, 2, 3], "day": [None, None, date(2024, 1, 3)]}))
    lines = [line.strip() for line in str(vault.diff("t", last)).splitlines()]
    assert "+ row 2: n=3, day=2024-01-03" in lines
    assert "~ row 0, day: 2024-01-02 to null" in lines


def test_builders_code_and_keys(vault):
    vault.create_table("t")
    ids = []
    for values, more in ((["x", "y"], ""), (["x", "z"], "n_threads: 7\n")):
        vault.create_code_module("made", text=CODE.format(values=values))
        vault.create_instance("t")
        vault.create_builder_file("t", text=INDEX + more)
        vault.execute_instance("t")
        ids.append(vault.get_table_instances("t")[-1])
    diff = vault.diff("t", ids[1])
    assert diff.primary_key == ("id",)
    assert diff.changed.index.tolist() == [2]
    assert "+n_threads: 7" in diff.builders["t_index"]
    assert "-    return pd.DataFrame({\"id\": [1, 2], \"a\": ['x', 'y']})" in diff.code["made"]
    shown = str(diff)
    assert "builder t_index" in shown
    assert "code made" in shown


def test_a_difference_can_span_versions(two):
    vault, first, _ = two
    other = write(vault, "t", pd.DataFrame({"a": ["x"], "b": [1]}), version="other")
    with pytest.raises(TVArgumentError, match="first of version"):
        vault.diff("t", other)
    assert len(vault.diff("t", other, first).removed) == 2


def test_a_difference_survives_a_rename(two):
    vault, first, _ = two
    vault.rename_table("u", "t")
    third = write(vault, "u", pd.DataFrame({"a": ["x", "y", "z"], "b": [1, 2, 3]}))
    assert vault.diff("u", third, first).is_empty


@pytest.mark.parametrize("instance", ["", "base_1_x", "TEMP_base", "../x"])
def test_what_is_no_instance_is_refused(two, instance):
    vault, *_ = two
    with pytest.raises(TVArgumentError):
        vault.diff("t", instance)


def test_a_deleted_instance_is_refused(two):
    vault, first, second = two
    vault.delete_instance(first, "t")
    with pytest.raises(TVArgumentError, match="deleted"):
        vault.diff("t", second, first)


def test_a_difference_changes_nothing(two, repo_path):
    vault, _, second = two
    before = state_of(repo_path)
    str(vault.diff("t", second))
    assert state_of(repo_path) == before
    check_clean(repo_path)


def test_what_made_cells_anew_is_told(vault):
    def execute(factor: int) -> None:
        column = "builder_type: ColumnBuilder\nchanged_columns: [x]\nreturn_type: row-wise\n"
        column += "python_function: times\ncode_module: made\nis_custom: true\n"
        column += f"arguments: {{a: '<<self.a[index]>>', factor: {factor}}}\n"
        vault.create_instance("t", builders={"t_index": INDEX, "times": column})
        vault.execute_instance("t")

    vault.create_table("t")
    code = CODE.format(values=[1, 2]) + "def times(a, factor):\n    return factor * a\n"
    vault.create_code_module("made", text=code)
    execute(2)
    execute(3)
    told = vault.diff("t", vault.get_table_instances("t")[-1])
    assert told.reasons == {"times": "argument `factor` changed"}
    assert "~ made anew by times: argument `factor` changed" in str(told).splitlines()
    vault.create_code_module("made", text=code.replace("factor * a", "a - factor"))
    execute(3)
    told = vault.diff("t", vault.get_table_instances("t")[-1])
    assert told.reasons == {"times": "`times` changed"}
