"""How the command finds its vault and its author, and how it ends when something is wrong."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tablevault.cli.command import commands
from tests.cli.conftest import ROOT
from tests.looking import check_clean, state_of


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nope"], 'there is no command "nope"'),
        (["create-tabel", "t"], "did you mean create-table"),
        (["log", "t", "u"], "tablevault log: error: unrecognized arguments: u"),
        (["log", "--jsn"], "unrecognized arguments: --jsn; did you mean --json?"),
        (["log", "--limmit=3"], "unrecognized arguments: --limmit=3; did you mean --limit?"),
        (["create-table"], "TABLE_NAME"),
        (["create-table", "t", "--nope"], "--nope"),
        (["create-table", "-x"], "unrecognized arguments: -x\n"),
        (["create-table", "-ofile", "-q"], "arguments are required: TABLE_NAME"),
        (["rename-table", "--", "-x"], "arguments are required: NEW_NAME"),
        (
            ["write-instance", "t", "--cvs=a"],
            "unrecognized arguments: --cvs=a; did you mean --csv?",
        ),
        (["write-instance", "t"], "--csv"),
        (["write-instance", "t", "--csv", "missing.csv"], "missing.csv"),
        (["get-dataframe", "t"], "--output"),
        (["get-dataframe", "t", "--output", "x.csv", "--rows", "many"], "many"),
        (["get-dataframe", "t", "--output", "x.csv", "--rows", "-1"], "-1"),
        (["compress", "missing"], "missing"),
        (["compress", ".", "--preset", "12"], "12"),
        (["decompress", "missing.tar.xz"], "missing.tar.xz"),
        (["decompress", "vault.yaml"], ".tar.xz"),
        (["delete-vault", "missing"], "missing"),
        (["completion", "tcsh"], "tcsh"),
        (["create-table", "t", "-o", "nowhere/x"], "nowhere"),
        (["create-table", "t", "--author", " "], "argument --author"),
        (["create-table", "t", "--author", "\udcff"], "--author is not UTF-8"),
        (["create-table", "t", "--description", "\udcff"], "--description is not UTF-8"),
        (["log", "\udcff"], "TABLE_NAME is not UTF-8"),
        (["create-table", "t", "--db-dir", ""], "argument --db-dir"),
        (["log", "-o", ""], "argument -o/--output"),
        (["write-instance", "t", "--csv", ""], "the value of --csv is blank"),
        (["gc", "--remote", ""], "the value of --remote is blank"),
        (
            ["get-dataframe", "t", "-o", "-", "--instance-id="],
            "the value of --instance-id is blank",
        ),
        (["pull", "--ours", "a", "--ours", " "], "the value of --ours is blank"),
        (["log", "--limit", "many"], '"many" is not a whole number'),
        (["gc", "--grace-days", "nan"], '"nan" is not a number'),
        (["remote", "origin", "hub", "more"], "remote add NAME URL"),
        (["remote", "--data", "s3://bucket/x"], "remote add NAME URL"),
        (["remote", "rm", "origin"], "`git remote rm origin`"),
        (["remote", "rename", "a", "b c"], "`git remote rename a 'b c'`"),
        (["get-table-instances", "t", "--table-name", "u"], "named twice"),
        (["get-table-instances", "--version", "new"], "name the table"),
        (["get-table-instances", "--temp"], "name the table"),
        (["create-instance", "t", "--origin-table", "u"], "--origin-table needs --origin-id"),
        (["refresh", "t", "t/"], '"t/" is not TABLE/VERSION: a part of it is blank'),
        (
            ["write-instance", "t", "--csv", "-", "--dependency", "/x"],
            '"/x" is not TABLE/INSTANCE: a part of it is blank',
        ),
        (["lineage", "t", "--mermaid", "--openlineage"], "--mermaid and --openlineage"),
        (["create-code-module", "--module-name", "m", "--text", "-"], "standard input is empty"),
    ],
)
def test_wrong_arguments_are_two(vault, run, words, said, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    before = state_of(Path.cwd())
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err
    assert state_of(Path.cwd()) == before


_BY_PLACE = [
    (command.name, at, [each.shown for each in command.arguments if not each.is_option])
    for command in commands().values()
    for at, _ in enumerate(each for each in command.arguments if not each.is_option)
    if command.name != "completion"  # offers choices
]


@pytest.mark.parametrize(("command", "at", "names"), _BY_PLACE)
def test_a_blank_argument_is_a_variable_that_is_not_set(vault, run, command, at, names):
    csv = ["--csv", "-"] if command == "write-instance" else []
    before = state_of(Path.cwd())
    for blank in ("", " "):
        words = [blank if place == at else "x" for place, _ in enumerate(names)]
        said = f"tablevault {command}: error: the value of {names[at]} is blank\n"
        assert run("--author", "Ana", command, *words, *csv) == (2, "", said)
    assert state_of(Path.cwd()) == before


_MISTAKES = """
--db-dir ../afile log | is no vault
--db-dir ../empty log | is no vault
--db-dir ../nowhere log | the folder does not exist
create-vault ../afile | is a file, not a folder
create-vault ../afile/x | is a file, not a folder
clone ../nowhere | there is none
clone ../v ../afile/x | is a file, not a folder
compress ../empty | is no vault
compress ../afile | is a file, not a folder
decompress .. | is a folder, not a file
delete-vault ../empty --yes | is no vault
import-original ../empty ../new | is no vault of TableVault 0.1
create-table reviews | `tablevault delete-table reviews`
create-table ../x | cannot be used
delete-table review | Did you mean "reviews"?
rename-table nope x | There is no table
create-instance nope | There is no table
create-instance reviews --builder ../nope.yaml | cannot be read
create-instance reviews --external-edit --builder x | or leave out --external-edit
execute-instance reviews | `tablevault create-instance reviews --version base`
write-instance reviews --csv ../empty | is a folder, not a file
write-instance w --csv ../afile --dtype x=Int64 | is empty
write-instance w --csv ../x.csv --dtype c=string | --dtype names the column
write-instance w --csv ../x.csv --dtype a=Intt64 | Did you mean "Int64"?
write-instance w --csv ../x.csv --dependency nope | There is no table
execute-instance w | `tablevault write-instance w --csv FILE --version base`
get-dataframe reviews | -o/--output
get-dataframe reviews -o - | `tablevault create-instance reviews`
get-dataframe reviews -o - --version ../x | Version '../x' cannot be used
calls reviews --version ../x | Version '../x' cannot be used
get-dataframe reviews -o nope/x.csv | there is no folder
get-dataframe reviews -o x.xlsx | .csv, .json, .jsonl, .parquet
get-table-instances -o .. | is a folder
create-code-module | needs --module-name or --copy-dir
create-code-module --copy-dir nope | There is no file or folder
create-code-module --copy-dir ../empty | holds no .py file
create-builder-file reviews --copy-dir nope | `tablevault create-instance reviews
create-builder-file w | `tablevault write-instance w
delete-code-module nope | There is no code module
stop-process nope | `tablevault get-active-processes`
undo nope | `tablevault log`
get-descriptions --instance-id nope | `tablevault get-table-instances TABLE_NAME`
get-file-tree --instance-id nope | `tablevault get-file-tree --table-name NAME --instance-id nope`
log --instance-id nope | `tablevault log TABLE_NAME --instance-id nope`
lineage reviews nope | `tablevault get-table-instances reviews`
diff reviews | `tablevault create-instance reviews`
push | `tablevault remote origin URL`
report -o nope/x.html | there is no folder
gc --grace-days -1 | --grace-days: -1 is less than 0
create-tabel x | did you mean create-table
"""


def two_tables(vault):
    vault.create_table("reviews")
    vault.create_table("w")
    vault.create_instance("w", external_edit=True)


@pytest.mark.parametrize("mistake", _MISTAKES.strip().splitlines())
def test_a_mistake_is_answered_in_shell(enter, copy_of, run, mistake):
    enter(lambda path: copy_of(two_tables, path))
    Path("../afile").touch()
    Path("../empty").mkdir()
    Path("../x.csv").write_text("a\n1\n", encoding="utf-8")
    typed, _, wanted = mistake.partition(" | ")
    code, out, err = run(*typed.split())
    assert (code in (1, 2), out) == (True, "")
    assert wanted in err
    assert not re.search(r"Unexpected|Traceback|=True|[a-z]_[a-z]+\(|\(\)|Error:", err)


@pytest.mark.parametrize(
    "words",
    [
        ["create-table", "../x"],
        ["delete-table", "t"],
        ["get-table-instances", "t"],
        ["execute-instance", "t"],
        ["stop-process", "t"],
        ["get-code-module-str", "t"],
        ["create-vault", "."],
        ["get-dataframe", "t", "--output", "x.csv"],
    ],
)
def test_what_is_refused_is_one(vault, run, words):
    before = state_of(Path.cwd())
    code, out, err = run(*words)
    assert (code, out) == (1, "")
    assert err.startswith("TableVault error: ")
    assert "Traceback" not in err
    assert state_of(Path.cwd()) == before


def test_the_traceback_is_shown_on_request(vault, run):
    code, _, err = run("--debug", "delete-table", "t")
    assert (code, err.splitlines()[0]) == (1, "Traceback (most recent call last):")
    assert err.splitlines()[-1].startswith('TableVault error: There is no table "t".')


def test_what_a_function_raises_takes_one_line_that_names_builder_row_and_line(vault, run):
    code = "def f():\n    raise ValueError('two\\nlines')\n"
    vault.create_code_module("work", text=code)
    vault.create_table("t")
    builder = "{builder_type: IndexBuilder, changed_columns: [a], python_function: f, "
    builder += "code_module: work, is_custom: true, arguments: {}}"
    vault.create_instance("t", builders={"t_index": builder})
    code, out, err = run("execute-instance", "t")
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        (
            f"ValueError: two lines ({Path.cwd() / 'code/work.py'}, line 2). "
            'In builder "t_index", function "f" of module "work". (--debug shows the traceback)'
        ),
    ]


@pytest.mark.parametrize(
    ("option", "raised"),
    [
        ("--json", "SystemExit(0)"),
        ("--debug", "SystemExit(0)"),
        ("--json", "GeneratorExit(0)"),
        ("--json", "__import__('tablevault').errors.TVTableError('0')"),
    ],
)
def test_a_function_that_exits_has_failed(vault, run, option, raised):
    vault.create_code_module("work", text=f"def f():\n    raise {raised}\n")
    vault.create_table("t")
    builder = "{builder_type: IndexBuilder, changed_columns: [a], python_function: f, "
    builder += "code_module: work, is_custom: true, arguments: {}}"
    vault.create_instance("t", builders={"t_index": builder})
    code, out, err = run(option, "execute-instance", "t")
    assert (code, out) == (1, "")
    assert f": 0 ({Path.cwd() / 'code/work.py'}, line 2)." in err
    assert dict(vault.get_active_processes()) == {}


@pytest.mark.parametrize(
    ("raised", "then"),
    [
        ("ValueError('three')", "Correct the cause, then continue"),
        ("KeyboardInterrupt", "Continue"),
    ],
)
def test_what_a_failed_execution_keeps_is_said_with_the_command_that_goes_on(
    vault, run, raised, then
):
    code = "import pandas as pd\n\n\ndef f():\n    return pd.DataFrame({'a': [1, 2, 3]})\n\n\n"
    code += f"def g(a):\n    if a == 3:\n        raise {raised}\n    return a\n"
    vault.create_code_module("work", text=code)
    vault.create_table("t")
    shared = "code_module: work, is_custom: true"
    index = f"{{builder_type: IndexBuilder, changed_columns: [a], python_function: f, {shared}, "
    column = f"{{builder_type: ColumnBuilder, changed_columns: [b], python_function: g, {shared}, "
    builders = {
        "t_index": index + "arguments: {}}",
        "ask": column + 'return_type: row-wise, arguments: {a: "<<self.a[index]>>"}}',
    }
    vault.create_instance("t", builders=builders)
    assert run("execute-instance", "t")[2].splitlines()[-2:] == [
        "Finished calls are kept (3 of t_index, 2 of ask).",
        f"{then}: `tablevault --quiet execute-instance t`",
    ]
    code, _, err = run("execute-instance", "t", "--sample", "0")
    assert (code, err.count("\n"), "kept" in err) == (1, 1, False), err


def test_what_a_function_prints_is_no_result(vault, run):
    code = "import pandas as pd\n\n\ndef f():\n    print('hello')\n"
    vault.create_code_module("work", text=f"{code}    return pd.DataFrame({{'a': [1]}})\n")
    vault.create_table("t")
    builder = "{builder_type: IndexBuilder, changed_columns: [a], python_function: f, "
    builder += "code_module: work, is_custom: true, arguments: {}}"
    vault.create_instance("t", builders={"t_index": builder})
    code, out, err = run("execute-instance", "t", "--json")
    assert (code, err) == (0, "hello\n")
    assert vault.get_process_completion(json.loads(out))


def test_what_workers_and_programs_print_is_no_result(vault, apart):
    code = "import os\nimport pandas as pd\n\n\ndef f():\n"
    code += "    return pd.DataFrame({'a': [1]})\n\n\ndef g(a):\n    print('of', a, flush=True)\n"
    vault.create_code_module(
        "work", text=f"{code}    os.system('echo by a program')\n    return a\n"
    )
    vault.create_table("t")
    shared = "code_module: work, is_custom: true, executor: 'processes:1', "
    builders = {
        "t_index": "{builder_type: IndexBuilder, changed_columns: [a], python_function: f, "
        f"{shared}arguments: {{}}}}",
        "g": "{builder_type: ColumnBuilder, changed_columns: [b], python_function: g, "
        f"{shared}return_type: row-wise, arguments: {{a: '<<self.a[index]>>'}}}}",
    }
    vault.create_instance("t", builders=builders)
    done = apart("--quiet", "execute-instance", "t", "--json")
    assert (done.returncode, done.stderr) == (0, "of 1\nby a program\n")
    assert vault.get_process_completion(json.loads(done.stdout))


@pytest.mark.parametrize(("options", "has_traceback"), [((), False), (("--debug",), True)])
def test_what_is_logged_has_a_traceback_for_debug_alone(vault, apart, options, has_traceback):
    code = "import logging\nimport pandas as pd\n\n\ndef f():\n    try:\n        1 / 0\n"
    code += "    except ZeroDivisionError:\n        log = logging.getLogger('tablevault')\n"
    code += "        log.warning('It %s.', 'failed', exc_info=True)\n"
    code += "    return pd.DataFrame({'a': [1]})\n"
    vault.create_code_module("work", text=code)
    vault.create_table("t")
    builder = "{builder_type: IndexBuilder, changed_columns: [a], python_function: f, "
    builder += "code_module: work, is_custom: true, arguments: {}}"
    vault.create_instance("t", builders={"t_index": builder})
    done = apart("--quiet", "execute-instance", "t", *options)
    assert done.returncode == 0
    assert ("Traceback" in done.stderr) == has_traceback
    line = "It failed." if has_traceback else "It failed. (ZeroDivisionError: division by zero)"
    assert done.stderr.splitlines()[0] == line


def test_without_a_command_it_says_what_there_is(run):
    code, out, _ = run()
    assert (code, out.split()[0]) == (2, "usage:")


SLOW = """
import pathlib, time

