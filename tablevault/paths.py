"""Paths in a vault: what a file is by its path, and which paths are refused."""

from __future__ import annotations

import re

from tablevault.errors import TVArgumentError, TVTableError
from tablevault.names import (
    SHARED_ARTIFACTS,
    TABLES_DIR,
    TEMP_DIR,
    VAULT_DOCUMENT,
    TempRef,
    artifacts_dir,
    check_table_name,
    check_version,
)

_LONGEST_ARTIFACT = 1000
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


def check_artifact_name(name: str) -> str:
    """Return `name` when a value of a table may name an artifact so.

    Raises
    ------
    TVTableError
        It leads out of the artifact folder, is not spelled plainly, is too long, or is one that
        git would read for itself.
    """
    if name.startswith("/") or ".." in name.split("/"):
        problem = "it leads out of the artifact folder"
    elif any(part in ("", ".") for part in name.split("/")):
        problem = "it is no plain relative path"
    elif is_read_by_git(name):
        problem = "git uses that name itself"
    else:
        tracked = f"{artifacts_dir('t', '', multiple=False)}/{name}"
        problem = fault_to_write(tracked) or _too_long(name)
    if problem:
        raise TVTableError(
            f"Artifact name {name!r:.200} cannot be used: {problem}.",
            "Name a file within the artifact folder, with a plain relative path.",
            artifact=name,
        )
    return name


def _too_long(name: str) -> str:
    """Return what is wrong with the length of the name of an artifact."""
    is_long = len(name.encode()) > _LONGEST_ARTIFACT
    return f"it is longer than {_LONGEST_ARTIFACT} bytes" if is_long else ""


def is_lfs_path(path: str) -> bool:
    """Return whether git tracks a pointer at `path`, as ``.gitattributes`` says."""
    first, *folders, name = path.split("/") if "/" in path else ("", path)
    if first != TABLES_DIR:
        return False
    is_of_calls = name == "calls.parquet" and len(folders) == 2  # noqa: PLR2004 - table, version
    return name == "dataframe.parquet" or is_of_calls or "artifacts" in folders


def kind_of_document(path: str) -> str:
    """Return which document of the vault stands at a tracked path, "" when none does.

    Returns
    -------
    str
        ``vault``, ``table``, ``instance`` or ``builder``. A file of the same name among the
        artifacts is data.
    """
    match path.split("/"):
        case [name] if name == VAULT_DOCUMENT:
            return "vault"
        case [top, _, "table.yaml"] if top == TABLES_DIR:
            return "table"
        case [top, _, version, "instance.yaml"] if top == TABLES_DIR:
            return "" if version == SHARED_ARTIFACTS else "instance"
        case [top, _, version, "builders", name] if top == TABLES_DIR and name.endswith(".yaml"):
            return "" if version == SHARED_ARTIFACTS else "builder"
    return ""


def is_of_instance(path: str) -> bool:
    """Return whether an instance consists of a tracked file, among others.

    That is its document, its dataframe, what lies with its builders, and its artifacts. What
    somebody else puts beside these is no part of it.
    """
    top, *rest = path.split("/")
    is_builder = top == TABLES_DIR and rest[2:3] == ["builders"] and len(rest) > 3  # noqa: PLR2004 - tables/<table>/<version>/builders/<file>
    return is_builder or is_lfs_path(path) or kind_of_document(path) == "instance"


def temp_of_builder(path: str) -> TempRef | None:
    """Return the temporary instance to which edits of a tracked builder belong, None if none."""
    if kind_of_document(path) != "builder" or fault_of_folders(path):
        return None
    _, table, version, *_ = path.split("/")
    return TempRef(table=table, version=version)


def fault_of_folders(path: str) -> str:
    """Return why a file cannot be tracked at `path`, "" when it can.

    Where tables have their files, its folders are called as a table and a version may be.
    """
    *folders, _ = path.split("/")
    if path.split("/", maxsplit=1)[0] == TEMP_DIR:
        return f"{TEMP_DIR}/ holds what each vault edits for itself, and is never committed"
    try:
        if folders[:1] == [TABLES_DIR] and len(folders) > 1:
            check_table_name(folders[1])
            if len(folders) > 2 and folders[2] != SHARED_ARTIFACTS:  # noqa: PLR2004 - tables/<table>/<version>
                check_version(folders[2])
    except TVArgumentError as error:
        return error.message.rstrip(".")
    return ""


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
