"""Functions of builders on executors of `concurrent.futures`, in real threads and processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import yaml

from tablevault import TableVault
from tablevault.engine.execution.step import Step
from tablevault.errors import TVArgumentError, TVBudgetError, TVBuilderError, TVExecutorError
from tests.operations.building import row_builders

HEAD = """
import asyncio
import os
import threading
from functools import partial
from pathlib import Path
import pandas as pd
from tablevault import cached, report_usage

PAID = Path({paid!r})

def pay(what):
    with open(PAID, "a") as file:
        file.write(f"{{what}}\\n")

def rows(n):
    return pd.DataFrame({{"id": range(n)}})

class Busy(Exception):
    def __init__(self, row, *, code):
        super().__init__(f"row {{row}} is busy")
        self.code = code

"""


class Bench:
    """A vault with one module and one table, whose functions note what is paid for."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.path = folder / "v"
        self.vault = TableVault(self.path, "Ana <ana@example.org>", create=True)
        self.paid = folder / "paid"
        self.vault.create_table("t")

    def write(self, code, *, n=6, **fields):
        """Write the module and the builders."""
        text = HEAD.format(paid=str(self.paid)) + code
        self.vault.create_code_module("work", text=text)
        self.vault.create_instance("t", builders=row_builders(n, **fields))

    def run(self, where, code, *, n=6, options=None, **fields):
        """Write them, execute, and return the first column."""
        self.write(code, n=n, **fields)
        self.vault.execute_instance("t", executor=where, **(options or {}))
        return self.x()

    def x(self):
        values = self.vault.get_dataframe("t")[0]["x"]
        return values.astype(object).where(values.notna(), None).tolist()

    def count(self) -> int:
        return len(self.paid.read_text().splitlines()) if self.paid.exists() else 0


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path / "bench")


def process_pool(workers=1):
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


@pytest.fixture(scope="module")
def processes(sealed):
    with process_pool(2) as pool:
        yield pool


@pytest.fixture(scope="module")
def threads():
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture(params=["threads", "processes"])
def pool(request):
    return request.getfixturevalue(request.param)


PIDS = "def f(id):\n    return os.getpid()\n"


def test_functions_of_all_rows_run_in_the_workers(bench, processes):
    assert os.getpid() not in bench.run(processes, PIDS)


def test_names_stand_for_executors_that_are_made(bench):
    assert os.getpid() not in bench.run("processes:1", PIDS, n=2)


def test_a_builder_names_its_own_executor(bench, processes):
    assert set(bench.run(processes, PIDS, executor="threads")) == {os.getpid()}


def test_threads_with_a_number_are_so_many_calls_at_the_same_time(bench):
    code = "B = threading.Barrier(3)\ndef f(id):\n    B.wait(120)\n    return id\n"
    assert bench.run("threads:3", code, n=3) == [0, 1, 2]


def test_the_instance_is_the_same_byte_for_byte(tmp_path, pool):
    code = "def f(id):\n    return [f'row {id}' if id % 3 else None, id / 3]\n"

    def digest(name, executor):
        bench = Bench(tmp_path / name)
        bench.run(executor, code, n=40, changed_columns=["x", "y"])
        (path,) = bench.vault.get_dataset("t").files
        return Path(path).read_bytes()

    assert digest("here", None) == digest("there", pool)


def test_what_was_made_elsewhere_is_found_again(bench, pool):
    code = "def f(id):\n    pay(id)\n    return id\n"
    bench.run(pool, code)
    bench.run(None, code)
    bench.run(pool, code, n=8)
    assert bench.count() == 8


def test_a_table_without_rows_calls_nothing(bench, pool):
    assert bench.run(pool, "def f(id):\n    1 / 0\n", n=0) == []


def test_many_rows_go_together(bench, pool):
    assert bench.run(pool, "def f(id):\n    return id * 2\n", n=3000) == list(range(0, 6000, 2))


def test_reports_count_for_their_calls(bench, pool):
    code = "def f(id):\n    report_usage('m', input_tokens=id)\n    return id\n"
    bench.run(pool, code)
    calls = bench.vault.get_calls("t")
    calls = calls[calls["builder"] == "f"]
    assert calls["gen_ai.usage.input_tokens"].tolist() == list(range(6))


