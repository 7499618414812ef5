"""Commands that make and delete tables, instances, builders and code modules."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import pandas as pd

from tests.cli.commands.conftest import CODE, DOUBLE, INDEX, ids
from tests.looking import check_clean


def test_a_table_is_made_by_commands(vault, run):
    Path("../m.py").write_text(CODE, encoding="utf-8")
    Path("../double.yaml").write_text(DOUBLE, encoding="utf-8")
    for words in (
        ("create-table", "t", "--description", "Numbers"),
        ("create-code-module", "--copy-dir", "../m.py"),
        ("create-instance", "t", "--description", "first"),
        ("create-builder-file", "t", "--text", INDEX),
        ("create-builder-file", "t", "--copy-dir", "../double.yaml"),
        ("execute-instance", "t"),
    ):
        code, out, err = run(*words)
        assert (code, len(out.split())) == (0, 1), err
    frame, instance_id = vault.get_dataframe("t")
    assert frame["twice"].tolist() == [0, 2, 4]
    assert run("get-table-instances", "t")[:2] == (0, f"{instance_id}\n")
    assert vault.get_descriptions(table_name="t")["summary"] == "Numbers"
    assert vault.get_descriptions(instance_id, "t")["summary"] == "first"
    check_clean(Path.cwd())


def test_a_frame_comes_from_the_standard_input(vault, apart):
    vault.create_table("t")
    vault.create_instance("t", external_edit=True)
    words = ("write-instance", "t", "--csv", "-", "--dtype", "code=string")
    done = apart(*words, input="code,n\n007,1\n", cwd=Path.cwd())
    assert done.returncode == 0, done.stderr
    assert vault.get_dataframe("t")[0].to_dict("list") == {"code": ["007"], "n": [1]}


def test_frames_go_out_and_in_as_csv(made, run):
    code, out, _ = run("get-dataframe", "t", "--output", "../t.csv", "--rows", "2")
    assert (code, json.loads(out)) == (
        0,
        {"instance_id": ids(made)[0], "rows": 2, "csv": "../t.csv"},
    )
    assert Path("../t.csv").read_text(encoding="utf-8") == "n,twice\n0,0\n1,2\n"
    run("create-table", "w")
    run("create-instance", "w", "--external-edit")
    code, _, err = run(
        "write-instance", "w", "--csv", "../t.csv", "--dtype", "n=Float64", "--dependency", "t"
    )
    assert code == 0, err
    frame, written = made.get_dataframe("w")
    assert frame["n"].dtype == pd.Float64Dtype()
    assert made.get_descriptions(written, "w")["dependencies"] == [("t", ids(made)[0])] or [
        list(pair) for pair in made.get_descriptions(written, "w")["dependencies"]
    ] == [["t", ids(made)[0]]]


def test_a_declared_dtype_decides_how_a_csv_file_is_read(vault, run):
    Path("../z.csv").write_text("id,zip\n1,00501\n2,NA\n", encoding="utf-8")
    run("create-table", "z")
    run("create-instance", "z", "--external-edit")
    assert run("write-instance", "z", "--csv", "../z.csv", "--dtype", "zip=string")[0] == 0
    assert vault.get_dataframe("z")[0]["zip"].tolist() == ["00501", "NA"]


def test_a_csv_row_longer_than_the_header_is_refused_with_its_line(vault, run):
    Path("../z.csv").write_text("id,name\n1,Ann\n2,Bob,y\n", encoding="utf-8")
    run("create-table", "z")
    run("create-instance", "z", "--external-edit")
    code, _, err = run("write-instance", "z", "--csv", "../z.csv")
    assert code == 1
    assert "has 3 fields in line 3; the header has 2" in err


def test_what_is_deleted_is_gone(made, run):
    run("create-instance", "t", "--copy")
    for words in (
        ("delete-builder-file", "t", "double"),
        ("delete-instance", "t", "TEMP_base"),
        ("delete-instance", "t", ids(made)[0]),
        ("rename-table", "t", "s"),
        ("delete-table", "s"),
        ("delete-code-module", "m"),
    ):
        code, _, err = run(*words)
        assert code == 0, err
    assert made.get_table_instances() == []
    assert made.get_code_modules_list() == []


def test_texts_may_come_from_the_standard_input(vault, run, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(CODE))
    assert run("create-code-module", "--module-name", "m", "--text", "-")[0] == 0
    assert vault.get_code_module_str("m") == CODE


def test_a_frame_with_hostile_cells_survives_csv(vault, run):
    hostile = ['a,"b"', "line\nbreak", "=1+1", "ünï"]
    with Path("../h.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["c"], *([each] for each in hostile)])
    run("create-table", "h")
    run("create-instance", "h", "--external-edit")
    assert run("write-instance", "h", "--csv", "../h.csv")[0] == 0
    run("get-dataframe", "h", "--output", f"..{os.sep}back.csv")
    with Path("../back.csv").open(newline="", encoding="utf-8") as file:
        assert [row[0] for row in csv.reader(file)] == ["c", *hostile]
