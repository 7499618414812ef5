"""The normal form of code: bytes that are equal when two pieces of code differ in form only.

An abstract syntax tree already lacks comments, parentheses, quotes, the spelling of numbers and the
seams between adjacent literals. The encoding here drops what is left of the form and of the
Python version that parsed it:

- positions, contexts (load, store), type comments, and the ``u`` in front of a text;
- fields that are empty, so a field that a newer Python adds changes nothing until it is used
  (``type_params`` in 3.12, ``default_value`` in 3.13);
- seams and empty pieces within f-strings, which PEP 701 (3.12) parses in other portions;
- in plain functions: docstrings, annotations and type parameters.

The encoding is of our own because ``ast.dump`` changes its form between versions (3.13 omits empty
fields). Each node is ``Name(field=value...)``; texts carry their length, so no two trees share a
form.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef

WORDS_OF_A_TEXT = 3
"""Words from which on a constant is a text (a prompt) and not a key or a pattern."""

_FORM = frozenset({"ctx", "type_comment", "kind", "type_ignores"})
_SIGNATURE = frozenset({"returns", "type_params", "annotation"})
_PASS: list[ast.stmt] = [ast.Pass()]
_TWOFOLD = (ast.AnnAssign, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
"""Statements that count in full, or without what only readers see."""

_END_OF_FULL = object()
"""On the stack, behind what counts in full."""

_forms: dict[type[ast.AST], tuple[bytes, tuple[tuple[str, bytes], ...]]] = {}


def encode(
    node: ast.AST, is_full: Callable[[FunctionNode], bool], *, full: bool = False
) -> tuple[bytes, list[str]]:
    """Return the normal form of a tree, and the text constants in it.

    Parameters
    ----------
    node : ast.AST
        What is encoded.
    is_full : callable
        Whether docstring and annotations of a function count. What stands in a class or in such a
        function counts in full without being asked about.
    full : bool, default False
        Whether docstrings and annotations count everywhere.

    Returns
    -------
    bytes
        The normal form.
    list of str
        Constants of three words or more, in order. An f-string is one text, with ``{}`` where a
        value goes.
    """
    out: list[bytes] = []
    texts: list[str] = []
    # A stack and not recursion: a sum of a thousand terms is a tree of that depth.
    stack: list[object] = [node]
    while stack:
        value = stack.pop()
        kind = value.__class__
        if kind is bytes:
            out.append(value)  # type: ignore[arg-type]
        elif kind is ast.Constant:
            out.append(_constant(value.value))  # type: ignore[attr-defined]
            _keep_text(value.value, texts)  # type: ignore[attr-defined]
        elif kind is ast.Name:
            out.append(b"Name(id=%b)" % _constant(value.id))  # type: ignore[attr-defined]
        elif kind is list:
            out.append(b"[")
            stack.append(b"]")
            stack += reversed(value)  # type: ignore[call-overload]
        elif isinstance(value, ast.AST):
            if kind is ast.JoinedStr:
                _keep_text(_template(value), texts)  # type: ignore[arg-type]
            full = _open(value, is_full, full, out, stack)
        elif value is _END_OF_FULL:
            full = False
        else:
            out.append(_constant(value))
    return b"".join(out), texts


def docstring(node: ast.AST) -> ast.Constant | None:
    """Return the constant that is the docstring of a function, class or module, if it has one."""
    match node:
        case (
            ast.FunctionDef(body=[ast.Expr(value=ast.Constant(value=str()) as text), *_])
            | ast.AsyncFunctionDef(body=[ast.Expr(value=ast.Constant(value=str()) as text), *_])
            | ast.ClassDef(body=[ast.Expr(value=ast.Constant(value=str()) as text), *_])
            | ast.Module(body=[ast.Expr(value=ast.Constant(value=str()) as text), *_])
        ):
            return text
        case _:
            return None


def _open(
    node: ast.AST,
    is_full: Callable[[FunctionNode], bool],
    full: bool,
    out: list[bytes],
    stack: list[object],
) -> bool:
    """Write the beginning of a node, leave the rest on the stack; return whether it is full."""
    if not full and isinstance(node, _TWOFOLD):
        if isinstance(node, ast.AnnAssign):
            if node.value is None:
                return full  # only a type checker reads it
            node = ast.Assign([node.target], node.value)
        elif isinstance(node, ast.ClassDef) or is_full(node):
            full = True
            stack.append(_END_OF_FULL)
    name, fields = _forms.get(node.__class__) or _form(node.__class__)
    out.append(name)
    stack.append(b")")
    for field, tag in fields:
        value = getattr(node, field, None)
        if value is None or value == [] or (not full and field in _SIGNATURE):
            continue
        if field == "body" and (text := docstring(node)):
            value = _body(value, text, full=full)
        elif field == "values" and name in {b"JoinedStr(", b"TemplateStr("}:
            value = _merged(value)
        elif value.__class__ is str:
            value = _constant(value)
        stack.append(value)
        stack.append(tag)
    return full


def _form(kind: type[ast.AST]) -> tuple[bytes, tuple[tuple[str, bytes], ...]]:
    """Return how a kind of node begins, and its fields with what is written before their values."""
    names = sorted(set(kind._fields) - _FORM, reverse=True)
    fields = tuple((name, name.encode() + b"=") for name in names)
    _forms[kind] = kind.__name__.encode() + b"(", fields
    return _forms[kind]


def _body(body: list[ast.stmt], text: ast.Constant, *, full: bool) -> list[ast.stmt]:
    """Return the statements of a body with the docstring as Python 3.13 keeps it, or without."""
    if not full:
        return body[1:] or _PASS
    return [ast.Expr(ast.Constant(inspect.cleandoc(str(text.value)))), *body[1:]]


def _merged(values: list[ast.expr]) -> list[ast.expr | bytes]:
    """Return the pieces of an f-string without seams between texts and without empty texts."""
    merged: list[ast.expr | str] = [""]
    for value in values:
        if not isinstance(value, ast.Constant):
            merged += [value, ""]
        elif isinstance(merged[-1], str):
            merged[-1] += str(value.value)
    return [_constant(each) if isinstance(each, str) else each for each in merged if each != ""]


def _template(node: ast.JoinedStr) -> str:
    """Return the text of an f-string, with ``{}`` where a value goes."""
    return "".join(
        str(piece.value) if isinstance(piece, ast.Constant) else "{}" for piece in node.values
    )


def _keep_text(value: object, texts: list[str]) -> None:
    """Note a constant that is long enough to be a prompt."""
    if isinstance(value, str) and len(value.replace("{}", " ").split()) >= WORDS_OF_A_TEXT:
        texts.append(value)


def _constant(value: object) -> bytes:
    """Return the form of a constant; its type is part of it, as 1, 1.0 and True are equal."""
    match value:
        case str():
            # Python source may spell half of a surrogate pair.
            data = value.encode("utf-8", "surrogatepass")
            return b"s%d:%b" % (len(data), data)
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
