"""Modules of a vault in the import system: processes, pickles, two versions at a time."""

from __future__ import annotations

import concurrent.futures
import logging
import multiprocessing
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from tablevault import TableVault
from tablevault.engine import code as module_sets
from tests.operations.building import row_builders

HEAD = """
import pandas as pd

def rows(n):
    return pd.DataFrame({"id": range(n)})

"""
POOL = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from parts import Answer, double

def f(frame, method):
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        answers = list(pool.map(answer, frame["id"].tolist()))
    assert all(type(each) is Answer for each in answers)
    return pd.DataFrame({"x": [each.value for each in answers]})

def answer(n):
    return Answer(double(n))
"""
PARTS = """
from dataclasses import dataclass

@dataclass
class Answer:
    value: int

def double(n):
    return 2 * n
"""


def execute(vault, text, arguments, *, n=3, return_type="row-wise"):
    """Execute a table whose builder calls `f` of module `work`."""
    vault.create_code_module("work", text=HEAD + text)
    builders = row_builders(n, arguments=arguments, return_type=return_type)
    vault.create_instance("t", builders=builders)
    vault.execute_instance("t")
    return vault.get_dataframe("t")[0]["x"].tolist()


@pytest.fixture
def vault(vault):
    vault.create_table("t")
    return vault


ID = {"id": "<<self.id[index]>>"}


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_functions_and_classes_of_modules_go_to_other_processes(vault, method):
    vault.create_code_module("parts", text=PARTS)
    arguments = {"frame": "<<self.id>>", "method": method}
    assert execute(vault, POOL, arguments, return_type="dataframe") == [0, 2, 4]


def test_other_processes_run_the_code_as_it_was_when_the_execution_began(vault, vault_path):
    text = f"""
import multiprocessing, pathlib

def answer(n):
    return n + 1

def f(id):
    pathlib.Path({str(vault_path / "code" / "work.py")!r}).write_text("1 / 0")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.map(answer, [id])[0]
"""
    assert execute(vault, text, ID, n=1) == [1]


def test_an_exception_that_a_function_raises_crosses_processes(vault):
    with pytest.raises(Exception, match="no answer") as caught:
        execute(
            vault, "class NoAnswer(Exception): pass\ndef f(id): raise NoAnswer('no answer')", ID
        )
    data = pickle.dumps(caught.value)
    assert type(pickle.loads(data)) is type(caught.value)
    with concurrent.futures.ProcessPoolExecutor(
        1, mp_context=multiprocessing.get_context("spawn")
    ) as pool:
        assert pool.submit(repr, caught.value).result() == "NoAnswer('no answer')"


def test_what_was_pickled_is_read_again_while_the_vault_is_there(vault, vault_path, tmp_path):
    path = tmp_path / "pickled"
    text = f"""
import pathlib, pickle
class A:
    x = 5
def f(id):
    pathlib.Path({str(path)!r}).write_bytes(pickle.dumps(A()))
"""
    execute(vault, text, ID, n=1)
    execute(vault, text.replace("x = 5", "x = 6"), ID, n=2)
    read = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')).x)"
    done = subprocess.run(
        [sys.executable, "-c", read, path], capture_output=True, text=True, check=True
    )
    assert done.stdout == "6\n"
    vault_path.rename(tmp_path / "elsewhere")
    done = subprocess.run(
        [sys.executable, "-c", read, path], capture_output=True, text=True, check=False
    )
    assert "No module named 'tablevault.code." in done.stderr


def test_type_hints_are_found(vault):
    text = """
import typing
class A: ...
def g(a: "A", b: "int") -> "str": ...
def f(id):
    hints = typing.get_type_hints(g)
    return hints == {"a": A, "b": int, "return": str}
"""
    assert execute(vault, text, ID, n=1) == [True]


def test_the_source_of_a_function_is_found(vault):
    text = "import inspect\ndef f(id):\n    return inspect.getsource(f)"
    assert execute(vault, text, ID, n=1) == ["def f(id):\n    return inspect.getsource(f)"]


def test_a_module_may_be_imported_relatively_or_reloaded(vault):
    vault.create_code_module("parts", text=PARTS)
    text = """
import importlib
def f(id):
    from . import parts
    from .parts import double
    return importlib.reload(parts).double(1) + double(2)
"""
    assert execute(vault, text, ID, n=1) == [6]


def test_code_below_a_main_guard_does_not_run(vault):
    assert (
        execute(vault, "def f(id): return 1\nif __name__ == '__main__':\n    1 / 0", ID) == [1] * 3
    )


def test_loggers_of_modules_are_no_loggers_of_the_package(vault, caplog):
    text = "import logging\ndef f(id):\n    logging.getLogger(__name__).info('asks')\n    return 1"
    with caplog.at_level(logging.INFO, logger="tablevault"):
        execute(vault, text, ID)
    assert "asks" not in caplog.messages
    with caplog.at_level(logging.INFO):
        execute(vault, text.replace("asks", "asks again"), ID)
    assert "asks again" in caplog.messages


def test_old_modules_do_not_pile_up(vault, monkeypatch):
    monkeypatch.setattr(module_sets, "_KEPT", 2)
    for number in range(4):
        execute(vault, f"def f(id): return {number}", ID)
    path = module_sets.home_of(str(vault_path_of(vault)), "")
    mine = [name for name in sys.modules if name.startswith(f"tablevault.code.{path}")]
    assert 0 < len([name for name in mine if name.endswith(".work")]) <= 2


def vault_path_of(vault: TableVault) -> Path:
    return vault._vault.path


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_cached_functions_are_plain_ones_in_other_processes(vault):
    text = """
import multiprocessing
from tablevault import cached

@cached
def ask(n):
    return n + 1

def f(id):
    found = ask(id)
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            found += pool.map(ask, [id + 10])[0]
    return found
"""
    assert execute(vault, text, ID, n=1) == [1 + 11 + 11]


TWO_THREADS = """
import sys, threading
from tablevault.engine.code import Code

importing, loaded = threading.Event(), threading.Event()

class Midway:
    def find_spec(self, name, path=None, target=None):
        if name == "tablevault.history":
            importing.set()
            loaded.wait(0.5)  # the other thread has to wait for this import

sys.meta_path.insert(0, Midway())
assert "tablevault.history" not in sys.modules
first = threading.Thread(target=__import__, args=["tablevault.code"])
first.start()
importing.wait()
try:
    print(Code({"m": "def f(): return 7"}).load_function("m", "f", is_custom=True)())
finally:
    loaded.set()
first.join()
"""


def test_functions_are_loaded_while_another_thread_imports_their_package():
    done = subprocess.run(
        [sys.executable, "-c", TWO_THREADS], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("7\n", "")
