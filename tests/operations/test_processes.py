"""stop_process: what runs or is paused ends, and what it made can be kept."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest

from tablevault import TableVault
from tablevault.errors import (
    TVArgumentError,
    TVFileError,
    TVLockError,
    TVProcessError,
    TVTableError,
)
from tablevault.files.locks import locked
from tablevault.transactions import stopping
from tablevault.transactions.parts import VaultParts
from tablevault.transactions.stopping import cancel_of
from tests.looking import check_clean, git, until

INDEX = """\
builder_type: IndexBuilder
changed_columns: [n]
primary_key: [n]
python_function: make
code_module: slow
is_custom: true
arguments: {count: 10}
"""
ROWS = """\
builder_type: ColumnBuilder
changed_columns: [square, file]
python_function: square
code_module: slow
is_custom: true
return_type: row-wise
dtypes: {square: Int64, file: artifact_string}
arguments: {n: "<<self.n[index]>>", folder: ~ARTIFACT_FOLDER~}
"""
CODE = """\
import os, time
import pandas as pd

GO = {go!r}


def make(count):
    return pd.DataFrame({{"n": range(count)}})


def square(n, folder):
    time.sleep(0.002)  # what takes no time may be recorded 10 ms later
    while n == 4 and not os.path.exists(GO):
        open(GO + ".waits", "w").close()
        {there}
        time.sleep(0.01)
    name = f"{{n}}.txt"
    with open(os.path.join(folder, name), "w") as file:
        file.write(str(n))
    return n * n, name
