"""The normal form: equal for equal syntax trees in all versions of Python, for no others."""

# ruff: noqa: E501 - a piece of code in one line reads best in a table

from __future__ import annotations

import ast
import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault.engine.fingerprints import normalise
from tablevault.engine.fingerprints.normalise import encode

LIBRARY = Path(sysconfig.get_path("stdlib"))
CORPUS = sorted(
    path
    for folder in ("", "asyncio", "email", "json", "unittest", "test", "importlib", "logging")
    for path in (LIBRARY / folder).glob("*.py")
    if path.stat().st_size < 40_000 and not path.stem.startswith("bad")
)[::8]
SOURCES = {path.name: path.read_bytes() for path in CORPUS[::4]}

FSTRINGS = r'''
f"", f"{x}", f"a{x}b" "c" f"{y}" 'd', f"{x!r:>{width}}", f"{x:%Y-%m}", f"{{}}{x}", f"{x=}", f"{x = !s}"
f"{'a' 'b'}", f"{x:{'>'}{10}}", f"\N{EM DASH}{x}\n", rf"\d{x}\n", f"""{
    x
}""", f"{x!r}" "" f"", f"{lambda_:{a}{b}c}", f"{(lambda: 1)}", f"{x,}", f"{ {1: 2}[1] }", f"{x:a\tb}"
u"a", 0x1234567890abcdef1234567890, "a" "b", b"a" b"b", 1_000, 0x1F, 1e3, 1j, -1, 1e999, "\ud800", ..., True, None
'''


def form(source, *, full=False):
    return encode(ast.parse(source), lambda _: False, full=full)[0]


def interpreters():
    """Return the interpreters of other versions that can be run."""
    places = [Path(sys.base_prefix).parent, Path("/usr/bin"), Path("/usr/local/bin")]
    found = {}
    for place in places:
        for path in [*place.glob("3.1[1-9]*/bin/python3.1?"), *place.glob("python3.1[1-9]")]:
            version = path.name.removeprefix("python3.")
            if version.isdigit() and int(version) != sys.version_info.minor and int(version) > 10:
                found.setdefault(version, path)
    return [found[version] for version in sorted(found, key=int)]


DIGESTS = """
import ast, hashlib, importlib.util, json, sys, warnings
warnings.simplefilter("ignore")
spec = importlib.util.spec_from_file_location("normalise", sys.argv[1])
normalise = importlib.util.module_from_spec(spec)
spec.loader.exec_module(normalise)
for path in json.load(sys.stdin):
    tree = ast.parse(open(path, "rb").read())
    forms = [normalise.encode(tree, lambda _: False, full=full) for full in (False, True)]
    print(hashlib.sha256(repr(forms).encode("utf-8", "surrogatepass")).hexdigest())
"""


def digests(interpreter, paths):
    done = subprocess.run(
        [interpreter, "-c", DIGESTS, normalise.__file__],
        input=json.dumps([str(path) for path in paths]),
        capture_output=True,
        text=True,
        check=True,
        env={},
    )
    return done.stdout.split()


@pytest.mark.skipif(not interpreters(), reason="there is no Python of another version")
@pytest.mark.parametrize("interpreter", interpreters(), ids=lambda path: path.name)
def test_the_form_is_the_same_in_every_version_of_python(interpreter, tmp_path):
    literals = tmp_path / "literals.py"
    literals.write_text(FSTRINGS, encoding="utf-8")
    paths = [literals, *CORPUS]
    here, there = digests(sys.executable, paths), digests(interpreter, paths)
    assert len(here) == len(paths)
    assert [
        path for path, *pair in zip(paths, here, there, strict=True) if len(set(pair)) > 1
    ] == []


FINGERPRINTS = """
import ast, pathlib, sys
from tablevault.engine.fingerprints.compute import Fingerprints
from tablevault.engine.fingerprints.program import Program
library = pathlib.Path(sys.argv[1])
modules = {
    str(path.relative_to(library)): path.read_bytes()
    for folder in ("json", "importlib/resources")
    for path in sorted((library / folder).glob("*.py"))
}
fingerprints = Fingerprints(Program(modules))
for path, data in modules.items():
    module = path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
    for node in ast.parse(data).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            print(module, node.name, fingerprints.of(module, node.name).digest.hex())
"""


@pytest.mark.skipif(not interpreters(), reason="there is no Python of another version")
def test_fingerprints_are_the_same_in_every_version_of_python():
    root = str(Path(normalise.__file__).parents[3])
    printed = [
        subprocess.run(
            [interpreter, "-c", FINGERPRINTS, LIBRARY],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONPATH": root},
        ).stdout.splitlines()
        for interpreter in (sys.executable, *interpreters())
    ]
    assert len(printed[0]) > 20
    assert all(lines == printed[0] for lines in printed)


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("full", [False, True])
def test_writing_code_anew_does_not_change_its_form(source, full):
    assert form(source, full=full) == form(ast.unparse(ast.parse(source)), full=full)


