"""What each command does to a vault and what it prints."""

from __future__ import annotations

import csv
import inspect
import io
import json
import os
import pkgutil
import sys
from pathlib import Path

import pandas as pd
import pytest

from tablevault import TableVault
from tablevault.cli.command import commands
from tablevault.cli.context import CommandContext
from tablevault.errors import TVFileError
from tablevault.progress import Progress
from tests.looking import check_clean, git

CODE = """
def rows(n=3):
    import pandas as pd

    return pd.DataFrame({"n": range(n)})


def double(n):
    return 2 * n
"""
INDEX = """builder_type: IndexBuilder
changed_columns: [n]
primary_key: [n]
python_function: rows
code_module: m
is_custom: true
return_type: dataframe
arguments: {}
"""
DOUBLE = """builder_type: ColumnBuilder
changed_columns: [twice]
python_function: double
code_module: m
is_custom: true
return_type: row-wise
arguments:
  n: <<self.n[index]>>
"""


def ids(vault: TableVault, table: str = "t") -> list[str]:
    return vault.get_table_instances(table)


@pytest.fixture
def made(vault: TableVault, run) -> TableVault:
    """Make a table of builders by commands alone."""
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
    return vault


def test_a_table_is_made_by_commands(made, run):
    frame, instance_id = made.get_dataframe("t")
    assert frame["twice"].tolist() == [0, 2, 4]
    assert run("get-table-instances", "t")[:2] == (0, f"{instance_id}\n")
    assert made.get_descriptions(table_name="t")["summary"] == "Numbers"
    assert made.get_descriptions(instance_id, "t")["summary"] == "first"
    check_clean(Path.cwd())


def test_what_is_printed_is_the_process(made, run):
    process_id = run("create-table", "u", "--process-id", "mine")[1].strip()
    assert process_id == "mine"
    assert run("get-process-completion", "mine")[:2] == (0, "True\n")
    assert run("get-process-completion", "other")[:2] == (0, "False\n")
    assert "Vault-Process: mine" in git(Path.cwd(), "log", "-1", "--format=%B")


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


def test_output_and_json_stand_before_or_after_every_command(vault, run):
    vault.create_table("t")
    for words in (
        ("--json", "-o", "../out", "get-table-instances"),
        ("get-table-instances", "--json", "--output", "../out"),
    ):
        assert run(*words)[:2] == (0, "")
        assert json.loads(Path("../out").read_text("utf-8")) == ["t"]
    assert run("get-table-instances", "-o", "-")[:2] == (0, "t\n")
    assert json.loads(run("create-table", "u", "--json")[1])


def test_quiet_is_neither_log_nor_progress():
    quiet = CommandContext(is_quiet=True).handle(Path("v"), "Bo")
    assert (quiet.verbose, quiet.progress) == (False, Progress)
    assert CommandContext().handle(Path("v"), "Bo").verbose


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


def test_a_paused_process_and_what_is_elsewhere_are_notes(made, run, tmp_path, monkeypatch):
    Path("code/m.py").write_text(CODE.replace("2 * n", "1 // n"), encoding="utf-8")
    run("create-instance", "t", "--copy")
    code, _, err = run("execute-instance", "t", "--process-id", "p 1")
    assert (code, run("verify")[0]) == (1, 0)
    again, stop = err.splitlines()[-2:]
    assert again.endswith("execute-instance t --process-id 'p 1'`")
    assert stop.endswith("`tablevault stop-process 'p 1'`")
    run("stop-process", "p 1")
    git(tmp_path, "init", "-q", "--bare", "-b", "main", "hub.git")
    run("remote", "origin", "../hub.git")
    assert run("push")[0] == 0
    monkeypatch.chdir(tmp_path)
    assert run("clone", "hub.git", "lazy")[0] == 0
    monkeypatch.chdir("lazy")
    code, out, err = run("verify")
    assert (code, out.count("\n")) == (0, 1), err
    assert out.startswith("note\t\t")
    assert json.loads(run("verify", "--json")[1])[0]["severity"] == "note"


def test_sources_in_a_pipe_are_a_record_a_line(vault, run):
    for name, sources in (("a", []), ("b", [("a", None)])):
        vault.create_table(name)
        vault.create_instance(name, external_edit=True)
        vault.write_instance(pd.DataFrame({"n": [1]}), name, dependencies=sources)
    rows = [line.split("\t") for line in run("lineage", "b")[1].splitlines()]
    assert rows == [["b", ids(vault, "b")[0], "depends", "a", ids(vault, "a")[0]]]


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


