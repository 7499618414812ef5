"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
import tokenize
from collections import Counter
from pathlib import Path

import pytest

from tablevault import core, errors
from tests.sources import MODULES, PACKAGE, parsed

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

LONGEST_MODULE = 400
LONGEST_CORE = 500
"""The public class has a method for each thing that can be done: it grows in signatures alone."""
BANNED_NAMES = {
    "utils",
    "util",
    "helpers",
    "helper",
    "common",
    "misc",
    "manager",
    "handler",
    "base",
    "data",
    "info",
}
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
UNSAFE_NAMES = {"read_pickle", "to_pickle", "allow_pickle"}


def classes() -> list[tuple[str, Path]]:
    """Return the name of each class, and its module."""
    return [
        (node.name, path)
        for path, tree in parsed().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    ]


def lines_of_code(path: Path) -> int:
    """Count the lines that hold code: not docstrings, comments or blank ones."""
    lines: set[int] = set()
    at_start = True  # a string that is a whole statement is a docstring
    passed_over = {
        tokenize.ENCODING,
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.INDENT,
        tokenize.DEDENT,
    }
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type in passed_over:
                continue
            if token.type == tokenize.NEWLINE:
                at_start = True
            elif not (at_start and token.type == tokenize.STRING):
                lines.update(range(token.start[0], token.end[0] + 1))
                at_start = False
    return len(lines)


def test_a_module_is_not_too_long():
    longest = {PACKAGE / "core.py": LONGEST_CORE}
    lengths = {path: lines_of_code(path) for path in MODULES}
    assert not [path for path in MODULES if lengths[path] > longest.get(path, LONGEST_MODULE)]


def test_a_module_begins_with_one_sentence():
    for path, tree in parsed().items():
        first = (ast.get_docstring(tree) or "").split("\n\n")[0]
        assert first.endswith("."), f"{path}: {first}"
        assert "\n" not in first, f"{path}: the first sentence takes more than one line"
        assert not re.search(r"(?<!now )and then", first), path


def test_names_say_what_is_in_them():
    names = [(name.lower(), path) for name, path in classes()]
    names += [(name, path) for path in MODULES for name in (path.stem, path.parent.name)]
    assert not [each for each in names if each[0] in BANNED_NAMES]


def test_no_two_classes_have_one_name():
    """A leading underscore makes no other name of it."""
    found = classes()
    counts = Counter(name.strip("_") for name, _ in found)
    assert not [each for each in found if counts[each[0].strip("_")] > 1]


SENDS_PICKLES = PACKAGE / "engine" / "execution" / "parcels.py"
"""What an execution and the workers of its executor send each other, and nothing that is kept."""


def test_nothing_is_read_that_could_run_code():
    for path, tree in parsed().items():
        for node in () if path == SENDS_PICKLES else ast.walk(tree):
            match node:
                case ast.Import(names=names):
                    assert not UNSAFE_MODULES & {alias.name.split(".")[0] for alias in names}, path
                case ast.ImportFrom(module=str(module)):
                    assert module.split(".")[0] not in UNSAFE_MODULES, path
                case ast.Attribute(attr=name) | ast.keyword(arg=name):
                    assert name not in UNSAFE_NAMES, path


def test_methods_of_core_are_one_statement_long():
    """Besides the imports of what they call."""
    tree = parsed()[PACKAGE / "core.py"]
    long = [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and len([each for each in node.body if not is_docstring(each) | is_import(each)]) != 1
    ]
    assert not long


def is_import(node: ast.stmt) -> bool:
    """Return whether a statement is an import."""
    return isinstance(node, ast.ImportFrom)


def is_docstring(node: ast.stmt) -> bool:
    """Return whether a statement is nothing but a text."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def test_all_that_is_public_in_core_is_documented():
    public = {
        name: value
        for name, value in (vars(core) | vars(core.TableVault)).items()
        if not name.startswith("_") and inspect.isfunction(value)
    }
    assert len(public) > 20
    assert not [name for name, value in public.items() if not value.__doc__]


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        (
            "import tablevault",
            ["pandas", "numpy", "pyarrow", "pygit2", "rich", "yaml", "sqlite3", "jinja2"],
        ),
        ("from tablevault.core import TableVault", ["pandas", "numpy", "pyarrow", "jinja2"]),
        ("import tablevault.errors", ["pandas", "numpy", "pyarrow", "pygit2", "rich", "yaml"]),
    ],
)
def test_an_import_costs_little(statement, heavy):
    shown = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", shown], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert not set(heavy) & set(done.stdout.split())


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_names_in_the_docs_exist(page):
    text = page.read_text(encoding="utf-8")
    for dotted in re.findall(r"\btablevault(?:\.[A-Za-z_]\w*)+", text):
        # Not of Python: a key in the metadata of a file, a setting of git.
        if dotted.removeprefix("tablevault.") not in {"py", "git", "calls", "trustedBucket"}:
            assert resolves(dotted), dotted
    for method in re.findall(r"\bvault\.([a-z_]+)\(", text):
        assert hasattr(core.TableVault, method), method
    for error in re.findall(r"\b(?:TV[A-Z]\w+|Table\w*Error)\b", text):
        assert hasattr(errors, error), error


def resolves(dotted: str) -> bool:
    """Return whether a dotted name is a module, or a name in one."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for name in parts[end:]:
            if not hasattr(found, name):
                return False
            found = getattr(found, name)
        return True
    return False


def test_files_say_what_they_are_for():
    scripts = [
        *(ROOT / ".ci").iterdir(),
        ROOT / ".importlinter",
        ROOT / ".pre-commit-config.yaml",
        *(ROOT / "examples").rglob("*.yaml"),
    ]
    for path in scripts:
        lines = path.read_text(encoding="utf-8").splitlines()
        first = lines[1] if lines[0].startswith("#!") else lines[0]
        assert re.match(r"# \w", first), path
    for path in (ROOT / "examples").rglob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_bytes())), path
    for page in PAGES:
        assert page.read_text(encoding="utf-8").startswith("# "), page


def test_the_page_about_the_architecture_names_what_is_there():
    page = (ROOT / "docs/architecture.md").read_text()
    table = page.partition("## Where do I change ...?")[2]
    folder = ""
    for row in table.splitlines()[4:]:
        for name in re.findall(r"`([a-z_0-9/]+)`", row.split("|")[2] if "|" in row else ""):
            full = name if "/" in name else f"{folder}{name}"
            folder = f"{full.rpartition('/')[0]}/" if "/" in full else folder
            paths = (PACKAGE / name, PACKAGE / full)
            found = any(each.is_dir() or each.with_suffix(".py").is_file() for each in paths)
            assert found or name in {"claims", "plan"}, row
    dotted = re.findall(r"`((?:[a-z_0-9]+\.)+[a-z_0-9]+)`", page)
    modules = [PACKAGE / name.replace(".", "/") for name in dotted]
    modules = [each for each in modules if (PACKAGE / each.relative_to(PACKAGE).parts[0]).is_dir()]
    assert len(modules) > 20
    for each in modules:  # a module, a package, or what a module has
        places = (each.with_suffix(".py"), each, each.parent.with_suffix(".py"))
        assert any(place.exists() for place in places), each