EQUAL = {
    "quotes": ("'a'", '"a"'),
    "adjacent texts": ("f'a' 'b' f'{x}'", "'ab' f'{x}'"),
    "empty pieces": ("f'{x}' '' f''", "f'{x}'"),
    "a formatted format": ("f'{x:{y}}'", "f'{x:{y}}' ''"),
    "numbers": ("1000, 0x10, 1e3", "1_000, 16, 1000.0"),
    "parentheses": ("(a + b), (c)", "a + b, c"),
    "a docstring": ("def f():\n    'a'\n    return 1", "def f():\n    return 1"),
    "annotations": (
        "async def f(a: int, *b: c, d: e = 1) -> g: pass",
        "async def f(a, *b, d=1): pass",
    ),
    "the annotation of a variable": ("a: int = 1\nb: int", "a = 1"),
    "a statement on one line": ("if a: b; c", "if a:\n    b\n    c"),
    "elif": ("if a: b\nelif c: d", "if a: b\nelse:\n    if c: d"),
}
DIFFERENT = {
    "the type of a number": ("1", "1.0"),
    "true and one": ("True", "1"),
    "text and bytes": ("'a'", "b'a'"),
    "a name and a text": ("a", "'a'"),
    "the sign of a number": ("-1", "1"),
    "an operator": ("a + b", "a - b"),
    "a conversion": ("f'{x!r}'", "f'{x}'"),
    "the text of a format": ("f'{x:a}'", "f'{x}a'"),
    "an f-string and a text": ("f'{x}'", "'{x}'"),
    "nothing and None": ("def f(): return", "def f(): return None"),
    "a star": ("f(*a)", "f(a)"),
    "a pair of stars": ("{**a}", "{a: a}"),
    "where an argument ends": ("def f(a, /, b): pass", "def f(a, b): pass"),
    "a keyword only": ("def f(a, *, b): pass", "def f(a, b): pass"),
    "a default": ("def f(a, b=1): pass", "def f(a=1, b=2): pass"),
    "async": ("async def f(): pass", "def f(): pass"),
    "the level of an import": ("from . import a", "from .. import a"),
    "a docstring of a class": ("class A: 'a'", "class A: 'b'"),
    "an annotation of a class": ("class A:\n    a: int", "class A:\n    a: str"),
    "a text that is no docstring": ("def f():\n    1\n    'a'", "def f():\n    1\n    'b'"),
    "two names for one": ("a, b", "a; b"),
    "the seam between texts": ("'ab', 'c'", "'a', 'bc'"),
    "a pattern of None": ("match a:\n    case None: pass", "match a:\n    case _: pass"),
    "a group of exceptions": ("try: a\nexcept b: c", "try: a\nexcept* b: c"),
}


@pytest.mark.parametrize(("one", "other"), EQUAL.values(), ids=EQUAL)
def test_the_form_leaves_out(one, other):
    assert form(one) == form(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=DIFFERENT)
def test_the_form_keeps(one, other):
    assert form(one) != form(other)


def test_annotations_and_docstrings_are_kept_where_all_counts():
    assert form("def f(a: int): 'a'", full=True) != form("def f(a: str): 'a'", full=True)
    assert form("def f(a): 'a'", full=True) != form("def f(a): 'b'", full=True)


def test_a_thousand_terms_are_not_too_deep():
    assert form(" + ".join(["a"] * 2000)) != form(" + ".join(["a"] * 2001))


def test_texts_of_three_words_are_found():
    source = (
        "a = 'one two three'\nb = 'one two'\nc = f'one {x} two three'\ndef f():\n    'not this one'"
    )
    assert encode(ast.parse(source), lambda _: False)[1] == ["one two three", "one {} two three"]


def test_texts_in_a_deep_tree_are_found_in_their_order():
    words = [f"one two {number}" for number in range(300)]
    source = " + ".join(map(repr, words))
    assert encode(ast.parse(source), lambda _: False)[1] == words


MUTABLE = ast.Name | ast.Constant | ast.BinOp | ast.Compare | ast.Call | ast.Attribute


def mutate(node):
    """Change one thing about a node; return whether there was something to change."""
    match node:
        case ast.Name():
            node.id += "_"
        case ast.Attribute():
            node.attr += "_"
        case ast.Constant(value=str()):
            node.value += "_"
        case ast.Constant():
            node.value = "other" if node.value != "other" else 1
        case ast.BinOp():
            node.op = ast.Sub() if not isinstance(node.op, ast.Sub) else ast.Add()
        case ast.Compare():
            node.ops = [
                ast.Lt() if not isinstance(node.ops[0], ast.Lt) else ast.Gt(),
                *node.ops[1:],
            ]
        case ast.Call():
            node.args = [*node.args, ast.Name("more", ast.Load())]


@given(st.sampled_from(sorted(SOURCES)), st.randoms(use_true_random=False))
def test_any_change_of_a_tree_changes_its_form(name, random):
    tree = ast.parse(SOURCES[name])
    statement = random.choice(tree.body)
    before = encode(statement, lambda _: False, full=True)[0]
    nodes = [node for node in ast.walk(statement) if isinstance(node, MUTABLE)]
    docstrings = {id(normalise.docstring(node)) for node in ast.walk(statement)}
    nodes = [node for node in nodes if id(node) not in docstrings]
    if nodes:
        mutate(random.choice(nodes))
        assert encode(statement, lambda _: False, full=True)[0] != before
