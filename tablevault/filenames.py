"""Which names files and folders of a vault may have: the rule for writing, and for reading."""

from __future__ import annotations

import re

LONGEST_PART = 255
"""Bytes of one name: no common file system takes more."""
LONGEST_PATH = 2000
"""Bytes of a path below the vault: with the path of the vault it stays below PATH_MAX (4096)."""
DEEPEST = 600
"""Folders above a file: the longest artifact name of one-letter folders has 500."""
_ARTIFACTS = re.compile(r"tables/[^/]+/(?:[^/]+/)?artifacts/")
# File systems of macOS take these characters for none (git: utf8.c, next_hfs_char).
_IGNORED_ON_MACOS = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
# NTFS ignores blanks and dots at the end, and takes what follows a colon for a stream of the
# file (git: path.c, is_ntfs_dotgit).
_GIT_FOLDER = re.compile(r"(?:\.git|git~1)[ .]*(?::.*)?", re.IGNORECASE | re.DOTALL)
# What git reads wherever it lies, also by the short names of NTFS (git: is_ntfs_dot_generic).
_READ_BY_GIT = re.compile(
    r"(?:\.git(?:attributes|ignore|modules)?|gi[a-z0-9]{1,6}~\d|~\d{7})[ .]*(?::.*)?",
    re.IGNORECASE | re.DOTALL,
)
# What turns the direction of the text that follows: a name with it is shown as another one.
_TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LEFT_BY_PROGRAMS = re.compile(
    r"\..*|~\$.*|.*~|#.*#|.*\.sw[op]|(?:eh)?thumbs\.db|desktop\.ini|icon\r",
    re.IGNORECASE | re.DOTALL,
)


def fault_to_write(path: str) -> str:
    """Return what is wrong with a tracked path that is to be written, "" when nothing is.

    Parameters
    ----------
    path : str
        Relative to the vault, with ``/`` between its parts.

    Returns
    -------
    str
        What :func:`fault_to_read` refuses, and of the name of an artifact the characters that
        turn the direction of text. Artifacts are called as their authors call them, so whatever
        else a file system takes they may be called, line breaks included.
    """
    turning = _TURNING.search(path)
    return fault_to_read(path) or (_shown(turning) if turning else "")


def fault_to_read(path: str) -> str:
    """Return why a tracked path of somebody else's history must not be used, "" when it may.

    Whatever :func:`fault_to_write` accepts, this does, and any name that earlier releases have
    given to an artifact.
    """
    if not is_plain_path(path):
        return "it leads out of its folder, or is a name of git's own"
    if "\\" in path:
        return "it holds a backslash, which leads into another folder on Windows"
    if "\0" in path:
        return "it holds a NUL"
    found = None if is_of_artifact(path) else _CONTROL.search(path) or _TURNING.search(path)
    return _shown(found) if found else _fault_of_length(path)


def is_plain_path(path: str) -> bool:
    """Return whether a path stays below its root and out of ``.git``, on any file system."""
    plain = path if path.isascii() else _IGNORED_ON_MACOS.sub("", path)
    parts = plain.replace("\\", "/").split("/")
    return not any(part in ("", ".", "..") or _GIT_FOLDER.fullmatch(part) for part in parts)


def is_of_artifact(path: str) -> bool:
    """Return whether a tracked path lies where artifacts do."""
    return _ARTIFACTS.match(path) is not None


def is_read_by_git(path: str) -> bool:
    """Return whether git would read a file of this name for itself, such as ``.gitattributes``."""
    return any(_READ_BY_GIT.fullmatch(_IGNORED_ON_MACOS.sub("", part)) for part in path.split("/"))


def is_hidden(name: str) -> bool:
    """Return whether programs leave files of this name behind: nobody made them for the vault.

    Names that begin with a dot, such as ``.DS_Store`` and AppleDouble files (``._x.yaml``), lock
    and backup files of editors (``~$x.docx``, ``x.yaml~``, ``#x.yaml#``, ``x.swp``), and what
    file managers write (``Thumbs.db``, ``desktop.ini``).
    """
    return _LEFT_BY_PROGRAMS.fullmatch(name) is not None


def _fault_of_length(path: str) -> str:
    """Return what is wrong with the length of a path, or with the text that it is made of."""
    try:
        parts = path.encode().split(b"/")
    except UnicodeEncodeError:
        return "it is no UTF-8 text"
    if max(map(len, parts)) > LONGEST_PART:
        return f"a part of it is longer than {LONGEST_PART} bytes"
    if len(b"/".join(parts)) > LONGEST_PATH:
        return f"it is longer than {LONGEST_PATH} bytes"
    return f"it lies below {len(parts) - 1} folders" if len(parts) > DEEPEST else ""


def _shown(found: re.Match[str]) -> str:
    """Name the character that was found."""
    return f"it holds U+{ord(found.group()):04X}, which shows it as another name"
