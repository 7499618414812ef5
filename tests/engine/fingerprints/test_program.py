"""Modules that a vault does not have: whose code counts, and whose does not."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from tablevault.engine.fingerprints.compute import Fingerprints
from tablevault.engine.fingerprints.program import ImportSystem, Program

USES = {"m.py": "import helpers\ndef f(x): return helpers.clean(x)"}


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """Return a folder that imports search."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["json", "os.path", "sys", "pandas", "pandas.io", "pytest"])
def test_a_library_is_no_code_of_the_user(name):
    assert ImportSystem().locate(name) is None


@pytest.mark.parametrize("name", ["no_such_module", "no.such.module", "json.no_such"])
def test_a_module_that_is_not_there_has_no_code(name):
    assert ImportSystem().locate(name) is None


def test_tablevault_is_a_library_but_its_shipped_functions_count():
    assert ImportSystem().locate("tablevault.errors") is None
    found = ImportSystem().locate("tablevault.engine.functions.random_string")
    assert b"def random_row_string" in found.data
    assert not found.is_outside


def test_a_shipped_function_has_a_fingerprint(fingerprint):
    module = "tablevault.engine.functions.random_string"
    made = fingerprint({}, module=module, function="random_row_string")
    assert {part.name for part in made.parts} >= {"random_row_string", "_text", "_LENGTH"}
    assert made.outside == ()


def test_a_module_beside_the_script_counts_and_is_named(fingerprint, beside):
    path = beside / "helpers.py"
    path.write_text("def clean(x): return x\ndef other(x): return x")
    first = fingerprint(USES)
    path.write_text("def clean(x): return x  # a comment\ndef other(x): return -x")
    assert fingerprint(USES).digest == first.digest
    path.write_text("def clean(x): return -x")
    assert fingerprint(USES).digest != first.digest
    assert [(each.module, each.path) for each in first.outside] == [("helpers", str(path))]
    assert [part.is_outside for part in first.parts if part.module == "helpers"] == [True]


def test_a_module_outside_is_followed_to_others_outside(fingerprint, beside):
    (beside / "helpers.py").write_text("from tools.text import strip as clean")
    (beside / "tools").mkdir()
    (beside / "tools" / "text.py").write_text("N = 1\ndef strip(x): return x, N")
    first = fingerprint(USES)
    (beside / "tools" / "text.py").write_text("N = 2\ndef strip(x): return x, N")
    assert fingerprint(USES).digest != first.digest
    assert [each.module for each in first.outside] == ["helpers", "tools.text"]


def test_locating_a_module_runs_nothing(beside):
    package = beside / "package"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError")
    (package / "part.py").write_text("raise AssertionError")
    assert ImportSystem().locate("package.part").path == str(package / "part.py")
    assert "package" not in sys.modules


def test_a_module_of_the_vault_hides_others(fingerprint, beside):
    (beside / "helpers.py").write_text("def clean(x): return x")
    made = fingerprint({**USES, "helpers.py": "def clean(x): return 1"})
    assert made.outside == ()


def test_a_module_of_the_vault_may_have_the_name_of_a_library(fingerprint):
    code = {"m.py": "import json\ndef f(x): return json.loads(x)"}
    made = fingerprint({**code, "json.py": "def loads(x): return x"})
    assert ("json", "loads") in {(part.module, part.name) for part in made.parts}


def test_an_installed_package_does_not_count(fingerprint, tmp_path, monkeypatch):
    installed = tmp_path / "site-packages"
    installed.mkdir()
    monkeypatch.syspath_prepend(installed)
    (installed / "helpers.py").write_text("def clean(x): return x")
    assert fingerprint(USES).outside == ()


def test_a_module_in_an_archive_counts(fingerprint, tmp_path, monkeypatch):
    archive = tmp_path / "tools.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("helpers.py", "def clean(x): return x")
    monkeypatch.syspath_prepend(archive)
    assert "clean" in {part.name for part in fingerprint(USES).parts}


def test_a_compiled_module_counts_as_a_whole(fingerprint, beside):
    (beside / "helpers.pyc").write_bytes(b"\0one")
    first = fingerprint(USES)
    (beside / "helpers.pyc").write_bytes(b"\0two")
    assert fingerprint(USES).digest != first.digest


def test_a_module_that_is_not_found_is_no_error(fingerprint):
    assert fingerprint(USES).outside == ()


def test_the_running_script_counts(fingerprint, tmp_path, monkeypatch):
    script = tmp_path / "script.py"
    script.write_text("N = 1")
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(script), raising=False)
    code = "from __main__ import N\ndef f(): return N"
    first = fingerprint(code)
    script.write_text("N = 2")
    assert fingerprint(code).digest != first.digest
    assert [Path(each.path) for each in first.outside] == [script]


TWIN = b"def clean(x): return x\ndef f(x): return clean(x)"
COPIES = {
    "modules": ({"a.py": TWIN, "b.py": TWIN}, [("a", "f"), ("b", "f")]),
    "packages": (
        {
            "a/__init__.py": b"from .core import f",
            "a/core.py": b"def f(x): return x",
            "b/__init__.py": b"from .core import f",
            "b/core.py": b"def f(x): return -x",
        },
        [("a", "f"), ("b", "f")],
    ),
    "decorators of each other": (
        {"m.py": b"@g\ndef f(x: 'A'): return x\n@f\ndef g(x: 'B'): return x"},
        [("m", "f"), ("m", "g")],
    ),
}


@pytest.mark.parametrize(("sources", "functions"), COPIES.values(), ids=COPIES)
def test_a_fingerprint_does_not_hang_on_what_was_asked_before(sources, functions):
    alone = [Fingerprints(Program(sources)).of(*each) for each in functions]
    together = Fingerprints(Program(sources))
    assert [together.of(*each) for each in functions] == alone
    other_way = Fingerprints(Program(sources))
    assert [other_way.of(*each) for each in functions[::-1]] == alone[::-1]


def test_copies_of_a_package_reach_their_own_modules():
    sources, functions = COPIES["packages"]
    found = Fingerprints(Program(sources))
    reached = [{part.module for part in found.of(*each).parts} for each in functions]
    assert reached == [{"a", "a.core"}, {"b", "b.core"}]
