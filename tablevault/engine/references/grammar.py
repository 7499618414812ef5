r"""Text into a template of text and references, and back; each docstring is a grammar rule.

::

    template  = { text | reference } ;
    reference = "<<" ws query ws ">>" ;
    query     = table [ ws "(" selector ")" ] [ ws "." ws columns ] [ ws "[" conditions "]" ] ;

A ``<<`` that nothing closes is text, and so is ``\\<<``, whose backslash disappears; a backslash
before a reference is written twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from dataclasses import field as attribute
from types import MappingProxyType
from typing import NoReturn, TypeAlias

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


DEEPEST = 20
"""References may be nested so deep. Text from a stranger must not exhaust the interpreter."""

_OPENING = re.compile(r"(\\*)<<")

Word: TypeAlias = "str | Reference"
"""A part of a reference: text as it stands, or a reference whose result is meant."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on rows; equality when `high` is None, on the row position when `low` is None."""

    key: Word
    low: Word | None = None
    high: Word | None = None

    def __str__(self) -> str:
        """Format the condition as the grammar reads it."""
        parts = [_spell(self.key, "BARE_VALUE")]
        if self.low is not None:
            parts += ["::", _spell(self.low, "BARE_VALUE")]
        if self.high is not None:
            parts += [":", _spell(self.high, "BARE_VALUE")]
        return "".join(parts)


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference to a table; `columns` are all when None, the latest instance has selector ""."""

    table: Word
    selector: Word = ""
    columns: tuple[Word, ...] | None = None
    conditions: tuple[Condition, ...] = ()
    start: int = attribute(default=0, compare=False)
    end: int = attribute(default=0, compare=False)

    def __str__(self) -> str:
        """Format the reference as the grammar reads it."""
        text = f"<<{self.table}"
        if self.selector != "":
            text += f"({_spell(self.selector, 'BARE_SELECTOR')})"
        if self.columns is not None:
            text += ".{" + ",".join(_spell(name, "BARE_COLUMN") for name in self.columns) + "}"
        if self.conditions:
            text += "[" + ",".join(map(str, self.conditions)) + "]"
        return text + ">>"

    def words(self) -> Iterator[Word]:
        """Return every word of the reference: table, selector, columns, keys and values."""
        yield self.table
        yield self.selector
        yield from self.columns or ()
        for condition in self.conditions:
            yield condition.key
            yield from (word for word in (condition.low, condition.high) if word is not None)

    def nested(self) -> Iterator[Reference]:
        """Return the references inside this one, at any depth."""
        for word in self.words():
            if isinstance(word, Reference):
                yield word
                yield from word.nested()


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed string: its text and references in order, and where it stands."""

    parts: tuple[str | Reference, ...]
    text: str = attribute(default="", compare=False)
    builder: str = attribute(default="", compare=False)
    field: str = attribute(default="", compare=False)

    def __str__(self) -> str:
        """Format the template as the grammar reads it."""
        spelled = []
        for number, part in enumerate(self.parts):
            if isinstance(part, Reference):
                spelled.append(str(part))
                continue
            text = _OPENING.sub(r"\1\1\\<<", part)
            if number + 1 < len(self.parts):
                tail = len(text) - len(text.rstrip("\\"))
                text += "\\" * tail
            spelled.append(text)
        return "".join(spelled)

    @property
    def whole(self) -> Reference | None:
        """The reference that is all there is; None when there is text around it, or none."""
        if len(self.parts) == 1 and isinstance(self.parts[0], Reference):
            return self.parts[0]
        return None

    def references(self) -> Iterator[Reference]:
        """Return the references of the template, nested ones too."""
        for part in self.parts:
            if isinstance(part, Reference):
                yield part
                yield from part.nested()


