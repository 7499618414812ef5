"""The code modules of a vault: their functions, and their place in the import system."""

from __future__ import annotations

import ast
import builtins
import hashlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.readers
import linecache
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final
from urllib.parse import quote, unquote

from tablevault.errors import TVFileError, message_of
from tablevault.wording import Call, Wording, did_you_mean

PACKAGE: Final = "tablevault.code"
"""All modules of vaults are below it: ``tablevault.code.<set>.<module>``."""

_TREE = 12
"""Digits of a git id: the name of a class stands in each traceback."""

_KEPT = 32
"""Sets of ended executions that stay: what they raised can still be pickled."""

# What a module of a vault logs, to `logging.getLogger(__name__)`, is the application's, not this
# package's. The logger of the package has to be there first, or it takes the others as its own.
logging.getLogger("tablevault")
logging.getLogger(PACKAGE).parent = logging.getLogger()


class ModuleSet:
    """Modules that know each other: those which one function needs.

    Each of them can import the others by their plain names. It sees nothing of other sets,
    because its imports are looked up here first, through an ``__import__`` of its own.

    Parameters
    ----------
    sources : mapping of str to str
        Text of each module by its name.
    paths : mapping of str to str
        Path of the file of each.
    used : set of str, optional
        Receives the names of the modules that are executed.
    """

    def __init__(
        self, sources: Mapping[str, str], paths: Mapping[str, str], used: set[str] | None = None
    ) -> None:
        self.sources = sources
        self.paths = paths
        self.used = set[str]() if used is None else used
        self.key = ""
        """Name in the import system, once it is registered."""
        self.is_open = True

    def load(self, name: str) -> ModuleType:
        """Execute a module of the vault, or return the one that was."""
        full = f"{PACKAGE}.{self.key}.{_quoted(name)}"
        builtins.__import__(full)  # unlike import_module, it drops importlib's frames of errors
        return sys.modules[full]

    def import_name(
        self,
        name: str,
        namespace: Mapping[str, object] | None = None,
        local: Mapping[str, object] | None = None,
        fromlist: tuple[str, ...] = (),
        level: int = 0,
    ) -> ModuleType:
        """Import as a statement does, with the modules of the vault first."""
        top = name.split(".", 1)[0]
        if level or top not in self.sources:
            return builtins.__import__(name, namespace, local, fromlist, level)
        if name != top:
            raise ModuleNotFoundError(
                f"No module named {name!r}; {top!r} is not a package", name=name
            )
        return self.load(name)


class ModuleSets(importlib.abc.MetaPathFinder):
    """The sets of this interpreter, by key; finds their modules for import statements.

    Attributes
    ----------
    read : callable
        Returns the set of another process by its key; None when it cannot be known. A finder
        looks for it before it gives up.
    """

    def __init__(self) -> None:
        self.read: Callable[[str], ModuleSet | None] = lambda _: None
        self._sets: dict[str, ModuleSet] = {}
        self._lock = threading.RLock()

    def register(self, found: ModuleSet, home: str, function: str) -> None:
        """Make the modules of a set importable.

        What it is called is the same in every process that runs the same function of the same
        source, unless such a set is open here already.

        Parameters
        ----------
        found : ModuleSet
            The set.
        home : str
            See `home_of`.
        function : str
            Whom the set is for.
        """
        key = base = f"{home}+{_quoted(function)}"
        number = 1
        with self._lock:
            while key in self._sets and self._sets[key].is_open:
                number += 1
                key = f"{base}~{number}"
            self._drop(key)
            found.key = key
            self._sets[key] = found

    def adopt(self, found: ModuleSet, key: str) -> None:
        """Make the modules of a set importable by the key that another process gave it."""
        with self._lock:
            self._drop(key)
            found.key = key
            self._sets[key] = found

    def close(self, found: ModuleSet) -> None:
        """Let go of a set when many others have been closed after it."""
        with self._lock:
            found.is_open = False
            closed = [key for key, each in self._sets.items() if not each.is_open]
            for key in closed[:-_KEPT]:
                self._drop(key)

    def after_fork(self) -> None:
        """Replace the lock in a forked process: the thread that held it does not exist there."""
        self._lock = threading.RLock()

    def _drop(self, key: str) -> None:
        """Forget a set, and its modules."""
        self._sets.pop(key, None)
        prefix = f"{PACKAGE}.{key}"
        for name in [name for name in sys.modules if name.startswith(prefix)]:
            if name == prefix or name.startswith(f"{prefix}."):
                sys.modules.pop(name, None)

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - the protocol has it
        target: ModuleType | None = None,  # noqa: ARG002 - as above
    ) -> importlib.machinery.ModuleSpec | None:
        """Return how a module of a set, or the package around it, is loaded."""
        if not name.startswith(f"{PACKAGE}."):
            return None
        key, _, module = name.removeprefix(f"{PACKAGE}.").partition(".")
        with self._lock:
            found = self._sets.get(key)
            if found is None and (found := self.read(key)) is not None:
                found.key = key
                self._sets[key] = found
                self.close(found)
        module = unquote(module)
        if found is None or (module and module not in found.sources):
            return None
        loader = _ModuleLoader(found, module)
        spec = importlib.machinery.ModuleSpec(
            name, loader, origin=loader.path, is_package=not module
        )
        if module:
            spec.has_location = True
        return spec


