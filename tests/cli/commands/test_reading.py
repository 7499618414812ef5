"""Commands that read: dataframes as files, lists, texts, trees, the report."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from tablevault.queries.dataframe import content
from tests.cli.commands.conftest import CODE, DOUBLE, INDEX, ids
from tests.looking import check_clean


@pytest.mark.parametrize(
    ("cell", "in_csv", "in_json"),
    [
        (float("inf"), "inf", "Infinity"),
        ([float("-inf")], '["-Infinity"]', ["-Infinity"]),
        (b"\x00\xff", "00ff", "00ff"),
        (Decimal("NaN"), "", None),
    ],
)
def test_a_value_that_a_format_does_not_know_is_a_text_that_names_it(cell, in_csv, in_json):
    frame = pd.DataFrame({"a": [cell]})
    assert [*csv.reader(io.StringIO(content(frame, "csv").decode()))] == [["a"], [in_csv]]
    assert json.loads(content(frame, "jsonl")) == {"a": in_json}


def test_a_file_is_what_its_name_says(vault, run):
    cells = [{"a": ["ü", 1.5]}, None]
    frame = pd.DataFrame({"n": pd.array([1, None], "Int64"), "cell": cells})
    vault.create_table("t")
    vault.create_instance("t", external_edit=True)
    vault.write_instance(frame, "t")
    for ending in ("csv", "json", "jsonl", "parquet"):
        code, out, err = run("get-dataframe", "t", "-o", f"../t.{ending}")
        assert (code, json.loads(out)[ending]) == (0, f"../t.{ending}"), err
    with Path("../t.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["n", "cell"], ["1", '{"a": ["ü", 1.5]}'], ["", ""]]
    records = [{"n": 1, "cell": {"a": ["ü", 1.5]}}, {"n": None, "cell": None}]
    assert json.loads(Path("../t.json").read_text("utf-8")) == records
    lines = Path("../t.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == records
    assert len(pd.read_parquet("../t.parquet")) == 2


def test_texts_and_lists(made, run):
    assert run("get-modules-list")[1].split() == ["m"]
    assert run("get-code-module-str", "m")[1] == CODE
    instance = ("--instance-id", ids(made)[0])
    assert run("get-builders-list", "t", *instance)[1].split() == ["double", "t_index"]
    assert run("get-builders-list", "t", "--materialised")[1].split() == ["double", "t_index"]
    assert run("get-builder-str", "t", *instance)[1] == INDEX
    assert run("get-builder-str", "t", "--builder-name", "double", *instance)[1] == DOUBLE
    assert json.loads(run("get-descriptions", "--table-name", "t")[1])["summary"] == "Numbers"
    folder = run("get-artifact-folder", "t", *instance)[1].strip()
    assert Path(folder).is_dir()
    assert run("get-table-instances")[1].split() == ["t"]
    assert run("get-table-instances", "--table_name", "t") == run("get-table-instances", "t")


def test_a_tree_is_drawn(made, run):
    out = run("get-file-tree", "--table-name", "t", "--no-builder-files")[1]
    assert "├── n(Int64)" in out
    assert "double.yaml" not in out
    assert json.loads(run("get-file-tree", "--json")[1])["label"].endswith("/v")


def test_temporary_instances_are_listed_on_request(made, run):
    run("create-instance", "t", "--copy", "--version", "new")
    assert run("get-table-instances", "t", "--version", "new", "--temp")[1] == "TEMP_new\n"
    assert run("get-table-instances", "t", "--version", "new")[1] == ""


def test_a_report_is_written(made, run):
    code, out, _ = run("report", "t", "-o", "../page.html")
    assert (code, out) == (0, "../page.html\n")
    assert ids(made)[0] in Path("../page.html").read_text("utf-8")
    Path("../page.html").write_text("mine", "utf-8")
    code, out, err = run("report", "--output", "../page.html")
    assert (code, out) == (1, "")
    assert "--force" in err
    assert run("report", "-o", "../page.html", "--force")[0] == 0
    assert run("report", "nothing", "-o", "../page.html")[0] == 1
    check_clean(Path.cwd())
    assert run("report")[:2] == (0, "report.html\n")
    assert json.loads(run("report", "--json")[1]) == {"path": str(Path.cwd() / "report.html")}
    assert Path("report.html").is_file()
