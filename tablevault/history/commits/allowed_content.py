"""What a commit of a vault may hold, whether it is made here or fetched."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pygit2.enums import FileMode

from tablevault.errors import TVArgumentError, TVFileError
from tablevault.history.commits.documents import (
    LARGEST_DOCUMENT,
    decode_instance,
    decode_table,
    decode_vault,
)
from tablevault.names import fault_of_folders, kind_of_document

_GROUP_CAN_WRITE = 0o020
_REGULAR = (FileMode.BLOB, FileMode.BLOB_EXECUTABLE, FileMode.BLOB | _GROUP_CAN_WRITE)
_DECODERS: Mapping[str, Callable[[bytes, str], object]] = {
    "vault": decode_vault,
    "table": decode_table,
    "instance": decode_instance,
}


def fault_of_entry(path: str, mode: int) -> str:
    """Return why an entry other than a folder cannot be part of a vault, "" when it can."""
    if mode == FileMode.LINK:
        return "it is a symbolic link"
    if mode == FileMode.COMMIT:
        return "it is a submodule"
    if mode not in _REGULAR:
        return f"its mode is {mode:o}"
    return fault_of_folders(path)


def is_checked(path: str) -> bool:
    """Return whether :func:`fault_of_document` looks at what is in a file."""
    return kind_of_document(path) in _DECODERS


def fault_of_document(path: str, data: bytes) -> str:
    """Return why a document of the vault cannot be read, "" for any other file."""
    decode = _DECODERS.get(kind_of_document(path))
    if decode is None:
        return ""
    if len(data) > LARGEST_DOCUMENT:
        return f"the document is larger than {LARGEST_DOCUMENT:,} bytes"
    try:
        decode(data, path)
    except (TVFileError, TVArgumentError) as error:
        return error.message.rstrip(".")
    return ""


def fault_of_change(path: str, before: bytes, after: bytes) -> str:
    """Return what a commit of plain git must not change in a document, "" when it may.

    The id of a table is what its instances name, and that of a vault what its clones have.
    """
    kind = kind_of_document(path)
    if kind == "table":
        old, new = decode_table(before, path), decode_table(after, path)
        fixed = ("id", "multiple_artifacts", "side_effects")
        changed = [name for name in fixed if getattr(old, name) != getattr(new, name)]
    elif kind == "vault":
        changed = ["id"] if decode_vault(before, path).id != decode_vault(after, path).id else []
    else:
        return ""
    verb = "change" if len(changed) > 1 else "changes"
    return f"its {' and '.join(changed)} never {verb}" if changed else ""
