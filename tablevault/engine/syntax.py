"""Makes syntax trees of Python code, also where several threads do so at once."""

from __future__ import annotations

import ast
import contextlib
import gc
import os
import threading
import warnings
from collections.abc import Iterator

_parsing = threading.RLock()


@contextlib.contextmanager
def resting_collector() -> Iterator[None]:
    """Disable the garbage collector while syntax trees are made, in one thread at a time.

    They hold no garbage; with it, parsing two hundred modules takes three times as long. Python
    before 3.11.8 and 3.12.2 counts the depth of trees for all threads together: where a collection
    lets another thread parse, too, one of the two ends with SystemError
    (https://github.com/python/cpython/issues/106905).
    """
    with _parsing:
        is_enabled = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if is_enabled:
                gc.enable()


def _after_fork() -> None:
    """Forget the lock that a thread of the parent may hold."""
    global _parsing  # noqa: PLW0603 - one lock for the process
    _parsing = threading.RLock()


os.register_at_fork(after_in_child=_after_fork)


def syntax_tree(source: str | bytes) -> ast.Module:
    """Return the syntax tree of a module.

    Parameters
    ----------
    source : str or bytes
        Its text, or the content of its file; decoded as Python does (PEP 263: UTF-8 or the
        declared encoding).

    Raises
    ------
    SyntaxError
        It is no Python, or not in its encoding; the filename is not set.
    RecursionError, MemoryError
        It is nested too deeply for a syntax tree; it may still be compiled and executed.
    """
    try:
        with resting_collector(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an import emits them
            return ast.parse(source)
    except ValueError as error:  # a null byte on Python 3.11
        raise SyntaxError(str(error)) from error
