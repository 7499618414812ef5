"""Modules that the code of a vault can import, and the definitions of the names in them.

Modules of the standard library and of installed packages are **libraries**: their code is not
included. All other modules that an import would find, beside a script or on ``PYTHONPATH``, are
**outside**: their source is included although the vault does not store it.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import importlib.machinery
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, Protocol

from tablevault.engine.fingerprints.fingerprint import DIGEST_SIZE
from tablevault.engine.fingerprints.modules import Import, Module, Unit, parse
from tablevault.engine.fingerprints.normalise import FunctionNode, encode
from tablevault.engine.fingerprints.scopes import (
    INTROSPECTIVE,
    Chain,
    Effect,
    Facts,
    Use,
    chain_of,
    facts_of,
)

OWN_PACKAGE = "tablevault"
SHIPPED = "tablevault.engine.functions"
"""Functions that come with TableVault: the only part of it whose code is included."""


_PACKAGE_FOLDERS = frozenset({"site-packages", "dist-packages"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The text of a module.

    Attributes
    ----------
    name : str
        Dotted name.
    path : str
        Path below ``code/`` for the vault's modules, of the file for others, "" without one.
    data : bytes
        Content of the file; of one without Python source, the compiled code.
    is_package : bool
        Whether modules below it are imported through it.
    is_outside : bool
        Whether it neither belongs to the vault nor comes with TableVault.
    """

    name: str
    path: str
    data: bytes
    is_package: bool
    is_outside: bool


class Locator(Protocol):
    """Finds modules outside the vault."""

    def locate(self, name: str) -> Source | None:
        """Return the source of a module by its dotted name; None for libraries and unknown ones."""


class ImportSystem:
    """Finds modules as an import statement of this interpreter would.

    Finders return specs without importing anything, not even the parent packages of a module.
    """

    def __init__(self) -> None:
        self._specs: dict[str, importlib.machinery.ModuleSpec | None] = {}

    def locate(self, name: str) -> Source | None:
        """Return the source of a module outside, or of a shipped one."""
        if not all(part.isidentifier() for part in name.split(".")):
            return None
        top = name.partition(".")[0]
        is_shipped = f"{name}.".startswith(f"{SHIPPED}.")
        if top in sys.stdlib_module_names or (top == OWN_PACKAGE and not is_shipped):
            return None
        spec = self._shipped(name) if is_shipped else self._spec(name)
        if spec is None or (not is_shipped and _is_installed(spec)):
            return None
        return Source(
            name=name,
            path=spec.origin if spec.origin and spec.has_location else "",
            data=_read(spec),
            is_package=spec.submodule_search_locations is not None,
            is_outside=not is_shipped,
        )

    def _spec(self, name: str) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of a module, from the cache."""
        if name not in self._specs:
            self._specs[name] = self._find(name)
        return self._specs[name]

    def _find(self, name: str) -> importlib.machinery.ModuleSpec | None:
        if name == "__main__":
            return _main()
        package, _, _ = name.rpartition(".")
        path: Sequence[str] | None = None
        if package:
            around = self._spec(package)
            if around is None or around.submodule_search_locations is None:
                return None
            path = list(around.submodule_search_locations)
        for finder in sys.meta_path:
            # A finder of the user may raise anything, as it would in an import.
            with contextlib.suppress(Exception):
                if spec := finder.find_spec(name, path):
                    return spec
        return None

    @staticmethod
    def _shipped(name: str) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of a shipped module."""
        folder = Path(__file__).parents[1] / "functions"
        relative = name.removeprefix(SHIPPED)
        path = folder / (f"{relative[1:]}.py" if relative else "__init__.py")
        if not path.is_file():
            return None
        loader = importlib.machinery.SourceFileLoader(name, str(path))
        spec = importlib.machinery.ModuleSpec(name, loader, origin=str(path))
        spec.has_location = True
        spec.submodule_search_locations = None if relative else [str(folder)]
        return spec


