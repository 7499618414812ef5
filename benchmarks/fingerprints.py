"""Fingerprints of a code folder, against parsing its modules."""

from __future__ import annotations

import ast
from pathlib import Path

from pairs import Row, median_of_pairs

MODULES = 200
CHAIN = 10  # modules of which each uses the one before

_HELPER = '''
def helper{number}(text, limit={number}):
    """Return the first words of a text."""
    parts = [part.strip() for part in PATTERN.split(text) if part not in WORDS]
    return " ".join(parts[:limit]).lower()
'''
_MODULE = '''"""Score texts."""
import json
import re
{imports}
WORDS = ["a", "b{number}"]
PROMPT = """Rate the text from 1 to {number}."""
PATTERN = re.compile(r"\\s+")
{helpers}
class Answer:
    """An answer."""

    def __init__(self, text: str) -> None:
        self.text = text

def score(text):
    try:
        answer = {call}
    except ValueError:
        answer = 0
    return Answer(helper0(PROMPT + text) + helper1(json.dumps(answer))).text
'''


def of_a_folder(_: Path, pairs: int) -> list[Row]:
    """Time fingerprints in a folder of 200 modules, of 50 lines each."""
    from tablevault.engine.fingerprints.compute import Fingerprints
    from tablevault.engine.fingerprints.modules import parse
    from tablevault.engine.fingerprints.program import Program

    sources = {f"module{number}.py": _source(number) for number in range(MODULES)}
    names = [f"module{number}" for number in range(MODULES)]
    calls = ", ".join(f"{name}.score(text)" for name in names)
    imports = "".join(f"import {name}\n" for name in names)
    every = f"{imports}def score_all(text):\n    return [{calls}]\n".encode()

    def fresh(_: int) -> None:
        parse.cache_clear()
        fingerprints = Fingerprints(Program(sources))
        for name in names:
            fingerprints.of(name, "score")

    def fresh_at_once(_: int) -> None:
        parse.cache_clear()
        Fingerprints(Program({**sources, "every.py": every})).of("every", "score_all")

    def parse_all(_: int) -> list[ast.Module]:
        return [ast.parse(data) for data in sources.values()]

    kept = Fingerprints(Program(sources))
    return [
        median_of_pairs(
            "200 modules, one function that uses them all",
            fresh_at_once,
            parse_all,
            pairs=pairs,
            aim="300 ms",
        ),
        median_of_pairs(
            "200 modules, each function for the first time",
            fresh,
            parse_all,
            pairs=pairs,
            aim="4",
        ),
        median_of_pairs(
            "one function again",
            lambda _: kept.of(f"module{MODULES - 1}", "score"),
            lambda _: ast.parse(sources["module0.py"]),
            pairs=pairs,
            aim="10",
        ),
    ]


def _source(number: int) -> bytes:
    """Return the text of a module."""
    is_first = number % CHAIN == 0
    return _MODULE.format(
        number=number,
        imports="" if is_first else f"import module{number - 1}",
        call="text" if is_first else f"module{number - 1}.score(text)",
        helpers="".join(_HELPER.format(number=each) for each in range(5)),
    ).encode()
