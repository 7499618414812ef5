"""Syntax trees, also while other threads parse."""

from __future__ import annotations

import ast
import gc
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tablevault.engine.code import imported_modules
from tablevault.engine.fingerprints.modules import parse
from tablevault.engine.syntax import resting_collector, syntax_tree

TEXT = "import a\nfrom b.c import d\n\ndef f(x):\n    return [d(a, y + 1) for y in x]\n"


@contextmanager
def others_parse():
    """Let another thread parse whenever this one collects garbage, which it does all the time."""
    here = threading.current_thread()

    def parse_elsewhere(phase, _):
        if phase == "start" and threading.current_thread() is here:
            other.submit(ast.parse, "f(g(1))").result()

    threshold = gc.get_threshold()
    with ThreadPoolExecutor(1) as other:
        gc.callbacks.append(parse_elsewhere)
        gc.set_threshold(1)
        try:
            yield
        finally:
            gc.set_threshold(*threshold)
            gc.callbacks.remove(parse_elsewhere)


def test_imports_are_found_while_others_parse():
    with others_parse():
        names = imported_modules("m", {"m": TEXT, "a": "import e", "b": ""})
    assert names == ("a", "b", "m")


def test_a_module_is_parsed_while_others_parse():
    parse.cache_clear()
    with others_parse():
        module = parse(TEXT.encode())
    assert list(module.bindings) == ["a", "d", "f"]


def test_the_collector_is_as_it_was_afterwards():
    gc.disable()
    try:
        syntax_tree("x = 1")
        assert not gc.isenabled()
    finally:
        gc.enable()
    with pytest.raises(SyntaxError):
        syntax_tree("x =")
    assert gc.isenabled()


def test_a_forked_process_parses_though_a_thread_of_its_parent_did_so_then():
    holds, go = threading.Event(), threading.Event()

    def hold():
        with resting_collector():
            holds.set()
            go.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    holds.wait()
    child = os.fork()
    if not child:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(60)  # ends it where it waits for the lock
        os._exit(0 if syntax_tree(TEXT) else 1)
    go.set()
    holder.join()
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("text", ["x = '\0'", "def", "-" * 100_000 + "1"])
def test_what_cannot_be_parsed_imports_nothing(text):
    assert imported_modules("m", {"m": text}) == ("m",)