def wait():
    pathlib.Path("started").touch()
    while True:
        time.sleep(0.01)  # an interrupt that comes just before a long one would not end it
"""

BUILDER = """builder_type: IndexBuilder
changed_columns: [n]
python_function: wait
code_module: slow
is_custom: true
return_type: dataframe
arguments: {}
"""


def test_ctrl_c_leaves_a_clean_vault(vault):
    vault.create_code_module("slow", text=SLOW)
    vault.create_table("t")
    vault.create_instance("t", builders={"t_index": BUILDER})
    with subprocess.Popen(
        [sys.executable, "-m", "tablevault", "execute-instance", "t"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as running:
        while not Path("started").exists():
            assert running.poll() is None, running.communicate()
            time.sleep(0.01)
        Path("started").unlink()
        running.send_signal(signal.SIGINT)
        out, err = running.communicate()
    assert (running.returncode, out) == (130, "")
    assert err.splitlines()[-2:] == ["Interrupted.", "Nothing was changed."]
    assert "Traceback" not in err
    check_clean(Path.cwd())
    assert dict(vault.get_active_processes()) == {}
    vault.create_builder_file("t", text=BUILDER)


def test_ctrl_c_before_a_command_begins_is_no_traceback(run, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr("tablevault.cli.main.commands", interrupt)
    assert run("log") == (130, "", "Interrupted.\n")


def test_a_log_names_commands_as_the_errors_did(vault, run):
    vault.create_table("t")
    builder = "{builder_type: IndexBuilder, changed_columns: [a], python_function: f, "
    builder += "code_module: work, is_custom: true, arguments: {}}"
    vault.create_instance("t", builders={"t_index": builder})
    code, _, err = run("execute-instance", "t", "--process-id", "p")
    hint = "Create it: `tablevault create-code-module --module-name work`."
    assert (code, err) == (1, f'TableVault error: There is no code module "work". {hint}\n')
    for options in ((), ("--json",)):
        assert "`tablevault create-code-module --module-name work`" in run("log", *options)[1]
    assert "create_code_module(" in vault.log()["error"][0]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_what_is_done_succeeds_with_closed_streams(vault, closed):
    program = f"{sys.executable} -m tablevault create-table t {closed}"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(program, shell=True, capture_output=True, text=True, check=False, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert vault.get_table_instances() == ["t"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
@pytest.mark.parametrize(
    ("words", "unbuffered"),
    [
        (["--version"], ""),
        (["log", "--help"], ""),
        (["log", "--help"], "1"),
        ([], ""),
        ([], "1"),
        (["get-file-tree"], ""),
    ],
)
def test_an_output_that_cannot_be_written_is_told(vault, words, unbuffered):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "tablevault", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=env,
        )
    assert done.returncode == 1
    line = "TableVault error: The standard output cannot be written: No space left on device."
    assert done.stderr.splitlines()[0].startswith(line)
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_a_file_of_output_that_cannot_be_written_is_named(vault, run):
    code, out, err = run("log", "--json", "-o", "/dev/full")
    assert (code, out) == (1, "")
    assert err.startswith(
        'TableVault error: "/dev/full" cannot be written: No space left on device.'
    )


def test_who_reads_may_go_away(vault, apart):
    for number in range(3):
        vault.create_table(f"t{number}")
    done = subprocess.run(
        f"{sys.executable} -m tablevault get-file-tree --metadata-files | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (done.stdout.count("\n"), done.stderr) == (1, "")


@pytest.mark.parametrize(
    "words", [["--help"], ["get-table-instances", "--help"], ["get-table-instances"]]
)
def test_it_starts_without_pandas(vault, words):
    program = (
        "import sys\nfrom tablevault.cli.main import main\n"
        f"try:\n    main({words!r})\nexcept SystemExit:\n    pass\n"
        "print({'pandas', 'pyarrow', 'rich', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "set()"


def test_a_terminal_gets_a_table(vault):
    vault.create_table("first")
    leader, follower = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "tablevault", "get-table-instances"],
        stdout=follower,
        stderr=subprocess.PIPE,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "60"},
    )
    os.close(follower)
    shown = os.read(leader, 10_000).decode()
    os.close(leader)
    assert done.stderr == b""
    assert "table" in shown
    assert "first" in shown
    assert "[" not in shown.replace("\x1b[", "")


def test_no_file_in_a_vault_poses_as_a_module(vault, apart, tmp_path):
    for name in ("argparse", "difflib", "json", "pathlib", "rich", "tablevault_", "yaml"):
        for folder in (tmp_path / "v", tmp_path / "v/code"):
            text = f"open({str(tmp_path / 'ran')!r}, 'w')\n"
            (folder / f"{name}.py").write_text(text, "utf-8")
    done = apart("log", cwd=tmp_path / "v")
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "ran").exists()