def test_a_paused_process_is_listed_resumed_or_stopped(made, run):
    Path("code/m.py").write_text(CODE.replace("2 * n", "2 // n"), encoding="utf-8")
    run("create-instance", "t", "--copy")
    code, out, err = run("execute-instance", "t", "--process-id", "p 1")
    assert (code, out) == (1, "")
    assert "ZeroDivisionError" in err
    assert "Traceback" not in err
    assert "m.py, line 9" in err
    assert run("get-active-processes")[1].split("\t")[:2] == ["p 1", "execute-instance"]
    nested = json.loads(run("get-active-processes", "--json")[1])
    assert nested["p 1"]["data"]["table_name"] == "t"
    assert run("get-active-processes")[1].endswith("\tt_index 3, double 0 (1 failed)\n")
    assert run("stop-process", "p 1")[0] == 0
    assert run("get-active-processes")[1] == ""
    check_clean(Path.cwd())


def test_the_log_names_what_was_stopped_and_kept_as_partial(made, run):
    Path("code/m.py").write_text(CODE.replace("2 * n", "2 // n"), encoding="utf-8")
    run("create-instance", "t", "--copy")
    run("execute-instance", "t", "--process-id", "p")
    assert run("stop-process", "p", "--materialize")[0] == 0
    shown = [line.split("\t")[3] for line in run("log", "t")[1].splitlines()]
    assert [each for each in shown if each.endswith(" — partial")]
    assert not [each for each in shown if each.endswith("failed: ")]


def test_everything_paused_is_run_by_restart(made, run):
    Path("code/m.py").write_text(CODE.replace("2 * n", "2 // n"), encoding="utf-8")
    run("create-instance", "t", "--copy")
    run("execute-instance", "t", "--process-id", "p")
    Path("code/m.py").write_text(CODE.replace("2 * n", "3 * n"), encoding="utf-8")
    assert run("restart")[0] == 0
    assert made.get_dataframe("t")[0]["twice"].tolist() == [0, 3, 6]


