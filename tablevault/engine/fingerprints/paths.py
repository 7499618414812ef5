"""Finds the files beside modules that code opens by a path relative to ``__file__``.

Paths are evaluated without running anything: ``Path(__file__).parent / "prompts" / "a.txt"``, the
same with ``os.path``, f-strings and ``importlib.resources.files``, through constants of modules and
variables of functions that are assigned once. If only the beginning of a path is known, as in
``PROMPTS / f"{name}.txt"``, all files below that folder are included.
"""

from __future__ import annotations

import ast
import posixpath
from collections import Counter
from collections.abc import Iterator, Sequence

from tablevault.engine.fingerprints.modules import Unit, children, imported
from tablevault.engine.fingerprints.program import Definition, Loaded, Program
from tablevault.engine.fingerprints.scopes import Use, chain_of

_ROOT = "/vault/code"
_WORDS = (b"__file__", b"__path__", b"__spec__", b"__loader__", b"resources", b"get_data")
_PLACES = frozenset({"__file__", "__path__", "__spec__", "__loader__", "__cached__"})
_SAME = frozenset(
    {"Path", "PurePath", "PurePosixPath", "str", "abspath", "realpath", "normpath", "fspath"}
    | {"join"}
)
"""Functions that return their first argument as a path, with the others as further parts."""
_SAME_METHODS = frozenset({"resolve", "absolute", "expanduser", "as_posix"})


