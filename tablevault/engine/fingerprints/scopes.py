"""Collects the global names that a statement uses, by the scoping rules of Python.

Each use has a **layer**, the time at which it happens: 0 when the module is imported (decorators,
defaults, class bodies), 1 when the function is called, 2 when a function that it returns is
called, and so on. Layers show the code that an import executes: ``@retry`` runs the body of
``retry`` for every function that it decorates, but not the wrapper that ``retry`` returns.
"""

# ruff: noqa: N802 - methods are named after the nodes that they visit

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tablevault.engine.fingerprints.modules import (
    IMPORTS,
    Bindings,
    Import,
    bindings,
    children,
    imported,
)
from tablevault.engine.fingerprints.normalise import FunctionNode, docstring

Chain = tuple[str, ...]
"""A name and the attributes that follow it: ``a.b.c``."""

INTROSPECTIVE = frozenset(
    {"__doc__", "__annotations__", "__signature__", "__type_params__", "__annotate__"}
    | {"get_type_hints", "get_annotations", "getdoc", "signature", "inspect"}
)
"""Names by which code reads docstrings and annotations."""

_CHAINS = (ast.Name, ast.Attribute)
_ROOTED = (ast.Attribute, ast.Subscript, ast.Call)
_BUILTINS = frozenset(dir(builtins))
_STORING = frozenset({"append", "add", "insert", "setdefault", "partial"})
"""Functions of these names store their arguments."""
_MAPPERS = frozenset(
    {"map", "imap", "starmap", "filter", "reduce", "partial", "apply", "applymap", "submit"}
    | {"transform", "agg", "aggregate", "pipe", "wraps", "update_wrapper", "run_in_executor"}
    | {"to_thread", "Thread", "defaultdict", "add_done_callback", "map_async", "apply_async"}
)
"""Functions of these names call their arguments; they do not read docstrings."""


class Use(NamedTuple):
    """A use of a global name, or of a name that a function imports itself."""

    chain: Chain
    origin: Import | None
    layer: int
    handed: bool
    """Whether the value itself is passed on, and not only called or accessed."""
    is_stored: bool = False
    """Whether it is only stored in a container or a partial, which does not call it."""


class Effect(NamedTuple):
    """A side effect of a statement on a global object."""

    chain: Chain
    origin: Import | None
    layer: int
    kind: str  # "call": the result is dropped; "store": an attribute or an item is set


@dataclass(slots=True)
class Facts:
    """The facts of one statement."""

    uses: list[Use] = field(default_factory=list)
    imports: list[tuple[Import, int]] = field(default_factory=list)
    """Import statements, with their layer."""
    effects: list[Effect] = field(default_factory=list)
    dynamic: list[tuple[str, int]] = field(default_factory=list)
    """Why names cannot be resolved, if they cannot (``globals()``), and the layer."""
    computed_imports: list[str] = field(default_factory=list)
    """Imports of a module whose name is computed: ``import_module()``."""
    calls_at_import: bool = False
    keeps: set[int] = field(default_factory=set)
    """Depths of functions that hand their first parameter on: of the function itself (0), of those
    within (1). As a decorator such a function may have the docstring read."""


def facts_of(
    node: ast.AST, is_full: Callable[[FunctionNode], bool], *, full: bool, walrus: bool = True
) -> Facts:
    """Return what a statement of a module uses.

    Parameters
    ----------
    node : ast.AST
        The statement, or the test of an ``if`` around it.
    is_full, full
        Whose annotations count, as `normalise.encode` has it; others are passed over.
    walrus : bool, default True
        Whether there can be ``name := value``.
    """
    walker = _Walker(is_full, full=full, walrus=walrus)
    try:
        walker.visit(node)
    except RecursionError:  # hundreds of calls or branches within each other
        return _facts_without_scopes(node)
    return walker.facts


def _facts_without_scopes(node: ast.AST) -> Facts:
    """Return what a statement may use at most: every name in it, whatever it stands for."""
    facts = Facts(calls_at_import=True)
    for each in ast.walk(node):
        if isinstance(each, ast.Name):
            facts.uses.append(Use((each.id,), None, 0, handed=True))
        elif isinstance(each, IMPORTS):
            for name, origin in imported(each):
                facts.imports.append((origin, 0))
                facts.uses.append(Use((name,), origin, 0, handed=True))
    return facts


@dataclass(slots=True)
class _NameScope:
    """Names that a function, class, lambda or comprehension binds."""

    is_class: bool
    names: Bindings
    globals: frozenset[str] = frozenset()
    first_parameter: str = ""


