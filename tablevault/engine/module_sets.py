"""Modules of a vault in the import system: under names that other processes can import, too."""

from __future__ import annotations

import builtins
import importlib.abc
import importlib.machinery
import importlib.readers
import linecache
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Final
from urllib.parse import quote, unquote

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
        Is told the names of the modules that are executed.
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

    def close(self, found: ModuleSet) -> None:
        """Let go of a set when many others have been closed after it."""
        with self._lock:
            found.is_open = False
            closed = [key for key, each in self._sets.items() if not each.is_open]
            for key in closed[:-_KEPT]:
                self._drop(key)

    def after_fork(self) -> None:
        """Replace the lock in a copy of the process: whoever held it is not there."""
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
        loader = _Loader(found, module)
        spec = importlib.machinery.ModuleSpec(
            name, loader, origin=loader.path, is_package=not module
        )
        if module:
            spec.has_location = True
        return spec


class _Loader(importlib.abc.ExecutionLoader):
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
