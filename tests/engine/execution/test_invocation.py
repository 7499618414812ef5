"""Where functions of users are called: with and without an event loop, and interrupted."""

from __future__ import annotations

import asyncio
import contextvars
import signal
import threading

import pytest

from tablevault.engine.calls.usage import Usage
from tablevault.engine.execution.invocation import Invoker
from tablevault.engine.execution.stop import AbandonedError

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
            invoke.timed(Usage("b"), function, 1000.0, is_async=False)
        except AbandonedError as error:
            caught.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    assert begun.wait(100)
    invoke.cancel()
    thread.join(50)
    end.set()
    assert len(caught) == 1
