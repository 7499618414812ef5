"""The language of table references: its grammar, and its evaluation row by row."""

from __future__ import annotations

from tablevault.engine.references.evaluate import ByRow, Tables, by_row, check, evaluate
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