def test_an_error_passes_with_its_class_attributes_note_and_the_traceback_of_the_worker(
    bench, processes
):
    code = "def deep(id):\n    1 // id\ndef f(id):\n    deep(id)\n"
    with pytest.raises(ZeroDivisionError) as caught:
        bench.run(processes, code)
    assert "in deep\n    1 // id" in str(caught.value.__cause__)
    (note,) = caught.value.__notes__
    assert note == 'In builder "f", function "f" of module "work", row 0 (id 0 (int))'


def test_an_error_that_cannot_be_read_back_keeps_class_and_text(bench, processes):
    code = "def f(id):\n    raise Busy(id, code=503)\n"  # __init__ requires code
    with pytest.raises(Exception, match="row 0 is busy") as caught:
        bench.run(processes, code)
    assert type(caught.value).__name__ == "Busy"


def test_a_local_class_of_errors_is_told_by_its_name(bench, processes):
    code = "def f(id):\n    class Odd(Exception): pass\n    raise Odd('strange')\n"
    with pytest.raises(Exception, match="strange") as caught:
        bench.run(processes, code)
    assert type(caught.value).__name__.endswith("Odd")


def test_what_cannot_be_sent_back_is_an_error_of_its_row(bench, processes):
    code = "def f(id):\n    return id if id != 2 else threading.Lock()\n"
    found = bench.run(processes, code, on_error="keep")
    assert found == [0, 1, None, 3, 4, 5]
    calls = bench.vault.get_calls("t")
    (error,) = calls["error"].dropna()
    assert "cannot be sent from worker" in error
    assert "_thread.lock" in error


def test_threads_return_what_cannot_be_pickled(bench, threads):
    code = "class C:\n    def __str__(self): return 'c'\ndef f(id):\n    return C()\n"
    assert bench.run(threads, code, dtypes={"x": "string"}) == ["c"] * 6


ONCE = """
def f(id):
    pay(id)
    if id == 3 and PAID.read_text().split().count("3") < 3:
        raise Busy(id, code=1)
    return id
"""


def test_a_call_is_made_again_as_the_builder_says(bench, pool):
    retry = {"times": 2, "wait_s": 0, "on": ["Busy"]}
    assert bench.run(pool, ONCE, retry=retry) == list(range(6))
    assert bench.count() == 8


def test_an_error_that_is_not_named_ends_the_execution(bench, pool):
    with pytest.raises(Exception, match="row 3 is busy"):
        bench.run(pool, ONCE, retry={"times": 2, "wait_s": 0, "on": ["ValueError"]})


def test_finished_rows_are_kept_when_another_fails(bench, pool):
    flag = bench.paid.parent / "on"
    code = f"""
def f(id):
    pay(id)
    return id if id != 3 or Path({str(flag)!r}).exists() else 1 / 0
"""
    with pytest.raises(ZeroDivisionError):
        bench.run(pool, code, n_threads=1, options={"process_id": "p"})
    flag.touch()
    bench.vault.execute_instance("t", process_id="p", executor=pool)
    assert bench.x() == list(range(6))
    assert bench.count() == 7  # row 3 twice


def test_errors_are_kept_and_the_others_made(bench, pool):
    code = "def f(id):\n    return 6 // (id - 2)\n"
    assert bench.run(pool, code, on_error="keep") == [-3, -6, None, 6, 3, 2]


def test_a_call_that_takes_too_long_has_failed(bench, processes):
    code = "def f(id):\n    threading.Event().wait()\n"
    with pytest.raises(TimeoutError, match="longer than timeout_s"):
        bench.run(processes, code, n=1, timeout_s=0.05)


def test_a_budget_holds(bench, pool):
    with pytest.raises(TVBudgetError):
        bench.run(pool, "def f(id):\n    pay(id)\n    return id\n", options={"max_calls": 4})
    assert bench.count() == 4


def test_coroutines_of_one_worker_run_at_the_same_time(bench, processes):
    code = """
SEEN = []
async def f(id):
    SEEN.append(id)
    while len(SEEN) < 2:
        await asyncio.sleep(0.001)
    return id
"""
    assert bench.run(processes, code, n=4, n_threads=4, timeout_s=60) == [0, 1, 2, 3]


