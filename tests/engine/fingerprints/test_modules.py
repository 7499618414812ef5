"""Modules and packages that a function reaches through imports."""

from __future__ import annotations

import pytest

# Rule, code before, code after. Where code is no dict it is that of module m.
CHANGES = {
    "a module under another name": (
        {"m.py": "import n as o\ndef f(x): return o.g(x)", "n.py": "def g(x): return 1"},
        {"m.py": "import n as o\ndef f(x): return o.g(x)", "n.py": "def g(x): return 2"},
    ),
    "a function under another name": (
        {"m.py": "from n import g as h\ndef f(x): return h(x)", "n.py": "def g(x): return 1"},
        {"m.py": "from n import g as h\ndef f(x): return h(x)", "n.py": "def g(x): return 2"},
    ),
    "an import within a function": (
        {"m.py": "def f(x):\n    import n\n    return n.g(x)", "n.py": "def g(x): return 1"},
        {"m.py": "def f(x):\n    import n\n    return n.g(x)", "n.py": "def g(x): return 2"},
    ),
    "a name imported within a function": (
        {"m.py": "def f(x):\n    from n import g\n    return g(x)", "n.py": "def g(x): return 1"},
        {"m.py": "def f(x):\n    from n import g\n    return g(x)", "n.py": "def g(x): return 2"},
    ),
    "a function that is handed on by a module": (
        {
            "m.py": "from n import g\ndef f(x): return g(x)",
            "n.py": "from o import g",
            "o.py": "def g(x): return 1",
        },
        {
            "m.py": "from n import g\ndef f(x): return g(x)",
            "n.py": "from o import g",
            "o.py": "def g(x): return 2",
        },
    ),
    "a module in a package": (
        {"m.py": "import a.b.c\ndef f(x): return a.b.c.g(x)", "a/b/c.py": "def g(x): return 1"},
        {"m.py": "import a.b.c\ndef f(x): return a.b.c.g(x)", "a/b/c.py": "def g(x): return 2"},
    ),
    "a relative import": (
        {
            "m.py": "from a.b import g\ndef f(x): return g(x)",
            "a/__init__.py": "",
            "a/b.py": "from . import c\nfrom .c import N\ndef g(x): return c.h(x)",
            "a/c.py": "N = 1\ndef h(x): return 1",
        },
        {
            "m.py": "from a.b import g\ndef f(x): return g(x)",
            "a/__init__.py": "",
            "a/b.py": "from . import c\nfrom .c import N\ndef g(x): return c.h(x)",
            "a/c.py": "N = 1\ndef h(x): return 2",
        },
    ),
    "a relative import from above": (
        {
            "m.py": "from a.b.c import g\ndef f(x): return g(x)",
            "a/__init__.py": "",
            "a/b/__init__.py": "",
            "a/b/c.py": "from ..d import h\ndef g(x): return h(x)",
            "a/d.py": "def h(x): return 1",
        },
        {
            "m.py": "from a.b.c import g\ndef f(x): return g(x)",
            "a/__init__.py": "",
            "a/b/__init__.py": "",
            "a/b/c.py": "from ..d import h\ndef g(x): return h(x)",
            "a/d.py": "def h(x): return 2",
        },
    ),
    "what a package hands on": (
        {
            "m.py": "import a\ndef f(x): return a.g(x)",
            "a/__init__.py": "from .b import g",
            "a/b.py": "def g(x): return 1",
        },
        {
            "m.py": "import a\ndef f(x): return a.g(x)",
            "a/__init__.py": "from .b import g",
            "a/b.py": "def g(x): return 2",
        },
    ),
    "__getattr__ of a module": (
        {"m.py": "import n\ndef f(x): return n.g", "n.py": "def __getattr__(name): return 1"},
        {"m.py": "import n\ndef f(x): return n.g", "n.py": "def __getattr__(name): return 2"},
    ),
    "the library of an import": (
        "from json import loads\ndef f(x): return loads(x)",
        "from orjson import loads\ndef f(x): return loads(x)",
    ),
    "the docstring of the module that is used": (
        "'a'\ndef f(x): return __doc__",
        "'b'\ndef f(x): return __doc__",
    ),
    "a module behind a star": (
        {"m.py": "from n import *\ndef f(x): return A", "n.py": "A = 1"},
        {"m.py": "from n import *\ndef f(x): return A", "n.py": "A = 2"},
    ),
    "a module that is imported by its name": (
        {
            "m.py": "import importlib\ndef f(x): return importlib.import_module('n').A",
            "n.py": "A = 1",
        },
        {
            "m.py": "import importlib\ndef f(x): return importlib.import_module('n').A",
            "n.py": "A = 2",
        },
    ),
    "a module that is imported by a computed name": (
        {
            "m.py": "import importlib\ndef f(x): return importlib.import_module(x).A",
            "n.py": "A = 1",
        },
        {
            "m.py": "import importlib\ndef f(x): return importlib.import_module(x).A",
            "n.py": "A = 2",
        },
    ),
    "a module from sys.modules": (
        {"m.py": "import sys, n\ndef f(x): return sys.modules['n'].A", "n.py": "A = 1"},
        {"m.py": "import sys, n\ndef f(x): return sys.modules['n'].A", "n.py": "A = 2"},
    ),
    "its own module from sys.modules": (
        "import sys\ndef f(x): return getattr(sys.modules[__name__], x)\nA = 1",
        "import sys\ndef f(x): return getattr(sys.modules[__name__], x)\nA = 2",
    ),
    "a module that cannot be parsed": (
        {"m.py": "import n\ndef f(x): return n.g()", "n.py": "def g(:\n # 1"},
        {"m.py": "import n\ndef f(x): return n.g()", "n.py": "def g(:\n # 2"},
    ),
}
STAYS = {
    "another import": (
        "import json\ndef f(x): return json.loads(x)",
        "import json\nimport re\ndef f(x): return json.loads(x)",
    ),
    "another name of an import": (
        "from typing import cast\ndef f(x): return cast(int, x)",
        "from typing import Any, cast\ndef f(x): return cast(int, x)",
    ),
    "another module of a package": (
        "import xml.etree\ndef f(x): return xml.etree.A",
        "import xml.etree\nimport xml.dom\ndef f(x): return xml.etree.A",
    ),
    "a function in a module that is imported": (
        {"m.py": "import n\ndef f(x): return n.g(x)", "n.py": "def g(x): return x"},
        {
            "m.py": "import n\ndef f(x): return n.g(x)",
            "n.py": "def g(x): return x\ndef h(x): return g(x)",
        },
    ),
    "the docstring of a module": ("def f(x): return x", "'a'\ndef f(x): return x"),
    "what runs as a script": (
        "def f(x): return x",
        "def f(x): return x\nif __name__ == '__main__':\n    print(f(1))",
    ),
    "the declared encoding": (
        {"m.py": "def f(x): return 'é'".encode()},
        {"m.py": "# -*- coding: latin-1 -*-\ndef f(x): return 'é'".encode("latin-1")},
    ),
    "an import for type checkers": (
        "def f(x): return x",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import n\ndef f(x): return x",
    ),
    "a circle of modules": (
        {"m.py": "import n\ndef f(x): return n.g(x)", "n.py": "import m\ndef g(x): return m.f(x)"},
        {
            "m.py": "import n\ndef f(x): return n.g(x)  # a",
            "n.py": "import m\ndef g(x): return m.f(x)",
        },
    ),
    "names that are imported in a circle": (
        {"m.py": "from n import g as f", "n.py": "from m import f as g"},
        {"m.py": "from n import g as f  # a", "n.py": "from m import f as g"},
    ),
}


@pytest.mark.parametrize(("before", "after"), CHANGES.values(), ids=CHANGES)
def test_a_change_counts(counts, before, after):
    assert counts(before, after)


@pytest.mark.parametrize(("before", "after"), STAYS.values(), ids=STAYS)
def test_a_change_does_not_count(counts, before, after):
    assert not counts(before, after)
