"""Laws of fingerprints, for programs that are made up."""

from __future__ import annotations

import ast
import os
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

MODULES = ("m", "n", "pkg.o")


@dataclass(frozen=True)
class Function:
    """A function of a made-up program, and the functions that it uses in one way or another."""

    module: str
    name: str
    uses: tuple[tuple[str, int], ...]


WAYS = ("call", "default", "decorator", "class", "partial", "constant", "nested", "filled")


@st.composite
def programs(draw):
    """Make functions of which each uses some that come later."""
    number = draw(st.integers(2, 9))
    functions = []
    for at in range(number):
        later = st.integers(at + 1, number - 1)
        used = (
            draw(st.lists(st.tuples(st.sampled_from(WAYS), later), max_size=3))
            if at < number - 1
            else []
        )
        module = "m" if at == 0 else draw(st.sampled_from(MODULES))
        functions.append(Function(module, f"f{at}", tuple(used)))
    return functions


def reached(functions, start=0):
    """Return the numbers of the functions that one uses, over any number of steps."""
    found, queue = set(), [start]
    while queue:
        at = queue.pop()
        if at not in found:
            found.add(at)
            queue += [other for _, other in functions[at].uses]
    return found


def named(function, used, number):
    """Return the expression by which a function names another, and the import that it needs."""
    if used.module == function.module:
        return used.name, ""
    package, _, module = used.module.rpartition(".")
    match number % 3:
        case 0:
            return f"{used.module}.{used.name}", f"import {used.module}"
        case 1:
            return f"as_{used.name}", f"from {used.module} import {used.name} as as_{used.name}"
        case _ if package:
            return f"{module}.{used.name}", f"from {package} import {module}"
        case _:
            return f"as_{module}.{used.name}", f"import {module} as as_{module}"


def pieces(functions, at, body):
    """Return the statements of a function, and the imports that they need."""
    function = functions[at]
    imports, before, decorators, defaults, within = [], [], [], [], []
    for number, (way, other) in enumerate(function.uses):
        expression, line = named(function, functions[other], at + number)
        imports.append(line)
        helper = f"{function.name}_{number}"
        match way:
            case "call":
                within.append(f"{expression}()")
            case "default":
                defaults.append(f"d{number}={expression}")
            case "decorator":
                decorators.append(f"@lib.using({expression})")
            case "class":
                before.append(f"class C_{helper}:\n    def m(self): return {expression}()")
                within.append(f"C_{helper}().m()")
            case "partial":
                before.append(f"p_{helper} = functools.partial({expression}, 1)")
                within.append(f"p_{helper}()")
            case "constant":
                before.append(f"c_{helper} = [{expression}]")
                within.append(f"c_{helper}[0]()")
            case "nested":
                within.append(f"[(lambda: {expression}())() for _ in range(2)]")
            case "filled":
                before.append(f"l_{helper} = []\nl_{helper}.append({expression})")
                within.append(f"l_{helper}[0]()")
    kept = [f"r{number} = {each}" for number, each in enumerate(within)]
    lines = "".join(f"    {each}\n" for each in [*kept, f"return {body}"])
    text = "".join(f"{each}\n" for each in decorators)
    text += f"def {function.name}({', '.join(defaults)}):\n{lines}"
    return imports, before, text


def write(functions, bodies, order=None):
    """Write the modules of a program, with definitions in an order."""
    modules = {module: ([], []) for module in MODULES}
    for at in order or range(len(functions)):
        imports, before, text = pieces(functions, at, bodies.get(at, "0"))
        head, body = modules[functions[at].module]
        head += imports
        body += [*before, text]
    return {
        f"{name.replace('.', '/')}.py": "\n".join(
            ["import functools", "import lib", *sorted(set(head)), *body]
        )
        for name, (head, body) in modules.items()
    }


@given(programs(), st.data())
def test_a_change_counts_exactly_where_the_function_is_reached(fingerprint, functions, data):
    changed = data.draw(st.integers(0, len(functions) - 1))
    before = fingerprint(write(functions, {}), function="f0")
    after = fingerprint(write(functions, {changed: "1"}), function="f0")
    assert (before.digest != after.digest) == (changed in reached(functions))


@given(programs(), st.randoms(use_true_random=False))
def test_the_order_of_definitions_does_not_count(fingerprint, functions, random):
    order = list(range(len(functions)))
    random.shuffle(order)
    first = fingerprint(write(functions, {}), function="f0")
    assert fingerprint(write(functions, {}, order), function="f0").digest == first.digest


