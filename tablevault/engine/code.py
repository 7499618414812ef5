"""The text of a module into functions: the only exec in the package."""

from __future__ import annotations

import builtins
import difflib
import hashlib
import importlib
import linecache
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from tablevault.errors import TVFileError, said
from tablevault.wording import Call, Wording

Function = Callable[..., Any]

SHIPPED = ("random_string", "table_generation")
"""Modules of ``tablevault.engine.functions``."""

_PACKAGE = "tablevault.engine.functions"


class Code:
    """The code modules of a vault.

    Each function that is asked for comes from modules of its own, executed for it: builders
    share nothing but what is in tables. A module can import the others by their plain names, and
    sees nothing of other vaults that the same interpreter has open, because its imports are
    looked up here first, through an ``__import__`` of its own. ``importlib.import_module`` does
    not find the others.

    Parameters
    ----------
    sources : mapping of str to str
        Text of each module by its name.
    paths : mapping of str to str, optional
        Path that tracebacks show for a module, by default ``code/<module>.py``.
    """

    def __init__(self, sources: Mapping[str, str], paths: Mapping[str, str] | None = None) -> None:
        self._sources = dict(sources)
        self._paths = {name: (paths or {}).get(name, f"code/{name}.py") for name in self._sources}
        self.used: set[str] = set()
        """Names of the modules that were executed so far, by an import within a function, too."""
        self.shipped: set[str] = set()
        """Names of the modules of the package that were asked for."""

    def load_function(self, module: str, function: str, *, is_custom: bool) -> Function:
        """Give a function by the names that a builder carries.

        Parameters
        ----------
        module, function : str
            Name of the module without ending, and of a function in it.
        is_custom : bool
            Whether the module is one of the vault's; the others come with the package.

        Raises
        ------
        TVFileError
            There is no such module or function, or the module cannot be executed; the text says
            why and where, and the cause is chained.
        """
        if not is_custom:
            self.shipped.add(module)
            return _shipped(module, function)
        if module not in self._sources:
            raise TVFileError(
                f'There is no code module "{module}".',
                _nearest(module, self._sources)
                or Wording("Create it: ", Call("create_code_module", module_name=module), "."),
                module=module,
            )
        try:
            namespace = vars(_Modules(self._sources, self._paths, self.used).load(module))
        except (Exception, SystemExit) as error:
            raise TVFileError(
                f'Code module "{module}" cannot be loaded: {self._describe(error)}.',
                "Correct the module and run again.",
                module=module,
            ) from error
        return _function(namespace, function, module)

    def _describe(self, error: BaseException) -> str:
        """Tell why a module failed, with the line in a module of the vault where it did."""
        text = f"{type(error).__name__}: {said(error)}"
        if isinstance(error, SyntaxError):
            return f"{text.split(' (', 1)[0]} in {error.filename}, line {error.lineno}"
        known = set(self._paths.values())
        frames = [at for at in traceback.extract_tb(error.__traceback__) if at.filename in known]
        return f"{text} in {frames[-1].filename}, line {frames[-1].lineno}" if frames else text


class _Modules:
    """Modules that know each other: those which one function needs."""

    def __init__(
        self, sources: Mapping[str, str], paths: Mapping[str, str], used: set[str]
    ) -> None:
        self._sources = sources
        self._used = used
        self._paths = paths
        self._modules: dict[str, ModuleType] = {}
        self._lock = threading.RLock()

    def load(self, name: str) -> ModuleType:
        """Execute a module of the vault, or give the one that was."""
        with self._lock:
            if name in self._modules:
                return self._modules[name]
            path, text = self._paths[name], self._sources[name]
            # Without a time of change, linecache never looks for the file on disk.
            linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)
            module = ModuleType(name)
            module.__file__ = path
            module.__dict__["__builtins__"] = {**vars(builtins), "__import__": self._import}
            self._used.add(name)
            self._modules[name] = module  # before it runs: modules may import each other
            try:
                code = compile(text, path, "exec", dont_inherit=True)
                _execute(code, module)
            except BaseException:
                del self._modules[name]
                raise
            return module

    def _import(
        self,
        name: str,
        namespace: Mapping[str, object] | None = None,
        local: Mapping[str, object] | None = None,
        fromlist: tuple[str, ...] = (),
        level: int = 0,
    ) -> ModuleType:
        """Import as a statement does, with the modules of the vault first."""
        top = name.split(".", 1)[0]
        if level or top not in self._sources:
            return builtins.__import__(name, namespace, local, fromlist, level)
        if name != top:
            raise ModuleNotFoundError(
                f"No module named {name!r}; {top!r} is not a package", name=name
            )
        return self.load(name)


def _execute(code: Any, module: ModuleType) -> None:  # noqa: ANN401 - a code object
    """Run the body of a module, which can be found by its name as long as it runs.

    Dataclasses with postponed annotations look for their module in sys.modules (CPython 3.11 to
    3.13). A module that is there already, ours or not, is left alone.
    """
    name = module.__name__
    mine = sys.modules.setdefault(name, module) is module
    try:
        exec(code, module.__dict__)  # noqa: S102 - running the user's code is what execute is for
    finally:
        if mine:
            sys.modules.pop(name, None)


def shipped_id(module: str) -> str:
    """Give an id of the text of a module that comes with the package, "" when there is none."""
    if module not in SHIPPED:
        return ""
    path = Path(__file__).parent / "functions" / f"{module}.py"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _shipped(module: str, function: str) -> Function:
    """Give a function that comes with the package."""
    if module not in SHIPPED:
        raise TVFileError(
            f'No module "{module}" comes with TableVault.',
            _nearest(module, SHIPPED)
            or f"There are {' and '.join(SHIPPED)}; write is_custom: true for your own.",
            module=module,
        )
    namespace = vars(importlib.import_module(f"{_PACKAGE}.{module}"))
    own = {
        name: value
        for name, value in namespace.items()
        if getattr(value, "__module__", "") == namespace["__name__"] and not name.startswith("_")
    }
    return _function(own, function, module)


def _function(namespace: Mapping[str, Any], function: str, module: str) -> Function:
    """Find a function among the names of a module."""
    found = namespace.get(function)
    if function not in namespace or not callable(found):
        state = (
            f"is {type(found).__name__}, no function" if function in namespace else "is not there"
        )
        callables = [name for name, value in namespace.items() if callable(value)]
        raise TVFileError(
            f'Function "{function}" of code module "{module}" {state}.',
            _nearest(function, callables) or "Check python_function and code_module.",
            module=module,
            function=function,
        )
    loaded: Function = found
    return loaded


def _nearest(name: str, known: Mapping[str, object] | list[str] | tuple[str, ...]) -> str:
    """Offer the known name that is most like `name`."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f'Did you mean "{near[0]}"?' if near else ""