def parse_template(text: str, *, builder: str = "", field: str = "") -> Template:
    r"""Parse a string that may hold references: ``template = { text | reference }``.

    Parameters
    ----------
    text : str
        Any text. A ``<<`` that no later ``>>`` closes is plain text; ``\<<`` is always a plain
        ``<<``.
    builder, field : str, default ""
        Where the text stands, for errors.

    Returns
    -------
    Template
        Its text and references; no two text parts in a row, no empty ones.

    Raises
    ------
    TableReferenceError
        A reference is malformed; facts ``start`` and ``end`` give the place in `text`.

    Examples
    --------
    >>> parse_template("ID-<<people.id[name::Ann]>>").parts[0]
    'ID-'
    """
    tokens = Tokenizer(text, builder=builder, field=field)
    parts: list[str | Reference] = []
    pending, done = "", 0
    while (found := _OPENING.search(text, done)) is not None:
        slashes = len(found.group(1))
        pending += text[done : found.start()] + "\\" * (slashes // 2)
        if slashes % 2 or text.find(">>", found.end()) < 0:
            pending, done = pending + "<<", found.end()
            continue
        if pending:
            parts.append(pending)
            pending = ""
        tokens.position = found.end() - 2
        parts.append(_reference(tokens, 1))
        done = tokens.position
    pending += text[done:]
    if pending:
        parts.append(pending)
    return Template(tuple(parts), text, builder, field)


def _reference(tokens: Tokenizer, depth: int) -> Reference:
    """Parse ``reference = "<<" ws query ws ">>"``, whose parts stand in this order."""
    start = tokens.expect("OPEN", '"<<"').start
    if depth > DEEPEST:
        tokens.fail(f"References are nested more than {DEEPEST} deep.", start=start, end=start + 2)
    tokens.skip_blanks()
    table = _name(tokens, depth, "the name of a table")
    tokens.skip_blanks()
    selector = _selector(tokens, depth) if tokens.take("LEFT_PAREN") else ""
    tokens.skip_blanks()
    columns = _columns(tokens, depth) if tokens.take("DOT") else None
    tokens.skip_blanks()
    conditions = _conditions(tokens, depth) if tokens.take("LEFT_BRACKET") else ()
    tokens.skip_blanks()
    end = tokens.expect("CLOSE", '">>"').end
    return Reference(table, selector, columns, conditions, start, end)


def _name(tokens: Tokenizer, depth: int, expected: str) -> Word:
    """Parse ``table = name | reference``."""
    if tokens.peek("OPEN"):
        return _reference(tokens, depth + 1)
    return tokens.expect("NAME", expected).text


def _selector(tokens: Tokenizer, depth: int) -> Word:
    """Parse ``selector = ws [ reference | quoted | bare ] ws ")"``."""
    tokens.skip_blanks()
    word: Word = ""
    if not tokens.peek("RIGHT_PAREN"):
        word = _word(tokens, depth, "BARE_SELECTOR", "a version or an instance id")
        tokens.skip_blanks()
    tokens.expect("RIGHT_PAREN", '")"')
    return word


def _columns(tokens: Tokenizer, depth: int) -> tuple[Word, ...] | None:
    """Parse ``columns = name | reference | "{" [ column { "," column } ] "}"``; {} means all."""
    tokens.skip_blanks()
    if not tokens.take("LEFT_BRACE"):
        return (_name(tokens, depth, "the name of a column, or several in {}"),)
    columns: list[Word] = []
    tokens.skip_blanks()
    if tokens.take("RIGHT_BRACE"):
        return None
    while True:
        tokens.skip_blanks()
        start = tokens.position
        column = _word(tokens, depth, "BARE_COLUMN", "the name of a column")
        if isinstance(column, str) and column in columns:
            tokens.fail(f'Column "{column}" is named twice.', start=start, end=tokens.position)
        columns.append(column)
        tokens.skip_blanks()
        if tokens.take("RIGHT_BRACE"):
            return tuple(columns)
        tokens.expect("COMMA", '"," or "}"')


def _conditions(tokens: Tokenizer, depth: int) -> tuple[Condition, ...]:
    """Parse ``conditions = ws [ condition { "," condition } ] ws "]"``; no two with one key."""
    conditions: list[Condition] = []
    keys: set[str] = set()
    tokens.skip_blanks()
    if tokens.take("RIGHT_BRACKET"):
        return ()
    while True:
        tokens.skip_blanks()
        start = tokens.position
        condition = _condition(tokens, depth)
        if isinstance(condition.key, str):
            if condition.key in keys:
                problem = f'There are two conditions on "{condition.key}".'
                tokens.fail(problem, start=start, end=tokens.position)
            keys.add(condition.key)
        conditions.append(condition)
        if tokens.take("RIGHT_BRACKET"):
            return tuple(conditions)
        tokens.expect("COMMA", '"," or "]"')


def _condition(tokens: Tokenizer, depth: int) -> Condition:
    """Parse ``condition = key [ "::" [ value [ ":" value ] ] ]``, white space around each."""
    key = _word(tokens, depth, "BARE_VALUE", "the name of a column")
    tokens.skip_blanks()
    if not tokens.take("PAIR"):
        if tokens.peek("COLON"):
            tokens.fail('A key and its value are separated by "::".')
        return Condition(key)
    tokens.skip_blanks()
    if tokens.peek("COMMA") or tokens.peek("RIGHT_BRACKET"):
        return Condition(key)
    low = _word(tokens, depth, "BARE_VALUE", "a value")
    tokens.skip_blanks()
    if not tokens.take("COLON"):
        return Condition(key, low)
    tokens.skip_blanks()
    high = _word(tokens, depth, "BARE_VALUE", "the end of the range")
    tokens.skip_blanks()
    return Condition(key, low, high)


def _word(tokens: Tokenizer, depth: int, bare: str, expected: str) -> Word:
    """Parse ``word = reference | quoted | bare``; what begins with a quote ends with it."""
    if tokens.peek("OPEN"):
        return _reference(tokens, depth + 1)
    if quoted := tokens.take("QUOTED"):
        return quoted.text[1:-1]
    if tokens.peek("QUOTE"):
        tokens.fail("The quote is never closed.")
    return tokens.expect(bare, expected).text.strip()


def _spell(word: Word, bare: str) -> str:
    """Format a word so that the rule `bare` of its place, or quotes, give it back."""
    if isinstance(word, Reference):
        return str(word)
    plain = RULES[bare].fullmatch(word) and word == word.strip() and word[0] not in "'\""
    if plain:
        return word
    quote = '"' if "'" in word else "'"
    return f"{quote}{word}{quote}"