def test_a_batch_is_one_call(bench, pool):
    code = "def f(id, k):\n    pay(id)\n    return [each * k for each in id]\n"
    arguments = {"id": "<<self.id[index]>>", "k": 2}
    assert bench.run(pool, code, batch_size=4, arguments=arguments) == [0, 2, 4, 6, 8, 10]
    assert bench.count() == 2


def test_calls_that_read_rows_before_them_are_made_in_order(bench, pool):
    code = "def f(id, seen):\n    return id + sum(seen['x'].dropna().tolist())\n"
    arguments = {"id": "<<self.id[index]>>", "seen": "<<self.x>>"}
    assert bench.run(pool, code, arguments=arguments) == [0, 1, 3, 7, 15, 31]


def test_a_dataframe_argument_is_each_calls_own(bench, pool):
    code = "def f(id, whole):\n    whole.loc[:, 'id'] = 7\n    return int(whole['id'].sum()) + id\n"
    arguments = {"id": "<<self.id[index]>>", "whole": "<<self>>"}
    assert bench.run(pool, code, arguments=arguments) == [42 + n for n in range(6)]


@pytest.mark.parametrize(
    ("answer", "fields"),
    [
        ("return ask(id)", {}),
        ("return ask(id)", {"on_error": "keep", "retry": {"times": 3, "wait_s": 60}}),
        ("try:\n        return ask(id)\n    except Exception:\n        return -1", {}),
        (
            "try:\n        return ask(id)\n    except Exception:\n        raise ValueError",
            {"on_error": "keep"},
        ),
    ],
    ids=["plain", "kept and retried", "caught", "raised as another"],
)
def test_cached_calls_are_refused_where_their_records_are_out_of_reach(
    bench, processes, answer, fields
):
    code = f"@cached\ndef ask(id):\n    return id\ndef f(id):\n    {answer}\n"
    with pytest.raises(TVExecutorError, match=r'"work\.ask" is decorated with cached'):
        bench.run(processes, code, **fields)
    assert bench.vault.get_table_instances("t") == []


def test_cached_calls_are_recorded_in_threads(bench, threads):
    code = "@cached\ndef ask(id):\n    pay(id)\n    return id\ndef f(id):\n    return ask(id)\n"
    bench.run(threads, code)
    bench.run(threads, code.replace("return ask(id)", "return ask(id) + 1"))
    assert bench.count() == 6
    assert bench.x() == [1, 2, 3, 4, 5, 6]


def test_modules_find_their_siblings_and_the_files_beside_them(bench, pool):
    bench.vault.create_code_module("helper", text="def twice(n):\n    return 2 * n\n")
    (bench.path / "code" / "word.txt").write_text("hello")
    code = """
import helper
def f(id):
    return f"{(Path(__file__).parent / 'word.txt').read_text()} {helper.twice(id)}"
"""
    assert bench.run(pool, code, n=2) == ["hello 0", "hello 2"]


def test_artifacts_that_a_function_writes_are_kept(bench, pool):
    code = """
def f(id, folder):
    (Path(folder) / f"{id}.txt").write_text(f"row {id}")
    return f"{id}.txt"
"""
    arguments = {"id": "<<self.id[index]>>", "folder": "~ARTIFACT_FOLDER~"}
    bench.run(pool, code, n=3, arguments=arguments, dtypes={"x": "artifact_string"})
    frame = bench.vault.get_dataframe("t", full_artifact_path=True)[0]
    assert [Path(path).read_text() for path in frame["x"]] == ["row 0", "row 1", "row 2"]


def whole(kind):
    """Return an index builder of a kind, without others."""
    index = yaml.safe_load(row_builders(0)["t_index"])
    return {"t_index": yaml.safe_dump(index | {"return_type": kind, "arguments": {}})}


@pytest.mark.parametrize("kind", ["dataframe", "generator"])
def test_functions_of_whole_tables_are_one_task(bench, processes, kind):
    frame = "return pd.DataFrame({'id': [os.getpid()]})"
    body = {"dataframe": frame, "generator": "yield os.getpid()"}
    code = f"import os\nimport pandas as pd\ndef rows():\n    {body[kind]}\n"
    bench.vault.create_code_module("work", text=code)
    bench.vault.create_instance("t", builders=whole(kind))
    bench.vault.execute_instance("t", executor=processes)
    assert bench.vault.get_dataframe("t")[0]["id"].tolist() != [os.getpid()]