def test_a_vault_is_packed_unpacked_and_deleted(made, run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run("compress", "v", "--preset", "0")[:2] == (0, "Compressed → v.tar.xz\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("no\n"))
    code, _, err = run("delete-vault", "v")
    assert (code, err) == (1, "Nothing was changed.\n")
    assert run("delete-vault", "v", "--yes")[:2] == (0, "Deleted → v\n")
    assert not Path("v").exists()
    assert run("decompress", "v.tar.xz")[:2] == (0, "Decompressed → v/\n")
    assert TableVault("v", "Bo").get_table_instances() == ["t"]


def test_an_archive_of_the_current_folder_is_named_like_it(made, run):
    assert run("compress", ".", "--preset", "0")[:2] == (0, "Compressed → v.tar.xz\n")
    assert Path("../v.tar.xz").is_file()


def test_the_demonstration(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run("demo", "shown")
    assert code == 0, err
    assert "tablevault log" in out
    vault = TableVault("shown", "Bo")
    assert vault.get_table_instances() == ["reviews", "moods"]
    moods = vault.get_dataframe("moods")[0]
    assert dict(zip(moods["mood"], moods["reviews"], strict=True)) == {
        "bad": 1,
        "good": 1,
        "neutral": 2,
    }
    assert len(vault.get_table_instances("reviews")) == 2
    check_clean(tmp_path / "shown")


def test_the_demonstration_suggests_a_path_in_quotes(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "\n  cd 'my shop'\n" in run("demo", "my shop")[1]


def test_every_command_can_be_asked_for_help(run):
    _, listed, _ = run("--help")
    for name, command in commands().items():
        assert name in listed
        code, out, _ = run(name, "--help")
        assert (code, out.split()[:3]) == (0, ["usage:", "tablevault", name])
        assert all(argument.options["help"] for argument in command.arguments)


def test_what_a_command_names_takes_a_value_for_each_of_its_arguments():
    for command in commands().values():
        if isinstance(command.run, str):
            called = pkgutil.resolve_name(f"tablevault.{command.run}")
            taken = set(inspect.signature(called).parameters)
            given = {each.parameter for each in command.arguments}
            if isinstance(called, type):
                assert len(given - taken) == 1, command.name  # the id of the process
            else:
                assert given == taken - {"vault"}, command.name


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


def test_what_was_done_is_listed_and_taken_back(made, run):
    process_id = run("create-table", "u")[1].strip()
    log = json.loads(run("log", "--json", "--limit", "2")[1])
    assert [entry["subject"] for entry in log] == ["u: create table", "t/base: execute, 3 rows"]
    assert log[0]["process_id"] == process_id
    lines = run("log", "t")[1].splitlines()
    assert [line.split("\t")[3] for line in lines][::-1][0] == "t: create table"
    assert run("undo", process_id)[0] == 0
    assert made.get_table_instances() == ["t"]
    assert run("undo", "nope")[0] == 1


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
    assert Path("report.html").is_file()


def test_two_vaults_share_by_commands(made, run, tmp_path, monkeypatch):
    git(tmp_path, "init", "-q", "--bare", "-b", "main", "hub.git")
    assert run("remote")[1] == ""
    assert run("remote", "origin", "../hub.git")[0] == 0
    assert run("remote")[1] == f"origin\t{tmp_path}/hub.git\n"
    assert run("push")[1].startswith("Pushed ")
    monkeypatch.chdir(tmp_path)
    assert run("clone", "hub.git", "--all")[:2] == (0, f"Cloned → {tmp_path}/hub\n")
    monkeypatch.chdir("hub")
    run("create-code-module", "--module-name", "m", "--text", "A = 1")
    run("push")
    monkeypatch.chdir(tmp_path / "v")
    run("create-code-module", "--module-name", "m", "--text", "A = 2")
    code, _, err = run("pull")
    assert (code, "code/m.py" in err) == (1, True)
    code, out, err = run("pull", "--theirs", "code/m.py")
    assert (code, out) == (0, "Merged 1 commit from origin.\n"), err
    assert made.get_code_module_str("m") == "A = 1"
    assert run("pull", "nope")[0] == 1
    assert run("remote", "x")[0] == 2


def test_a_bucket_is_named_shown_and_confirmed_by_commands(made, run, tmp_path, monkeypatch):
    git(tmp_path, "init", "-q", "--bare", "-b", "main", "hub.git")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    bucket = "s3://lab/v?endpoint=http://127.0.0.1:9"
    words = ("add", "origin", "../hub.git", "--data", "s3://lab/v")
    assert run("remote", *words, "--endpoint-url", "http://127.0.0.1:9")[0] == 0
    assert run("remote")[1] == f"origin\t{tmp_path}/hub.git\t{bucket}\n"
    git(tmp_path / "v", "push", "-q", "--no-verify", "origin", "main")
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("clone", "hub.git")
    hint = f"Its data is in \"{bucket}\". If you trust it: tablevault trust-bucket '{bucket}'"
    assert (code, out) == (0, f"Cloned → {tmp_path}/hub\n{hint}\n")
    monkeypatch.chdir("hub")
    assert run("pull", "--all")[2].endswith(f"call `tablevault trust-bucket '{bucket}'`.\n")
    assert run("trust-bucket", bucket)[:2] == (0, "")
    assert "Set AWS_ACCESS_KEY_ID" in run("pull", "--all")[2]
    assert run("trust-bucket", "s3://")[0] == 1


def test_add_may_stand_before_the_name_of_a_remote(made, run, tmp_path):
    assert run("remote", "add", "origin", "hub.git")[0] == 0
    assert run("remote")[1] == "origin\thub.git\n"
    assert run("remote", "add", "origin")[0] == run("remote", "add")[0] == 2


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


def test_a_damaged_vault_is_told_and_mended(made, run):
    assert run("verify")[:2] == (0, "")
    git(Path.cwd(), "tag", "-d", git(Path.cwd(), "tag").split()[0])
    code, out, _ = run("verify", "--json")
    assert (code, len(json.loads(out))) == (1, 1)
    assert run("verify", "--repair")[0] == 0
    assert run("verify", "--no-data")[:2] == (0, "")
    code, out, err = run("gc", "--dry-run", "--json")
    assert code == 0, err
    assert json.loads(out)
    assert run("gc", "--grace-days", "0")[0] == 0
    assert run("gc", "--grace-days", "-1")[0] == 2
    check_clean(Path.cwd())


@pytest.mark.parametrize("spoiled", ["config", "refs/heads/main", "HEAD", "index"])
def test_a_vault_that_git_cannot_open_is_told_and_mended(made, run, spoiled):
    (Path.cwd() / ".git" / spoiled).write_bytes(b"[spoiled")
    if spoiled in ("config", "refs/heads/main"):
        with pytest.raises(TVFileError, match="verify --repair"):
            TableVault(Path.cwd(), "Ana")
    code, out, _ = run("verify", "--json")
    assert code == 1
    assert any(spoiled in problem["where"] for problem in json.loads(out))
    code, out, err = run("verify", "--repair")
    assert code == 0, out + err
    assert run("verify")[:2] == (0, "")
    assert TableVault(Path.cwd(), "Ana").get_table_instances("t") == ids(made)
    check_clean(Path.cwd())


def test_a_git_object_that_is_cut_off_is_told_without_waiting_for_ever(made, apart):
    tip = git(Path.cwd(), "rev-parse", "main").strip()
    path = Path(".git/objects", tip[:2], tip[2:])
    whole = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(whole[: len(whole) // 2])
    done = apart("verify", "--json", timeout=100)
    assert done.returncode == 1
    assert "its end is missing" in done.stdout


PAYS = """
import pandas as pd
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
    assert pd.Timestamp(records[0]["started_at"]).tzinfo is not None
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


def test_a_plan_and_a_trial_at_the_prompt(made, run):
    assert run("create-instance", "t", "--copy")[0] == 0
    code, out, _ = run("plan", "t", "--run-index")
    assert code == 0
    rows = [line.split("\t") for line in out.splitlines()]
    assert [row[:3] for row in rows] == [
        ["t_index", "1", "0"],
        ["double", "0", "3"],
        ["total", "1", ""],
    ]
    assert rows[1][-1] == "unchanged"
    plan = json.loads(run("plan", "t", "--force", "--json")[1])
    assert (plan["calls"], plan["rows_from"], plan["is_exact"]) == (4, ids(made)[0], False)
    assert plan["builders"][1]["reason"] == "forced"
    code, _, err = run("execute-instance", "t", "--sample", "0")
    assert (code, "--sample is 0" in err) == (1, True)
    assert run("execute-instance", "t", "--sample", "2")[0] == 0
    assert len(ids(made)) == 1
    assert made.get_dataframe("t", instance_id="TEMP_base")[0]["twice"].tolist() == [0, 2, 4]


def test_limits_and_prices_are_set_and_shown(vault, run):
    assert run("config")[:2] == (0, "limits: {}\nprices: {}\n")
    for words in (
        ("config", "limits.calls_per_minute", "500"),
        ("config", "prices.gpt-4.1.input", "2", "prices.gpt-4.1.output", "8"),
        ("config", "prices.meta/llama-3.1.input", "0", "prices.meta/llama-3.1.output", "1e-3"),
        ("config", "prices.gpt-4.1.output", "0.6", "--process-id", "mine"),
    ):
        assert run(*words)[0] == 0
    assert run("config")[1] == (
        "limits:\n  calls_per_minute: 500\n"
        "prices:\n  gpt-4.1:\n    input: 2\n    output: 0.6\n"
        "  meta/llama-3.1:\n    input: 0\n    output: 0.001\n"
    )
    assert run("config", "limits.calls_per_minute")[1] == "500\n"
    assert run("config", "prices.gpt-4.1")[1] == "input: 2\noutput: 0.6\n"
    assert run("config", "limits.calls")[:2] == (0, "")
    assert json.loads(run("config", "--json")[1]) == vault.get_config()
    assert vault.get_process_completion("mine")
    subject = git(Path.cwd(), "log", "-1", "--format=%s", "HEAD~1").strip()
    assert subject == (
        "config: set prices.meta/llama-3.1.input to 0, set prices.meta/llama-3.1.output to 0.001"
    )
    assert run("config", "limits.calls_per_minute", "null")[0] == 0
    assert vault.get_config("limits") == {}
    check_clean(Path.cwd())


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("limits.call", "5"), 1, 'Did you mean "limits.calls"?'),
        (("limits.calls", "-5"), 1, "limits.calls is '-5'; it has to be a whole number"),
        (("limits.calls", ""), 1, "limits.calls is ''; it has to be a whole number"),
        (("limits", "5"), 1, "limits is '5'; it has to be a mapping"),
        (("prices.m.input", "1"), 1, "`tablevault config prices.m.input INPUT prices.m.output OUT"),
        (("prices.m", "1", "prices.m.input", "1"), 1, "prices.m is '1'; it has to be a mapping"),
        (("prices.m", "null"), 1, 'no price of the model "m". Models with a price: none.'),
        (("limits.calls", "5", "limits.cost"), 2, "there is no value for limits.cost"),
        (("limits.calls", "5", "limits.calls", "6"), 2, "a key is given twice"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(vault, run, words, code, said):
    found, _, err = run("config", *words)
    assert (found, said in err) == (code, True), err
    assert vault.get_config() == {"limits": {}, "prices": {}}