class FilesBeside:
    """Finds the files below ``code/`` that statements open."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.matter = any(word in data for data in program.paths.values() for word in _WORDS)
        self._opened: dict[Unit, frozenset[str]] = {}

    def opened(self, loaded: Loaded, unit: Unit) -> frozenset[str]:
        """Return the paths below ``code/`` of the files that a statement opens."""
        if loaded.source.is_outside or not loaded.source.path:
            return frozenset()
        if unit not in self._opened:
            try:
                paths = [*_Reader(self._program, loaded, unit).paths()]
            except RecursionError:  # a sum of a thousand terms
                paths = [_ROOT]
            self._opened[unit] = frozenset(
                file for path in paths for file in self._below(path, loaded)
            )
        return self._opened[unit]

    def _below(self, path: str, loaded: Loaded) -> list[str]:
        """Return the file at a path, or the files below the known beginning of one."""
        path = posixpath.normpath(path)
        files = list(self._program.files)
        if path == _path_of(loaded) or f"{_ROOT}/".startswith(f"{path}/"):
            return files
        relative = path.removeprefix(f"{_ROOT}/")
        if relative in self._program.files or relative in self._program.paths:
            return [relative]
        return [each for each in files if each.startswith(f"{relative}/")]


class _Reader:
    """Evaluates the paths in one statement."""

    def __init__(self, program: Program, loaded: Loaded, unit: Unit) -> None:
        self._program = program
        self._loaded = loaded
        self._unit = unit
        self._locals = _assigned_once(unit.node)
        self._imports = {
            name: origin
            for each in ast.walk(unit.node)
            if isinstance(each, ast.Import | ast.ImportFrom)
            for name, origin in imported(each)
        }

    def paths(self) -> Iterator[str]:
        """Yield the longest paths in the statement, except those only assigned to a name."""
        stack: list[ast.AST] = [self._unit.node]
        while stack:
            node = stack.pop()
            if isinstance(node, ast.Assign | ast.AnnAssign) and self._names_a_path(node):
                continue  # its uses are followed instead
            path = self.path(node) if isinstance(node, ast.expr) else None
            if path is not None:
                yield path
                continue
            if self._is_unclear(node):
                yield _ROOT
            stack.extend(children(node))

    def _names_a_path(self, node: ast.Assign | ast.AnnAssign) -> bool:
        """Return whether an assignment binds a path to a name that can be followed."""
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=ast.expr() as value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ) if node is self._unit.node or name in self._locals:
                return self.path(value) is not None
            case _:
                return False

    def _is_unclear(self, node: ast.AST) -> bool:
        """Return whether an expression may find files in ways that are not followed."""
        if isinstance(node, ast.Call):
            name = self._library_name(node.func)
            return name == "pkgutil.get_data" or name.startswith("importlib.resources.")
        return chain_of(node)[-1:] != () and chain_of(node)[-1] in _PLACES

    # Values of expressions; None if they are no paths or cannot be evaluated

    def path(self, node: ast.expr, seen: frozenset[object] = frozenset()) -> str | None:
        """Return the path of an expression; `seen` are names that are being evaluated."""
        match node:
            case ast.Name() | ast.Attribute():
                return self._named(node, seen)
            case ast.Subscript(
                value=ast.Attribute(value=value, attr="parents"), slice=ast.Constant(value=int(n))
            ):
                return _above(self.path(value, seen), n + 1)
            case ast.BinOp(left=left, op=ast.Div() | ast.Add() as operator, right=right):
                extended = _joined if isinstance(operator, ast.Div) else _added
                return extended(self.path(left, seen), [self._text(right)])
            case ast.JoinedStr(values=[ast.FormattedValue(value=first), *pieces]):
                return _added(self.path(first, seen), [self._text(each) for each in pieces])
            case ast.Call():
                found = self._method(node, seen)
                return self._function(node, seen) if found is None else found
            case _:
                return None

    def _named(self, node: ast.Name | ast.Attribute, seen: frozenset[object]) -> str | None:
        """Return the path of a name, or of its parent folder."""
        if isinstance(node, ast.Name) and node.id == "__file__":
            return _path_of(self._loaded)
        if isinstance(node, ast.Name) and node.id in self._locals:
            value = self._locals[node.id]
            return None if node.id in seen else self.path(value, seen | {node.id})
        if isinstance(node, ast.Attribute) and node.attr == "parent":
            return _above(self.path(node.value, seen), 1)
        return self._constant(chain_of(node), seen)

    def _constant(self, chain: tuple[str, ...], seen: frozenset[object]) -> str | None:
        """Return the path that a constant of this or another module holds."""
        use = Use(chain, None, 0, handed=False)
        for target in self._program.targets(self._loaded, use) if chain else ():
            if not isinstance(target, Definition) or target.rest or not target.module.source.path:
                continue
            unit, value = _only_value(target.module, target.name)
            if unit is not None and value is not None and unit not in seen:
                return _Reader(self._program, target.module, unit).path(value, seen | {unit})
        return None

    def _method(self, node: ast.Call, seen: frozenset[object]) -> str | None:
        """Return the path that a method of a path returns."""
        if not isinstance(node.func, ast.Attribute):
            return None
        start = self.path(node.func.value, seen)
        texts = [self._text(each) for each in node.args]
        match node.func.attr:
            case "joinpath":
                return _joined(start, texts)
            case "with_name":
                return _joined(_above(start, 1), texts)
            case "with_suffix" if start is not None:
                return _added(posixpath.splitext(start)[0], texts)
            case _:
                return start if node.func.attr in _SAME_METHODS else None

    def _function(self, node: ast.Call, seen: frozenset[object]) -> str | None:
        """Return the path that a function returns."""
        name = chain_of(node.func)[-1:]
        if self._library_name(node.func) == "importlib.resources.files":
            return self._package(node.args)
        if not node.args or not name:
            return None
        start = self.path(node.args[0], seen)
        if name[0] == "dirname":
            return _above(start, 1)
        if name[0] in _SAME:
            return _joined(start, [self._text(each) for each in node.args[1:]])
        return None

    def _package(self, arguments: Sequence[ast.expr]) -> str | None:
        """Return the folder of the package that ``importlib.resources.files`` is given."""
        match arguments:
            case [] | [ast.Name(id="__package__" | "__name__")]:
                return posixpath.dirname(_path_of(self._loaded))
            case [ast.Constant(value=str(name))]:
                return f"{_ROOT}/{name.replace('.', '/')}"
            case _:
                return None

    def _text(self, node: ast.expr) -> str | None:
        """Return the text of an expression."""
        value: ast.expr | None = node
        if isinstance(node, ast.Name):
            value = self._locals.get(node.id) or _only_value(self._loaded, node.id)[1]
        match value:
            case ast.Constant(value=str(text)):
                return text
            case _:
                return None

    def _library_name(self, node: ast.expr) -> str:
        """Return the dotted name of a function of a library."""
        chain = chain_of(node)
        name = self._program.library_name(self._loaded, chain)
        origin = self._imports.get(chain[0]) if chain and not name else None
        return origin.dotted(chain[1:]) if origin else name


def _path_of(loaded: Loaded) -> str:
    """Return the path of a module."""
    return f"{_ROOT}/{loaded.source.path}"


def _above(path: str | None, levels: int) -> str | None:
    """Return the parent folder some levels above a path."""
    for _ in range(levels):
        path = posixpath.dirname(posixpath.normpath(path)) if path is not None else None
    return path


def _joined(start: str | None, texts: Sequence[str | None]) -> str | None:
    """Return a path with more parts."""
    known = [each for each in texts if each is not None]
    return None if start is None or len(known) < len(texts) else posixpath.join(start, *known)


def _added(start: str | None, texts: Sequence[str | None]) -> str | None:
    """Return a path with more characters."""
    known = [each for each in texts if each is not None]
    return None if start is None or len(known) < len(texts) else start + "".join(known)


def _assigned_once(node: ast.AST) -> dict[str, ast.expr]:
    """Return the values of local variables that are bound exactly once, by an assignment."""
    values: dict[str, ast.expr] = {}
    bound: Counter[str] = Counter()
    attributes = {id(each) for owner in ast.walk(node) for each in _body_of_class(owner)}
    for each in ast.walk(node):
        match each:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=ast.expr() as value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ) if each is not node and id(each) not in attributes:
                values[name] = value
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                bound[name] += 1
            case _:
                continue
    return {name: value for name, value in values.items() if bound[name] == 1}


def _body_of_class(node: ast.AST) -> list[ast.stmt]:
    """Return the statements of a class; what they bind are attributes, not variables."""
    return node.body if isinstance(node, ast.ClassDef) else []


def _only_value(loaded: Loaded, name: str) -> tuple[Unit | None, ast.expr | None]:
    """Return the statement and the value of a constant that is assigned once."""
    match loaded.module.bindings.get(name):
        case [Unit(node=ast.Assign(value=value) | ast.AnnAssign(value=value)) as unit]:
            return unit, value
        case _:
            return None, None
