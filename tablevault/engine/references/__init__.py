"""The language of table references: grammar, evaluation, and evaluation row by row."""

from __future__ import annotations

from tablevault.engine.references.compile import ByRow, by_row
from tablevault.engine.references.evaluate import Tables, check, evaluate
from tablevault.engine.references.grammar import Condition, Reference, Template, parse_template
from tablevault.engine.references.view import View

__all__ = [
    "ByRow",
    "Condition",
    "Reference",
    "Tables",
    "Template",
    "View",
    "by_row",
    "check",
    "evaluate",
    "parse_template",
]
