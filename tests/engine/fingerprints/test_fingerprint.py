"""How two fingerprints differ, in sentences, and what else a fingerprint tells."""

# ruff: noqa: E501 - a piece of code in one line reads best in a table

from __future__ import annotations

import json

import pytest

from tablevault.engine.fingerprints.fingerprint import Fingerprint, changed_texts, reasons
from tablevault.errors import TVFileError

CODE = """
from pathlib import Path
import helpers
PROMPT = "Rate this text."
class Answer:
    n = 1
def clean(x):
    return x.strip()
def f(x):
    return Answer(), PROMPT, clean(x), helpers.g(x), (Path(__file__).parent / "a.txt").read_text()
"""
HELPERS = "import lib\nlib.seed(1)\ndef g(x): return x\n"

SENTENCES = [
    ("return Answer(),", "return None,", "`f` changed"),
    ("strip", "lower", "`f` calls `clean`, which changed"),
    ("n = 1", "n = 2", "`f` uses class `Answer`, which changed"),
    ("this", "that", "constant `PROMPT` in `f` changed"),
    ("from pathlib", "from pathlib2", "the import of `Path` in `m` changed"),
]


@pytest.mark.parametrize(("old", "new", "sentence"), SENTENCES)
def test_a_reason_names_what_changed(fingerprint, old, new, sentence):
    files = {"a.txt": b"a"}
    before = fingerprint({"m.py": CODE, "helpers.py": HELPERS}, files)
    after = fingerprint({"m.py": CODE.replace(old, new), "helpers.py": HELPERS}, files)
    assert reasons(before, after) == [sentence]


def test_what_an_import_runs_is_a_reason(fingerprint):
    before = fingerprint({"m.py": CODE, "helpers.py": HELPERS})
    after = fingerprint({"m.py": CODE, "helpers.py": HELPERS.replace("1", "2")})
    assert reasons(before, after) == ["statements that `helpers` runs when it is imported changed"]


def test_a_file_is_a_reason(fingerprint):
    modules = {"m.py": CODE, "helpers.py": HELPERS}
    before, after = (fingerprint(modules, {"a.txt": data}) for data in (b"a", b"b"))
    assert reasons(before, after) == ["`f` opens file `a.txt`, which changed"]


def test_a_whole_module_is_a_reason_with_why_it_counts(fingerprint):
    before, after = (fingerprint(f"N = {n}\ndef f(x): return globals()[x]") for n in "12")
    assert reasons(before, after) == [
        "module `m` changed: `f` uses `globals()`, so its whole module counts"
    ]


