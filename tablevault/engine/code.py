"""Loads the code modules of a vault into the import system, and finds functions in them."""

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

from tablevault.engine.syntax import syntax_tree
from tablevault.errors import TVFileError, message_of
from tablevault.names import check_module_name
from tablevault.wording import Call, Wording, did_you_mean

PACKAGE: Final = "tablevault.code"
"""All modules of vaults are below it: ``tablevault.code.<set>.<module>``."""

_TREE = 12
"""Digits of a git id in module names, which tracebacks show."""

_KEPT = 32
"""Sets of finished executions that stay loaded, so that their exceptions can be pickled."""

# The loggers of vault modules, `logging.getLogger(__name__)`, belong to the application, not to
# this package. Its own logger has to exist first, or it would become the parent of theirs.
logging.getLogger("tablevault")
logging.getLogger(PACKAGE).parent = logging.getLogger()


class ModuleSet:
    """The modules that are loaded for one function.

    They can import each other by their plain names, through an ``__import__`` of their own, and see
    nothing of other sets.

    Parameters
    ----------
    sources : mapping of str to str
        Text of each module by its name.
    paths : mapping of str to str
        Path of the file of each.
    used : set of str, optional
        Receives the names of executed modules.
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
        """Return a module of the vault; execute it on the first import."""
        full = f"{PACKAGE}.{self.key}.{_quoted(name)}"
        # While another thread imports the package, it is in sys.modules and has no __path__ yet.
        # Its import by itself waits for that thread; as the parent of a module it would not.
        builtins.__import__(PACKAGE)
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
        Returns the set of another process by its key, None if there is none. Called for keys that
        are not registered here.
    """

    def __init__(self) -> None:
        self.read: Callable[[str], ModuleSet | None] = lambda _: None
        self._sets: dict[str, ModuleSet] = {}
        self._lock = threading.RLock()

    def register(self, found: ModuleSet, home: str, function: str) -> None:
        """Make the modules of a set importable.

        Its name is the same in every process that runs the same function of the same source,
        unless such a set is open here already.

        Parameters
        ----------
        found : ModuleSet
            The set.
        home : str
            See `home_of`.
        function : str
            Function that the set is loaded for.
        """
        key = base = f"{home}+{_quoted(function)}"
        number = 1
        with self._lock:
            while key in self._sets and self._sets[key].is_open:
                number += 1
                key = f"{base}~{number}"
            self.adopt(found, key)

    def adopt(self, found: ModuleSet, key: str) -> None:
        """Make the modules of a set importable by the key that another process gave it."""
        with self._lock:
            self._drop(key)
            found.key = key
            self._sets[key] = found

    def close(self, found: ModuleSet) -> None:
        """Close a set; drop it after many others have been closed."""
        with self._lock:
            found.is_open = False
            closed = [key for key, each in self._sets.items() if not each.is_open]
            for key in closed[:-_KEPT]:
                self._drop(key)

    def after_fork(self) -> None:
        """Replace the lock in a forked process: the thread that held it does not exist there."""
        self._lock = threading.RLock()

    def _drop(self, key: str) -> None:
        """Remove a set and its modules."""
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
        """Return the spec of a module of a set, or of the package that contains them."""
        if not name.startswith(f"{PACKAGE}."):
            return None
        key, _, module = name.removeprefix(f"{PACKAGE}.").partition(".")
        with self._lock:
            found = self._sets.get(key)
            if found is None and (found := self.read(key)) is not None:
                self.adopt(found, key)
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
    """Loads one module of a set; without a name, the empty package that contains them."""

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
        """Execute the module; keep its text for tracebacks."""
        if self._module:
            text = self._set.sources[self._module]
            # Without a modification time, linecache never reads the file on disk.
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
        """Return whether this is the package that contains the modules."""
        return not self._module

    def get_data(self, path: str) -> bytes:
        """Return the content of a file beside the modules."""
        return Path(path).read_bytes()

    def get_resource_reader(self, fullname: str) -> importlib.readers.FileReader:  # noqa: ARG002 - as above
        """Return a reader of files beside the modules."""
        return importlib.readers.FileReader(self)  # type: ignore[arg-type]  # it reads the path alone


SETS: Final = ModuleSets()
sys.meta_path.insert(0, SETS)
os.register_at_fork(after_in_child=SETS.after_fork)


def home_of(path: str, tree: str) -> str:
    """Return the name of a vault and its source: path, and abbreviated git id of ``code/``.

    Other processes read unknown modules from there.
    """
    return f"{_quoted(path)}@{tree[:_TREE]}"


def path_and_tree(key: str) -> tuple[str, str] | None:
    """Return the arguments of `home_of` for the key of a set; None if it has no vault."""
    path, found, rest = key.partition("@")
    tree = rest.partition("+")[0]
    return (unquote(path, errors="surrogateescape"), tree) if found and path and tree else None


def plain_name(module: str) -> str:
    """Return the plain name of a module of a vault; names of other modules unchanged."""
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

    Each function is loaded from modules of its own, executed for it: builders share nothing but
    tables. A module can import the others by their plain names, and sees no module of other vaults
    in the same interpreter. ``importlib.import_module`` does not find the others by these names.

    Parameters
    ----------
    sources : mapping of str to str
        Text of each module by its name.
    paths : mapping of str to str, optional
        Path that tracebacks show for a module, by default ``code/<module>.py``.
    home : str, optional
        Location from which other processes load the modules, see `home_of`; none by default.
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
        """Names of the modules executed so far, also by imports within functions."""
        self.shipped: set[str] = set()
        """Names of the requested modules of the package."""

    def load_function(self, module: str, function: str, *, is_custom: bool) -> Function:
        """Return the function that a builder names.

        Parameters
        ----------
        module, function : str
            Name of the module without ending, and of a function in it.
        is_custom : bool
            Whether the module belongs to the vault; others come with the package.

        Raises
        ------
        TVArgumentError
            No code module can have that name.
        TVFileError
            There is no such module or function, or the module cannot be executed; the text says
            why and where, and the cause is chained.
        """
        if not is_custom:
            self.shipped.add(module)
            return shipped_function(module, function)
        if module not in self._sources:
            hint = did_you_mean(module, self._sources)
            if not hint:
                create = Call("create_code_module", module_name=check_module_name(module))
                hint = Wording("Create it: ", create, ".")
            raise TVFileError(f'There is no code module "{module}".', hint, module=module)
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
        """Close the modules; their functions are not called any more."""
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
    """Return the error of a module, with the last line in a module of the vault."""
    text = f"{type(error).__name__}: {message_of(error)}"
    if isinstance(error, SyntaxError):
        return f"{text.split(' (', 1)[0]} in {error.filename}, line {error.lineno}"
    known = set(paths.values())
    frames = [at for at in traceback.extract_tb(error.__traceback__) if at.filename in known]
    return f"{text} in {frames[-1].filename}, line {frames[-1].lineno}" if frames else text


def shipped_id(module: str) -> str:
    """Return a hash of a module that comes with the package; "" if there is none."""
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
    """Return the names of a module and of all modules that its import statements may reach.

    Parameters
    ----------
    module : str
        Name of a module of the vault.
    sources : mapping of str to str
        Text of all modules. Invalid Python imports nothing.
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
    """Yield the top-level names of all imports in the text of a module."""
    try:
        tree = syntax_tree(text)
    except (SyntaxError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".", 1)[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".", 1)[0]
