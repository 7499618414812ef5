"""What a function reaches besides the names in it: statements that run at import, whole modules."""

# ruff: noqa: E501, ISC004 - a piece of code in one line reads best in a table

from __future__ import annotations

import pytest

# Rule, code before, code after. Where code is no dict it is that of module m.
CHANGES = {
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
    "a case of a generic function": (
        "from functools import singledispatch\n@singledispatch\ndef g(x): return 0\n@g.register\ndef _(x: int): return 1\ndef f(x): return g(x)",
        "from functools import singledispatch\n@singledispatch\ndef g(x): return 0\n@g.register\ndef _(x: int): return 2\ndef f(x): return g(x)",
    ),
    "a case of a generic function in another module": (
        {
            "m.py": "import n\nfrom o import g\ndef f(x): return g(x)",
            "n.py": "from o import g\ng.register(int, lambda x: 1)",
            "o.py": "from functools import singledispatch\n@singledispatch\ndef g(x): return 0",
        },
        {
            "m.py": "import n\nfrom o import g\ndef f(x): return g(x)",
            "n.py": "from o import g\ng.register(int, lambda x: 2)",
            "o.py": "from functools import singledispatch\n@singledispatch\ndef g(x): return 0",
        },
    ),
    "a function that is registered with one under a decorator": (
        "class Tool:\n    def __init__(self, g): self.more = []\n    def add(self, g): self.more.append(g)\n"
        "@Tool\ndef g(x): return x\n@g.add\ndef h(x): return 1\ndef f(x): return g.more[0](x)",
        "class Tool:\n    def __init__(self, g): self.more = []\n    def add(self, g): self.more.append(g)\n"
        "@Tool\ndef g(x): return x\n@g.add\ndef h(x): return 2\ndef f(x): return g.more[0](x)",
    ),
    "a type that is registered with an abstract class": (
        "from abc import ABC\nclass A(ABC): pass\nA.register(int)\ndef f(x): return isinstance(x, A)",
        "from abc import ABC\nclass A(ABC): pass\nA.register(str)\ndef f(x): return isinstance(x, A)",
    ),
    "a subclass where subclasses are listed": (
        {
            "m.py": "import n\nfrom o import P\ndef f(x): return [c.n for c in P.__subclasses__()]",
            "n.py": "from o import P\nclass Q(P):\n    n = 1",
            "o.py": "class P: pass",
        },
        {
            "m.py": "import n\nfrom o import P\ndef f(x): return [c.n for c in P.__subclasses__()]",
            "n.py": "from o import P\nclass Q(P):\n    n = 2",
            "o.py": "class P: pass",
        },
    ),
    "a subclass of a subclass where they are listed": (
        "class P:\n    @classmethod\n    def all(cls): return cls.__subclasses__()\nclass Q(P): pass\nclass R(Q):\n    n = 1\ndef f(x): return P.all()",
        "class P:\n    @classmethod\n    def all(cls): return cls.__subclasses__()\nclass Q(P): pass\nclass R(Q):\n    n = 2\ndef f(x): return P.all()",
    ),
    "a module that a package offers to star imports": (
        {
            "m.py": "from p import *\ndef f(x): return n.A",
            "p/__init__.py": "__all__ = ['n']",
            "p/n.py": "A = 1",
        },
        {
            "m.py": "from p import *\ndef f(x): return n.A",
            "p/__init__.py": "__all__ = ['n']",
            "p/n.py": "A = 2",
        },
    ),
}
STAYS = {
    "another generic function": (
        "from functools import singledispatch\n@singledispatch\ndef g(x): return 0\n@singledispatch\ndef h(x): return 0\n@h.register\ndef _(x: int): return 1\ndef f(x): return g(x)",
        "from functools import singledispatch\n@singledispatch\ndef g(x): return 0\n@singledispatch\ndef h(x): return 0\n@h.register\ndef _(x: int): return 2\ndef f(x): return g(x)",
    ),
    "the name of a function that is used elsewhere": (
        "def g(x): return x\nN = g.__name__\ndef f(x): return g(x)",
        "def g(x): return x\nN = g.__name__ + 'a'\ndef f(x): return g(x)",
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
    "a subclass of a base": (
        "import lib\nclass A(lib.Model):\n    n: int\ndef f(x): return A(n=x)",
        "import lib\nclass A(lib.Model):\n    n: int\nclass B(lib.Model):\n    n: str\ndef f(x): return A(n=x)",
    ),
    "a subclass of its own": (
        "class B:\n    def m(self): return 1\ndef f(x): return B().m()",
        "class B:\n    def m(self): return 1\nclass C(B):\n    n = 2\ndef f(x): return B().m()",
    ),
}


@pytest.mark.parametrize(("before", "after"), CHANGES.values(), ids=CHANGES)
def test_a_change_counts(counts, before, after):
    assert counts(before, after)


@pytest.mark.parametrize(("before", "after"), STAYS.values(), ids=STAYS)
def test_a_change_does_not_count(counts, before, after):
    assert not counts(before, after)
