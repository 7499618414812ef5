"""Where functions of users are called: with and without an event loop, and interrupted."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import os
import signal
import subprocess
import sys
import threading

import pytest

from tablevault.engine.calls.claims import AbandonedError
from tablevault.engine.calls.usage import Usage
from tablevault.engine.execution.invocation import Coroutines, Invoker, _Running
from tablevault.errors import user_line

VARIABLE = contextvars.ContextVar("variable", default="outside")


@pytest.fixture
def within_a_loop():
    """Run a function in a thread that runs an event loop."""

    def run(function):
        async def cell():
            return function()

        return asyncio.run(cell())

    return run


def test_without_a_loop_the_calling_thread_calls():
    assert Invoker()(threading.current_thread) is threading.current_thread()


def test_with_a_loop_one_other_thread_makes_all_calls(within_a_loop):
    def calls():
        invoke = Invoker()
        threads = {invoke(threading.current_thread) for _ in range(5)}
        threads |= set(invoke.items(Usage("b"), (threading.current_thread() for _ in range(2))))
        invoke.close()
        return threads

    (thread,) = within_a_loop(calls)
    assert thread is not threading.current_thread()
    thread.join(30)
    assert not thread.is_alive()


def test_the_other_thread_has_the_context_of_the_caller(within_a_loop):
    def calls():
        VARIABLE.set("inside")
        return Invoker()(VARIABLE.get)

    assert within_a_loop(calls) == "inside"


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, StopIteration])
def test_what_a_function_raises_is_raised_where_it_was_called(within_a_loop, kind):
    error = kind("x")

    def fails():
        raise error

    def calls():
        with pytest.raises(kind) as caught:
            Invoker()(fails)
        return caught.value

    assert within_a_loop(calls) is error


def test_an_interrupt_does_not_wait_for_the_function_and_drops_its_result(within_a_loop):
    may_end, ended = threading.Event(), threading.Event()

    def slow():
        # It reaches the thread of the function: the one that waits is not woken by it.
        signal.raise_signal(signal.SIGINT)
        may_end.wait(60)
        ended.set()
        return "late"

    def calls():
        # asyncio.run turns the first interrupt into a cancellation; a notebook does not.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        invoke = Invoker()
        with pytest.raises(KeyboardInterrupt):
            invoke(slow)
        assert not ended.is_set()
        may_end.set()
        return invoke(lambda: "next")

    try:
        assert within_a_loop(calls) == "next"
    finally:
        may_end.set()
    assert ended.wait(60)


def test_cancel_ends_the_wait_for_a_call_that_may_take_only_so_long():
    invoke, begun, end = Invoker(), threading.Event(), threading.Event()
    caught = []

    def function():
        begun.set()
        end.wait(100)

    def call():
        try:
            invoke.call(Usage("b"), function, 1000.0, is_async=False)
        except AbandonedError as error:
            caught.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    assert begun.wait(100)
    invoke.cancel()
    thread.join(50)
    end.set()
    assert len(caught) == 1


async def give(value):
    return value


def in_thread(function):
    """Run a function in another thread; return the thread, and what came of it."""
    found = []

    def work():
        try:
            found.append(function())
        except BaseException as error:  # noqa: BLE001 - it is looked at
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, found


def test_the_result_is_that_of_the_coroutine():
    assert Coroutines().run(give(5)) == 5


def test_a_coroutine_has_the_context_of_its_caller_and_keeps_it_to_itself():
    async def change():
        before = VARIABLE.get()
        VARIABLE.set("inside")
        return before

    VARIABLE.set("caller")
    assert Coroutines().run(change()) == "caller"
    assert VARIABLE.get() == "caller"


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, TimeoutError])
def test_what_a_coroutine_raises_passes_and_the_loop_goes_on(kind):
    async def fail():
        raise kind("x")

    coroutines = Coroutines()
    with pytest.raises(kind, match="x"):
        coroutines.run(fail())
    assert coroutines.run(give(1)) == 1


def test_an_exit_ends_no_other_coroutine():
    coroutines = Coroutines()
    begun, go_on = threading.Event(), asyncio.Event()

    async def wait():
        begun.set()
        await go_on.wait()
        return "done"

    async def leave():
        go_on.set()
        raise SystemExit(3)

    thread, found = in_thread(lambda: coroutines.run(wait()))
    assert begun.wait(100)
    with pytest.raises(SystemExit):
        coroutines.run(leave())
    thread.join(100)
    assert found == ["done"]


def test_a_coroutine_that_cancels_itself_has_failed():
    async def cancel():
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    text = "cancelled its own task"
    with pytest.raises(concurrent.futures.CancelledError, match=text) as caught:
        Coroutines().run(cancel())
    assert user_line(caught.value) == (__file__, cancel.__code__.co_firstlineno + 2)


def test_what_begins_after_cancel_never_runs():
    coroutines = Coroutines()
    coroutines.cancel()
    ran = []

    async def note():
        ran.append(True)

    with pytest.raises(asyncio.CancelledError):
        coroutines.run(note())
    assert ran == []


def test_cancel_ends_those_that_run_and_no_others():
    ours, others = Coroutines(), Coroutines()
    begun, ended = threading.Barrier(3, timeout=100), asyncio.Event()

    async def wait():
        await asyncio.to_thread(begun.wait)
        await ended.wait()
        return "done"

    one, cancelled = in_thread(lambda: ours.run(wait()))
    other, finished = in_thread(lambda: others.run(wait()))
    begun.wait()
    ours.cancel()
    one.join(100)

    async def end():
        ended.set()

    others.run(end())
    other.join(100)
    assert isinstance(cancelled[0], asyncio.CancelledError)
    assert finished == ["done"]


def test_a_coroutine_that_ignores_cancel_is_waited_for():
    coroutines = Coroutines()
    begun = threading.Event()

    async def stay():
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "stayed"

    thread, found = in_thread(lambda: coroutines.run(stay()))
    assert begun.wait(100)
    coroutines.cancel()
    thread.join(100)
    assert found == ["stayed"]


def test_one_that_takes_too_long_is_cancelled():
    ended = []

    async def wait():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with pytest.raises(TimeoutError, match=r"timeout_s, 0\.01 seconds"):
        Coroutines().run(wait(), 0.01)
    assert ended == [True]


def test_an_interrupt_of_the_main_thread_cancels():
    begun, ended = threading.Event(), threading.Event()
    main = threading.main_thread().ident

    async def wait():
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    def interrupt():
        begun.wait(100)
        while sys._current_frames()[main].f_code is not _Running._wait.__code__:
            pass
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        Coroutines().run(wait())
    thread.join()
    assert ended.is_set()


PROGRAM = """
import asyncio, os, sys
from tablevault.engine.execution.invocation import Coroutines

async def forever():
    await asyncio.Event().wait()

async def leave_a_task():
    leave_a_task.kept = asyncio.create_task(forever())
    await asyncio.sleep(0)

async def leave_a_generator():
    async def items():
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
    leave_a_generator.kept = items()
    await anext(leave_a_generator.kept)

async def leave_a_thread():
    await asyncio.to_thread(int)

def fork():
    if (child := os.fork()) == 0:
        assert Coroutines().run(asyncio.sleep(0, 5)) == 5
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0

def be_cancelled():
    coroutines = Coroutines()
    coroutines.cancel()
    try:
        coroutines.run(forever())
    except asyncio.CancelledError:
        pass

Coroutines().run(asyncio.sleep(0))
"""


@pytest.mark.parametrize(
    "what",
    [
        "Coroutines().run(leave_a_task())",
        "Coroutines().run(leave_a_generator())",
        "Coroutines().run(leave_a_thread())",
        "be_cancelled()",
        "fork()",
    ],
)
def test_python_ends_without_a_complaint(what):
    warnings = ("-W", "error", "-W", "ignore::DeprecationWarning")  # of fork with threads
    command = [sys.executable, *warnings, "-c", PROGRAM + what]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
