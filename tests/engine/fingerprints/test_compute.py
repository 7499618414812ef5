"""What counts as the code of a function, and what does not."""

# ruff: noqa: E501 - a piece of code in one line reads best in a table

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
    "the order of definitions": (
        "import re\nimport json\nA = 1\ndef g(x): return re\ndef f(x): return g(x), A, json\nclass B: pass",
        "import json\nclass B: pass\ndef f(x): return g(x), A, json\ndef g(x): return re\nimport re\nA = 1",
    ),
    "the indentation of a docstring that counts": (
        "class A:\n    '''a\n    b'''\ndef f(x): return A",
        "class A:\n        '''a\n        b'''\ndef f(x): return A",
    ),
}


@pytest.mark.parametrize(("before", "after"), CHANGES.values(), ids=CHANGES)
def test_a_change_counts(counts, before, after):
    assert counts(before, after)


@pytest.mark.parametrize(("before", "after"), STAYS.values(), ids=STAYS)
def test_a_change_does_not_count(counts, before, after):
    assert not counts(before, after)


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
