"""A tokenizer that is asked for one kind of token at a time, because words differ by place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NoReturn

from tablevault.errors import TableReferenceError

RULES: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "BLANK": re.compile(r"\s+"),
        "OPEN": re.compile(r"<<"),
        "CLOSE": re.compile(r">>"),
        "DOT": re.compile(r"\."),
        "COMMA": re.compile(r","),
        "PAIR": re.compile(r"::"),
        "COLON": re.compile(r":"),
        "LEFT_PAREN": re.compile(r"\("),
        "RIGHT_PAREN": re.compile(r"\)"),
        "LEFT_BRACE": re.compile(r"\{"),
        "RIGHT_BRACE": re.compile(r"\}"),
        "LEFT_BRACKET": re.compile(r"\["),
        "RIGHT_BRACKET": re.compile(r"\]"),
        "NAME": re.compile(r"[\w-]+"),
        "QUOTED": re.compile(r"'[^']*'|\"[^\"]*\""),
        "QUOTE": re.compile(r"['\"]"),
        # A bare word is a run up to the separators of its place. A lone "<" or ">" is part of it.
        "BARE_SELECTOR": re.compile(r"(?:(?!<<|>>)[^()])+"),
        "BARE_COLUMN": re.compile(r"(?:(?!<<|>>)[^,{}])+"),
        "BARE_VALUE": re.compile(r"(?:(?!<<|>>)[^,:\[\]])+"),
    }
)


@dataclass(frozen=True, slots=True)
class Token:
    """One token and where it stands in the text."""

    rule: str
    text: str
    start: int
    end: int


class Tokenizer:
    """Read tokens from `text`, beginning at `position`.

    Parameters
    ----------
    text : str
        What is read. Positions in errors count its characters.
    position : int, default 0
        Where the next token is expected.
    builder, field : str, default ""
        Where the text stands; errors carry them.
    """

    def __init__(self, text: str, position: int = 0, *, builder: str = "", field: str = "") -> None:
        self.text = text
        self.position = position
        self._builder = builder
        self._field = field

    def peek(self, rule: str) -> bool:
        """Return whether a token of `rule` comes next."""
        return RULES[rule].match(self.text, self.position) is not None

    def take(self, rule: str) -> Token | None:
        """Read the token of `rule` that comes next; None, and nothing read, if none does."""
        found = RULES[rule].match(self.text, self.position)
        if found is None:
            return None
        self.position = found.end()
        return Token(rule, found.group(), found.start(), found.end())

    def skip_blanks(self) -> None:
        """Pass over white space, line breaks included."""
        self.take("BLANK")

    def expect(self, rule: str, expected: str) -> Token:
        """Read the token of `rule`, or say that `expected` is missing."""
        token = self.take(rule)
        if token is None:
            self.fail(f"Expected {expected}, found {self.found()}.")
        return token

    def found(self) -> str:
        """Name what stands at the position, for an error text."""
        if self.position >= len(self.text):
            return "the end of the text"
        if self.peek("CLOSE"):
            return 'the closing ">>"'
        return repr(self.text[self.position])

    def fail(self, message: str, *, start: int | None = None, end: int | None = None) -> NoReturn:
        """Raise the syntax error `message` at a span, by default at the next character."""
        start = self.position if start is None else start
        raise TableReferenceError(
            message,
            r"Write \<< where no reference is meant.",
            builder=self._builder,
            field=self._field,
            text=self.text,
            start=start,
            end=start + 1 if end is None else end,
        )