"""
EXECUTE = """
import sys
from tablevault import TableVault
TableVault(sys.argv[1], "B").execute_instance("t", process_id=sys.argv[2])
"""


@pytest.fixture
def go(tmp_path: Path) -> Path:
    """Return the file for which the function waits in row 4."""
    return tmp_path / "go"


@pytest.fixture
def waits(go: Path):
    """Wait until the function waits."""

    return lambda: until(lambda: Path(f"{go}.waits").exists())


@pytest.fixture(autouse=True)
def patient(monkeypatch) -> None:
    """Wait for what ends as it should as long as a slow machine needs."""
    monkeypatch.setattr(stopping, "_TERM_S", 100.0)


@pytest.fixture
def slow(vault: TableVault, vault_path: Path, go: Path):
    """Prepare an execution that waits, or does something else, in row 4."""

    def prepare(there: str = "pass", **options: bool) -> TableVault:
        vault = TableVault(vault_path, "A", lock_timeout=100)
        vault.create_code_module("slow", text=CODE.format(go=str(go), there=there))
        vault.create_table("t", **options)
        vault.create_instance("t", builders={"t_index": INDEX, "rows": ROWS})
        return vault

    return prepare


@pytest.fixture
def running(slow, waits, python, vault_path):
    """Return a process that executes, and the vault."""

    def start(process_id: str = "p", before: str = ""):
        vault = slow()
        process = python(before + EXECUTE, vault_path, process_id)
        waits()
        return vault, process

    return start


@pytest.fixture
def paused(slow, vault_path):
    """Pause an execution in row 4."""

    def pause(**options: bool) -> TableVault:
        vault = slow("raise RuntimeError('four')", **options)
        with pytest.raises(RuntimeError):
            vault.execute_instance("t", process_id="p")
        return vault

    return pause


def check_stopped(vault: TableVault, path: Path, stopped: str = "p") -> None:
    """Check that a process has ended, and that its temporary instance shows what it made."""
    assert vault.get_process_completion(stopped)
    assert vault.get_active_processes() == {}
    check_clean(path)
    frame, _ = vault.get_dataframe("t", "TEMP_base")
    assert frame["square"].dropna().tolist() == [0, 1, 4, 9]
    assert vault._vault.parts.files.remembers(stopped)
    (end,) = [end for end in vault._vault.parts.files.history() if end["process_id"] == stopped]
    assert end["error"] == ["TVProcessError", "User Stopped"]


def test_a_paused_process_is_stopped_and_its_id_is_gone(paused, vault_path, go) -> None:
    vault = paused()
    with pytest.raises(RuntimeError):
        vault.execute_instance("t", process_id="p")
    stop = TableVault(vault_path, "Ben").stop_process("p", process_id="s")
    assert stop == "s"
    assert vault.get_process_completion("s")
    check_stopped(vault, vault_path)
    for used in ("p", "s"):
        with pytest.raises(TVProcessError, match="has ended"):
            vault.execute_instance("t", process_id=used)
    go.touch()
    vault.execute_instance("t")
    check_clean(vault_path)


@pytest.mark.parametrize("force", [False, True])
def test_a_process_that_is_not_there_cannot_be_stopped(vault, vault_path, force) -> None:
    with pytest.raises(TVProcessError, match='There is no process "x"'):
        vault.stop_process("x", force)
    done = vault.create_table("t")
    with pytest.raises(TVProcessError, match="has ended"):
        vault.stop_process(done, force)
    check_clean(vault_path)


def test_a_process_that_runs_elsewhere_is_stopped_by_force_only(running, vault_path) -> None:
    vault, process = running()
    with pytest.raises(TVProcessError, match=f"runs just now, in .* process {process.pid}"):
        vault.stop_process("p")
    assert process.poll() is None
    vault.stop_process("p", force=True)
    assert process.wait() == -signal.SIGTERM
    check_stopped(vault, vault_path)


def test_a_nameless_process_is_stopped_too(running, vault_path) -> None:
    vault, process = running("")
    (process_id,) = vault.get_active_processes()
    vault.stop_process(process_id, force=True)
    assert process.wait() == -signal.SIGTERM
    check_stopped(vault, vault_path, process_id)


def test_who_does_not_listen_is_stopped_all_the_same(running, vault_path, monkeypatch) -> None:
    monkeypatch.setattr(stopping, "_TERM_S", 0.2)
    vault, process = running(before="import signal; signal.signal(15, signal.SIG_IGN)")
    vault.stop_process("p", force=True)
    assert process.wait() == -signal.SIGKILL
    check_stopped(vault, vault_path)


def test_no_one_is_ended_who_is_not_proven_to_run_the_process(
    running, vault_path, monkeypatch, tmp_path
) -> None:
    vault, process = running()
    with monkeypatch.context() as patch:
        patch.setattr(stopping, "_LOOK_S", 0.1)
        patch.setattr(stopping, "_PROC", tmp_path / "nothing")
        with pytest.raises(TVProcessError, match=f"{process.pid}, but nothing proves"):
            vault.stop_process("p", force=True)
    assert process.poll() is None
    assert list(vault.get_active_processes()) == ["p"]
    vault.stop_process("p", force=True)
    process.wait()
    check_stopped(vault, vault_path)


def test_a_paused_process_ends_no_interpreter(paused, vault_path, python) -> None:
    vault = paused()
    other = python(
        "import sys; from tablevault import TableVault\n"
        "TableVault(sys.argv[1], 'C'); print('ready', flush=True); sys.stdin.read()",
        vault_path,
    )
    assert other.stdout.readline() == "ready\n"
    vault.stop_process("p", force=True)
    assert other.poll() is None
    check_stopped(vault, vault_path)


# -- in this interpreter --------------------------------------------------------------------------


@pytest.fixture
def in_thread(slow, waits, vault_path):
    """Execute in a thread; give the thread, and the list of what it raised."""

    def start(process_id: str = "p", there: str = "pass"):
        vault = slow(there)
        raised: list[BaseException] = []

        def work() -> None:
            try:
                TableVault(vault_path, "B").execute_instance("t", process_id=process_id)
            except BaseException as error:  # noqa: BLE001 - shown by the test
                raised.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        waits()
        return vault, thread, raised

    return start


def test_a_thread_is_stopped_between_two_rows(in_thread, vault_path, go) -> None:
    vault, thread, raised = in_thread()
    with pytest.raises(TVProcessError, match="runs just now"):
        vault.stop_process("p")
    until_asked = threading.Thread(target=_when_asked, args=(vault_path, go))
    until_asked.start()
    vault.stop_process("p", force=True)
    thread.join()
    until_asked.join()
    (error,) = raised
    assert isinstance(error, TVProcessError)
    assert "was stopped" in str(error)
    frame, _ = vault.get_dataframe("t", "TEMP_base")
    assert frame["square"].dropna().tolist() == [0, 1, 4, 9, 16], "the row in flight is kept"
    assert vault.get_active_processes() == {}
    check_clean(vault_path)


def test_a_function_that_does_not_return_in_time_ends_the_process_later(
    in_thread, vault_path, go
) -> None:
    vault, thread, raised = in_thread()
    hurried = TableVault(vault_path, "C", lock_timeout=0.2)
    with pytest.raises(TVProcessError, match="still runs a function"):
        hurried.stop_process("p", force=True)
    assert thread.is_alive()
    go.touch()
    thread.join()
    assert "was stopped" in str(raised[0])
    assert vault.get_process_completion("p")
    assert vault.get_active_processes() == {}
    check_clean(vault_path)


def test_a_stopped_thread_can_leave_its_rows_behind(in_thread, vault_path, go) -> None:
    vault, thread, _ = in_thread()
    until_asked = threading.Thread(target=_when_asked, args=(vault_path, go))
    until_asked.start()
    vault.stop_process("p", force=True, materialize=True)
    thread.join()
    until_asked.join()
    frame, _ = vault.get_dataframe("t")
    assert frame["square"].dropna().tolist() == [0, 1, 4, 9, 16]
    check_clean(vault_path)


def test_a_function_cannot_stop_what_calls_it(slow, vault_path) -> None:
    there = (
        "from tablevault import TableVault; "
        f"TableVault({str(vault_path)!r}, 'C').stop_process('p', force=True)"
    )
    vault = slow(there)
    with pytest.raises(Exception, match="within"):
        vault.execute_instance("t", process_id="p")
    assert list(vault.get_active_processes()) == ["p"]
    vault.stop_process("p")
    check_clean(vault_path)


def test_a_process_that_has_happened_is_not_stopped(paused, vault_path, go, monkeypatch) -> None:
    vault = paused()
    go.touch()
    real = VaultParts.commit_lock
    seen = []

    def commit_lock(self):
        seen.append(cancel_of(self.state, "p"))
        return real(self)

    with monkeypatch.context() as patch:
        patch.setattr(VaultParts, "commit_lock", commit_lock)
        vault.execute_instance("t", process_id="p")
    assert any(seen)
    with pytest.raises(TVProcessError, match="has ended"):
        vault.stop_process("p", force=True)


GENERATOR = """\
builder_type: ColumnBuilder
changed_columns: [square, file]
python_function: squares
code_module: slow
is_custom: true
return_type: generator
dtypes: {square: Int64}
arguments: {frame: "<<self.n>>"}
"""
GENERATES = """

