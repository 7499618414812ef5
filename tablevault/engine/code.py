"""The functions that builders name: of a vault's modules, and of those that come with it."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tablevault.engine.module_sets import SETS, ModuleSet
from tablevault.errors import TVFileError, said
from tablevault.wording import Call, Wording

Function = Callable[..., Any]

SHIPPED = ("language_model", "random_string", "table_generation")
"""Modules of ``tablevault.engine.functions``."""

_PACKAGE = "tablevault.engine.functions"


class Code:
    """The code modules of a vault.

    Each function that is asked for comes from modules of its own, executed for it: builders
    share nothing but what is in tables. A module can import the others by their plain names, and
    sees nothing of other vaults that the same interpreter has open. ``importlib.import_module``
    does not find the others by these names.

    Parameters
    ----------
    sources : mapping of str to str
        Text of each module by its name.
    paths : mapping of str to str, optional
        Path that tracebacks show for a module, by default ``code/<module>.py``.
    home : str, optional
        Where other processes find the modules, see `tablevault.engine.module_sets.home_of`; by
        default they do not.
    """

    def __init__(
        self,
        sources: Mapping[str, str],
        paths: Mapping[str, str] | None = None,
        home: str = "",
    ) -> None:
        self._sources = dict(sources)
        self._paths = {name: (paths or {}).get(name, f"code/{name}.py") for name in self._sources}
        self._home = home
        self._sets: list[ModuleSet] = []
        self.used: set[str] = set()
        """Names of the modules that were executed so far, by an import within a function, too."""
        self.shipped: set[str] = set()
        """Names of the modules of the package that were asked for."""

    def load_function(self, module: str, function: str, *, is_custom: bool) -> Function:
        """Return a function by the names that a builder carries.

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
        modules = ModuleSet(self._sources, self._paths, self.used)
        SETS.register(modules, self._home, function)
        self._sets.append(modules)
        try:
            namespace = vars(modules.load(module))
        except (Exception, SystemExit) as error:
            raise TVFileError(
                f'Code module "{module}" cannot be loaded: {self._describe(error)}.',
                "Correct the module and run again.",
                module=module,
            ) from error
        return _function(namespace, function, module)

    def close(self) -> None:
        """Let go of the modules: no function is called any more."""
        for each in self._sets:
            SETS.close(each)

    def _describe(self, error: BaseException) -> str:
        """Return why a module failed, with the line in a module of the vault where it did."""
        text = f"{type(error).__name__}: {said(error)}"
        if isinstance(error, SyntaxError):
            return f"{text.split(' (', 1)[0]} in {error.filename}, line {error.lineno}"
        known = set(self._paths.values())
        frames = [at for at in traceback.extract_tb(error.__traceback__) if at.filename in known]
        return f"{text} in {frames[-1].filename}, line {frames[-1].lineno}" if frames else text


def shipped_id(module: str) -> str:
    """Return an id of the text of a module that comes with the package, "" when there is none."""
    if module not in SHIPPED:
        return ""
    path = Path(__file__).parent / "functions" / f"{module}.py"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _shipped(module: str, function: str) -> Function:
    """Return a function that comes with the package."""
    if module not in SHIPPED:
        raise TVFileError(
            f'No module "{module}" comes with TableVault.',
            _nearest(module, SHIPPED)
            or f"There are {', '.join(SHIPPED)}; write is_custom: true for your own.",
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
