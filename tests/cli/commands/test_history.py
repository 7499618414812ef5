"""Commands that show history: log, differences, lineage, calls."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.cli.commands.conftest import CODE, DOUBLE, INDEX, ids


def test_an_instance_is_compared_within_its_version_or_another_is_named(made, run):
    first = ids(made)[0]
    for version in ("other", "other"):
        run("create-instance", "t", "--version", version, "--origin-id", first)
        assert run("execute-instance", "t", "--version", version)[0] == 0
        latest = made.get_table_instances("t", version="other")[-1]
        code, out, err = run("diff", "t")
        if len(made.get_table_instances("t", version="other")) == 1:
            assert code == 1
            assert f"`tablevault diff t {latest} {first}`" in err
    assert (code, latest in out) == (0, True)
    assert first not in out


def test_sources_in_a_pipe_are_a_record_a_line(vault, run):
    for name, sources in (("a", []), ("b", [("a", None)])):
        vault.create_table(name)
        vault.create_instance(name, external_edit=True)
        vault.write_instance(pd.DataFrame({"n": [1]}), name, dependencies=sources)
    rows = [line.split("\t") for line in run("lineage", "b")[1].splitlines()]
    assert rows == [["b", ids(vault, "b")[0], "depends", "a", ids(vault, "a")[0]]]


def test_the_log_names_what_was_stopped_and_kept_as_partial(made, run):
    Path("code/m.py").write_text(CODE.replace("2 * n", "2 // n"), encoding="utf-8")
    run("create-instance", "t", "--copy")
    run("execute-instance", "t", "--process-id", "p")
    assert run("stop-process", "p", "--materialize")[0] == 0
    shown = [line.split("\t")[3] for line in run("log", "t")[1].splitlines()]
    assert [each for each in shown if each.endswith(" — partial")]
    assert not [each for each in shown if each.endswith("failed: ")]


def test_what_was_done_is_listed_and_taken_back(made, run):
    process_id = run("create-table", "u")[1].strip()
    log = json.loads(run("log", "--json", "--limit", "2")[1])
    assert [entry["subject"] for entry in log] == ["u: create table", "t/base: execute, 3 rows"]
    assert log[0]["process_id"] == process_id
    frame = made.log(limit=2)
    assert list(log[0]) == [{"duration": "duration_s"}.get(name, name) for name in frame]
    assert [pd.Timestamp(entry["time"]) for entry in log] == frame["time"].tolist()
    seconds = frame["duration"].dt.total_seconds()
    assert [entry["duration_s"] for entry in log] == pytest.approx(seconds.tolist(), abs=2e-6)
    assert [entry["table_name"] for entry in log] == frame["table_name"].tolist() == ["u", "t"]
    lines = run("log", "t")[1].splitlines()
    assert [line.split("\t")[3] for line in lines][::-1][0] == "t: create table"
    assert run("undo", process_id)[0] == 0
    assert made.get_table_instances() == ["t"]
    assert run("undo", "nope")[0] == 1


def test_differences_and_lineage(made, run):
    run("create-instance", "t", "--copy")
    Path("code/m.py").write_text(CODE.replace("2 * n", "3 * n"), encoding="utf-8")
    assert run("execute-instance", "t")[0] == 0
    code, out, err = run("diff", "t")
    assert code == 0, err
    assert "3 * n" in out
    found = json.loads(run("diff", "t", "--json")[1])
    assert [cell["new"] for cell in found["changed"]] == [3, 6]
    run("create-table", "u")
    run("create-instance", "u", "--external-edit")
    Path("../u.csv").write_text("a\n1\n", encoding="utf-8")
    run("write-instance", "u", "--csv", "../u.csv", "--dependency", "t")
    assert ids(made)[-1] in run("lineage", "u")[1]
    assert run("lineage", "u", "--mermaid")[1].startswith("flowchart")
    assert json.loads(run("lineage", "u", "--openlineage")[1])
    edges = json.loads(run("lineage", "u", "--json")[1])["edges"]
    assert [ids(made)[-1], ids(made, "u")[-1]] in [
        [edge["source_id"], edge["instance_id"]] for edge in edges
    ]


def test_a_difference_as_json_keeps_columns_that_are_called_like_its_own(vault, run):
    vault.create_table("t")
    for row in ("a", "b"):
        vault.create_instance("t", external_edit=True)
        vault.write_instance(pd.DataFrame({"row": [row], "old": [1.5], "new": [row]}), "t")
    code, out, err = run("diff", "t", "--json")
    assert code == 0, err
    found = json.loads(out)
    cells = [(cell["column"], cell["old"], cell["new"]) for cell in found["changed"]]
    assert cells == [("row", "a", "b"), ("new", "a", "b")]
    vault.create_instance("t", external_edit=True)
    vault.write_instance(pd.DataFrame({"row": ["c"], "old": [2.5], "new": ["c"]}), "t")
    (added,) = json.loads(run("diff", "t", "--json")[1])["added"]
    assert added == {"_row": 0, "row": "c", "old": 2.5, "new": "c"}


PAYS = """
import pandas as pd
import pytest
from tablevault import report_usage

def rows():
    return pd.DataFrame({"n": range(3)})

def double(n):
    report_usage("small-1", 20, n, 0.25)
    if n == 2:
        raise ValueError("no answer")
    return 2 * n
"""


def test_calls_are_listed_also_those_of_an_execution_that_failed(vault, run):
    vault.create_table("t")
    vault.create_code_module("m", text=PAYS)
    vault.create_instance("t", builders={"t_index": INDEX, "double": DOUBLE})
    assert run("execute-instance", "t")[0] == 1
    code, out, err = run("calls", "t")
    assert (code, out) == (1, "")
    assert "`tablevault calls t TEMP_base`" in err
    code, out, _ = run("calls", "t", "TEMP_base")
    lines = [line.split("\t") for line in out.splitlines()]
    assert [[line[0], line[1], line[2], *line[5:]] for line in lines] == [
        ["t_index", "", "ok", "", "", "", ""],
        ["double", "0", "ok", "small-1", "20 + 0", "0.25", ""],
        ["double", "1", "ok", "small-1", "20 + 1", "0.25", ""],
        ["double", "2", "error", "small-1", "20 + 2", "0.25", "ValueError: no answer"],
    ]
    code, out, _ = run("calls", "t", "TEMP_base", "--json")
    records = json.loads(out)
    assert [(each["n"], each["cost"], each["error"]) for each in records] == [
        (None, None, None),
        (0, 0.25, None),
        (1, 0.25, None),
        (2, 0.25, "ValueError: no answer"),
    ]
    started = vault.get_calls("t", "TEMP_base")["started_at"][0]
    assert records[0]["started_at"] == started.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert list(records[0]) == list(vault.get_calls("t", "TEMP_base"))


def test_where_no_call_is_known_a_sentence_says_so(vault, run, monkeypatch):
    vault.create_table("t")
    vault.create_instance("t", external_edit=True)
    vault.write_instance(pd.DataFrame({"n": [1]}), "t")
    assert run("calls", "t")[:2] == (0, "")
    assert json.loads(run("calls", "t", "--json")[1]) == []
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: True)
    said = f'No calls of instance {ids(vault)[0]} of table "t" are known here.\n'
    assert run("calls", "t")[:2] == (0, said)
