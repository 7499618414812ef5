"""The file of a page: written whole or not at all, in place of nothing but a report."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from tablevault.errors import TVArgumentError, TVFileError
from tablevault.queries.vault_summary import vault_summary
from tablevault.report.page import MARK, page
from tablevault.vault import Vault, absolute
from tablevault.wording import Parameter, Wording


def write(vault: Vault, path: str | os.PathLike[str], table: str, *, force: bool = False) -> Path:
    """Write the page about a vault, or about one table of it; return its absolute path.

    Raises
    ------
    TVArgumentError
        There is no such table; the folder of `path` does not exist; `path` is a folder, or a file
        that is no report and may not be replaced.
    TVFileError
        The file cannot be written.
    """
    target = absolute(path).resolve()
    _refuse_others(target, force=force)
    text = content(vault, table).encode("utf-8", "backslashreplace")
    beside = target.with_name(f".report.{os.urandom(8).hex()}.tmp")
    try:
        beside.write_bytes(text)
        if target.exists():
            beside.chmod(stat.S_IMODE(target.stat().st_mode))
        beside.replace(target)
    except OSError as error:
        raise TVFileError(
            f'The report cannot be written to "{target}": {error.strerror}.',
            "Name a file in a folder that you may write to.",
            path=str(target),
        ) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()
    return target


def content(vault: Vault, table: str) -> str:
    """Return the page about the vault, or about one table of it."""
    return page(vault_summary(vault, table))


def _refuse_others(target: Path, *, force: bool) -> None:
    """Raise an error for a path that no report may be written to."""
    if not target.parent.is_dir():
        raise TVArgumentError(
            f'There is no folder "{target.parent}".', "Make it first.", path=str(target)
        )
    if not os.path.lexists(target):
        return
    if not target.is_file():
        raise TVArgumentError(
            f'"{target}" is no file.', 'Name a file, such as "report.html".', path=str(target)
        )
    if not (force or _is_report(target)):
        raise TVArgumentError(
            f'"{target}" is there already, and is no report of TableVault.',
            Wording(
                "Choose another name, or have it replaced: ",
                Parameter("report", "force"),
                ".",
            ),
            path=str(target),
        )


def _is_report(path: Path) -> bool:
    """Return whether a file is a report, or empty."""
    try:
        with path.open("rb") as file:
            begin = file.read(len(MARK))
    except OSError:
        return False
    return not begin or begin == MARK.encode()