class _Walker:
    """Visits a statement with the scopes that are open around each expression."""

    def __init__(
        self, is_full: Callable[[FunctionNode], bool], *, full: bool, walrus: bool
    ) -> None:
        self.facts = Facts()
        self._walrus = walrus
        self._is_full = is_full
        self._full = full
        self._scopes: list[_NameScope] = []
        self._layer = 0
        self._deferred: set[ast.AST] = set()

    def visit(self, node: ast.AST) -> None:
        """Visit a node; faster than by making the name of the method each time."""
        kind = node.__class__
        if kind is ast.Constant:
            return
        method = _methods.get(kind)
        if method is None:
            method = _methods[kind] = getattr(_Walker, f"visit_{kind.__name__}", _visit_children)
        method(self, node)

    # Scopes

    def visit_FunctionDef(self, node: FunctionNode) -> None:
        """Visit decorators and defaults outside, annotations if they count, the body inside."""
        full, self._full = self._full, self._full or self._is_full(node)
        arguments = _arguments(node.args)
        if node.decorator_list and not self._layer:
            self.facts.calls_at_import = True
        for each in node.decorator_list:
            self._visit_chain(each, handed=False)
        self._visit_all([*node.args.defaults, *filter(None, node.args.kw_defaults)])
        if self._full:
            self._visit_annotations([*(each.annotation for each in arguments), node.returns])
            self._visit_all(getattr(node, "type_params", ()))
        # At module level the body runs later; within a function, unless it is only returned.
        later = not any(not scope.is_class for scope in self._scopes) or node in self._deferred
        self._visit_body(node, arguments, later=later)
        self._full = full

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_Lambda(self, node: ast.Lambda) -> None:
        """Visit defaults outside, the body inside."""
        self._visit_all([*node.args.defaults, *filter(None, node.args.kw_defaults)])
        names = frozenset(each.arg for each in _arguments(node.args))
        later = not any(not scope.is_class for scope in self._scopes)
        self._layer += later
        inner, _, _ = bindings([node.body], walrus=self._walrus)
        self._scopes.append(_NameScope(is_class=False, names=dict.fromkeys(names, ()) | inner))
        self.visit(node.body)
        self._scopes.pop()
        self._layer -= later

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Visit bases outside, the body in a scope that the methods cannot see."""
        full, self._full = self._full, True
        if not self._layer and (node.decorator_list or node.keywords):
            self.facts.calls_at_import = True
        for each in node.decorator_list:
            self._visit_chain(each, handed=False)
        self._visit_all([*node.bases, *node.keywords, *getattr(node, "type_params", ())])
        names, declared, _ = bindings(node.body, walrus=self._walrus)
        self._scopes.append(_NameScope(is_class=True, names=names, globals=declared))
        self._visit_all(node.body)
        self._scopes.pop()
        self._full = full

    def _visit_comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
    ) -> None:
        """Visit the first iterable outside, everything else inside."""
        first, *others = node.generators
        self.visit(first.iter)
        names: Bindings = {}
        for each in node.generators:
            names |= bindings([each.target], walrus=False)[0]
        self._scopes.append(_NameScope(is_class=False, names=names))
        self._visit_all([first.target, *first.ifs, *others])
        elements = (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,)
        self._visit_all(elements)
        self._scopes.pop()

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _visit_comprehension  # noqa: N815

    def _visit_body(self, node: FunctionNode, arguments: Sequence[ast.arg], *, later: bool) -> None:
        """Visit the body of a function in a scope of its own."""
        names, declared, has_functions = bindings(node.body, walrus=self._walrus)
        positional = [*node.args.posonlyargs, *node.args.args]
        scope = _NameScope(
            is_class=False,
            names=dict.fromkeys((each.arg for each in arguments), ()) | names,
            globals=declared,
            first_parameter=positional[0].arg if positional else "",
        )
        if has_functions:
            self._deferred |= _only_returned(node.body)
        self._scopes.append(scope)
        self._layer += later
        skipped = 0 if self._full or docstring(node) is None else 1
        self._visit_all(node.body[skipped:])
        self._layer -= later
        self._scopes.pop()

    # Statements

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """Visit the annotation only where it counts."""
        if self._full:
            self._visit_annotations([node.annotation])
        if self._full or node.value is not None:
            self.visit(node.target)
        if node.value is not None:
            self.visit(node.value)

    def visit_Global(self, node: ast.Global) -> None:
        """Count the names as used: binding a global name changes what other functions see."""
        for name in node.names:
            self._use((name,), handed=False)
            self.facts.effects.append(Effect((name,), None, self._layer, "store"))

    def visit_Import(self, node: ast.Import) -> None:
        """Note what is imported."""
        self.facts.imports += [(Import(alias.name), self._layer) for alias in node.names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Note what is imported."""
        self.facts.imports += [
            (Import(node.module or "", node.level, alias.name), self._layer) for alias in node.names
        ]

    def visit_Expr(self, node: ast.Expr) -> None:
        """Note a call whose result is discarded: it has a side effect."""
        value = node.value.value if isinstance(node.value, ast.Await) else node.value
        if isinstance(value, ast.Call):
            first = value.args[:1] if chain_of(value.func) in {("setattr",), ("delattr",)} else []
            self._effect(first[0] if first else value.func, "store" if first else "call")
        self.visit(node.value)

    def visit_Return(self, node: ast.Return) -> None:
        """Visit what is returned; a parameter that is returned is not kept."""
        if isinstance(node.value, ast.Name) and not self._find(node.value.id):
            return
        _visit_children(self, node)

    # Expressions

    def visit_Name(self, node: ast.Name) -> None:
        """Note a name."""
        if isinstance(node.ctx, ast.Load):
            self._note_chain((node.id,), handed=True)
        elif not self._scopes or node.id in self._scopes[-1].globals:
            self._note_chain((node.id,), handed=False)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Note a chain of attributes."""
        if not isinstance(node.ctx, ast.Load):
            self._effect(node.value, "store")
        self._visit_chain(node, handed=True)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """Note an item that is set, and modules that are taken from ``sys.modules``."""
        if not isinstance(node.ctx, ast.Load):
            self._effect(node.value, "store")
        if chain_of(node.value) == ("sys", "modules"):
            self._import_computed(node.slice, "sys.modules")
        self._visit_chain(node.value, handed=False)
        self.visit(node.slice)

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        """Visit a loop: its iterable is not passed on."""
        self._visit_chain(node.iter, handed=False)
        self._visit_all([node.target, *node.body, *node.orelse])

    visit_AsyncFor = visit_For  # noqa: N815

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        """Note the target as changed: ``X += [1]`` changes the list under all its names."""
        self._effect(node.target, "store")
        _visit_children(self, node)

    def _visit_read(self, node: ast.AST) -> None:
        """Visit operands: comparing, adding or formatting a value does not pass it on."""
        for each in ast.iter_child_nodes(node):
            if isinstance(each, ast.expr):
                self._visit_chain(each, handed=False)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        """Visit the operands of a sum, which may have hundreds of terms, without recursion."""
        stack: list[ast.expr] = [node]
        while stack:
            each = stack.pop()
            if isinstance(each, ast.BinOp):
                stack += [each.right, each.left]
            else:
                self._visit_chain(each, handed=False)

    visit_Compare = visit_UnaryOp = visit_FormattedValue = _visit_read  # noqa: N815

    def visit_Call(self, node: ast.Call) -> None:
        """Visit a call: the arguments are passed on, the function is not."""
        chain = chain_of(node.func)
        if not self._layer and chain[-1:] != ("partial",):
            self.facts.calls_at_import = True
        if chain:
            self._note_chain(chain, handed=False)
        else:
            self._visit_chain(node.func, handed=False)
        arguments = node.args
        if len(chain) == 1 and not self._is_bound(chain[0]):
            arguments = self._visit_builtin(chain[0], node)
        if chain[-1:] in {("import_module",), ("__import__",)}:
            self._import_computed(node.args[0] if node.args else node, f"{chain[-1]}()")
        harmless = bool(chain) and (
            chain[-1] in _MAPPERS or (len(chain) == 1 and chain[0] in _BUILTINS)
        )
        is_stored = chain[-1:] != () and chain[-1] in _STORING
        for each in [*arguments, *(keyword.value for keyword in node.keywords)]:
            handed = not (harmless or (node.keywords and self._is_key(each, node)))
            self._visit_chain(each, handed=handed, is_stored=is_stored)

    @staticmethod
    def _is_key(value: ast.expr, node: ast.Call) -> bool:
        """Return whether a value is passed as ``key=`` or ``default_factory=``."""
        return any(
            keyword.value is value and keyword.arg in {"key", "default_factory", "target"}
            for keyword in node.keywords
        )

    def _visit_builtin(self, name: str, node: ast.Call) -> list[ast.expr]:
        """Note calls that hide the names they use; return the remaining arguments."""
        match name, node.args:
            case "getattr" | "hasattr", [owner, ast.Constant(value=str(attribute)), *others]:
                if chain := chain_of(owner):
                    self._use((*chain, attribute), handed=True)
                    return others
            case "eval" | "exec" | "globals", _:
                self.facts.dynamic.append((f"{name}()", self._layer))
            case "vars", []:
                self.facts.dynamic.append(("vars()", self._layer))
            case "locals" | "dir", [] if not self._layer:  # in a function these are its own names
                self.facts.dynamic.append((f"{name}()", self._layer))
            case _:
                pass
        return node.args

    def _visit_chain(self, node: ast.expr, *, handed: bool, is_stored: bool = False) -> None:
        """Note a chain of names, or visit another expression."""
        if not isinstance(node, _CHAINS):
            self.visit(node)
        elif chain := chain_of(node):
            self._note_chain(chain, handed=handed, is_stored=is_stored)
        elif isinstance(node, ast.Attribute):
            self.visit(node.value)

    def _note_chain(self, chain: Chain, *, handed: bool, is_stored: bool = False) -> None:
        """Note a chain of names."""
        if handed if len(chain) == 1 else chain[1] in INTROSPECTIVE:
            for depth, scope in enumerate(self._scopes):
                if scope.first_parameter == chain[0]:
                    self.facts.keeps.add(depth)
        self._use(chain, handed=handed, is_stored=is_stored)

    def _visit_all(self, nodes: Iterable[ast.AST]) -> None:
        """Visit nodes in order."""
        for each in nodes:
            self.visit(each)

    def _visit_annotations(self, nodes: Iterable[ast.expr | None]) -> None:
        """Visit annotations, also those that are written as texts."""
        for node in filter(None, nodes):
            self.visit(node)
            for each in ast.walk(node):
                if isinstance(each, ast.Constant) and isinstance(each.value, str):
                    try:
                        self.visit(ast.parse(each.value, mode="eval").body)
                    except (SyntaxError, ValueError):
                        continue  # a text, as in Literal["some words"]

    # Names

    def _use(self, chain: Chain, *, handed: bool, is_stored: bool = False) -> None:
        """Note a use of a global name, or of one that a function has imported."""
        for origin in self._find(chain[0]):
            self.facts.uses.append(Use(chain, origin, self._layer, handed, is_stored))

    def _effect(self, node: ast.expr, kind: str) -> None:
        """Note an effect on what an expression names, or on something that has no name."""
        chain = chain_of(_root(node))
        for origin in self._find(chain[0]) if chain else (None,):
            self.facts.effects.append(Effect(chain, origin, self._layer, kind))

    def _import_computed(self, name: ast.expr, what: str) -> None:
        """Note an import by the name of a module, which may be a constant or computed."""
        match name:
            case ast.Constant(value=str(module)):
                level = len(module) - len(module.lstrip("."))
                origin = Import(module[level:], level)
                self.facts.imports.append((origin, self._layer))
                self.facts.uses.append(Use((module,), origin, self._layer, handed=True))
            case ast.Name(id="__name__"):
                self.facts.dynamic.append((what, self._layer))
            case _:
                self.facts.computed_imports.append(what)

    def _find(self, name: str) -> tuple[Import | None, ...]:
        """Return the imports of a name: `None` for a global name, empty for a local one."""
        for depth, scope in enumerate(reversed(self._scopes)):
            if name in scope.globals:
                break
            if name not in scope.names or (scope.is_class and depth):
                continue
            origins = scope.names[name]
            if origins or not scope.is_class:  # a class may also read the global of that name
                return origins
        return (None,)

    def _is_bound(self, name: str) -> bool:
        """Return whether a name is bound by a scope around."""
        return any(name in scope.names for scope in self._scopes)


_methods: dict[type[ast.AST], Callable[[_Walker, Any], None]] = {}


def _visit_children(walker: _Walker, node: ast.AST) -> None:
    """Visit a node that has no method of its own."""
    for each in children(node):
        walker.visit(each)


def chain_of(node: ast.AST) -> Chain:
    """Return ``("a", "b", "c")`` for ``a.b.c``; empty for other expressions."""
    attributes: Chain = ()
    while isinstance(node, ast.Attribute):
        attributes = (node.attr, *attributes)
        node = node.value
    return (node.id, *attributes) if isinstance(node, ast.Name) else ()


def _root(node: ast.expr) -> ast.expr:
    """Return ``a.b`` for ``a.b[0].c()``: the expression that is a chain of names."""
    while not chain_of(node) and isinstance(node, _ROOTED):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node


def _arguments(node: ast.arguments) -> list[ast.arg]:
    """Return all parameters."""
    return [
        *node.posonlyargs,
        *node.args,
        *node.kwonlyargs,
        *filter(None, (node.vararg, node.kwarg)),
    ]


def _only_returned(body: Sequence[ast.stmt]) -> set[ast.AST]:
    """Return the functions in a body whose name is used in ``return name`` and nowhere else."""
    functions: dict[str, ast.AST] = {}
    returned: set[int] = set()
    used: set[str] = set()
    for statement in body:
        for node in ast.walk(statement):
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    functions[name] = node
                case ast.Return(value=ast.Name() as value):
                    returned.add(id(value))
                case ast.Name(id=name) if id(node) not in returned:
                    used.add(name)
                case _:
                    continue
    return {node for name, node in functions.items() if name not in used}
