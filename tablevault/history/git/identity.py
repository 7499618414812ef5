"""The author of a commit: the text that a vault was opened with, as git writes it."""

from __future__ import annotations

import re

_AUTHOR = re.compile(r"\s*([^<>]*?)\s*<([^<>]+)>\s*")
_CRUD = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff<>]+")
_ENDS = " .,:;\"'\\"  # libgit2 strips these, and refuses a name or address that is then empty
_NOT_IN_EMAIL = re.compile(r"[^A-Za-z0-9._-]+")


def identity(author: str) -> tuple[str, str]:
    """Return name and address of ``Name <email>``; the address is made up where there is none."""
    if found := _AUTHOR.fullmatch(author):
        name, email = found[1] or found[2], found[2]
    else:
        name, email = author, ""
    name = _CRUD.sub(" ", name).strip(_ENDS) or "unknown"
    email = _CRUD.sub("", email).replace(" ", "").strip(_ENDS)
    return name, email or f"{_NOT_IN_EMAIL.sub('-', name.lower())}@localhost"


def author_name(author: str) -> str:
    """Return the name under which commits of an author stand in history."""
    return identity(author)[0]
