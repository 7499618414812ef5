"""What looks like a key in texts that an operation is to keep: refused, unless that is allowed.

The commit of the operation names what is allowed, see
`Transaction.message`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tablevault.errors import TVSecretError
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.trees import Edit, Put
from tablevault.names import CODE_DIR, TempRef, builder_of_path
from tablevault.secrets import IN_BUILDER, IN_CODE, Finding, find_secrets, secret_error
from tablevault.transactions.records import Request
from tablevault.wording import Call, Either, Wording


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """What looks like a key, and is allowed.

    Attributes
    ----------
    found : tuple of Finding
        Where it stands; `place` is the name of a file without folders.
    text : str
        All texts in which it stands: in files that were edited by hand, it is allowed, too.
    """

    found: tuple[Finding, ...] = ()
    text: str = ""


def allows_edits(request: Request) -> bool:
    """Return whether files that were edited by hand are taken in, whatever they look like."""
    return request.operation == "execute_instance" and bool(request.arguments.get("allow_secret"))


def admit(request: Request, texts: Mapping[str, str], instead: str) -> Admitted:
    """Return what looks like a key in texts that were handed in, if it is allowed.

    Parameters
    ----------
    request : Request
        What is asked for; nothing of it is written yet.
    texts : mapping of str to str
        The texts, by the file or argument that each comes from.
    instead : str
        What to do about a key.

    Raises
    ------
    TVSecretError
        Something was found, and is not allowed.
    """
    found = [each for place, text in texts.items() for each in find_secrets(place, text)]
    if not found:
        return Admitted()
    if not request.arguments.get("allow_secret"):
        allow = Either("allow_secret=True", "--allow-secret")
        raise secret_error(found, Wording(instead, " If it is none, pass ", allow, "."))
    return Admitted(
        found=tuple(replace(each, place=Path(each.place).name) for each in found),
        text="\n".join(texts.values()),
    )


def found_in_edits(
    edits: Sequence[Edit], before: Snapshot, folder: str, admitted: str
) -> list[Finding]:
    """Return what looks like a key in files that people have edited in `folder`.

    Leaves out what the file in `before`, or the text that was `admitted`, has already.
    """
    return [
        found
        for edit in edits
        if isinstance(edit, Put)
        for found in find_secrets(
            f"{folder}/{edit.path.rpartition('/')[2]}",
            edit.data,
            known=(before.blob(edit.path) or b"").decode("utf-8", "replace") + admitted,
        )
    ]


def code_error(found: Sequence[Finding], root: Path) -> TVSecretError:
    """Make the error for keys in code that was edited by hand; it says how to allow them."""
    place = found[0].place
    module = place.removeprefix(f"{CODE_DIR}/").removesuffix(".py")
    call = Call(
        "create_code_module", module_name=module, copy_dir=str(root / place), allow_secret=True
    )
    return secret_error(found, Wording(IN_CODE, " If it is none: ", call, "."))


def builder_error(found: Sequence[Finding], root: Path, temp: TempRef) -> TVSecretError:
    """Make the error for keys in builders that were edited by hand; it says how to allow them."""
    place = found[0].place
    call = Call(
        "create_builder_file",
        table_name=temp.table,
        builder_name=builder_of_path(place),
        version=temp.version,
        copy_dir=str(root / place),
        allow_secret=True,
    )
    return secret_error(found, Wording(IN_BUILDER, " If it is none: ", call, "."))
