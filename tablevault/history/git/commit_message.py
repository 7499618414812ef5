"""Commit messages and authors: text for people, trailers for programs; encode and decode."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

_TRAILER = re.compile(r"(Vault-[A-Za-z-]+): (.*)")
_LONGEST_SUBJECT = 200
# Any text may be the id of a process. One that would not survive on a line is JSON, in quotes.
_IDS = {"Vault-Process", "Vault-Parent-Process", "Vault-Undoes", "Vault-Cause"}
# git interpret-trailers takes such a line for the end of the message and the begin of a patch.
_DIVIDER = re.compile(r"^---", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a commit of the vault says.

    The text is what ``git interpret-trailers --parse`` understands: the trailers are the last
    paragraph, one ``Key: value`` a line.
    """

    subject: str
    trailers: tuple[tuple[str, str], ...] = ()
    body: str = ""

    def encode(self) -> str:
        """Format the commit message."""
        paragraphs = [one_line(self.subject)[:_LONGEST_SUBJECT]]
        if self.body:
            paragraphs.append(_DIVIDER.sub(r" \g<0>", self.body.replace("\0", "")))
        if self.trailers:
            paragraphs.append(
                "\n".join(f"{key}: {_formatted(key, value)}" for key, value in self.trailers)
            )
        return "\n\n".join(paragraphs) + "\n"

    def first(self, key: str) -> str:
        """Return the value of the first trailer `key`, "" when there is none."""
        for name, value in self.trailers:
            if name == key:
                return value
        return ""

    def every(self, key: str) -> tuple[str, ...]:
        """Return the values of all trailers `key`."""
        return tuple(value for name, value in self.trailers if name == key)


def decode_message(text: str) -> Message:
    """Read a commit message; only ``Vault-*`` trailers of the last paragraph count."""
    paragraphs = text.strip("\n").split("\n\n")
    trailers: list[tuple[str, str]] = []
    if len(paragraphs) > 1:
        trailers.extend(
            (found[1], _read(found[1], found[2]))
            for line in paragraphs[-1].splitlines()
            if (found := _TRAILER.fullmatch(line))
        )
    return Message(subject=paragraphs[0].split("\n")[0], trailers=tuple(trailers))


def trailers(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Name each key ``Vault-<key>`` and leave out the empty values."""
    return tuple((f"Vault-{key}", value) for key, value in pairs if value)


def _formatted(key: str, value: str) -> str:
    """Format the value of a trailer on one line."""
    is_plain = value.isprintable() and value == value.strip() and not value.startswith('"')
    return json.dumps(value) if key in _IDS and not is_plain else _unbroken(value)


def _read(key: str, text: str) -> str:
    """Read what `_formatted` wrote; text in quotes that is no JSON is taken as it is."""
    if key in _IDS and text.startswith('"'):
        try:
            value = json.loads(text)
            str(value).encode()  # half of a surrogate pair is no text
        except ValueError:
            return text
        return value if isinstance(value, str) else text
    return text


def _unbroken(text: str) -> str:
    """Turn line breaks into blanks; other blanks may be part of a name, and stay."""
    return " ".join(text.splitlines()).strip()


def one_line(text: str) -> str:
    """Fold white space, line breaks above all, into single blanks."""
    return " ".join(text.split())


_AUTHOR = re.compile(r"\s*([^<>]*?)\s*<([^<>]+)>\s*")
_NOT_IN_NAME = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff<>]+")
_ENDS = " .,:;\"'\\"  # libgit2 strips these, and refuses a name or address that is then empty
_NOT_IN_EMAIL = re.compile(r"[^A-Za-z0-9._-]+")


def identity(author: str) -> tuple[str, str]:
    """Return name and address of ``Name <email>``; the address is made up where there is none."""
    if found := _AUTHOR.fullmatch(author):
        name, email = found[1] or found[2], found[2]
    else:
        name, email = author, ""
    name = _NOT_IN_NAME.sub(" ", name).strip(_ENDS) or "unknown"
    email = _NOT_IN_NAME.sub("", email).replace(" ", "").strip(_ENDS)
    return name, email or f"{_NOT_IN_EMAIL.sub('-', name.lower())}@localhost"


def author_name(author: str) -> str:
    """Return the name that commits of an author have."""
    return identity(author)[0]