def test_items_before_an_error_are_kept_with_what_they_used(bench, processes):
    code = """
from tablevault import report_usage
def rows():
    for n in range(3):
        report_usage("m", input_tokens=n)
        yield n
    raise OSError("gone")
"""
    bench.vault.create_code_module("work", text=code)
    bench.vault.create_instance("t", builders=whole("generator"))
    with pytest.raises(OSError, match="gone"):
        bench.vault.execute_instance("t", executor=processes, process_id="p")
    frame = bench.vault.get_dataframe("t", "TEMP_base")[0]
    assert frame["id"].tolist() == [0, 1, 2]


LIVE = """
import os, time
from pathlib import Path

def rows():
    yield from range(3)
    for _ in range(6000):
        if Path({come!r}).exists() and Path({come!r}).read_text() == "2":
            break
        time.sleep(0.01)
    else:
        raise TimeoutError("items do not come")
    {end}
"""


@pytest.fixture
def come(monkeypatch, tmp_path):
    """Return a file that says which item of a generator the execution has kept last."""
    file, kept = tmp_path / "come", Step._item

    def keep(self, row, *args):
        values = kept(self, row, *args)
        file.write_text(str(row))
        return values

    monkeypatch.setattr(Step, "_item", keep)
    return str(file)


def test_items_come_while_the_generator_goes_on(bench, pool, come):
    bench.vault.create_code_module("work", text=LIVE.format(come=come, end="yield from (3, 4)"))
    bench.vault.create_instance("t", builders=whole("generator"))
    bench.vault.execute_instance("t", executor=pool)
    assert bench.vault.get_dataframe("t")[0]["id"].tolist() == list(range(5))


def loky_pool():
    import loky

    return loky.get_reusable_executor(1)


@pytest.mark.sweep
@pytest.mark.parametrize("new_pool", [process_pool, loky_pool])
def test_all_items_before_the_death_of_a_worker_are_kept(bench, new_pool):
    code = "import os\ndef rows():\n    yield from range(3)\n    os.kill(os.getpid(), 9)\n"
    bench.vault.create_code_module("work", text=code)
    bench.vault.create_instance("t", builders=whole("generator"))
    pool = new_pool()
    try:
        with pytest.raises(TVExecutorError, match="lost 1 call in flight"):
            bench.vault.execute_instance("t", executor=pool, process_id="p")
    finally:
        pool.shutdown()
    frame = bench.vault.get_dataframe("t", "TEMP_base")[0]
    assert frame["id"].tolist() == [0, 1, 2]


PARENT = """
import sys
from tablevault import TableVault
from tablevault.engine.execution.step import Step

kept = Step._item

def keep(self, row, *args):
    values = kept(self, row, *args)
    self._ledger.flush()
    print(row, flush=True)
    return values

if __name__ == "__main__":
    Step._item = keep
    vault = TableVault(sys.argv[1], "Ana <ana@example.org>")
    vault.execute_instance("t", process_id="p", executor="processes:1")
"""


@pytest.mark.sweep
def test_items_that_were_kept_survive_a_kill_and_workers_end_with_the_process(
    bench, python, tmp_path
):
    life = tmp_path / "life"
    os.mkfifo(life)
    code = f"""
import threading

def rows():
    held = open({str(life)!r}, "w")
    yield from range(3)
    threading.Event().wait()
"""
    bench.vault.create_code_module("work", text=code)
    bench.vault.create_instance("t", builders=whole("generator"))
    process = python(PARENT, bench.path)
    with life.open() as reading:
        assert [process.stdout.readline() for _ in range(3)] == ["0\n", "1\n", "2\n"]
        process.kill()
        assert reading.read() == ""  # once the worker has ended
    process.wait()
    frame = bench.vault.get_dataframe("t", "TEMP_base")[0]
    assert frame["id"].tolist() == [0, 1, 2]


def test_a_generator_without_end_is_left_after_one_item_too_many(bench, processes):
    code = "import itertools\ndef f():\n    return itertools.count()\n"
    with pytest.raises(TVBuilderError, match="yields more than 6 items"):
        bench.run(processes, code, return_type="generator", arguments={})


@pytest.mark.sweep
def test_a_worker_of_loky_that_dies_pauses_the_process(bench):
    import loky

    pool = loky.get_reusable_executor(1)
    try:
        with pytest.raises(TVExecutorError, match="in flight"):
            bench.run(pool, DIES, options={"process_id": "p"})
        bench.vault.execute_instance("t", process_id="p", executor=loky.get_reusable_executor(1))
        assert bench.x() == list(range(6))
    finally:
        loky.get_reusable_executor(1).shutdown(kill_workers=True)


