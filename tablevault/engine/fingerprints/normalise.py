"""Encodes syntax trees in a normal form: equal bytes for code that differs in formatting only.

An abstract syntax tree already lacks comments, parentheses, quotes, the spelling of numbers and the
boundaries of adjacent literals. The encoding drops the remaining traces of formatting and of
the Python version of the parser:

- positions, contexts (load, store), type comments, and the ``u`` in front of a text;
- empty fields, so that a field of a newer Python changes nothing until it is used
  (``type_params`` in 3.12, ``default_value`` in 3.13);
- boundaries and empty parts within f-strings, which PEP 701 (3.12) splits differently;
- in plain functions: docstrings, annotations and type parameters.

It is not ``ast.dump``, because that changes its form between versions (3.13 omits empty
fields). Each node is ``Name(field=value...)``; texts carry their length, so no two trees share a
form.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef

WORDS_OF_A_TEXT = 3
"""From so many words on a constant is a text (a prompt), not a key or a pattern."""

_FORM = frozenset({"ctx", "type_comment", "kind", "type_ignores"})
_SIGNATURE = frozenset({"returns", "type_params", "annotation"})
_PASS: list[ast.stmt] = [ast.Pass()]
_TWOFOLD = frozenset({ast.AnnAssign, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef})
"""Statements that are encoded in full, or without docstrings and annotations."""

_WITH_DOCSTRING = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)
_FORMATTED = (ast.JoinedStr, getattr(ast, "TemplateStr", ast.JoinedStr))

_DEEPEST = 50
"""Depth of nodes that are encoded by recursion."""

_forms: dict[type[ast.AST], tuple[bytes, tuple[tuple[str, bytes], ...]]] = {}


def encode(
    node: ast.AST, is_full: Callable[[FunctionNode], bool], *, full: bool = False
) -> tuple[bytes, list[str]]:
    """Return the normal form of a tree, and the text constants in it.

    Parameters
    ----------
    node : ast.AST
        The tree.
    is_full : callable
        Whether docstring and annotations of a function are included. Everything within a class or
        such a function is encoded in full without a call.
    full : bool, default False
        Whether docstrings and annotations are included everywhere.

    Returns
    -------
    bytes
        The normal form.
    list of str
        Constants of three words or more, in order. An f-string is one text, with ``{}`` for
        values.
    """
    writers = [_FormWriter(node, is_full, full=full)]
    for writer in writers:  # grows by subtrees that are too deep
        writers += writer.run()
    for writer in reversed(writers[1:]):
        writer.close()
    return b"".join(writers[0].out), writers[0].texts


def docstring(node: ast.AST) -> ast.Constant | None:
    """Return the docstring of a function, class or module; None if it has none."""
    if isinstance(node, _WITH_DOCSTRING) and node.body and isinstance(node.body[0], ast.Expr):
        text = node.body[0].value
        if isinstance(text, ast.Constant) and isinstance(text.value, str):
            return text
    return None


class _FormWriter:
    """Encodes a node by recursion, with gaps for subtrees that are too deep.

    A sum of a thousand terms is a tree of that depth.
    """

    __slots__ = ("_at", "_deep", "_full", "_is_full", "_node", "_parent", "out", "texts")

    def __init__(
        self,
        node: ast.AST,
        is_full: Callable[[FunctionNode], bool],
        *,
        full: bool,
        parent: _FormWriter | None = None,
    ) -> None:
        self.out: list[bytes] = []
        self.texts: list[str] = []
        self._node = node
        self._is_full = is_full
        self._full = full
        self._parent = parent
        self._at = (0, 0) if parent is None else (len(parent.out), len(parent.texts))
        self._deep: list[_FormWriter] = []

    def run(self) -> list[_FormWriter]:
        """Write the node, and return the writers of its gaps."""
        self._write(self._node, 0)
        return self._deep

    def close(self) -> None:
        """Fill the gap in the enclosing writer."""
        assert self._parent is not None
        out, text = self._at
        self._parent.out[out] = b"".join(self.out)
        self._parent.texts[text:text] = self.texts

    def _write(self, node: ast.AST, depth: int) -> None:
        """Write a node."""
        if isinstance(node, ast.Constant):
            self.out.append(_constant(node.value))
            _keep_text(node.value, self.texts)
        elif depth == _DEEPEST:
            deep = _FormWriter(node, self._is_full, full=self._full, parent=self)
            self._deep.append(deep)
            self.out.append(b"")
        elif self._full or node.__class__ not in _TWOFOLD:
            if isinstance(node, ast.JoinedStr):
                _keep_text(_template(node), self.texts)
            self._write_fields(node, depth)
        elif not isinstance(node, ast.AnnAssign):
            self._full = isinstance(node, ast.ClassDef) or self._is_full(cast("FunctionNode", node))
            self._write_fields(node, depth)
            self._full = False
        elif node.value is not None:  # else it matters to type checkers only
            self._write_fields(ast.Assign([node.target], node.value), depth)

    def _write_fields(self, node: ast.AST, depth: int) -> None:
        """Write the kind of a node and its fields."""
        out, full = self.out, self._full
        begin, fields = _forms.get(node.__class__) or _form(node.__class__)
        out.append(begin)
        for field, tag in fields:
            value = getattr(node, field, None)
            kind = value.__class__
            if value is None or (not full and field in _SIGNATURE):
                continue
            if kind is not list:
                out.append(tag)
                self._write_value(value, kind, depth)
            elif value:
                out.append(tag + b"[")
                for each in _items(node, field, value, full=full):
                    self._write_value(each, each.__class__, depth)
                out.append(b"]")
        out.append(b")")

    def _write_value(self, value: Any, kind: type, depth: int) -> None:  # noqa: ANN401 - any field
        """Write what a field holds."""
        if kind is ast.Name:
            self.out.append(_named(value.id))
        elif kind is str:
            self.out.append(_name(value))
        elif isinstance(value, ast.AST):
            self._write(value, depth + 1)
        else:
            self.out.append(value if kind is bytes else _constant(value))


def _form(kind: type[ast.AST]) -> tuple[bytes, tuple[tuple[str, bytes], ...]]:
    """Return the opening of a type of node, and its fields with their tags."""
    names = sorted(set(kind._fields) - _FORM)
    fields = tuple((name, name.encode() + b"=") for name in names)
    _forms[kind] = kind.__name__.encode() + b"(", fields
    return _forms[kind]


def _items(node: ast.AST, field: str, values: list[Any], *, full: bool) -> list[Any]:
    """Return the items of a field that are encoded."""
    if field == "body" and (text := docstring(node)):
        return _body(values, text, full=full)
    return _merged(values) if field == "values" and isinstance(node, _FORMATTED) else values


def _body(body: list[ast.stmt], text: ast.Constant, *, full: bool) -> list[ast.stmt]:
    """Return the statements of a body with the docstring as Python 3.13 keeps it, or without."""
    if not full:
        return body[1:] or _PASS
    return [ast.Expr(ast.Constant(inspect.cleandoc(str(text.value)))), *body[1:]]


def _merged(values: list[ast.expr]) -> list[ast.expr | bytes]:
    """Return the parts of an f-string with adjacent texts joined and empty ones removed."""
    merged: list[ast.expr | str] = [""]
    for value in values:
        if not isinstance(value, ast.Constant):
            merged += [value, ""]
        elif isinstance(merged[-1], str):
            merged[-1] += str(value.value)
    return [_constant(each) if isinstance(each, str) else each for each in merged if each != ""]


def _template(node: ast.JoinedStr) -> str:
    """Return the text of an f-string, with ``{}`` for values."""
    return "".join(
        str(piece.value) if isinstance(piece, ast.Constant) else "{}" for piece in node.values
    )


def _keep_text(value: object, texts: list[str]) -> None:
    """Note a constant that is long enough to be a prompt."""
    if isinstance(value, str) and len(value.replace("{}", " ").split()) >= WORDS_OF_A_TEXT:
        texts.append(value)


def _text(value: str) -> bytes:
    """Return the form of a text."""
    data = value.encode("utf-8", "surrogatepass")  # source may spell half of a surrogate pair
    return b"s%d:%b" % (len(data), data)


@lru_cache(maxsize=4096)
def _name(name: str) -> bytes:
    """Return the form of a name; the same one stands in a module many times."""
    return _text(name)


@lru_cache(maxsize=4096)
def _named(name: str) -> bytes:
    """Return the form of an expression that is a name."""
    return b"Name(id=%b)" % _text(name)


def _constant(value: object) -> bytes:
    """Return the form of a constant; its type is part of it, as 1, 1.0 and True are equal."""
    match value:
        case str():
            return _text(value)
        case bytes():
            return b"b%d:%b" % (len(value), value)
        case bool() | None:
            return b"<%b>" % str(value).encode()
        case int():
            return b"<%x>" % value  # decimal digits of long numbers are refused (CVE-2020-10735)
        case float() | complex():
            return b"<%b %b>" % (type(value).__name__.encode(), repr(value).encode())
        case _ if value is ...:
            return b"<...>"
        case _:
            raise AssertionError(f"{value!r} is no constant of a syntax tree")
