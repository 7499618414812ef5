"""What counts as the code of a function, and what does not."""

# ruff: noqa: E501, ISC004 - a piece of code in one line reads best in a table

from __future__ import annotations

import pytest

ANY_SOURCE = "def f(x):\n    return g(x)\ndef g(x):\n    return x\n"

# Rule, code before, code after. Where code is no dict it is that of module m.
CHANGES = {
    "the function itself": ("def f(x): return x", "def f(x): return -x"),
    "the name of a local variable": (
        "def f(x):\n a = x\n return a",
        "def f(x):\n b = x\n return b",
    ),
    "a function that it calls": (ANY_SOURCE, ANY_SOURCE + "def g(x): return 2"),
    "a default": ("def f(x=1): return x", "def f(x=2): return x"),
    "a constant in a default": ("A = 1\ndef f(x=A): return x", "A = 2\ndef f(x=A): return x"),
    "a decorator of its own": (
        "def d(f): return f\n@d\ndef f(x): return x",
        "def d(f): return lambda x: 0\n@d\ndef f(x): return x",
    ),
    "a decorator that comes": (
        "from functools import cache\ndef f(x): return x",
        "from functools import cache\n@cache\ndef f(x): return x",
    ),
    "an argument of a decorator": (
        "import lib\nN = 1\n@lib.retry(N)\ndef f(x): return x",
        "import lib\nN = 2\n@lib.retry(N)\ndef f(x): return x",
    ),
    "a function within": (
        "def f(x):\n    def g(): return x\n    return g()",
        "def f(x):\n    def g(): return -x\n    return g()",
    ),
    "a lambda": (
        "g = lambda x: x\ndef f(x): return g(x)",
        "g = lambda x: -x\ndef f(x): return g(x)",
    ),
    "a partial": (
        "from functools import partial\ndef g(x, y): return x\nf = partial(g, y=1)",
        "from functools import partial\ndef g(x, y): return y\nf = partial(g, y=1)",
    ),
    "a method": (
        "class A:\n    def m(self): return 1\ndef f(x): return A().m()",
        "class A:\n    def m(self): return 2\ndef f(x): return A().m()",
    ),
    "a method that nobody names": (
        "class A:\n    def m(self): return 1\n    def n(self): return 1\ndef f(x): return A().m()",
        "class A:\n    def m(self): return 1\n    def n(self): return 2\ndef f(x): return A().m()",
    ),
    "a base of a class": (
        "class B:\n    n = 1\nclass A(B): pass\ndef f(x): return A.n",
        "class B:\n    n = 2\nclass A(B): pass\ndef f(x): return A.n",
    ),
    "a metaclass": (
        "class M(type):\n    n = 1\nclass A(metaclass=M): pass\ndef f(x): return A.n",
        "class M(type):\n    n = 2\nclass A(metaclass=M): pass\ndef f(x): return A.n",
    ),
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
    "a name in an f-string": (
        "N = 1\ndef f(x): return f'{x:{N}}'",
        "N = 2\ndef f(x): return f'{x:{N}}'",
    ),
    "a text in an f-string": ("def f(x): return f'a {x}'", "def f(x): return f'b {x}'"),
    "a conversion in an f-string": ("def f(x): return f'{x!r}'", "def f(x): return f'{x!s}'"),
    "the type of a number": ("def f(x): return 1", "def f(x): return 1.0"),
    "true for one": ("def f(x): return 1", "def f(x): return True"),
    "one definition of several": (
        "try:\n    import fast as impl\nexcept ImportError:\n    impl = 1\ndef f(x): return impl",
        "try:\n    import fast as impl\nexcept ImportError:\n    impl = 2\ndef f(x): return impl",
    ),
    "a definition that a later one hides": (
        "def g(x): return 1\ndef g(x): return 2\ndef f(x): return g(x)",
        "def g(x): return 3\ndef g(x): return 2\ndef f(x): return g(x)",
    ),
    "the test around a definition": (
        "import sys\nif sys.version_info > (3, 12):\n    N = 1\nelse:\n    N = 2\ndef f(x): return N",
        "import sys\nif sys.version_info > (3, 13):\n    N = 1\nelse:\n    N = 2\ndef f(x): return N",
    ),
    "branches that swap": (
        "import sys\nif sys.argv:\n    N = 1\nelse:\n    N = 2\ndef f(x): return N",
        "import sys\nif sys.argv:\n    N = 2\nelse:\n    N = 1\ndef f(x): return N",
    ),
    "a list that is appended to": (
        "X = []\nX.append(1)\ndef f(x): return X",
        "X = []\nX.append(2)\ndef f(x): return X",
    ),
    "a list that is added to": (
        "X = []\nX += [1]\ndef f(x): return X",
        "X = []\nX += [2]\ndef f(x): return X",
    ),
    "an item": ("X = {}\nX[1] = 1\ndef f(x): return X", "X = {}\nX[1] = 2\ndef f(x): return X"),
    "an item that goes": (
        "X = {1: 2}\ndel X[1]\ndef f(x): return X",
        "X = {1: 2}\ndef f(x): return X",
    ),
    "a loop that fills": (
        "X = []\nfor i in range(3):\n    X.append(i)\ndef f(x): return X",
        "X = []\nfor i in range(4):\n    X.append(i)\ndef f(x): return X",
    ),
    "a function that fills at import": (
        "X = []\ndef fill(): X.append(1)\nfill()\ndef f(x): return X",
        "X = []\ndef fill(): X.append(2)\nfill()\ndef f(x): return X",
    ),
    "a function that fills and returns something": (
        "X = []\ndef fill():\n    X.append(1)\n    return 1\nDONE = fill()\ndef f(x): return X",
        "X = []\ndef fill():\n    X.append(2)\n    return 1\nDONE = fill()\ndef f(x): return X",
    ),
    "a function that binds a global": (
        "X = 1\ndef init():\n    global X\n    X = 2\nD = init()\ndef f(x): return X",
        "X = 1\ndef init():\n    global X\n    X = 3\nD = init()\ndef f(x): return X",
    ),
    "a list under another name": (
        "X = []\nY = X\nY.append(1)\ndef f(x): return X",
        "X = []\nY = X\nY.append(2)\ndef f(x): return X",
    ),
    "the order of what changes a list": (
        "X = []\nX.append(1)\nX = X + [2]\ndef f(x): return X",
        "X = []\nX = X + [2]\nX.append(1)\ndef f(x): return X",
    ),
    "an attribute that is set on a function": (
        "def g(x): return g.n\ng.n = 1\ndef f(x): return g(x)",
        "def g(x): return g.n\ng.n = 2\ndef f(x): return g(x)",
    ),
    "an attribute that is set on a class": (
        "class A: pass\nA.n = 1\ndef f(x): return A.n",
        "class A: pass\nA.n = 2\ndef f(x): return A.n",
    ),
    "a function that is registered": (
        "R = {}\ndef reg(g):\n    R[g.__name__] = g\n    return g\n"
        "@reg\ndef one(): return 1\ndef f(x): return R[x]()",
        "R = {}\ndef reg(g):\n    R[g.__name__] = g\n    return g\n"
        "@reg\ndef one(): return 2\ndef f(x): return R[x]()",
    ),
    "a function that a factory of decorators registers": (
        "R = {}\ndef reg(n):\n    def d(g):\n        R[n] = g\n        return g\n    return d\n"
        "@reg(1)\ndef one(): return 1\ndef f(x): return R[x]()",
        "R = {}\ndef reg(n):\n    def d(g):\n        R[n] = g\n        return g\n    return d\n"
        "@reg(1)\ndef one(): return 2\ndef f(x): return R[x]()",
    ),
    "a class that its base registers": (
        "class B:\n    all = []\n    def __init_subclass__(cls): B.all.append(cls)\n"
        "class C(B):\n    n = 1\ndef f(x): return B.all[0].n",
        "class B:\n    all = []\n    def __init_subclass__(cls): B.all.append(cls)\n"
        "class C(B):\n    n = 2\ndef f(x): return B.all[0].n",
    ),
    "an object that its class keeps": (
        "class P:\n    all = []\n    def __init__(self, x): self.all.append(x)\nA = P(1)\ndef f(x): return P.all",
        "class P:\n    all = []\n    def __init__(self, x): self.all.append(x)\nA = P(2)\ndef f(x): return P.all",
    ),
    "a list that another function is given": (
        "import lib\nX = []\nDONE = lib.fill(X, 1)\ndef f(x): return X",
        "import lib\nX = []\nDONE = lib.fill(X, 2)\ndef f(x): return X",
    ),
    "the environment": (
        "import os\nos.environ['A'] = '1'\ndef f(x): return os.getenv('A')",
        "import os\nos.environ['A'] = '2'\ndef f(x): return os.getenv('A')",
    ),
    "the settings of a library": (
        "import lib\nlib.seed(1)\ndef f(x): return x",
        "import lib\nlib.seed(2)\ndef f(x): return x",
    ),
    "settings in a function that is called at import": (
        "import lib\ndef setup():\n    lib.seed(1)\n    return 1\nS = setup()\ndef f(x): return x",
        "import lib\ndef setup():\n    lib.seed(2)\n    return 1\nS = setup()\ndef f(x): return x",
    ),
    "the path of modules": (
        "import sys\nsys.path.insert(0, 'a')\ndef f(x): return x",
        "import sys\nsys.path.insert(0, 'b')\ndef f(x): return x",
    ),
    "settings in a module that is only imported": (
        {"m.py": "import n\ndef f(x): return x", "n.py": "import lib\nlib.seed(1)"},
        {"m.py": "import n\ndef f(x): return x", "n.py": "import lib\nlib.seed(2)"},
    ),
    "what another module does to a list": (
        {
            "m.py": "import n, o\ndef f(x): return o.X",
            "n.py": "import o\no.X.append(1)",
            "o.py": "X = []",
        },
        {
            "m.py": "import n, o\ndef f(x): return o.X",
            "n.py": "import o\no.X.append(2)",
            "o.py": "X = []",
        },
    ),
    "what another module sets in one": (
        {"m.py": "import n, o\ndef f(x): return o.X", "n.py": "import o\no.X = 1", "o.py": "X = 0"},
        {"m.py": "import n, o\ndef f(x): return o.X", "n.py": "import o\no.X = 2", "o.py": "X = 0"},
    ),
    "a function with another one in its place": (
        {
            "m.py": "try:\n    from n import g\nexcept ImportError:\n    from o import g\ndef f(x): return g(x)",
            "n.py": "def g(x): return 1",
            "o.py": "def g(x): return 1",
        },
        {
            "m.py": "try:\n    from n import g\nexcept ImportError:\n    from o import g\ndef f(x): return g(x)",
            "n.py": "def g(x): return 2",
            "o.py": "def g(x): return 1",
        },
    ),
    "the other one": (
        {
            "m.py": "try:\n    from n import g\nexcept ImportError:\n    from o import g\ndef f(x): return g(x)",
            "n.py": "def g(x): return 1",
            "o.py": "def g(x): return 1",
        },
        {
            "m.py": "try:\n    from n import g\nexcept ImportError:\n    from o import g\ndef f(x): return g(x)",
            "n.py": "def g(x): return 1",
            "o.py": "def g(x): return 2",
        },
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
    "the docstring of the module that is used": (
        "'a'\ndef f(x): return __doc__",
        "'b'\ndef f(x): return __doc__",
    ),
    "everything behind globals()": (
        "def f(x): return globals()[x]()\ndef g(): return 1",
        "def f(x): return globals()[x]()\ndef g(): return 2",
    ),
    "everything behind eval": (
        "def f(x): return eval(x)\nN = 1",
        "def f(x): return eval(x)\nN = 2",
    ),
    "everything behind exec": ("def f(x): exec(x)\nN = 1", "def f(x): exec(x)\nN = 2"),
    "everything behind vars()": (
        "D = vars()\ndef f(x): return D[x]\nN = 1",
        "D = vars()\ndef f(x): return D[x]\nN = 2",
    ),
    "names made at import": (
        "for n in 'ab':\n    globals()[n] = 1\ndef f(x): return a",
        "for n in 'ab':\n    globals()[n] = 2\ndef f(x): return a",
    ),
    "a module with a computed attribute": (
        {"m.py": "import n\ndef f(x): return getattr(n, x)", "n.py": "A = 1"},
        {"m.py": "import n\ndef f(x): return getattr(n, x)", "n.py": "A = 2"},
    ),
    "a module with an attribute by its name": (
        {"m.py": "import n\ndef f(x): return getattr(n, 'A')", "n.py": "A = 1"},
        {"m.py": "import n\ndef f(x): return getattr(n, 'A')", "n.py": "A = 2"},
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
    "a comment": ("def f(x): return x", "# a\ndef f(x):  # b\n    return x  # c"),
    "quotes": ("def f(x): return 'a' + \"b\"", "def f(x): return '''a''' + r'b'"),
    "parentheses": ("def f(x): return x + 1 * 2", "def f(x): return (x + (1 * 2))"),
    "the spelling of numbers": (
        "def f(x): return 1000, 255, 1.5",
        "def f(x): return 1_000, 0xFF, 15e-1",
    ),
    "adjacent texts": ("def f(x): return 'ab' f'c{x}d'", "def f(x): return 'a' 'b' 'c' f'{x}' 'd'"),
    "a u before a text": ("def f(x): return 'a'", "def f(x): return u'a'"),
    "a docstring": (
        "def f(x): return g(x)\ndef g(x): return x",
        "def f(x):\n    'a'\n    return g(x)\ndef g(x):\n    'b'\n    return x",
    ),
    "a docstring alone": ("def f(x): pass", "def f(x):\n    'a'"),
    "annotations": (
        "def f(x):\n    y = x\n    return y",
        "def f(x: int) -> int:\n    z: float\n    y: int = x\n    return y",
    ),
    "the annotation of a constant": ("A = 1\ndef f(x): return A", "A: int = 1\ndef f(x): return A"),
    "a class that only an annotation names": (
        "class A:\n    n = 1\ndef f(x: A): return x",
        "class A:\n    n = 2\ndef f(x: A): return x",
    ),
    "another function": ("def f(x): return x", "def f(x): return x\ndef g(x): return f(x)"),
    "another class": (
        "def f(x): return x",
        "def f(x): return x\nclass A:\n    def f(self): return f(1)",
    ),
    "another constant": ("A = 1\ndef f(x): return A", "A = 1\nB = A + 1\ndef f(x): return A"),
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
    "the order of definitions": (
        "import re\nimport json\nA = 1\ndef g(x): return re\ndef f(x): return g(x), A, json\nclass B: pass",
        "import json\nclass B: pass\ndef f(x): return g(x), A, json\ndef g(x): return re\nimport re\nA = 1",
    ),
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
    "another list that is appended to": (
        "X = []\nX.append(1)\ndef f(x): return X",
        "X = []\nX.append(1)\nY = []\nY.append(1)\ndef f(x): return X",
    ),
    "another object of a class": (
        "class P:\n    def __init__(this, t): this.t = t\nA = P(1)\nB = P(2)\ndef f(x): return A",
        "class P:\n    def __init__(this, t): this.t = t\nA = P(1)\nB = P(3)\ndef f(x): return A",
    ),
    "another function under a decorator": (
        "C = {}\ndef memo(g):\n    def w(x):\n        C[x] = g(x)\n        return C[x]\n    return w\n@memo\ndef f(x): return x",
        "C = {}\ndef memo(g):\n    def w(x):\n        C[x] = g(x)\n        return C[x]\n    return w\n@memo\ndef f(x): return x\n@memo\ndef g(x): return 1",
    ),
    "another function under a decorator that logs": (
        "import lib\ndef retry(n):\n    def d(g):\n        def w(x):\n            lib.log(n)\n            return g(x)\n        return w\n    return d\n@retry(3)\ndef f(x): return x",
        "import lib\ndef retry(n):\n    def d(g):\n        def w(x):\n            lib.log(n)\n            return g(x)\n        return w\n    return d\n@retry(3)\ndef f(x): return x\n@retry(2)\ndef g(x): return 1",
    ),
    "another constant that is made from a fixed one": (
        "import lib\nT = 'some words here'\nA = lib.make(T)\ndef f(x): return T",
        "import lib\nT = 'some words here'\nA = lib.make(T, 2)\ndef f(x): return T",
    ),
    "a logger that comes": (
        "def f(x): return x",
        "import logging\nLOG = logging.getLogger(__name__)\ndef f(x): return x",
    ),
    "another name of a module that is asked for by name": (
        {"m.py": "import n\ndef f(x): return getattr(n, 'A', None)", "n.py": "A = 1"},
        {"m.py": "import n\ndef f(x): return getattr(n, 'A', None)", "n.py": "A = 1\nB = 2"},
    ),
    "another object of a dataclass": (
        "from dataclasses import dataclass, field\n@dataclass\nclass A:\n    x: list = field(default_factory=list)\nB = A()\nC = A()\ndef f(x): return B",
        "from dataclasses import dataclass, field\n@dataclass\nclass A:\n    x: list = field(default_factory=list)\nB = A()\nC = A([1])\ndef f(x): return B",
    ),
    "another object that is given a function which logs": (
        "import lib\nLOG = lib.logger()\ndef g(x):\n    LOG.info(x)\n    return x\nA = lib.Model(g)\ndef f(x): return x",
        "import lib\nLOG = lib.logger()\ndef g(x):\n    LOG.info(x)\n    return x + 1\nA = lib.Model(g)\ndef f(x): return x",
    ),
    "a constant that is looked up in the same list": (
        "X = [1]\nX.append(2)\ndef g(x): return x in X, X[0]\nA = g(1)\ndef f(x): return g(x)",
        "X = [1]\nX.append(2)\ndef g(x): return x in X, X[0]\nA = g(2)\ndef f(x): return g(x)",
    ),
    "lists that are filled in another order": (
        "X = []\nY = []\nX.append(1)\nY.append(2)\ndef f(x): return X, Y",
        "Y = []\nY.append(2)\nX = []\nX.append(1)\ndef f(x): return X, Y",
    ),
    "something printed at import": ("def f(x): return x", "print('loaded')\ndef f(x): return x"),
    "a name bound by a walrus like a global": (
        "def f(x): return [(g := y) for y in x], g",
        "def f(x): return [(g := y) for y in x], g\ndef g(): pass",
    ),
    "a subclass of a base": (
        "import lib\nclass A(lib.Model):\n    n: int\ndef f(x): return A(n=x)",
        "import lib\nclass A(lib.Model):\n    n: int\nclass B(lib.Model):\n    n: str\ndef f(x): return A(n=x)",
    ),
    "a subclass of its own": (
        "class B:\n    def m(self): return 1\ndef f(x): return B().m()",
        "class B:\n    def m(self): return 1\nclass C(B):\n    n = 2\ndef f(x): return B().m()",
    ),
    "what runs as a script": (
        "def f(x): return x",
        "def f(x): return x\nif __name__ == '__main__':\n    print(f(1))",
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
    "the declared encoding": (
        {"m.py": "def f(x): return 'é'".encode()},
        {"m.py": "# -*- coding: latin-1 -*-\ndef f(x): return 'é'".encode("latin-1")},
    ),
    "the indentation of a docstring that counts": (
        "class A:\n    '''a\n    b'''\ndef f(x): return A",
        "class A:\n        '''a\n        b'''\ndef f(x): return A",
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
def test_a_change_counts(fingerprint, before, after):
    assert fingerprint(before).digest != fingerprint(after).digest


@pytest.mark.parametrize(("before", "after"), STAYS.values(), ids=STAYS)
def test_a_change_does_not_count(fingerprint, before, after):
    first, second = fingerprint(before), fingerprint(after)
    assert {(p.module, p.name): p.digest for p in first.parts} == {
        (p.module, p.name): p.digest for p in second.parts
    }
    assert first.digest == second.digest


GOLDEN = """
import json
from functools import cache

WORDS = ["a", "b"]
LIMIT = 3

class Answer:
    \"\"\"An answer.\"\"\"

    text: str

    def short(self, n=LIMIT):
        return self.text[:n]

@cache
def prompt(kind):
    \"\"\"Not part of it.\"\"\"
    return f"Rate {kind!r:>10} of {LIMIT}"

def f(x, *, y: int = 1, **more):
    async def ask(z):
        try:
            async with z as (a, *b):
                return [w async for w in a if w not in WORDS]
        except* (ValueError, KeyError) as e:
            raise RuntimeError from e
    match x:
        case {"k": [1, -2.5, *rest], **others} | Answer(text=str() as rest):
            return lambda: json.dumps(rest)
    return prompt(x) if (n := y) > 0 else ask
"""


def test_a_digest_never_changes(fingerprint):
    # Who changes it has every call of every vault made again.
    assert fingerprint(GOLDEN).digest.hex() == "aae72e92d1f93af8a2362743f8a8ef68"