def _main() -> importlib.machinery.ModuleSpec | None:
    """Return a spec for the running script, which has none."""
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    if not path:
        return None
    spec = importlib.machinery.ModuleSpec("__main__", None, origin=str(path))
    spec.has_location = True
    return spec


def _is_installed(spec: importlib.machinery.ModuleSpec) -> bool:
    """Return whether a module is built in or lies in a folder for installed packages."""
    if spec.origin in {"built-in", "frozen"}:
        return True
    places = [spec.origin] if spec.origin and spec.has_location else []
    places += list(spec.submodule_search_locations or [])
    return any(
        _PACKAGE_FOLDERS.intersection(path.parts) or path.is_relative_to(root)
        for path in (Path(place).absolute() for place in places)
        for root in _libraries()
    )


@lru_cache(maxsize=1)
def _libraries() -> tuple[Path, ...]:
    """Return the folders of the standard library and of installed packages."""
    named = [sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    return tuple({form for each in named for form in (Path(each).absolute(), Path(each).resolve())})


def _read(spec: importlib.machinery.ModuleSpec) -> bytes:
    """Return the source of a module; empty for a folder without ``__init__.py``."""
    if spec.origin and spec.has_location:
        with contextlib.suppress(OSError):
            return Path(spec.origin).read_bytes()
    source = getattr(spec.loader, "get_source", None)  # from a zip archive
    with contextlib.suppress(Exception):
        return (source(spec.name) or "").encode() if source else b""
    return b""


PLAIN_DECORATORS = frozenset(
    {"functools.wraps", "functools.lru_cache", "functools.cache", "functools.cached_property"}
    | {"contextlib.contextmanager", "contextlib.asynccontextmanager", "abc.abstractmethod"}
    | {"typing.overload", "typing.final", "typing.override", "typing_extensions.override"}
    | {"staticmethod", "classmethod", "property", "tablevault.cached"}
)
"""Decorators of libraries that do not evaluate docstrings and annotations."""


TOO_DEEP = "it is nested too deeply"
"""Problem of a module that can be executed although it has no syntax tree."""


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A module by its source and its syntax tree."""

    name: str
    source: Source
    module: Module
    problem: str
    """Why there is no syntax tree, "" if there is one."""

    @property
    def package(self) -> str:
        """Name of the package that relative imports start from."""
        return self.name if self.source.is_package else self.name.rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class Definition:
    """A global name of a module, and the attributes that follow it."""

    module: Loaded
    name: str
    rest: Chain
    unit: Unit | None = None
    """The import statement in question, if several bind the name of a package."""


@dataclass(frozen=True, slots=True)
class WholeModule:
    """A module as a value: any of its names may be used."""

    module: Loaded


Target = Definition | WholeModule

Key = tuple[str, str]
"""Module and global name of a definition."""


class Meaning(NamedTuple):
    """A possible meaning of a name in a statement; a tuple, since there are many.

    Attributes
    ----------
    module : Loaded
        The module of the definition, or a module that is used as a value.
    key : tuple of str, optional
        The definition; None for a module.
    unit : Unit, optional
        As in `Definition`.
    is_read : bool
        Whether it is a function that is passed to code that may read its docstring.
    """

    module: Loaded
    key: Key | None = None
    unit: Unit | None = None
    is_read: bool = False


class Uses(NamedTuple):
    """The names that a statement uses, and their possible meanings."""

    facts: Facts
    meanings: list[Meaning]
    is_plain: bool
    """Whether it uses nothing but names."""


class Program:
    """The modules of a vault, and the modules outside that they can reach.

    Parameters
    ----------
    modules : mapping of str to bytes
        Source of each Python file by its path below ``code/``, ``helpers.py`` or ``a/__init__.py``.
    files : mapping of str to bytes, optional
        Other files by path below ``code/``: the content, or a hash of it.
    locator : Locator, optional
        Finds other modules, by default the import system of this interpreter.
    """

    def __init__(
        self,
        modules: Mapping[str, bytes],
        files: Mapping[str, bytes] | None = None,
        locator: Locator | None = None,
    ) -> None:
        self.files = dict(files or {})
        self.paths = dict(modules)
        self._sources = dict(_source(path, data) for path, data in modules.items())
        self._tops = {name.partition(".")[0] for name in self._sources}
        self._locator = locator or ImportSystem()
        self.lists_subclasses = any(b"__subclasses__" in data for data in modules.values())
        self._loaded: dict[str, Loaded | None] = {}
        self._modules: set[Module] = set()
        self._facts: dict[tuple[Unit, bool], Facts] = {}
        self._digests: dict[tuple[Unit, bool], tuple[bytes, list[str]]] = {}
        self._uses: dict[tuple[Unit, bool], Uses] = {}
        self._executed: dict[Loaded, list[Loaded]] = {}
        self._full: dict[ast.AST, bool] = {}
        self._keeps: dict[Unit, set[int]] = {}

    def names(self) -> list[str]:
        """Return the names of the vault's own modules."""
        return sorted(self._sources)

    def find(self, name: str) -> Loaded | None:
        """Return a module by its dotted name, of the vault first; None for a library."""
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> Loaded | None:
        if name.partition(".")[0] not in self._tops:
            source = self._locator.locate(name)
        elif not (source := self._sources.get(name)):
            if not any(each.startswith(f"{name}.") for each in self._sources):
                return None
            source = Source(name=name, path="", data=b"", is_package=True, is_outside=False)
        if source is None:
            return None
        try:
            return Loaded(name, source, self._parse(source.data), "")
        except SyntaxError as error:
            path = source.path if source.is_outside else f"code/{source.path}"
            where = f" in {path}" + (f", line {error.lineno}" if error.lineno else "")
            return Loaded(name, source, self._parse(b""), f"SyntaxError: {error.msg}{where}")
        except (RecursionError, MemoryError):
            return Loaded(name, source, self._parse(b""), TOO_DEEP)

    def _parse(self, data: bytes) -> Module:
        """Return a module that shares its statements with no other module of this program.

        The meaning of a statement depends on its module: in two packages, the same
        ``from .core import run`` imports two functions.
        """
        module = parse(data)
        if module in self._modules:
            module = parse.__wrapped__(data)
        self._modules.add(module)
        return module

    # Names in a statement

    def facts(self, loaded: Loaded, unit: Unit, *, full: bool = False) -> Facts:
        """Return the facts of a statement; with `full`, of its annotations, too."""
        key = unit, full
        if key not in self._facts:
            is_full = partial(self._is_full, loaded)
            walrus = loaded.module.walrus
            found = facts_of(unit.node, is_full, full=full, walrus=walrus)
            for test, _ in unit.guards:
                tested = facts_of(test, is_full, full=full, walrus=walrus)
                found.uses += tested.uses
                found.dynamic += tested.dynamic
            self._facts[key] = found
        return self._facts[key]

    def imported(self, loaded: Loaded, facts: Facts) -> list[Loaded]:
        """Return the modules that the imports in a statement execute, with their packages."""
        return [
            found
            for origin, _ in facts.imports
            for found in self._named(self.absolute(loaded, origin), origin.attribute)
        ]

    def executed_by(self, loaded: Loaded) -> list[Loaded]:
        """Return the modules that are executed with a module, in order."""
        if loaded not in self._executed:
            found = self._named(loaded.name, "")
            for unit in loaded.module.units:
                if unit.runs and any(unit.binds.values()):
                    found += self.imported(loaded, self.facts(loaded, unit))
            self._executed[loaded] = found
        return self._executed[loaded]

    def starred_submodules(self, loaded: Loaded) -> list[Loaded]:
        """Return the submodules that a star import of a module imports: those in ``__all__``."""
        names = (
            node.value
            for unit in loaded.module.bindings.get("__all__", ())
            for node in ast.walk(unit.node)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        )
        found = (self.find(f"{loaded.name}.{name}") for name in names)
        return [each for each in found if each is not None]

    def _named(self, name: str, attribute: str) -> list[Loaded]:
        """Return a module, its parent packages, and the submodule that an attribute may be."""
        parts = name.split(".")
        names = [".".join(parts[: end + 1]) for end in range(len(parts))]
        wanted = [*names, f"{name}.{attribute}"] if attribute else names
        return [found for each in wanted if (found := self.find(each)) is not None]

    def digest(self, loaded: Loaded, unit: Unit, *, full: bool = False) -> tuple[bytes, list[str]]:
        """Return a digest of a statement with the tests that guard it, and the texts in it."""
        key = unit, full
        if key not in self._digests:
            is_full = partial(self._is_full, loaded)
            data, texts = encode(unit.node, is_full, full=full)
            for test, is_first in unit.guards:
                data += b"|%d%b" % (is_first, encode(test, is_full)[0])
            self._digests[key] = blake2b(data, digest_size=DIGEST_SIZE).digest(), texts
        return self._digests[key]

    # Meanings of a name

    def uses(self, loaded: Loaded, unit: Unit, *, full: bool = False) -> Uses:
        """Return the names that a statement uses, with their possible meanings."""
        key = unit, full
        found = self._uses.get(key)
        if found is None:
            facts = self.facts(loaded, unit, full=full)
            distinct = {(use.chain, use.origin, use.handed): use for use in facts.uses}
            meanings = (
                _meaning(target, is_handed=use.handed)
                for use in distinct.values()
                for target in self.targets(loaded, use)
            )
            is_plain = not (facts.imports or facts.dynamic or facts.computed_imports)
            found = self._uses[key] = Uses(facts, list(dict.fromkeys(meanings)), is_plain)
        return found

    def meanings_of(self, loaded: Loaded, name: str) -> list[Meaning]:
        """Return the possible meanings of a global name of a module."""
        start = Use((name,), None, 0, handed=False)
        return [_meaning(target, is_handed=False) for target in self.targets(loaded, start)]

    def targets(self, loaded: Loaded, use: Use | Effect) -> Iterator[Target]:
        """Yield the targets of a use: every definition from the name, through imports, on."""
        if use.origin is None:
            yield from self._global(loaded, use.chain, set())
        else:
            yield from self._imported(loaded, use.origin, use.chain[1:], set())

    def _global(self, loaded: Loaded, chain: Chain, seen: set[object]) -> Iterator[Target]:
        """Resolve a global name of a module, with the attributes that follow."""
        name, rest = chain[0], chain[1:]
        if (loaded.name, chain) in seen:
            return  # modules that import each other's names in a circle
        seen.add((loaded.name, chain))
        for unit in loaded.module.bindings.get(name, ()):
            dotted = unit.dotted
            if dotted and dotted[: len(chain)] != chain[: len(dotted)]:
                continue  # `import a.b` where a.c is used
            yield Definition(loaded, name, rest, unit if dotted else None)
            for origin in unit.binds[name]:
                yield from self._imported(loaded, origin, rest, seen)

    def _imported(
        self, loaded: Loaded, origin: Import, rest: Chain, seen: set[object]
    ) -> Iterator[Target]:
        """Resolve an import, with the attributes that follow."""
        module = self.find(self.absolute(loaded, origin))
        if module is None:
            return
        chain = (origin.attribute, *rest) if origin.attribute not in {"", "*"} else rest
        yield from self._attribute(module, chain, seen)

    def _attribute(self, module: Loaded, chain: Chain, seen: set[object]) -> Iterator[Target]:
        """Resolve attributes of a module."""
        if not chain or chain[0] == "__dict__" or module.problem:
            yield WholeModule(module)
            return
        if chain[0] in module.module.bindings:
            yield from self._global(module, chain, seen)
        elif "__getattr__" in module.module.bindings:
            yield from self._global(module, ("__getattr__",), seen)
        for star in module.module.stars:
            if starred := self.find(self.absolute(module, star)):
                yield WholeModule(starred)
        if module.source.is_package and (below := self.find(f"{module.name}.{chain[0]}")):
            yield from self._attribute(below, chain[1:], seen)

    def absolute(self, loaded: Loaded, origin: Import) -> str:
        """Return the full name of an imported module."""
        if not origin.level:
            return origin.module
        package = loaded.package.split(".")
        package = package[: len(package) - origin.level + 1]
        return ".".join([*package, origin.module] if origin.module else package)

    def library_name(self, loaded: Loaded, chain: Chain) -> str:
        """Return the library name of a chain in a module, ``functools.wraps``; "" for others."""
        if not chain or chain[0] not in loaded.module.bindings:
            return chain[0] if len(chain) == 1 and hasattr(builtins, chain[0]) else ""
        origin = next(iter(loaded.module.bindings[chain[0]][0].binds[chain[0]]), None)
        if origin is None or origin.level:
            return ""
        return origin.dotted(chain[1:])

    # Functions whose docstrings and annotations are included

    def _is_full(self, loaded: Loaded, node: FunctionNode) -> bool:
        """Return whether docstring and annotations of a function can change results."""
        if node not in self._full:
            self._full[node] = any(
                self._is_read_by(loaded, each) for each in node.decorator_list
            ) or _reads_itself(loaded, node)
        return self._full[node]

    def _is_read_by(self, loaded: Loaded, decorator: ast.expr) -> bool:
        """Return whether a decorator may read the function that it decorates."""
        is_called = isinstance(decorator, ast.Call)
        chain = chain_of(decorator.func if isinstance(decorator, ast.Call) else decorator)
        if self.library_name(loaded, chain) in PLAIN_DECORATORS:
            return False
        if not chain:
            return True
        targets = list(self._global(loaded, chain, set()))
        own = [
            (target.module, unit)
            for target in targets
            if isinstance(target, Definition) and not target.rest
            for unit in target.module.module.bindings[target.name]
            if unit.kind == "function"
        ]
        return not own or any(int(is_called) in self._kept(module, unit) for module, unit in own)

    def _kept(self, loaded: Loaded, unit: Unit) -> set[int]:
        """Return `Facts.keeps` of a function, without its docstring and annotations."""
        if unit not in self._keeps:
            walrus = loaded.module.walrus
            found = facts_of(unit.node, lambda _: False, full=False, walrus=walrus)
            self._keeps[unit] = found.keeps
        return self._keeps[unit]


def _meaning(target: Target, *, is_handed: bool) -> Meaning:
    """Return the meaning of a target; `is_handed`: the value itself is passed on."""
    if isinstance(target, WholeModule):
        return Meaning(target.module)
    if target.rest:
        is_handed = target.rest[0] in INTROSPECTIVE
    units = target.module.module.bindings[target.name]
    is_read = is_handed and any(unit.kind == "function" for unit in units)
    return Meaning(target.module, (target.module.name, target.name), target.unit, is_read)


def _source(path: str, data: bytes) -> tuple[str, Source]:
    """Return a module of the vault by its name."""
    name = path.removesuffix(".py").replace("/", ".")
    is_package = name == "__init__" or name.endswith(".__init__")
    name = name.removesuffix(".__init__") if is_package else name
    return name, Source(name=name, path=path, data=data, is_package=is_package, is_outside=False)


def _reads_itself(loaded: Loaded, node: FunctionNode) -> bool:
    """Return whether a function uses docstrings or annotations."""
    return _may_read(loaded.source.data) and any(
        (isinstance(each, ast.Name) and each.id in INTROSPECTIVE)
        or (isinstance(each, ast.Attribute) and each.attr in INTROSPECTIVE)
        for each in ast.walk(node)
    )


@lru_cache(maxsize=1024)
def _may_read(data: bytes) -> bool:
    """Return whether a module contains a name by which code reads docstrings."""
    return any(name.encode() in data for name in INTROSPECTIVE)