@given(programs())
def test_the_form_of_the_text_does_not_count(fingerprint, functions):
    modules = write(functions, {})
    anew = {
        path: ast.unparse(ast.parse(text)).replace("\n", "  # a comment\n")
        for path, text in modules.items()
    }
    assert fingerprint(modules, function="f0").digest == fingerprint(anew, function="f0").digest


@given(programs())
def test_what_is_not_reached_can_go(fingerprint, functions):
    used = reached(functions)
    before = fingerprint(write(functions, {}), function="f0")
    after = fingerprint(write(functions, {}, sorted(used)), function="f0")
    assert before.digest == after.digest
    assert {part.name for part in after.parts if part.kind == "function"} == {
        functions[at].name for at in used
    }


STATEMENTS = (
    "A.append({n})",
    "B += [{n}]",
    "A = A + [{n}]",
    "D['k{n}'] = {n}",
    "B = A",
    "D['b'] = B",
    "N = {n}",
    "N = N + {n}",
    "fill({n})",
    "KEPT = fill({n})",
    "KEPT = (fill({n}), N)",
    "rebind({n})",
    "KEPT = rebind({n})",
    "for i in range({n}):\n    A.append(i)",
    "for i in range({n}): N = i",
    "KEPT = [A.append(j) for j in range({n})]",
    "if N > {n}:\n    A.append(1)\nelse:\n    N = 5",
    "try:\n    A.append(D['missing'])\nexcept KeyError:\n    N = {n}",
    "with open(os.devnull) as file:\n    B.append({n})",
    "read.n = {n}",
    "Box.n = {n}",
    "BOX = Box({n})",
    "BOX.value = {n}",
    "BOX.add({n})",
    "KEPT = BOX.add({n})",
    "KEPT = Box({n}).add({n})",
    "os.environ['MADE_UP'] = '{n}'",
    "@keep\ndef made{n}(): return {n}",
    "@keep_as({n})\ndef other{n}(): return {n}",
    "class Part{n}(Box):\n    n = {n}",
    "setattr(Box, 'n', {n})",
    "globals()['N'] = {n}",
    "KEPT = list(map(fill, [{n}]))",
    "C = A.copy()\nC.append({n})\nD['c'] = C",
    "(lambda: A.append({n}))()",
    "del A[{n}:]",
    "UNRELATED = {n}",
    "UNRELATED = str({n})",
)
RESULTS = (
    "A",
    "B",
    "D",
    "N",
    "len(B)",
    "read()",
    "Box.n",
    "BOX.value",
    "Box.all",
    "Box.parts",
    "os.environ.get('MADE_UP')",
    "[g() for g in KEEP.values()]",
    "(A, N)",
    "1",
)
FRAME = """
import os
A, N = [0], 0
B = []
C = []
D = {{}}
KEEP = {{}}
class Box:
    n = 0
    all = []
    parts = []
    def __init__(self, value): self.value = value
    def __init_subclass__(cls): Box.parts.append(cls.n)
    def add(self, x): self.all.append(x)
BOX = Box(0)
def fill(x): A.append(x)
def rebind(x):
    global N
    N = x
def read(): return getattr(read, "n", 0), N
def keep(g):
    KEEP[g.__name__] = g
    return g
def keep_as(name):
    def inner(g):
        KEEP[name] = g
        return g
    return inner
{statements}
def f(): return {result}
"""


def result_of(source):
    """Return what `f` returns, None when the module or the function fails."""
    names = {"__name__": "m"}
    os.environ.pop("MADE_UP", None)
    try:
        exec(compile(source, "m", "exec"), names)
        return repr(names["f"]())
    except Exception:  # noqa: BLE001 - a program that fails has no result that could change
        return None
    finally:
        os.environ.pop("MADE_UP", None)


@given(
    st.lists(st.tuples(st.sampled_from(STATEMENTS), st.integers(0, 3)), min_size=1, max_size=6),
    st.sampled_from(RESULTS),
    st.data(),
)
def test_no_other_result_goes_unnoticed(fingerprint, statements, result, data):
    edit = data.draw(st.sampled_from(["number", "remove", "swap"]))
    at = data.draw(st.integers(0, len(statements) - 1))
    changed = list(statements)
    match edit:
        case "number":
            changed[at] = (changed[at][0], changed[at][1] + 1)
        case "remove":
            del changed[at]
        case _:
            changed[at - 1], changed[at] = changed[at], changed[at - 1]
    first, second = (
        FRAME.format(
            statements="\n".join(text.replace("{n}", str(n)) for text, n in each), result=result
        )
        for each in (statements, changed)
    )
    before, after = result_of(first), result_of(second)
    if None not in {before, after} and before != after:
        assert fingerprint(first).digest != fingerprint(second).digest
