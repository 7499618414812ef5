"""Parses a Python module into statements, with the names that each one defines or imports."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from tablevault.engine.fingerprints.normalise import FunctionNode, docstring
from tablevault.engine.syntax import syntax_tree

IMPORTS = (ast.Import, ast.ImportFrom)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPES = (*FUNCTIONS, ast.ClassDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_BINDING_FIELDS: dict[type[ast.AST], tuple[str, ...]] = {
    ast.Assign: ("targets",),
    ast.AnnAssign: ("target",),
    ast.AugAssign: ("target",),
    ast.Expr: (),
    ast.For: ("target", "body", "orelse"),
    ast.If: ("body", "orelse"),
    ast.Return: (),
}
"""Fields of frequent statements that can bind names without ``:=``."""
_TARGETS = (ast.Name, ast.Tuple, ast.List, ast.Starred)
_naming: dict[type[ast.AST], str] = {}
"""By type of node, the field with the name that it binds; "" if there is none."""
_fields: dict[type[ast.AST], tuple[str, ...]] = {}
"""By type of node, the fields that can hold other nodes."""


@dataclass(frozen=True, slots=True)
class Import:
    """The target of an import statement: a module, or an attribute of one."""

    module: str
    level: int = 0
    attribute: str = ""

    def dotted(self, rest: tuple[str, ...]) -> str:
        """Return the full name of the target, with the attributes that follow."""
        return ".".join(filter(None, (self.module, self.attribute, *rest)))


Bindings = dict[str, tuple[Import, ...]]
"""Names with the targets of their imports: several with ``try`` and ``except``."""


def imported(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Import]]:
    """Yield the names that an import statement binds, with their targets."""
    for alias in node.names:
        if isinstance(node, ast.ImportFrom):
            yield alias.asname or alias.name, Import(node.module or "", node.level, alias.name)
        elif alias.asname:
            yield alias.asname, Import(alias.name)
        else:
            yield alias.name.partition(".")[0], Import(alias.name.partition(".")[0])


def bindings(nodes: Iterable[ast.AST], *, walrus: bool) -> tuple[Bindings, frozenset[str], bool]:
    """Return the names that statements bind in their own scope.

    Parameters
    ----------
    nodes : iterable of ast.AST
        Statements, or targets of an assignment.
    walrus : bool
        Whether expressions are searched for ``name := value``; they bind nothing else.

    Returns
    -------
    dict
        The names, with the targets of their imports.
    frozenset of str
        Names that are declared global.
    bool
        Whether there are functions among the statements.
    """
    names: Bindings = {}
    declared: set[str] = set()
    outer: set[str] = set()
    has_functions = False
    stack = list(nodes)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Name):  # most are
            if not isinstance(node.ctx, ast.Load):
                names.setdefault(node.id, ())
        elif isinstance(node, IMPORTS):
            for name, origin in imported(node):
                names[name] = (*names.get(name, ()), origin)
        elif isinstance(node, ast.Global):
            declared.update(node.names)
        elif isinstance(node, ast.Nonlocal):
            outer.update(node.names)
        else:
            if bound := _bound(node):
                names.setdefault(bound, ())
            has_functions = has_functions or isinstance(node, FUNCTIONS)
            stack += _within(node, walrus=walrus)
    for name in declared | outer:
        names.pop(name, None)
    return names, frozenset(declared), has_functions


def _bound(node: ast.AST) -> str:
    """Return the name that a node binds by itself; "" if there is none."""
    kind = node.__class__
    if kind not in _naming:  # functions, classes, exception handlers and patterns have one
        _naming[kind] = next((each for each in ("name", "rest") if each in kind._fields), "")
    field = _naming[kind]
    name = getattr(node, field, None) if field else None
    return name if isinstance(name, str) else ""


def _within(node: ast.AST, *, walrus: bool) -> list[ast.AST]:
    """Return the children of a node that can bind names in the same scope."""
    if isinstance(node, _SCOPES):
        return _outside_of(node) if walrus else []
    if walrus:
        if not isinstance(node, _COMPREHENSIONS):
            return children(node)
        # PEP 572: an assignment expression binds in the enclosing scope, unlike the targets.
        return [each.target for each in ast.walk(node) if isinstance(each, ast.NamedExpr)]
    return [
        each
        for each in children(node, _BINDING_FIELDS.get(node.__class__))
        if isinstance(each, _TARGETS) or not isinstance(each, ast.expr)
    ]


def _outside_of(node: FunctionNode | ast.ClassDef | ast.Lambda) -> list[ast.AST]:
    """Return what is evaluated outside of a function or class: decorators, defaults, bases."""
    if isinstance(node, ast.ClassDef):
        return [*node.decorator_list, *node.bases, *node.keywords]
    decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
    return [*decorators, *node.args.defaults, *filter(None, node.args.kw_defaults)]


def children(node: ast.AST, names: tuple[str, ...] | None = None) -> list[ast.AST]:
    """Return the children of a node, those in the fields of some names; contexts are left out."""
    kind = node.__class__
    if names is None:
        names = _fields.get(kind)
    if names is None:
        names = _fields[kind] = tuple(name for name in kind._fields if name != "ctx")
    found: list[ast.AST] = []
    for name in names:
        value = getattr(node, name, None)
        if value.__class__ is list:
            found += [each for each in value if isinstance(each, ast.AST)]
        elif isinstance(value, ast.AST):
            found.append(value)
    return found


Kind = Literal["function", "class", "constant", "import", "statement"]

_MAKES_FIXED = frozenset(
    {"Path", "PurePath", "PurePosixPath", "dedent", "compile", "frozenset", "str", "int", "float"}
    | {"bytes", "bool", "len", "dirname", "join", "abspath", "realpath", "fspath", "getLogger"}
    | {"read", "read_text", "read_bytes", "getenv", "strip", "format", "replace", "lower", "upper"}
    | {"resolve", "absolute", "joinpath", "with_name", "with_suffix", "TypeVar", "NewType"}
    | {"partial"}
)
"""Functions and methods of these names return immutable objects."""
_FIXED_NAMES = frozenset({"__file__", "__name__", "__package__", "__doc__"})
_CONTAINERS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
_CONTAINER_TYPES = {"list", "dict", "set", "defaultdict", "deque", "Counter", "OrderedDict"}


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """A statement at module level: the smallest piece of code that is included or not.

    Statements within ``if`` are units of their own, with its test, so that all definitions of a
    name are included. Each name of an ``import`` is a unit, too. Other compound statements are one
    unit: the effect of a ``try`` depends on each of its lines.
    """

    node: ast.stmt
    guards: tuple[tuple[ast.expr, bool], ...]
    """Tests of the enclosing ``if`` statements, and whether it is in their first branch."""
    binds: Bindings
    kind: Kind
    order: int
    dotted: tuple[str, ...] = ()
    """The full name in ``import a.b.c``, which binds only ``a``."""
    runs: bool = True
    """Whether it is executed: False under ``TYPE_CHECKING``."""


@dataclass(frozen=True, slots=True, eq=False)
class Module:
    """A parsed module."""

    tree: ast.Module
    units: tuple[Unit, ...]
    bindings: dict[str, list[Unit]] = field(default_factory=dict)
    """Units that bind a name, in order."""
    stars: tuple[Import, ...] = ()
    walrus: bool = True
    """Whether there can be ``name := value``."""

    def is_changeable(self, name: str) -> bool:
        """Return whether a name can be bound to a mutable object."""
        try:
            return any(
                _is_changeable(self, unit, frozenset((name,))) for unit in self.bindings[name]
            )
        except RecursionError:  # a sum of a thousand terms
            return True

    def is_container(self, name: str) -> bool:
        """Return whether a name is bound to lists, dicts and sets only."""
        units = self.bindings.get(name, ())
        return bool(units) and all(_holds(unit, _CONTAINERS) for unit in units)

    def is_kind(self, name: str, kind: Kind) -> bool:
        """Return whether all units that bind a name are of one kind."""
        units = self.bindings.get(name, ())
        return bool(units) and all(unit.kind == kind for unit in units)


@lru_cache(maxsize=1024)
def parse(data: bytes) -> Module:
    """Return a module by its source; each source is parsed once.

    Parameters
    ----------
    data : bytes
        Content of the file.

    Raises
    ------
    SyntaxError, RecursionError, MemoryError
        As `syntax_tree`.
    """
    tree = syntax_tree(data)
    units: list[Unit] = []
    walrus = b":=" in data
    for node, guards in _statements(tree.body, ()):
        binds, _, _ = bindings([node], walrus=walrus)
        runs = not any(first and _is_type_checking(test) for test, first in guards)
        kind, dotted = _kind(node, binds), _dotted(node)
        units.append(Unit(node, guards, binds, kind, len(units), dotted, runs))
    if text := docstring(tree):
        node = ast.Assign([ast.Name("__doc__", ast.Store())], text)
        units.append(Unit(node, (), {"__doc__": ()}, "constant", -1))
    named: dict[str, list[Unit]] = {}
    for unit in units:
        for name in unit.binds:
            named.setdefault(name, []).append(unit)
    stars = tuple(each for unit in units for each in unit.binds.get("*", ()))
    return Module(tree, tuple(units), named, stars, walrus)


def _is_changeable(module: Module, unit: Unit, seen: frozenset[str]) -> bool:
    """Return whether a unit binds a mutable object."""
    match unit:
        case Unit(kind="function" | "import"):
            return False
        case Unit(kind="class", node=ast.ClassDef() as node):
            return _has_state(node)
        case Unit(node=ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value)):
            return not is_fixed(value, module, seen)
        case _:
            return True


def is_fixed(
    value: ast.expr, module: Module | None = None, seen: frozenset[str] = frozenset()
) -> bool:
    """Return whether the value of an expression is immutable: a number, a text.

    Parameters
    ----------
    value : ast.expr
        An expression.
    module : Module, optional
        Module of the names in it; by default they count as mutable.
    seen : frozenset of str, optional
        Names that are being resolved.
    """
    match value:
        case ast.Constant() | ast.JoinedStr() | ast.Compare() | ast.Lambda():
            return True
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name in _MAKES_FIXED
        case ast.Name(id=name):
            return _is_fixed_name(name, module, seen)
        case ast.Attribute() | ast.UnaryOp() | ast.BinOp() | ast.Tuple():
            inner = [each for each in children(value) if isinstance(each, ast.expr)]
            return all(is_fixed(each, module, seen) for each in inner)
        case _:
            return False


def _is_fixed_name(name: str, module: Module | None, seen: frozenset[str]) -> bool:
    """Return whether all values of a global name are immutable."""
    if name in _FIXED_NAMES:
        return True
    if module is None or name not in module.bindings or name in seen:
        return False
    units = module.bindings[name]
    return not any(_is_changeable(module, each, seen | {name}) for each in units)


def _has_state(node: ast.ClassDef) -> bool:
    """Return whether a class has mutable attributes, or takes part in making subclasses."""
    own = {_self(each) for each in node.body}
    for each in ast.walk(node):
        match each:
            case ast.FunctionDef(name="__init_subclass__"):
                return True
            case ast.Attribute(value=owner, ctx=ast.Store()):
                if not (isinstance(owner, ast.Name) and owner.id in own):
                    return True
            case _:
                continue
    return bool(node.keywords) or any(
        not is_fixed(each.value) and not _is_field(each.value)
        for each in node.body
        if isinstance(each, ast.Assign | ast.AnnAssign) and each.value is not None
    )


def _is_field(value: ast.expr) -> bool:
    """Return whether a value declares a field of a dataclass or model, one for each object."""
    match value:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name in {"field", "Field", "attrib", "ib"}
        case _:
            return False


def _self(node: ast.stmt) -> str:
    """Return the first parameter of a method; "" for class methods and other statements."""
    match node:
        case ast.FunctionDef(decorator_list=[ast.Name(id="classmethod")]):
            return ""
        case ast.FunctionDef(args=ast.arguments(args=[first, *_])):
            return first.arg if first.arg != "cls" else ""
        case _:
            return ""


def _is_type_checking(test: ast.expr) -> bool:
    """Return whether the test of an ``if`` is ``TYPE_CHECKING``."""
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _statements(
    body: Sequence[ast.stmt], guards: tuple[tuple[ast.expr, bool], ...]
) -> Iterator[tuple[ast.stmt, tuple[tuple[ast.expr, bool], ...]]]:
    """Yield the statements of a module, those within ``if`` one by one."""
    for node in body:
        match node:
            case ast.If(test=test, body=first, orelse=second):
                if not _is_script(test):
                    yield from _statements(first, (*guards, (test, True)))
                yield from _statements(second, (*guards, (test, False)))
                if any(isinstance(each, ast.NamedExpr) for each in ast.walk(test)):
                    yield ast.Expr(test), guards  # it binds names itself
            case ast.Import(names=names):
                yield from ((ast.Import([alias]), guards) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                yield from ((ast.ImportFrom(module, [alias], level), guards) for alias in names)
            case ast.Pass() | ast.Expr(value=ast.Constant()):
                continue
            case _:
                yield node, guards


def _is_script(test: ast.expr) -> bool:
    """Return whether a test is ``__name__ == "__main__"``, which is false in imported modules."""
    match test:
        case ast.Compare(
            left=ast.Name(id="__name__"),
            ops=[ast.Eq()],
            comparators=[ast.Constant(value="__main__")],
        ):
            return True
        case _:
            return False


def _dotted(node: ast.stmt) -> tuple[str, ...]:
    """Return the names in ``import a.b.c``; empty for other statements."""
    match node:
        case ast.Import(names=[ast.alias(name=name, asname=None)]):
            return tuple(name.split("."))
        case _:
            return ()


def _kind(node: ast.stmt, binds: Bindings) -> Kind:
    """Return the kind of a statement."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return "function"
        case ast.ClassDef():
            return "class"
        case ast.Import() | ast.ImportFrom():
            return "import"
        case _:
            return "constant" if binds else "statement"


def _holds(unit: Unit, kinds: tuple[type[ast.expr], ...]) -> bool:
    """Return whether a unit binds a name to a new container."""
    match unit.node:
        case ast.Assign(value=ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name))):
            return name in _CONTAINER_TYPES
        case ast.Assign(value=value) | ast.AnnAssign(value=value):
            return isinstance(value, kinds)
        case _:
            return False