DIES = """
def f(id):
    pay(id)
    if id == 3 and PAID.read_text().split().count("3") == 1:
        os._exit(1)
    return id
"""


def test_a_worker_that_dies_pauses_the_process_and_finished_rows_are_not_paid_again(bench):
    with process_pool() as pool, pytest.raises(TVExecutorError, match="lost 1 call in flight"):
        bench.run(pool, DIES, n_threads=1, options={"process_id": "p", "max_calls": 100})
    process = bench.vault.get_active_processes()["p"]
    assert not process.is_running
    assert process.force_takedown is False
    assert bench.count() == 4
    bench.vault.execute_instance("t", process_id="p")
    assert bench.x() == list(range(6))
    assert bench.count() == 7


def test_an_executor_that_is_shut_down_calls_nothing(bench):
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(TVExecutorError, match="cannot schedule new futures after shutdown"):
        bench.run(pool, "def f(id):\n    pay(id)\n")
    assert bench.count() == 0


def test_two_executions_share_one_executor(tmp_path, processes):
    benches = [Bench(tmp_path / name) for name in ("a", "b")]
    for number, each in enumerate(benches):
        each.write(f"def f(id):\n    return id + {number}\n", n=30)
    with ThreadPoolExecutor(2) as both:
        execute = [
            partial(each.vault.execute_instance, "t", executor=processes) for each in benches
        ]
        for run in [both.submit(each) for each in execute]:
            run.result()
    assert [each.x() for each in benches] == [list(range(30)), list(range(1, 31))]


@pytest.mark.parametrize("name", ["thread", "threads:0", "processes:x", "dask://host", "ray"])
def test_a_name_of_no_executor_is_refused(bench, name):
    bench.write("def f(id):\n    return id\n")
    with pytest.raises(TVArgumentError, match=f'Argument executor is "{name}"'):
        bench.vault.execute_instance("t", executor=name)
    with pytest.raises(TVBuilderError, match="field executor is"):
        bench.vault.create_instance("t", version="w", builders=row_builders(1, executor=name))
        bench.vault.execute_instance("t", "w")


def test_an_object_that_is_no_executor_is_refused(bench):
    with pytest.raises(TVArgumentError, match=r"pass client.get_executor\(\)"):
        bench.run(object(), "def f(id):\n    return id\n")


def test_an_executor_of_the_caller_cannot_go_to_the_background(bench, threads):
    with pytest.raises(TVArgumentError, match="a background process cannot use"):
        bench.run(threads, "def f(id):\n    return id\n", options={"background": True})


def test_a_secret_is_passed_to_workers_and_kept_nowhere(bench, processes, monkeypatch):
    monkeypatch.setenv("SERVICE_API_KEY", "tell-nobody-4711")
    code = "def f(id, key):\n    return len(key) + id\n"
    arguments = {"id": "<<self.id[index]>>", "key": "~ENV:SERVICE_API_KEY~"}
    assert bench.run(processes, code, arguments=arguments) == [16 + n for n in range(6)]
    for path in bench.path.rglob("*"):
        assert not path.is_file() or b"tell-nobody-4711" not in path.read_bytes()


INTERRUPTED = """
import sys, threading, signal
from concurrent.futures import ThreadPoolExecutor
from tablevault import TableVault
vault = TableVault(sys.argv[1], "Ana <ana@example.org>")
try:
    vault.execute_instance("t", process_id="p", executor=eval(sys.argv[2]))
except KeyboardInterrupt:
    print("interrupted", flush=True)
    import os
    os._exit(0)
"""


@pytest.mark.parametrize("executor", ["ThreadPoolExecutor(1)", "'processes:1'"])
def test_an_interrupt_does_not_wait_for_a_worker(bench, python, finish, executor):
    os.mkfifo(bench.paid)
    bench.write("def f(id):\n    pay(id)\n    threading.Event().wait()\n")
    process = python(INTERRUPTED, bench.path, executor)
    assert bench.paid.read_text()  # once the first call has begun
    process.send_signal(signal.SIGINT)
    assert finish(process) == "interrupted\n"
