"""Fingerprints of modules that are written in a test."""

from __future__ import annotations

import textwrap

import pytest

from tablevault.engine.fingerprints.compute import Fingerprints
from tablevault.engine.fingerprints.program import Program


@pytest.fixture(scope="session")
def fingerprint():
    """Return the fingerprint of function `f` in module `m`, given one text or all modules."""

    def make(modules, files=None, *, module="m", function="f", locator=None):
        if isinstance(modules, str):
            modules = {"m.py": modules}
        sources = {
            path: textwrap.dedent(text).encode() if isinstance(text, str) else text
            for path, text in modules.items()
        }
        return Fingerprints(Program(sources, files, locator)).of(module, function)

    return make


@pytest.fixture(scope="session")
def counts(fingerprint):
    """Return whether the fingerprint of one text differs from that of another, and its parts."""

    def compare(before, after):
        first, second = fingerprint(before), fingerprint(after)
        parts = [{(p.module, p.name): p.digest for p in each.parts} for each in (first, second)]
        assert first.digest != second.digest or parts[0] == parts[1]
        return first.digest != second.digest

    return compare