class _ModuleLoader(importlib.abc.ExecutionLoader):
    """Loads one module of a set; without a name, the empty package that they are in."""

    def __init__(self, found: ModuleSet, module: str) -> None:
        self._set = found
        self._module = module
        self.path = found.paths.get(module) or str(
            Path(next(iter(found.paths.values()), "code/__init__.py")).with_name("__init__.py")
        )

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """Return a module whose imports find its siblings."""
        module = ModuleType(spec.name)
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": self._set.import_name}
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module; its text is kept for tracebacks."""
        if self._module:
            text = self._set.sources[self._module]
            # Without a time of change, linecache never looks for the file on disk.
            lines = text.splitlines(keepends=True)
            linecache.cache[self.path] = (len(text), None, lines, self.path)
            self._set.used.add(self._module)
        super().exec_module(module)

    def get_filename(self, fullname: str) -> str:  # noqa: ARG002 - the protocol has it
        """Return the path of the file."""
        return self.path

    def get_source(self, fullname: str) -> str:  # noqa: ARG002 - as above
        """Return the text."""
        return self._set.sources.get(self._module, "")

    def is_package(self, fullname: str) -> bool:  # noqa: ARG002 - as above
        """Return whether this is the package around the modules."""
        return not self._module

    def get_data(self, path: str) -> bytes:
        """Return the content of a file beside the modules."""
        return Path(path).read_bytes()

    def get_resource_reader(self, fullname: str) -> importlib.readers.FileReader:  # noqa: ARG002 - as above
        """Return what opens files beside the modules."""
        return importlib.readers.FileReader(self)  # type: ignore[arg-type]  # it reads the path alone


SETS: Final = ModuleSets()
sys.meta_path.insert(0, SETS)
os.register_at_fork(after_in_child=SETS.after_fork)


def home_of(path: str, tree: str) -> str:
    """Return what names a vault and its source: the path, and the beginning of the id of ``code/``.

    Where a process imports a module that it does not know, it is read from there.
    """
    return f"{_quoted(path)}@{tree[:_TREE]}"


def path_and_tree(key: str) -> tuple[str, str] | None:
    """Return what `home_of` was given for the key of a set; None when the set is of no vault."""
    path, found, rest = key.partition("@")
    tree = rest.partition("+")[0]
    return (unquote(path, errors="surrogateescape"), tree) if found and path and tree else None


def plain_name(module: str) -> str:
    """Return the name by which siblings import a module of a vault; of others, what is given."""
    if not module.startswith(f"{PACKAGE}."):
        return module
    return unquote(module.rpartition(".")[2])


def _quoted(text: str) -> str:
    """Return text as a part of a dotted name, in ASCII and on one line."""
    return quote(text, safe="/", errors="surrogateescape").replace(".", "%2E").replace("~", "%7E")


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
        Where other processes find the modules, see `tablevault.engine.code.home_of`; by
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
        self._loaded: dict[int, ModuleSet] = {}
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
            return shipped_function(module, function)
        if module not in self._sources:
            raise TVFileError(
                f'There is no code module "{module}".',
                did_you_mean(module, self._sources)
                or Wording("Create it: ", Call("create_code_module", module_name=module), "."),
                module=module,
            )
        modules = ModuleSet(self._sources, self._paths, self.used)
        SETS.register(modules, self._home, function)
        self._sets.append(modules)
        loaded = function_in(modules, module, function)
        self._loaded[id(loaded)] = modules
        return loaded

    def modules_of(self, function: Function) -> ModuleSet | None:
        """Return the modules that a loaded function was found in; None if it is none of these."""
        return self._loaded.get(id(function))

    def close(self) -> None:
        """Let go of the modules: no function is called any more."""
        for each in self._sets:
            SETS.close(each)


def function_in(modules: ModuleSet, module: str, function: str) -> Function:
    """Execute a module of a set, and return a function in it.

    Raises
    ------
    TVFileError
        The module cannot be executed, or has no such function.
    """
    try:
        namespace = vars(modules.load(module))
    except (Exception, SystemExit) as error:
        raise TVFileError(
            f'Code module "{module}" cannot be loaded: {_describe(error, modules.paths)}.',
            "Correct the module and run again.",
            module=module,
        ) from error
    return _function(namespace, function, module)


def _describe(error: BaseException, paths: Mapping[str, str]) -> str:
    """Return why a module failed, with the line in a module of the vault where it did."""
    text = f"{type(error).__name__}: {message_of(error)}"
    if isinstance(error, SyntaxError):
        return f"{text.split(' (', 1)[0]} in {error.filename}, line {error.lineno}"
    known = set(paths.values())
    frames = [at for at in traceback.extract_tb(error.__traceback__) if at.filename in known]
    return f"{text} in {frames[-1].filename}, line {frames[-1].lineno}" if frames else text


def shipped_id(module: str) -> str:
    """Return an id of the text of a module that comes with the package, "" when there is none."""
    if module not in SHIPPED:
        return ""
    path = Path(__file__).parent / "functions" / f"{module}.py"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def shipped_function(module: str, function: str) -> Function:
    """Return a function that comes with the package."""
    if module not in SHIPPED:
        raise TVFileError(
            f'No module "{module}" comes with TableVault.',
            did_you_mean(module, SHIPPED)
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
            did_you_mean(function, callables) or "Check python_function and code_module.",
            module=module,
            function=function,
        )
    loaded: Function = found
    return loaded


def imported_modules(module: str, sources: Mapping[str, str]) -> tuple[str, ...]:
    """Name a module and those it may import, directly or through others, as far as text shows.

    Parameters
    ----------
    module : str
        Name of a module of the vault.
    sources : mapping of str to str
        Text of all of them. One that is no Python imports nothing.
    """
    found: dict[str, None] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found or name not in sources:
            continue
        found[name] = None
        waiting.extend(_imports(sources[name]))
    return tuple(sorted(found))


def _imports(text: str) -> Iterator[str]:
    """Name what is imported anywhere in the text of a module, by the first part of the name."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".", 1)[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".", 1)[0]
