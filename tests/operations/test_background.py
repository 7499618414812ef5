"""execute_instance(background=True): another interpreter does it, whatever becomes of ours."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from tablevault import TableVault
from tablevault.cli.main import main
from tablevault.errors import (
    TVArgumentError,
    TVBuilderError,
    TVFileError,
    TVLockError,
    TVProcessError,
    TVTableError,
)
from tablevault.transactions import background
from tests.looking import check_clean, git, state_of, until
from tests.operations.keeping import kept

ROOT = Path(__file__).parents[2]
INDEX = """\
builder_type: IndexBuilder
changed_columns: [n]
python_function: make
code_module: slow
is_custom: true
arguments: {count: 10}
"""
ROWS = """\
builder_type: ColumnBuilder
changed_columns: [square]
python_function: square
code_module: slow
is_custom: true
return_type: row-wise
dtypes: {square: Int64}
arguments: {n: "<<self.n[index]>>"}
"""
CODE = """\
import os, sys, time
import pandas as pd

GO = {go!r}


def make(count):
    print("makes rows")
    print("and says so", file=sys.stderr)
    return pd.DataFrame({{"n": range(count)}})


def square(n):
    while n == 4 and not os.path.exists(GO):
        time.sleep(0.01)
    {there}
    return n * n
"""
SQUARES = [n * n for n in range(10)]


@pytest.fixture(autouse=True)
def patient(monkeypatch) -> None:
    """Wait for mistakes as long as a slow machine needs."""
    monkeypatch.setattr(background, "_SETUP_S", 60.0)


@pytest.fixture
def vault_path(tmp_path: Path) -> Path:
    """Return a folder whose name is no trouble-free word."""
    return tmp_path / "my vaults" / "it's ünï $HOME"


@pytest.fixture
def vault(vault_path, author) -> TableVault:
    return TableVault(vault_path, author, create=True)


@pytest.fixture
def go(tmp_path: Path) -> Path:
    """Return the file for which the function waits in row 4."""
    return tmp_path / "go"


@pytest.fixture
def slow(vault, go) -> Callable[..., TableVault]:
    """Prepare an execution that waits in row 4."""

    def prepare(there: str = "pass", rows: str = ROWS) -> TableVault:
        vault.create_code_module("slow", text=CODE.format(go=str(go), there=there))
        vault.create_table("t")
        vault.create_instance("t", builders={"t_index": INDEX, "rows": rows})
        return vault

    return prepare


def seen(path: Path) -> dict[str, object]:
    """Take down the vault, but for what was printed, and when folders were last compared."""
    state = state_of(path)
    return {key: state[key] for key in state if "/logs" not in key and "/temp-folders/" not in key}


def rows_of(vault: TableVault, process_id: str) -> int:
    """Return the rows that are done."""
    process = vault.get_active_processes().get(process_id)
    return 0 if process is None else process.rows.get("rows", 0)


def check_done(vault: TableVault, path: Path, process_id: str) -> None:
    """Wait for the end, and check that it is that of a foreground execution."""
    until(lambda: vault.get_process_completion(process_id))
    assert vault.get_active_processes() == {}
    frame, instance = vault.get_dataframe("t", successful_only=True)
    assert frame["square"].tolist() == SQUARES
    assert vault.get_table_instances("t", include_temp=True) == [instance]
    assert f"Vault-Process: {process_id}" in git(path, "log", "-1", "--format=%B")
    check_clean(path)


@pytest.mark.parametrize("process_id", ["p", "", "a/b_c.d é" + 2000 * "x"])
def test_it_returns_while_rows_are_made_and_tells_how_far_it_is(
    slow, vault_path, go, process_id, author
) -> None:
    vault = slow()
    found = vault.execute_instance("t", process_id=process_id, background=True)
    assert found == process_id or not process_id
    until(lambda: rows_of(vault, found) == 4)
    process = vault.get_active_processes()[found]
    assert process.is_running
    assert process["author"] == author
    assert process.pid != os.getpid()
    assert os.getsid(process.pid) == process.pid, "a session of its own"
    assert process.rows == {"t_index": 10, "rows": 4}
    assert process.data["background"] is True
    assert process.force_takedown is not bool(process_id)
    log = Path(process.log)
    assert log.is_relative_to(vault_path / ".git/tablevault/logs")
    assert {"makes rows", "and says so"} <= set(log.read_text().splitlines())
    with pytest.raises(TVProcessError, match="runs just now"):
        vault.execute_instance("t", process_id=found)
    with pytest.raises(TVLockError, match="is held by process"):
        TableVault(vault_path, "Ben", lock_timeout=0).execute_instance("t")
    go.touch()
    check_done(vault, vault_path, found)


def test_nothing_of_the_caller_is_kept_open(slow, vault_path, go, tmp_path) -> None:
    vault = slow()
    with (tmp_path / "mine").open("w") as mine:
        os.set_inheritable(mine.fileno(), True)
        vault.execute_instance("t", process_id="p", background=True)
    until(lambda: rows_of(vault, "p") == 4)
    pid = vault.get_active_processes()["p"].pid
    opened = {os.path.realpath(file) for file in Path(f"/proc/{pid}/fd").iterdir()}
    assert str(tmp_path / "mine") not in opened
    assert not {name for name in opened if "pipe:" in name}
    assert os.path.realpath(f"/proc/{pid}/fd/0") == os.devnull
    assert _stat(pid)[1] != str(os.getpid()), "nobody has to wait for it"
    go.touch()
    check_done(vault, vault_path, "p")


SCRIPT = """
import sys
from tablevault import TableVault
sys.path.insert(0, sys.argv[2])
print(TableVault(sys.argv[1], "B").execute_instance("t", background=True))
"""


def test_a_script_may_end_at_once(slow, vault_path, go, tmp_path, finish, python) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "only_mine.py").write_text("")
    vault = slow("import only_mine")
    script = tmp_path / "a script.py"
    script.write_text(SCRIPT)
    process_id = subprocess.run(
        [sys.executable, script, vault_path, tmp_path / "mine"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.strip()
    until(lambda: rows_of(vault, process_id) == 4)
    go.touch()
    check_done(vault, vault_path, process_id)


def test_a_program_whose_input_and_output_are_closed_may_start_it(
    slow, vault_path, go, tmp_path
) -> None:
    vault = slow()
    command = 'exec "$0" -c "$1" "$2" "$3" <&- >&- 2>&-'
    script = SCRIPT.replace("print(", "open(sys.argv[2] + '/id', 'w').write(")
    done = subprocess.run(
        ["bash", "-c", command, sys.executable, script, vault_path, tmp_path],
        check=False,
        timeout=60,
    )
    assert done.returncode == 0
    go.touch()
    check_done(vault, vault_path, (tmp_path / "id").read_text())


def test_a_program_with_many_open_files_may_start_it_and_its_children_keep_nobody_waiting(
    slow, vault, vault_path, go, tmp_path
) -> None:
    slow()
    module = vault_path / "code/slow.py"
    # At its import it leaves a copy of itself behind, which keeps all that is open.
    stays = "import os, time\nif os.fork() == 0:\n    time.sleep(600)\n    os._exit(0)\n"
    vault.create_code_module("slow", text=stays + module.read_text())
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 1200 if hard == resource.RLIM_INFINITY else min(hard, 1200)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], wanted), hard))
    with contextlib.ExitStack() as opened:
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        for _ in range(wanted - 150):
            opened.enter_context(open(os.devnull))  # noqa: PTH123 - many, and at once
        vault.execute_instance("t", process_id="p", background=True)
    until(lambda: rows_of(vault, "p") == 4)
    vault.stop_process("p", force=True)
    check_clean(vault_path)


def test_what_lies_in_the_current_folder_is_not_run(slow, vault_path, go, tmp_path) -> None:
    vault = slow()
    (tmp_path / "json.py").write_text("raise SystemExit('not the json of Python')")
    done = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT, vault_path, tmp_path / "none"],
        capture_output=True,
        cwd=tmp_path,
        text=True,
        check=False,
        timeout=60,
    )
    assert not done.stderr
    go.touch()
    check_done(vault, vault_path, done.stdout.strip())


def test_an_environment_of_its_own_is_kept(slow, vault_path, go, tmp_path) -> None:
    vault = slow("import sys; print('prefix', sys.prefix)")
    home = tmp_path / "an env"
    venv.create(home, system_site_packages=True)
    site = os.pathsep.join([str(ROOT), *(path for path in sys.path if "site-packages" in path)])
    done = subprocess.run(
        [home / "bin/python", "-c", SCRIPT, vault_path, tmp_path],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": site},
        text=True,
        check=False,
        timeout=60,
    )
    assert not done.stderr
    process_id = done.stdout.strip()
    log = Path(vault.get_active_processes()[process_id].log)
    go.touch()
    check_done(vault, vault_path, process_id)
    assert f"prefix {home}" in log.read_text()


# -- what goes wrong ------------------------------------------------------------------------------


def test_mistakes_are_raised_at_once_and_change_nothing(slow, vault, vault_path) -> None:
    with pytest.raises(TVArgumentError, match="t"):
        vault.execute_instance("t", background=True)
    slow()
    vault.create_instance("t", version="empty", external_edit=True)
    with pytest.raises(TVArgumentError, match="external edit"):
        vault.execute_instance("t", version="empty", background=True)
    before = seen(vault_path)
    edited = vault_path / "temp/t/base/builders/rows.yaml"
    for old, new, kind, text in (
        ("function: square", "function: sqare", TVFileError, 'Did you mean "square"'),
        ("{n:", "{m:", TVBuilderError, "do not fit"),
    ):
        edited.write_text(ROWS.replace(old, new))
        with pytest.raises(kind, match=text):
            vault.execute_instance("t", process_id=text, background=True)
        assert vault.get_process_completion(text)
        edited.write_text(ROWS)
    assert vault.get_active_processes() == {}
    assert seen(vault_path) == before


@pytest.mark.parametrize("process_id", ["p", ""])
def test_a_function_that_fails_pauses_or_ends_it_and_is_in_the_log(
    slow, vault_path, go, process_id
) -> None:
    go.touch()
    vault = slow("assert n != 6, 'not six'")
    found = vault.execute_instance("t", process_id=process_id, background=True)
    until(lambda: vault.get_process_completion(found) != bool(process_id) and not _runs(vault))
    (log,) = (vault_path / ".git/tablevault/logs").iterdir()
    assert "AssertionError: not six" in log.read_text()
    if not process_id:
        assert vault.get_active_processes() == {}
        last = vault.log("t").iloc[0]
        assert (last["process_id"], last["error"]) == (found, "AssertionError: not six")
        check_clean(vault_path)
        return
    process = vault.get_active_processes()[found]
    assert process.log == str(log)
    assert process.error == ["AssertionError", "not six"]
    assert process.execution_success is False
    assert rows_of(vault, found) == 6
    code = vault_path / "code/slow.py"
    code.write_text(code.read_text().replace("!= 6", "!= 60"))
    vault.execute_instance("t", process_id=found)
    check_done(vault, vault_path, found)
    assert log.read_text().count("makes rows") == 1


def test_keys_in_what_a_function_raises_are_not_in_the_log(slow, vault_path, go):
    go.touch()
    key = "sk-proj-" + "Az09" * 12
    vault = slow("assert n != 6, 'no: sk-proj-' + 'Az09' * 12")
    vault.execute_instance("t", process_id="p", background=True)
    until(lambda: vault.get_active_processes()["p"].error and not _runs(vault))
    (log,) = (vault_path / ".git/tablevault/logs").iterdir()
    assert "AssertionError: no: [OpenAI key removed]" in log.read_text()
    assert key.encode() not in kept(vault_path)


def _runs(vault: TableVault) -> bool:
    """Return whether anything runs."""
    return any(process.is_running for process in vault.get_active_processes().values())


def test_what_was_paused_goes_on_in_the_background(slow, vault_path, go) -> None:
    go.touch()
    vault = slow("assert n != 6, 'not six'")
    with pytest.raises(AssertionError):
        vault.execute_instance("t", process_id="p")
    assert not vault.get_active_processes()["p"].log
    go.unlink()
    (vault_path / "code/slow.py").write_text(CODE.format(go=str(go), there="pass"))
    assert vault.execute_instance("t", process_id="p", background=True) == "p"
    check_done(vault, vault_path, "p")


def test_a_restart_goes_on_in_the_background(slow, vault_path, go) -> None:
    vault = slow()
    vault.execute_instance("t", background=True)
    (found,) = vault.get_active_processes().values()
    os.kill(found.pid, signal.SIGKILL)
    until(lambda: not _runs(vault))
    again = TableVault(vault_path, "Ben", restart=True)
    assert _runs(again)
    go.touch()
    check_done(vault, vault_path, found.process_id)


def test_an_interpreter_that_does_not_start_is_a_clear_error(
    slow, vault_path, monkeypatch, tmp_path
) -> None:
    vault = slow()
    before = seen(vault_path)
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho there is no Python today; exit 3\n")
    broken.chmod(0o755)
    for executable, text in {
        str(broken): "ended before it had begun. It said: there is no Python today",
        str(tmp_path / "none"): "could not be started",
        "": "embeds its own",
    }.items():
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", executable)
            with pytest.raises(TVProcessError, match=text):
                vault.execute_instance("t", background=True)
    assert vault.get_active_processes() == {}
    assert seen(vault_path) == before


def test_work_is_not_lost_when_the_background_cannot_be_had(slow, vault_path, go, monkeypatch):
    go.touch()
    vault = slow("assert n != 6")
    with pytest.raises(AssertionError):
        vault.execute_instance("t", process_id="p")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/bin/false")
        with pytest.raises(TVProcessError, match="before it had begun"):
            vault.execute_instance("t", process_id="p", background=True)
    assert rows_of(vault, "p") == 6
    assert "background" in vault.get_active_processes()["p"].error[1]
    vault.stop_process("p")
    check_clean(vault_path)


# -- stopped --------------------------------------------------------------------------------------


def test_it_is_stopped_with_the_programs_that_it_started(slow, vault_path, tmp_path) -> None:
    started = tmp_path / "started"
    vault = slow(
        "import subprocess; n == 3 and open("
        f"{str(started)!r}, 'w').write(str(subprocess.Popen(['sleep', '600']).pid) + '.')"
    )
    vault.execute_instance("t", process_id="p", background=True)
    until(lambda: rows_of(vault, "p") == 4)
    until(lambda: started.read_text().endswith("."))
    with pytest.raises(TVProcessError, match="runs just now"):
        vault.stop_process("p")
    vault.stop_process("p", force=True, materialize=True)
    frame, _ = vault.get_dataframe("t")
    assert frame["square"].dropna().tolist() == SQUARES[:4]
    assert frame["square"].isna().sum() == 6
    with pytest.raises(TVTableError):
        vault.get_dataframe("t", successful_only=True)
    child = int(started.read_text()[:-1])
    until(lambda: _is_gone(child))
    check_clean(vault_path)


def _is_gone(pid: int) -> bool:
    """Return whether a process has ended, waited for or not."""
    try:
        return _stat(pid)[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def _stat(pid: int) -> list[str]:
    """Return what the kernel tells of a process: its state, its parent, and so on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def test_logs_do_not_pile_up(slow, vault, vault_path, go, monkeypatch) -> None:
    monkeypatch.setattr(background, "_MOST_LOGS", 2)
    logs = vault_path / ".git/tablevault/logs"
    go.touch()
    slow("assert n != 6")
    vault.execute_instance("t", process_id="p", background=True)
    until(lambda: not _runs(vault))
    for number, name in enumerate("abcd"):
        (logs / f"{name}.log").write_text("old")
        os.utime(logs / f"{name}.log", (time.time() + number, time.time() + number))
    vault.execute_instance("t", process_id="p")
    until(lambda: not _runs(vault))
    assert sorted(log.name for log in logs.iterdir()) == ["c.log", "d.log", "p.log"]
    vault.stop_process("p")


def test_the_command_returns_at_once(slow, vault_path, go, capsys) -> None:
    vault = slow()
    assert main(["--db-dir", str(vault_path), "execute-instance", "t", "--background"]) == 0
    process_id = capsys.readouterr().out.strip()
    assert _runs(vault)
    go.touch()
    check_done(vault, vault_path, process_id)


def test_who_is_still_preparing_when_the_time_is_up_goes_on(
    slow, vault_path, go, monkeypatch
) -> None:
    monkeypatch.setattr(background, "_SETUP_S", 0.0)
    go.touch()
    vault = slow()
    assert vault.execute_instance("t", process_id="p", background=True) == "p"
    check_done(vault, vault_path, "p")
