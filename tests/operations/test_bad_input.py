"""Executions that cannot succeed: what the error says, and that the vault is as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tablevault import TableVault
from tablevault.errors import (
    TableReferenceError,
    TableVaultError,
    TVArgumentError,
    TVBuilderError,
    TVFileError,
    TVTableError,
)
from tests.looking import check_clean, git

INDEX = """\
builder_type: IndexBuilder
changed_columns: [n]
python_function: make
code_module: work
is_custom: true
arguments: {rows: 30}
"""
COLUMN = """\
builder_type: ColumnBuilder
changed_columns: [m]
python_function: FUNCTION
code_module: work
is_custom: true
return_type: RETURN
n_threads: 1
arguments: {ARGUMENTS}
"""
GOOD = """\
import pandas as pd


def make(rows):
    return pd.DataFrame({"n": range(rows)})


def same(n):
    return n
"""
PER_ROW = 'n: "<<self.n[index]>>"'


def column(function: str, how: str = "row-wise", arguments: str | None = None) -> str:
    """Format a column builder."""
    if arguments is None:
        arguments = PER_ROW if how == "row-wise" else 'frame: "<<self.n>>"'
    text = COLUMN.replace("FUNCTION", function).replace("RETURN", how)
    return text.replace("ARGUMENTS", arguments)


BUILDERS = {"words_index": INDEX, "many": column("same")}


def furnish(vault: TableVault) -> None:
    """Make a table with one instance, and a temporary one that is to be executed."""
    vault.create_code_module("work", text=GOOD)
    vault.create_table("words")
    vault.create_instance("words", builders=BUILDERS)
    vault.execute_instance("words")
    vault.create_instance("words", builders=BUILDERS)


@pytest.fixture
def words(copy_of: Callable[..., TableVault], vault_path: Path) -> TableVault:
    return copy_of(furnish, vault_path)


Fails = Callable[..., BaseException]


@pytest.fixture
def fails(words: TableVault, vault_path: Path) -> Fails:
    """Execute, expect an error, and look whether the vault goes on as if nothing had happened."""

    def run(kind: type[BaseException], match: str) -> BaseException:
        refs, status = git(vault_path, "for-each-ref"), git(vault_path, "status", "--porcelain")
        instances = words.get_table_instances("words")
        here, environment = Path.cwd(), dict(os.environ)
        with pytest.raises(kind, match=match) as caught:
            words.execute_instance("words")
        assert git(vault_path, "for-each-ref") == refs
        assert git(vault_path, "status", "--porcelain") == status
        assert words.get_table_instances("words") == instances
        os.chdir(here)
        os.environ.clear()
        os.environ.update(environment)
        if isinstance(caught.value, Exception):
            assert words.get_active_processes() == {}
            assert list((vault_path / ".git/tablevault/processes").iterdir()) == []
        return caught.value

    return run


def goes_on(words: TableVault, vault_path: Path) -> None:
    """Execute good builders with the vault that has met the error."""
    words.create_code_module("work", text=GOOD)
    words.create_instance("words", builders=BUILDERS)
    words.execute_instance("words")
    assert len(words.get_dataframe("words")[0]) == 30
    assert git(vault_path, "status", "--porcelain") == ""


def put(vault_path: Path, builder: str, data: str | bytes) -> None:
    """Write a builder into the folder of the temporary instance, as an editor would."""
    data = data.encode() if isinstance(data, str) else data
    (vault_path / f"temp/words/base/builders/{builder}.yaml").write_bytes(data)


def code(vault_path: Path, text: str | bytes, module: str = "work") -> None:
    """Write a code module, as an editor would."""
    text = text.encode() if isinstance(text, str) else text
    (vault_path / f"code/{module}.py").write_bytes(text)


# -- builders -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "kind", "said"),
    [
        ("- a\n- b\n", TVBuilderError, r'"many" cannot be used: it holds a list'),
        (b"name: caf\xe9\n", TVFileError, r'"many\.yaml" is no UTF-8 text: byte 9'),
        ("a: [1, 2\n", TVBuilderError, r'"many" is no valid YAML: .*, line 2'),
        ("a: '" + "x" * 2_000_000 + "'\n", TVBuilderError, r"longer than 1,000,000 bytes"),
    ],
)
def test_a_builder_that_cannot_be_read(
    fails: Fails, vault_path: Path, data: str | bytes, kind: type[TableVaultError], said: str
) -> None:
    put(vault_path, "many", data)
    error = fails(kind, said)
    assert len(str(error)) < 1000
    assert isinstance(error, TableVaultError)
    assert error.hint


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("ColumnBuilder", "IndexBuilder", "field builder_type is 'IndexBuilder'"),
        ("changed_columns: [m]\n", "", "field changed_columns is missing"),
        ("[m]", "[n]", 'both make the column "n"'),
        ("[m]", "[{}]", r"changed_columns\[0\]"),
        (f"{{{PER_ROW}}}", "{x: 1}", r'arguments do not fit "same\(n\)"'),
        (f"{{{PER_ROW}}}", "{1: 1}", "a mapping from names of parameters"),
        (f"{{{PER_ROW}}}", "{n: 1}\ndtypes: {m: nonsense}", r"field dtypes\.m is 'nonsense'"),
    ],
)
def test_a_field_that_is_wrong_is_named(
    fails: Fails, vault_path: Path, old: str, new: str, said: str
) -> None:
    text = column("same")
    assert old in text
    put(vault_path, "many", text.replace(old, new))
    error = fails(TVBuilderError, said)
    assert '"many"' in str(error)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("<<nope.x[index]>>", 'no table "nope"'),
        ("<<word.x[index]>>", 'Did you mean "words"'),
        ("<<self.x[index]>>", '"x"'),
        ("<<words(other).n[index]>>", "other"),
        ("<<words(base_1_x).n[index]>>", "base_1_x"),
        ("<<words.x[index]>>", 'no column "x"'),
        ("<<words.n[x::1]>>", '"x"'),
        ("<<words.n[index]", None),
        ("<<words.n[index]>> and <<words>>", "frame|DataFrame|table"),
        ("<<words.n[n::abc]>>", "abc"),
    ],
)
def test_a_reference_that_leads_nowhere_is_named(
    fails: Fails, words: TableVault, vault_path: Path, reference: str, said: str | None
) -> None:
    put(vault_path, "many", column("same", arguments=f"n: '{reference}'"))
    if said is None:  # never closed: that is plain text
        words.execute_instance("words")
        assert words.get_dataframe("words")[0]["m"].tolist() == [reference] * 30
        return
    error = fails(TableReferenceError, said)
    assert '"many"' in str(error)


def test_a_missing_index_builder_is_named(fails: Fails, vault_path: Path) -> None:
    (vault_path / "temp/words/base/builders/words_index.yaml").unlink()
    fails(TVBuilderError, 'Table "words" has no index builder.*Create the builder "words_index"')


# -- functions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        ("raise LookupError('mine')", LookupError, "^mine"),
        ("raise SystemExit(3)", SystemExit, "^3$"),
        ("raise KeyboardInterrupt", KeyboardInterrupt, ".*"),
        ("raise Odd('base')", BaseException, "^base$"),
        ("raise GeneratorExit('mine')", GeneratorExit, "^mine"),
        ("raise StopIteration('mine')", StopIteration, "^mine"),
        ("return sink(n)", RecursionError, "recursion"),
        ("return (1, 2)", TVBuilderError, r'"many".*returned \(1, 2\).*column "m" in row 0'),
        ("return (x for x in 'ab')", TVBuilderError, r"generator.*row 0"),
        ("return pd.DataFrame()", TVBuilderError, "DataFrame"),
        ("return object()", TVTableError, r'"many".*column "m"'),
        ("return 1 if n < 19 else 'x' + 'y' * 10_000", TVTableError, ".*"),
    ],
)
def test_a_row_that_fails(
    fails: Fails,
    words: TableVault,
    vault_path: Path,
    body: str,
    kind: type[BaseException],
    said: str,
) -> None:
    code(
        vault_path,
        f"{GOOD}\n\nclass Odd(BaseException):\n    pass\n\n\ndef sink(n):\n    return sink(n)\n"
        f"\n\ndef bad(n):\n    {body}\n",
    )
    declared = "dtypes: {m: Int64}\n" if "10_000" in body else ""
    put(vault_path, "many", column("bad") + declared)
    error = fails(kind, said)
    goes_on(words, vault_path)
    if declared:
        assert '"many"' in str(error)
        assert "row 19" in str(error)
        assert "'xyyy" in str(error)
        assert len(str(error)) < 500


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        ("yield from ()", TVBuilderError, r'"many".*yields only 0 items.*30'),
        ("yield 1", TVBuilderError, "yields only 1 item"),
        ("while True: yield 1", TVBuilderError, "yields more than 30 items"),
        ("yield 1; raise StopIteration('mine')", RuntimeError, "generator raised StopIteration"),
        ("yield 1; raise SystemExit(4)", SystemExit, "^4$"),
        ("yield (1, 2)", TVBuilderError, r'column "m" in row 0'),
        ("return 'text'", TVBuilderError, r"returned 'text' \(str\)"),
        ("return iter_that_fails()", ZeroDivisionError, ".*"),
    ],
)
def test_a_generator_that_fails(
    fails: Fails,
    words: TableVault,
    vault_path: Path,
    body: str,
    kind: type[BaseException],
    said: str,
) -> None:
    helper = (
        "class iter_that_fails:\n    def __iter__(self):\n        return self\n"
        "    def __next__(self):\n        1 / 0\n"
    )
    lines = "".join(f"    {line}\n" for line in body.split("; "))
    code(vault_path, f"{GOOD}\n\n{helper}\n\ndef bad(frame):\n{lines}")
    put(vault_path, "many", column("bad", "generator"))
    fails(kind, said)
    goes_on(words, vault_path)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return None", "returned None"),
        ("return [1, 2]", r"returned \[1, 2\] \(list\)"),
        ("return frame['n']", "Series"),
        ("return frame.head(3).rename(columns={'n': 'm'})", "returned 3 rows.*The table has 30"),
        ("return pd.concat([frame, frame])", "returned 60 rows"),
        ("return frame.assign(x=1)", r'returned 2 columns \("n", "x"\).*names 1: "m"'),
        ("return frame[[]]", "returned 0 columns"),
    ],
)
def test_a_frame_that_does_not_fit(fails: Fails, vault_path: Path, body: str, said: str) -> None:
    code(vault_path, f"{GOOD}\n\ndef bad(frame):\n    {body}\n")
    put(vault_path, "many", column("bad", "dataframe"))
    assert '"many"' in str(fails(TVBuilderError, said))


@pytest.mark.parametrize(
    ("how", "dtype", "value", "said"),
    [
        ("row-wise", "Int8", "300", "300"),
        ("row-wise", "artifact_string", "5", "5"),
        ("generator", "Int64", "'x'", "'x'"),
        ("dataframe", "Float64", "'x'", "'x'"),
    ],
)
def test_a_value_that_does_not_fit_its_dtype_is_named_with_its_row(
    fails: Fails, vault_path: Path, how: str, dtype: str, value: str, said: str
) -> None:
    good = "None"
    body = {
        "row-wise": f"return {value} if n == 19 else {good}",
        "generator": f"yield from ({value} if n == 19 else {good} for n in frame['n'])",
        "dataframe": f"return pd.DataFrame({{'m': [{value} if n == 19 else {good}\n"
        "                  for n in frame['n']]}, dtype=object)",
    }[how]
    argument = "n" if how == "row-wise" else "frame"
    code(vault_path, f"{GOOD}\n\ndef bad({argument}):\n    {body}\n")
    put(vault_path, "many", column("bad", how) + f"dtypes: {{m: '{dtype}'}}\n")
    error = str(fails(TVTableError, "row 19"))
    assert '"many"' in error
    assert '"m"' in error
    assert said in error


# -- functions that do more than they should ------------------------------------------------------


@pytest.mark.sweep
@pytest.mark.parametrize(
    "body",
    [
        "os.chdir('/'); os.umask(0o777)",
        "os.environ.clear(); os.environ['GIT_DIR'] = os.environ['GIT_INDEX_FILE'] = '/nowhere'",
        "sys.argv.clear(); sys.path.clear(); gc.disable(); locale.setlocale(locale.LC_ALL, 'C')",
        "sys.setrecursionlimit(200)",
        "threading.Thread(target=time.sleep, args=(0.1,)).start()",
        "warnings.simplefilter('ignore'); logging.disable(); random.seed(1); np.random.seed(1)",
        "socket.setdefaulttimeout(0.001); signal.signal(signal.SIGINT, signal.SIG_IGN)",
        "frame.drop(frame.index, inplace=True); frame['x'] = 1",
        "frame.iloc[:, 0] = -1",
        "yaml.safe_load = yaml.SafeLoader = None; time.time = lambda: 0.0",
        "print('out'); print('err', file=sys.stderr); sys.stdout.close()",
        "sys.stdout = sys.stderr = None",
        "os.close(1)",
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))",
    ],
)
def test_what_a_function_does_to_the_interpreter_does_no_harm_to_the_vault(
    words: TableVault, vault_path: Path, body: str
) -> None:
    modules = (
        "builtins, gc, json, locale, logging, os, random, resource, signal, socket, sys, "
        "threading, time, uuid, warnings, yaml"
    )
    lines = "".join(f"    {line}\n" for line in body.split("; "))
    text = (
        f"import {modules}\nimport numpy as np\n{GOOD}\n\ndef odd(frame):\n    n = len(frame)\n"
        f"    made = pd.DataFrame({{'m': range(n)}})\n{lines}    return made\n"
    )
    code(vault_path, text)
    put(vault_path, "many", column("odd", "dataframe"))
    # In a process of its own: what is changed is changed for good.
    script = (
        "import sys\nfrom tablevault import TableVault\n"
        "try:\n"
        "    TableVault(sys.argv[1], 'Bo').execute_instance('words')\n"
        "except Exception as error:\n"
        "    sys.exit(3)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, vault_path],
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    assert done.returncode in (0, 3, 120), done.stderr
    opened = TableVault(vault_path, "Ana")
    made = opened.get_table_instances("words")
    if done.returncode == 3:
        assert len(made) == 1
    else:
        assert len(made) == 2, done.stderr
        frame, _ = opened.get_dataframe("words")
        assert frame["n"].tolist() == frame["m"].tolist() == list(range(30))
    assert opened.get_active_processes() == {}
    code(vault_path, GOOD)
    goes_on(opened, vault_path)
    check_clean(vault_path)


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("how", "ending"),
    [
        *(("row-wise", "os._exit(0)"), ("row-wise", "sys.exit(0)")),
        *(("row-wise", "raise LookupError"), ("row-wise", "pass")),
        *(("generator", "pass"), ("dataframe", "raise LookupError")),
    ],
)
def test_a_function_that_forks(words: TableVault, vault_path: Path, ending: str, how: str) -> None:
    fork = (
        "child = os.fork()\n"
        "{indent}if child == 0:\n"
        "{indent}    {ending}\n"
        "{indent}else:\n"
        "{indent}    os.waitpid(child, 0)\n"
    )
    text = f"import os, sys\n{GOOD}\n\n"
    if how == "row-wise":
        body = fork.format(indent=" " * 8, ending=ending)
        text += f"def odd(n):\n    if n == 7:\n        {body}    return n\n"
    else:
        body = fork.format(indent=" " * 4, ending=ending)
        text += f"def odd(frame):\n    {body}"
        text += (
            "    yield from frame['n']\n"
            if how == "generator"
            else "    return frame.rename(columns={'n': 'm'})\n"
        )
    code(vault_path, text)
    put(vault_path, "many", column("odd", how))
    script = (
        "import os, sys\nfrom tablevault import TableVault\n"
        "me = os.getpid()\n"
        "try:\n"
        "    TableVault(sys.argv[1], 'Bo').execute_instance('words')\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, os.getpid() == me, flush=True)\n"
        "else:\n"
        "    print('executed', os.getpid() == me, flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, vault_path], capture_output=True, text=True, check=False
    )
    lines = done.stdout.splitlines()
    assert lines[-1] == "executed True", done.stderr
    others = {"pass": ["TVProcessError False"], "raise LookupError": ["LookupError False"]}
    assert lines[:-1] == others.get(ending, [])
    opened = TableVault(vault_path, "Ana")
    assert len(opened.get_table_instances("words")) == 2
    frame, _ = opened.get_dataframe("words")
    assert frame["m"].tolist() == list(range(30))
    assert git(vault_path, "log", "--format=%s").count("words/base: execute, 30 rows\n") == 2
    check_clean(vault_path)


# -- large ----------------------------------------------------------------------------------------


@pytest.mark.sweep
def test_ten_thousand_columns(vault: TableVault, vault_path: Path) -> None:
    names = [f"c{n}" for n in range(10_000)]
    vault.create_code_module(
        "work",
        text=(
            "import pandas as pd\n\ndef make(names):\n"
            "    return pd.DataFrame({name: [n, n + 1] for n, name in enumerate(names)})\n"
        ),
    )
    listed = ", ".join(names)
    vault.create_table("wide")
    text = INDEX.replace("[n]", f"[{listed}]").replace("{rows: 30}", f"{{names: [{listed}]}}")
    vault.create_instance("wide", builders={"wide_index": text})
    vault.execute_instance("wide")
    frame, _ = vault.get_dataframe("wide")
    assert frame.shape == (2, 10_000)
    assert frame["c9999"].tolist() == [9999, 10_000]
    check_clean(vault_path)


# -- code modules ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def make(rows)\n", r"SyntaxError: expected ':' in .*work\.py, line 1"),
        ("def make(rows):\nreturn 1\n", r"IndentationError: .*work\.py, line 2"),
        (b"x = '\xff'\n", r'"code/work\.py" is no UTF-8'),
        ("import nowhere_to_be_found\n", r"ModuleNotFoundError: .*nowhere_to_be_found.*line 1"),
        ("import helper.deep\n", r"ModuleNotFoundError|not a package"),
        ("1 / 0\n", r"ZeroDivisionError: division by zero in .*work\.py, line 1"),
        ("raise SystemExit('leaving')\n", "SystemExit: leaving"),
        ("def f():\n    f()\nf()\n", "RecursionError"),
        ("import helper\nhelper.boom()\n", r"KeyError: 'boom' in .*helper\.py, line 2"),
        ("", 'Function "make" of code module "work" is not there'),
        ("make = 5\n", 'Function "make" of code module "work" is int, no function'),
        ("def maker(rows): ...\n", 'Did you mean "maker"'),
        ("(" * 500 + ")" * 500, "SyntaxError|RecursionError|MemoryError"),
    ],
)
def test_a_module_that_cannot_be_loaded(
    fails: Fails, vault_path: Path, text: str | bytes, said: str
) -> None:
    code(vault_path, "def boom():\n    raise KeyError('boom')\n", module="helper")
    code(vault_path, text)
    error = fails(TVFileError, said)
    assert "work" in str(error)


def test_an_interrupt_while_a_module_loads_passes(fails: Fails, vault_path: Path) -> None:
    code(vault_path, "raise KeyboardInterrupt\n")
    fails(KeyboardInterrupt, ".*")


def test_a_module_may_print_shadow_and_import_its_siblings(
    words: TableVault, vault_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code(vault_path, "print('json of the vault')\ndef dumps(n):\n    return -n\n", module="json")
    code(vault_path, "from json import dumps\ndef twice(n):\n    return 2 * dumps(n)\n", "sibling")
    code(vault_path, f"print('loading')\nimport sibling\n{GOOD}\n\ntwice = sibling.twice\n")
    put(vault_path, "many", column("twice"))
    words.execute_instance("words")
    assert words.get_dataframe("words")[0]["m"].tolist() == [-2 * n for n in range(30)]
    assert "loading\njson of the vault\n" in capsys.readouterr().out
    # What the package itself imports is not what the vault calls by that name.
    assert sys.modules["json"].__file__ != str(vault_path / "code/json.py")
    words.create_table("more")
    check_clean(vault_path)


def test_a_module_that_was_deleted_is_named(
    fails: Fails, words: TableVault, vault_path: Path
) -> None:
    words.create_code_module("other", text="x = 1\n")
    put(vault_path, "many", column("same").replace("code_module: work", "code_module: wrk"))
    error = fails(TVFileError, 'There is no code module "wrk"')
    assert 'Did you mean "work"' in str(error)


def test_a_module_that_there_cannot_be_is_no_module_to_create(
    fails: Fails, vault_path: Path
) -> None:
    put(vault_path, "many", column("same").replace("code_module: work", "code_module: ../x"))
    error = fails(TVArgumentError, r"Code module name '\.\./x' cannot be used")
    assert "create_code_module" not in str(error)