def test_a_module_outside_is_a_reason(fingerprint, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    made = []
    for number in "12":
        (tmp_path / "helpers.py").write_text(f"def g(x): return {number}")
        made.append(fingerprint({"m.py": CODE}))
    assert reasons(*made) == ["module `helpers` (outside the vault) changed"]


def test_the_function_itself_comes_first(fingerprint):
    before = fingerprint("A = 1\ndef f(x): return A")
    after = fingerprint("A = 2\ndef f(x): return A, x")
    assert reasons(before, after) == ["`f` changed", "constant `A` in `f` changed"]


def test_what_comes_and_goes_is_a_reason_when_nothing_else_changed(fingerprint):
    without = fingerprint("def f(x): return len(x)")
    with_it = fingerprint("def len(x): return 1\ndef f(x): return len(x)")
    assert reasons(without, with_it) == ["`f` now uses `len`"]
    assert reasons(with_it, without) == ["`f` no longer uses `len`"]


def test_equal_fingerprints_have_no_reason(fingerprint):
    assert reasons(fingerprint("def f(x): return x"), fingerprint("def f(x): return x  # a")) == []


def test_another_function_is_the_reason(fingerprint):
    code = "def f(x): return x\ndef g(x): return x"
    assert reasons(fingerprint(code), fingerprint(code, function="g")) == [
        "`g` of `m` is used instead of `f` of `m`"
    ]


def test_every_change_of_a_digest_has_a_reason(fingerprint):
    before = fingerprint("X = []\ndef f(x): return X")
    after = fingerprint("X = []\nX.append(1)\ndef f(x): return X")
    assert reasons(before, after) == ["`m` now uses statements that `m` runs when it is imported"]


def test_changed_texts_are_named(fingerprint):
    before = fingerprint("PROMPT = 'Rate this text.'\ndef f(x): return PROMPT, 'a key'")
    after = fingerprint("PROMPT = 'Rate that text.'\ndef f(x): return PROMPT, 'b key'")
    assert [(text.name, text.value) for text in changed_texts(before, after)] == [
        ("PROMPT", "Rate this text."),
        ("PROMPT", "Rate that text."),
    ]


def test_a_text_that_moves_has_not_changed(fingerprint):
    before = fingerprint("PROMPT = 'Rate this text.'\ndef f(x): return PROMPT")
    after = fingerprint("def f(x): return 'Rate this text.'")
    assert before.digest != after.digest
    assert changed_texts(before, after) == []


TEXTS = {
    "a constant": ("A = 'one two three'\ndef f(x): return A", ["one two three"]),
    "two words": ("def f(x): return 'one two'", []),
    "an f-string": ("def f(x): return f'one {x} two {x} three'", ["one {} two {} three"]),
    "an f-string of two words": ("def f(x): return f'{x} one {x} two {x}'", []),
    "a docstring": ("def f(x): 'one two three'", []),
    "the docstring of a class": ("class A: 'one two three'\ndef f(x): return A", ["one two three"]),
    "a text that nobody reaches": ("A = 'one two three'\ndef f(x): return x", []),
    "a text in an argument": ("def f(x): return ask(text='one two three')", ["one two three"]),
    "a text that is filled in at import": (
        "A = []\nA.append('one two three')\ndef f(x): return A",
        ["one two three"],
    ),
}


@pytest.mark.parametrize(("code", "texts"), TEXTS.values(), ids=TEXTS)
def test_texts_of_three_words_are_listed(fingerprint, code, texts):
    assert [text.value for text in fingerprint(code).texts] == texts


def test_a_fingerprint_survives_json(fingerprint):
    made = fingerprint({"m.py": CODE, "helpers.py": HELPERS}, {"a.txt": b"one two three"})
    assert Fingerprint.from_record(json.loads(json.dumps(made.record()))) == made


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ({"n.py": ""}, 'There is no code module "m".'),
        ({"m.py": "def g(x): pass"}, 'Function "f" of code module "m" is not there.'),
        ({"m.py": "x = 1\ndef f(:"}, 'Code module "m" cannot be loaded: SyntaxError'),
        ({"m.py": "x = 1\ndef f(:"}, "in code/m.py, line 2"),
        ({"m.py": b"\xff\xfe"}, 'Code module "m" cannot be loaded: SyntaxError'),
        ({"m.py": b"# coding: none\n"}, 'Code module "m" cannot be loaded: SyntaxError'),
        ({"m.py": b"a = '\0'"}, 'Code module "m" cannot be loaded'),
    ],
)
def test_a_function_that_cannot_be_found_is_an_error(fingerprint, modules, message):
    with pytest.raises(TVFileError) as caught:
        fingerprint(modules)
    assert message in str(caught.value)


def test_a_name_that_is_nearly_right_is_offered(fingerprint):
    with pytest.raises(TVFileError, match='Did you mean "score"'):
        fingerprint("def score(x): pass", function="scor")


DYNAMIC = {
    "def f(x): return eval(x)": "`f` uses `eval()`, so its whole module counts",
    "from n import *\ndef f(x): return x": "`m` has `from n import *`, so all of `n` counts",
    "import n\ndef f(x): return vars(n)": "`f` uses the module `n` as a whole, so all of it counts",
    "from importlib import import_module\ndef f(x): return import_module(x)": "`f` uses `import_module()` with a computed name, so all modules count",
}


@pytest.mark.parametrize(("code", "why"), DYNAMIC.items())
def test_why_whole_modules_count_is_told(fingerprint, code, why):
    assert fingerprint({"m.py": code, "n.py": "A = 1"}).dynamic == (why,)


@pytest.mark.parametrize("terms", [100, 20_000])
def test_a_sum_of_many_terms_is_read(fingerprint, terms):
    total = " + ".join(["g()"] * terms)
    code = "import n\nA = {total}\ndef g(): return {number}\ndef f(): return __file__, A, {total}"
    made = [
        fingerprint({"m.py": code.format(total=total, number=number), "n.py": ""}, {"a.txt": b""})
        for number in (1, 2)
    ]
    assert made[0].digest != made[1].digest
