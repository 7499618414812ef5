"""Names that statements bind in their own scope, and what they import."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tablevault.engine.calls.normalise import FunctionNode

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
"""Fields of the most frequent statements in which names are bound without ``:=``."""
_TARGETS = (ast.Name, ast.Tuple, ast.List, ast.Starred)
_naming: dict[type[ast.AST], str] = {}
"""Fields with the name that a kind of node binds, "" where there is none."""
_fields: dict[type[ast.AST], tuple[str, ...]] = {}
"""Fields of a kind of node that can hold other nodes."""


@dataclass(frozen=True, slots=True)
class Import:
    """What an import statement binds: a module, or an attribute of one."""

    module: str
    level: int = 0
    attribute: str = ""

    def dotted(self, rest: tuple[str, ...]) -> str:
        """Return the whole name of what is imported, with the attributes that follow."""
        return ".".join(filter(None, (self.module, self.attribute, *rest)))


Bindings = dict[str, tuple[Import, ...]]
"""Names, each with what it is imported from: more than one thing in ``try`` and ``except``."""


def imported(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Import]]:
    """Yield the names that an import statement binds, and what to."""
    for alias in node.names:
        if isinstance(node, ast.ImportFrom):
            yield alias.asname or alias.name, Import(node.module or "", node.level, alias.name)
        elif alias.asname:
            yield alias.asname, Import(alias.name)
        else:
            yield alias.name.partition(".")[0], Import(alias.name.partition(".")[0])


def bindings(nodes: Iterable[ast.AST], *, walrus: bool) -> tuple[Bindings, frozenset[str], bool]:
    """Return what statements bind in their own scope.

    Parameters
    ----------
    nodes : iterable of ast.AST
        Statements, or targets of an assignment.
    walrus : bool
        Whether expressions are searched for ``name := value``; they bind nothing else.

    Returns
    -------
    dict
        The names, each with what it is imported from.
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
    """Return the name that a node binds by itself, "" when it binds none."""
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
        # An assignment expression within binds outside (PEP 572), the targets bind inside.
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