def squares(frame):
    for n in frame["n"]:
        while n == 4 and not os.path.exists(GO):
            open(GO + ".waits", "w").close()
            time.sleep(0.01)
        yield n * n, str(n)
        print("yielded", n)
"""


@pytest.mark.parametrize(
    ("rows", "code"),
    [(GENERATOR, GENERATES), (ROWS.replace("row-wise", "row-wise\nn_threads: 3"), "")],
)
def test_generators_and_threads_of_a_builder_are_stopped_too(
    slow, waits, vault_path, go, rows, code
) -> None:
    vault = slow()
    vault.create_code_module("slow", text=CODE.format(go=str(go), there="pass") + code)
    vault.create_builder_file("t", "rows", text=rows)
    raised: list[BaseException] = []

    def work() -> None:
        try:
            TableVault(vault_path, "B").execute_instance("t", process_id="p")
        except BaseException as error:  # noqa: BLE001 - shown by the test
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    waits()
    until_asked = threading.Thread(target=_when_asked, args=(vault_path, go))
    until_asked.start()
    vault.stop_process("p", force=True, materialize=True)
    thread.join()
    until_asked.join()
    assert "was stopped" in str(raised[0])
    frame, _ = vault.get_dataframe("t")
    done = frame["square"].dropna().tolist()
    assert {0, 1, 4, 9, 16} <= set(done) < {n * n for n in range(10)} | {-1}
    assert vault.get_process_completion("p")
    check_clean(vault_path)


def _when_asked(path: Path, go: Path) -> None:
    """Let the function go on as soon as its process was asked to stop."""
    cancel = cancel_of(path / ".git/tablevault", "p")
    while not cancel.is_asked:
        time.sleep(0.01)
    go.touch()


def test_a_generator_is_stopped_while_it_repeats_what_is_known(slow, waits, vault_path, go) -> None:
    vault = slow()
    text = CODE.format(go=str(go), there="pass") + GENERATES
    vault.create_code_module("slow", text=text.replace('print("yielded", n)', "assert n != 6"))
    vault.create_builder_file("t", "rows", text=GENERATOR)
    go.touch()
    with pytest.raises(AssertionError):
        vault.execute_instance("t", process_id="p")
    go.unlink()
    Path(f"{go}.waits").unlink(missing_ok=True)
    (vault_path / "code/slow.py").write_text(text)
    raised: list[BaseException] = []

    def work() -> None:
        try:
            vault.execute_instance("t", process_id="p")
        except BaseException as error:  # noqa: BLE001 - shown by the test
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    waits()
    until_asked = threading.Thread(target=_when_asked, args=(vault_path, go))
    until_asked.start()
    other = TableVault(vault_path, "B", lock_timeout=100)
    other.stop_process("p", force=True, materialize=True)
    thread.join()
    until_asked.join()
    assert "was stopped" in str(raised[0])
    frame, _ = vault.get_dataframe("t")
    assert frame["square"].dropna().tolist() == [0, 1, 4, 9, 16, 25, 36]
    check_clean(vault_path)


# -- ids ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "process_id", ["a/../b", "p_1_2", "..", "a\nb\n", " p ", "é\u2028", '"q"', "x" * 4096]
)
def test_any_text_is_the_id_of_a_process(slow, vault_path, process_id, go) -> None:
    vault = slow("raise RuntimeError('four')")
    with pytest.raises(RuntimeError):
        vault.execute_instance("t", process_id=process_id)
    assert list(vault.get_active_processes()) == [process_id]
    assert not vault.get_process_completion(process_id)
    assert not vault.get_process_completion(process_id[:1])
    with pytest.raises(RuntimeError):
        vault.execute_instance("t", process_id=process_id)
    stop = f"{process_id}!"
    assert vault.stop_process(process_id, materialize=True, process_id=stop) == stop
    check_stopped_id(vault, vault_path, process_id, stop)
    vault.create_table("u", process_id=f"{process_id}?")
    check_stopped_id(TableVault(vault_path, "B"), vault_path, f"{process_id}?", stop)


def check_stopped_id(vault: TableVault, path: Path, *ended: str) -> None:
    """Check that processes have ended, and that their ids cannot be used again."""
    for process_id in ended:
        assert vault.get_process_completion(process_id)
        assert not vault.get_process_completion(process_id[:-1] + "~")
        with pytest.raises(TVProcessError, match="has ended"):
            vault.create_table("v", process_id=process_id)
    assert vault.get_active_processes() == {}
    check_clean(path)


# -- families -------------------------------------------------------------------------------------


def test_a_process_within_another_cannot_be_stopped_alone(paused, vault_path, begin_child) -> None:
    vault = paused()
    child = begin_child(vault, "p")
    with pytest.raises(TVArgumentError, match='runs within process "p"'):
        vault.stop_process(child)
    vault.stop_process("p")
    assert vault.get_process_completion(child)
    check_stopped(vault, vault_path)


def test_what_runs_within_it_in_another_program_is_stopped_too(
    vault, vault_path, go, waits, python
) -> None:
    child = (
        "import sys; from tablevault import TableVault; "
        f"TableVault({str(vault_path)!r}, 'C', parent_id=sys.argv[1])"
        ".execute_instance('u', process_id='child')"
    )
    start = (
        "import pandas as pd\nimport subprocess, sys\n\n\ndef start(mine):\n"
        f"    subprocess.run([sys.executable, '-c', {child!r}, mine])\n"
        "    return pd.DataFrame({'n': [1]})\n"
    )
    vault.create_code_module("slow", text=CODE.format(go=str(go), there="pass"))
    vault.create_code_module("start", text=start)
    vault.create_table("u")
    vault.create_instance("u", builders={"u_index": INDEX, "rows": ROWS})
    vault.create_table("t")
    index = INDEX.replace("slow", "start").replace(": make", ": start")
    index = index.replace("{count: 10}", "{mine: ~PROCESS_ID~}")
    vault.create_instance("t", builders={"t_index": index})
    process = python(EXECUTE, vault_path, "p")
    waits()
    active = vault.get_active_processes()
    assert (active["child"].parent_id, active["child"].is_running) == ("p", True)
    with pytest.raises(TVArgumentError, match='runs within process "p"'):
        vault.stop_process("child", force=True)
    vault.stop_process("p", force=True)
    assert process.wait() == -signal.SIGTERM
    assert vault.get_active_processes() == {}
    assert vault.get_process_completion("child")
    assert not go.exists()
    assert vault.get_dataframe("u", "TEMP_base")[0]["square"].count() == 4
    check_clean(vault_path)


@pytest.fixture
def begin_child():
    """Leave the record of a process that died within another one."""
    from dataclasses import replace

    def begin(vault: TableVault, parent: str) -> str:
        files = vault._vault.parts.files
        record = files.read(parent)
        files.write(replace(record, process_id="child", parent=parent, error=("", "")))
        return "child"

    return begin


def test_what_runs_within_a_paused_process_is_ended_by_force_only(
    paused, vault_path, begin_child
) -> None:
    vault = paused()
    child = begin_child(vault, "p")
    with locked(vault._vault.parts.files.lock_file(child)):
        with pytest.raises(TVProcessError, match='"child", which was started within "p", runs'):
            vault.stop_process("p")
        assert set(vault.get_active_processes()) == {"p", "child"}
    vault.stop_process("p")
    check_stopped(vault, vault_path)


def test_an_orphan_can_be_stopped(paused, vault_path, begin_child) -> None:
    vault = paused()
    begin_child(vault, "p")
    vault._vault.parts.files.remove("p")
    vault.stop_process("child")
    assert vault.get_active_processes() == {}


def test_a_stop_cannot_be_stopped(paused, vault_path, monkeypatch) -> None:
    vault = paused()

    def fail(*_):
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr("tablevault.operations.processes.end_stopped", fail)
        with pytest.raises(ZeroDivisionError):
            vault.stop_process("p", process_id="s")
    assert list(vault.get_active_processes()) == ["p", "s"]
    with pytest.raises(TVArgumentError, match="stops another one"):
        vault.stop_process("s")
    with pytest.raises(TVLockError, match="Run stop_process again with process_id='s': it ends"):
        vault.execute_instance("t", process_id="p")
    vault.stop_process("p", process_id="s")
    check_stopped(vault, vault_path)


# -- rows that are kept ---------------------------------------------------------------------------


@pytest.mark.parametrize("multiple", [False, True])
def test_rows_become_an_instance_that_is_active_and_not_successful(
    paused, vault_path, go, multiple
) -> None:
    vault = paused(allow_multiple_artifacts=multiple)
    vault.stop_process("p", materialize=True, process_id="s")
    (instance,) = vault.get_table_instances("t")
    frame, found = vault.get_dataframe("t")
    assert found == instance
    assert frame["n"].tolist() == list(range(10))
    assert frame["square"].dropna().tolist() == [0, 1, 4, 9]
    assert [Path(name).read_text() for name in frame["file"] if name] == ["0", "1", "2", "3"]
    with pytest.raises(TVTableError):
        vault.get_dataframe("t", successful_only=True)
    described = vault.get_descriptions(instance)
    assert described["success"] is False
    assert described["active"]
    assert vault.get_artifact_folder("t", instance).endswith("tables/t/base/artifacts")
    assert "Vault-Success: false" in git(vault_path, "log", "-1", "--format=%B")
    assert vault.get_process_completion("p")
    assert vault.get_process_completion("s")
    assert vault.get_table_instances("t", include_temp=True) == [instance]
    check_clean(vault_path)


def test_an_index_builder_that_runs_gives_the_rows_so_far(slow, vault_path) -> None:
    vault = slow()
    code = "def make(count):\n    yield 0\n    yield 1\n    raise RuntimeError('two')\n\n\n"
    code += "def square(n, folder):\n    return n, ''\n"
    vault.create_code_module("slow", text=code)
    vault.create_builder_file(
        "t", "t_index", text=INDEX.replace("arguments", "return_type: generator\narguments")
    )
    with pytest.raises(RuntimeError):
        vault.execute_instance("t", process_id="p")
    vault.stop_process("p", materialize=True)
    frame, _ = vault.get_dataframe("t")
    assert frame["n"].tolist() == [0, 1]
    assert frame["square"].isna().all()
    check_clean(vault_path)


@pytest.mark.parametrize("arguments", [{"table_name": "t"}, {"name_of_another_release": "t"}])
def test_materialize_is_ignored_where_there_are_no_rows(
    vault, vault_path, begin_child, arguments
) -> None:
    vault.create_table("t")
    files = vault._vault.parts.files
    from tablevault.transactions.records import Record, Request

    files.write(
        Record(
            process_id="p",
            named=True,
            request=Request(operation="delete_table", arguments=arguments),
            author="a",
            started_at=1.0,
            updated_at=1.0,
            pid=1,
        )
    )
    vault.stop_process("p", materialize=True)
    assert vault.get_process_completion("p")
    check_clean(vault_path)


@pytest.mark.parametrize(
    ("where", "materialize"),
    [
        ("take_down", False),
        ("take_down", True),
        ("materialize", True),
        ("note", False),
        ("note", True),
    ],
)
def test_an_interrupted_stop_is_finished_by_the_same_call_or_a_restart(
    paused, vault_path, monkeypatch, where, materialize
) -> None:
    class Died(BaseException):
        pass

    def die(*_):
        raise Died

    vault = paused()
    target = {
        "take_down": "tablevault.operations.processes.end_stopped",
        "materialize": "tablevault.operations.processes._store",
        "note": "tablevault.transactions.transaction.Transaction.note",
    }[where]
    with monkeypatch.context() as patch:
        patch.setattr(target, die)
        with pytest.raises(Died):
            vault.stop_process("p", materialize=materialize, process_id="s")
    if where == "take_down" and materialize:  # it has happened, and is ended by who comes next
        with pytest.raises(TVProcessError, match="has ended"):
            vault.stop_process("other", process_id="s")
    elif where == "take_down":
        vault.stop_process("other", process_id="s")
    else:
        TableVault(vault_path, "Ben", restart=True)
        vault.get_process_completion("s")
    assert vault.get_active_processes() == {}
    assert vault.get_process_completion("p")
    assert len(vault.get_table_instances("t")) == materialize
    check_clean(vault_path)


@pytest.mark.parametrize("next_is", ["the same process", "who needs what it held"])
def test_a_stop_that_died_after_its_commit_is_finished_by_who_comes_next(
    paused, vault_path, monkeypatch, next_is
) -> None:
    class Died(BaseException):
        pass

    def die(*_):
        raise Died

    vault = paused()
    with monkeypatch.context() as patch:
        patch.setattr("tablevault.operations.processes.end_stopped", die)
        with pytest.raises(Died):
            vault.stop_process("p", materialize=True)
    if next_is == "the same process":
        with pytest.raises(TVProcessError, match="has ended"):
            vault.execute_instance("t", process_id="p")
    else:
        vault.create_instance("t", copy=True)
    assert vault.get_active_processes() == {}
    assert vault.get_process_completion("p")
    assert len(vault.get_table_instances("t")) == 1
    check_clean(vault_path)


@pytest.mark.parametrize("process_id", ["", "s"])
def test_a_stop_that_finds_no_room_leaves_the_process_as_it_was(
    paused, vault_path, monkeypatch, process_id
) -> None:
    def refuse(*_):
        raise OSError(28, "No space left on device")

    vault = paused()
    with monkeypatch.context() as patch:
        patch.setattr("tablevault.frames.parquet.write_frame", refuse)
        with pytest.raises(OSError, match="No space"):
            vault.stop_process("p", materialize=True, process_id=process_id)
    process = vault.get_active_processes()["p"]
    assert not process.is_running
    assert process.error[0] != "TVProcessError"
    assert vault.get_dataframe("t", "TEMP_base")[0]["square"].dropna().tolist() == [0, 1, 4, 9]
    vault.stop_process("p", materialize=True, process_id=process_id)
    assert vault.get_active_processes() == {}
    assert vault.get_dataframe("t")[0]["square"].dropna().tolist() == [0, 1, 4, 9]
    check_clean(vault_path)


def test_what_is_wrong_with_the_folder_stops_nothing(paused, vault_path) -> None:
    vault = paused()
    edited = vault_path / "temp/t/base/builders/rows.yaml"
    git(vault_path, "worktree", "add", "-q", str(vault_path / "../w"), "temp/t/base")
    moved = vault_path / "../w/tables/t/base/builders/rows.yaml"
    moved.write_text(moved.read_text() + "# one\n")
    git(vault_path / "../w", "commit", "-q", "-am", "by hand")
    git(vault_path, "worktree", "remove", str(vault_path / "../w"))
    edited.write_text(edited.read_text() + "# other\n")
    with pytest.raises(TVFileError, match="moved, too"):
        vault.stop_process("p", materialize=True)
    assert list(vault.get_active_processes()) == ["p"]
