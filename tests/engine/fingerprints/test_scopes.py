"""Which names in a function are global, and who reads its docstring and annotations."""

# ruff: noqa: E501 - a piece of code in one line reads best in a table

from __future__ import annotations

import pytest

# Rule, code before, code after. Where code is no dict it is that of module m.
CHANGES = {
    "a name in a method": (
        "N = 1\nclass A:\n    def m(self): return N\ndef f(x): return A().m()",
        "N = 2\nclass A:\n    def m(self): return N\ndef f(x): return A().m()",
    ),
    "a global behind a name of a class": (
        "n = 1\nclass A:\n    n = 5\n    def m(self): return n\ndef f(x): return A().m()",
        "n = 2\nclass A:\n    n = 5\n    def m(self): return n\ndef f(x): return A().m()",
    ),
    "a name in a comprehension": (
        "N = 1\ndef f(x): return [y + N for y in x]",
        "N = 2\ndef f(x): return [y + N for y in x]",
    ),
    "an import within a class": (
        {"m.py": "class A:\n    import n\n    x = n.N\ndef f(x): return A.x", "n.py": "N = 1"},
        {"m.py": "class A:\n    import n\n    x = n.N\ndef f(x): return A.x", "n.py": "N = 2"},
    ),
    "a class pattern": (
        "class A:\n    n = 1\ndef f(x):\n    match x:\n        case A(n=1): return 1",
        "class A:\n    n = 2\ndef f(x):\n    match x:\n        case A(n=1): return 1",
    ),
    "a name in a walrus within a comprehension": (
        "N = [1]\ndef f(x): return [(last := y + N[0]) for y in x], last",
        "N = [2]\ndef f(x): return [(last := y + N[0]) for y in x], last",
    ),
    "a name that hides a builtin": (
        "def f(x): return len(x)",
        "def len(x): return 1\ndef f(x): return len(x)",
    ),
    "the docstring of a class": (
        "class A: 'a'\ndef f(x): return A",
        "class A: 'b'\ndef f(x): return A",
    ),
    "the annotation of a class": (
        "class A:\n    n: int\ndef f(x): return A",
        "class A:\n    n: str\ndef f(x): return A",
    ),
    "the docstring of a method": (
        "class A:\n    def m(self): 'a'\ndef f(x): return A",
        "class A:\n    def m(self): 'b'\ndef f(x): return A",
    ),
    "a class that only an annotation names": (
        "class B:\n    n = 1\nclass A:\n    b: 'list[B]'\ndef f(x): return A",
        "class B:\n    n = 2\nclass A:\n    b: 'list[B]'\ndef f(x): return A",
    ),
    "the docstring under a decorator from outside": (
        "import lib\n@lib.tool\ndef f(x): 'a'",
        "import lib\n@lib.tool\ndef f(x): 'b'",
    ),
    "the annotation under a decorator from outside": (
        "import lib\n@lib.tool\ndef f(x: int): return x",
        "import lib\n@lib.tool\ndef f(x: str): return x",
    ),
    "the docstring under a decorator of an object": (
        "import lib\napp = lib.App()\n@app.tool()\ndef f(x): 'a'",
        "import lib\napp = lib.App()\n@app.tool()\ndef f(x): 'b'",
    ),
    "the docstring under a decorator that keeps functions": (
        "T = []\ndef tool(g):\n    T.append(g)\n    return g\n@tool\ndef g(x): 'a'\ndef f(x): return T",
        "T = []\ndef tool(g):\n    T.append(g)\n    return g\n@tool\ndef g(x): 'b'\ndef f(x): return T",
    ),
    "the docstring that a decorator reads": (
        "def d(g):\n    g.text = g.__doc__\n    return g\n@d\ndef f(x): 'a'",
        "def d(g):\n    g.text = g.__doc__\n    return g\n@d\ndef f(x): 'b'",
    ),
    "the docstring of a function that uses it": (
        "def f(x):\n    'a'\n    return f.__doc__",
        "def f(x):\n    'b'\n    return f.__doc__",
    ),
    "the docstring of another function": (
        "def g(x): 'a'\ndef f(x): return g.__doc__",
        "def g(x): 'b'\ndef f(x): return g.__doc__",
    ),
    "a docstring through inspect": (
        "import inspect\ndef g(x): 'a'\ndef f(x): return inspect.getdoc(g)",
        "import inspect\ndef g(x): 'b'\ndef f(x): return inspect.getdoc(g)",
    ),
    "annotations through typing": (
        "import typing\ndef g(x: int): pass\ndef f(x): return typing.get_type_hints(g)",
        "import typing\ndef g(x: str): pass\ndef f(x): return typing.get_type_hints(g)",
    ),
    "the docstring of a function given to a model as a tool": (
        "import lib\ndef g(x): 'a'\ndef f(x): return lib.ask(x, tools=[g])",
        "import lib\ndef g(x): 'b'\ndef f(x): return lib.ask(x, tools=[g])",
    ),
}
STAYS = {
    "a local name like a global": (
        "def f(x):\n    g = x\n    return g",
        "def f(x):\n    g = x\n    return g\ndef g(): pass",
    ),
    "a parameter like a global": ("def f(g): return g", "def f(g): return g\ndef g(): pass"),
    "a name of a comprehension like a global": (
        "def f(x): return [g for g in x]",
        "def f(x): return [g for g in x]\ndef g(): pass",
    ),
    "a keyword like a global": (
        "def f(x): return dict(g=1)",
        "def f(x): return dict(g=1)\ndef g(): pass",
    ),
    "an attribute like a global": ("def f(x): return x.g", "def f(x): return x.g\ndef g(): pass"),
    "a name of an outer function": (
        "def f(x):\n    def h(): return g\n    g = 1\n    return h()",
        "def f(x):\n    def h(): return g\n    g = 1\n    return h()\ndef g(): pass",
    ),
    "a nonlocal name": (
        "def f(x):\n    g = 1\n    def h():\n        nonlocal g\n        g = 2\n    h()\n    return g",
        "def f(x):\n    g = 1\n    def h():\n        nonlocal g\n        g = 2\n    h()\n    return g\ndef g(): pass",
    ),
    "the name of a handler": (
        "def f(x):\n    try: pass\n    except E as g: return g",
        "def f(x):\n    try: pass\n    except E as g: return g\ndef g(): pass",
    ),
    "a captured pattern": (
        "def f(x):\n    match x:\n        case [g, *h]: return g, h",
        "def f(x):\n    match x:\n        case [g, *h]: return g, h\ndef g(): pass\ndef h(): pass",
    ),
    "a name bound by a walrus like a global": (
        "def f(x): return [(g := y) for y in x], g",
        "def f(x): return [(g := y) for y in x], g\ndef g(): pass",
    ),
    "the docstring under functools.cache": (
        "import functools\n@functools.cache\ndef f(x): 'a'",
        "import functools\n@functools.cache\ndef f(x): 'b'",
    ),
    "the docstring under a decorator of its own": (
        "from functools import wraps\ndef d(g):\n    @wraps(g)\n    def w(*a): return g(*a)\n    return w\n@d\ndef f(x): 'a'",
        "from functools import wraps\ndef d(g):\n    @wraps(g)\n    def w(*a): return g(*a)\n    return w\n@d\ndef f(x): 'b'",
    ),
    "the docstring of a function given to map": (
        "def g(x): 'a'\ndef f(x): return list(map(g, x)), sorted(x, key=g)",
        "def g(x): 'b'\ndef f(x): return list(map(g, x)), sorted(x, key=g)",
    ),
}


@pytest.mark.parametrize(("before", "after"), CHANGES.values(), ids=CHANGES)
def test_a_change_counts(counts, before, after):
    assert counts(before, after)


@pytest.mark.parametrize(("before", "after"), STAYS.values(), ids=STAYS)
def test_a_change_does_not_count(counts, before, after):
    assert not counts(before, after)
