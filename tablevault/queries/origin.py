"""Finds the origin of an execution, and fingerprints functions as they are now and were then."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from tablevault.errors import TableVaultError, TVFileError
from tablevault.history.commits.snapshot import Snapshot, decode_text
from tablevault.history.git.trees import Edit, Put, Remove
from tablevault.model.instance import Instance, TempInstance
from tablevault.model.view import VaultView
from tablevault.names import CODE_DIR, BlobId, TempRef, artifacts_dir, code_path
from tablevault.queries.inputs import EarlierInputs

if TYPE_CHECKING:
    from tablevault.engine.builders.builder import Builder
    from tablevault.engine.execution.context import Earlier, FingerprintOf
    from tablevault.engine.fingerprints.fingerprint import Fingerprint


def find_origin(view: VaultView, temp: TempInstance) -> tuple[Instance | None, str]:
    """Find the instance to start from; where there is none, return why.

    The one that was named when the temporary instance was created; else the latest active one of
    the version, else of the table, of those that are complete if there is one.
    """
    if named := temp.document.origin[0]:
        origin = view.instance(named)
        if origin is None or origin.deleted_at:
            return None, "its origin was deleted"
        return origin, ""
    table = view.table(temp.ref.table)
    for version in (temp.ref.version, ""):
        found = table.latest_or_none(version, successful=True) or table.latest_or_none(version)
        if found is not None:
            return found, ""
    return None, "first run"


def earlier_of(view: VaultView, origin: Instance) -> Earlier:
    """Return what may be taken over from an instance.

    Raises
    ------
    TableVaultError
        Its dataframe is not here, or cannot be read.
    """
    from tablevault.engine.execution.context import Earlier
    from tablevault.frames.parquet import read_frame

    document = origin.document
    return Earlier(
        frame=read_frame(origin.frame_file()),
        builders=recorded_builders(origin),
        fingerprint=fingerprints_then(origin),
        inputs=EarlierInputs(view, document),
        is_complete=document.success,
        with_errors=frozenset(name for name, run in document.execution.items() if run.errors),
        content=_lazily(origin.artifacts),
    )


def fingerprints(texts: Mapping[str, bytes], files: Mapping[str, bytes]) -> FingerprintOf:
    """Return a function that gives the fingerprint of a function of the vault or of the package.

    Parameters
    ----------
    texts : mapping of str to bytes
        Source of each code module, by its path below ``code/``.
    files : mapping of str to bytes
        Content, or a hash of it, of all other files below ``code/``.
    """
    from tablevault.engine.fingerprints.compute import Fingerprints
    from tablevault.engine.fingerprints.program import SHIPPED, Program

    found = Fingerprints(Program(texts, files))

    def of(module: str, function: str, is_custom: bool) -> Fingerprint:
        try:
            return found.of(module if is_custom else f"{SHIPPED}.{module}", function)
        except TVFileError:
            # It is made while the module runs, such as by exec: everything can decide it.
            return _everything(module, function, {**texts, **files})

    return of


def _everything(module: str, function: str, texts: Mapping[str, bytes]) -> Fingerprint:
    """Return the fingerprint of a function of which no definition can be seen."""
    from tablevault.engine.fingerprints.fingerprint import DIGEST_SIZE, Fingerprint

    digest = hashlib.blake2b(f"{module}.{function}".encode(), digest_size=DIGEST_SIZE)
    for path in sorted(texts):
        digest.update(path.encode() + b"\0" + hashlib.sha256(texts[path]).digest())
    return Fingerprint(
        module=module,
        function=function,
        digest=digest.digest(),
        parts=(),
        texts=(),
        outside=(),
        dynamic=(f"`{function}` is made while `{module}` runs, so all code counts",),
    )


def files_beside_modules(folder: Path) -> dict[str, bytes]:
    """Read what is below ``code/`` and is no Python, as functions find it there."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".py" or "__pycache__" in name or not path.is_file():
            continue
        with contextlib.suppress(OSError):
            found[name] = path.read_bytes()
    return found


def fingerprints_then(instance: Instance) -> FingerprintOf:
    """Return a function that gives fingerprints of the code with which an instance was made."""
    from tablevault.engine.code import shipped_id

    texts = instance.code().items()
    sources = {f"{name}.py": text.encode("utf-8", "surrogatepass") for name, text in texts}
    files = {
        entry.name: instance.parts.repository.read_blob(BlobId(entry.id))
        for entry in instance.snapshot.files(CODE_DIR)
        if not entry.name.endswith(".py")
    }
    known = fingerprints(sources, files)

    def of(module: str, function: str, is_custom: bool) -> Fingerprint | None:
        if not is_custom and instance.document.shipped.get(module, "") != shipped_id(module):
            return None  # the package was another one
        try:
            return known(module, function, is_custom)
        except TVFileError:
            return None

    return of


def content_of_temp(
    snapshot: Snapshot, temp: TempRef, origin: Instance | None, folder: Path
) -> Callable[[str], str]:
    """Return a function that hashes an artifact of an instance that is being made.

    A file that is not in its folder is the one that materialising will find: that of the origin,
    or of the folder that the instances of the table share.
    """

    @cache
    def elsewhere() -> dict[str, str]:
        """Return the artifacts of earlier instances."""
        shared = snapshot.pointers(artifacts_dir(*temp, multiple=False))
        before = {} if origin is None else origin.artifacts()
        return {**{name: str(pointer.oid) for name, pointer in shared.items()}, **before}

    @cache
    def content(name: str) -> str:
        """Hash the file, or return the hash of the earlier one."""
        with contextlib.suppress(OSError, ValueError), (folder / name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
        return elsewhere().get(name, "")

    return content


def file_texts(path: Path, artifacts: Path) -> Callable[[str], str]:
    """Return a function that replaces paths of files of the vault by what identifies them.

    The path of a file differs between vaults, and between a temporary instance and what becomes
    of it. Its name and its content are what a function gets to see.
    """
    root = str(path)
    folder = str(artifacts)

    @cache
    def content(path: str, _size: int, _mtime_ns: int) -> str:
        """Hash a file; one that has changed meanwhile is hashed again."""
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def identity(path: str) -> str:
        """Return name and content of a file; the path when there is none."""
        if path == folder:
            return "~ARTIFACT_FOLDER~"
        try:
            status = os.stat(path)  # noqa: PTH116 - text that is no path is a ValueError here
            return f"{Path(path).name}\0{content(path, status.st_size, status.st_mtime_ns)}"
        except (OSError, ValueError):
            return path

    def file_text(text: str) -> str:
        """Replace text that is a path, or that holds some."""
        if root not in text:
            return text
        found = identity(text)
        if found != text:
            return found
        pattern = re.escape(root) + r"/[^\s\"'<>|]*"
        return re.sub(pattern, lambda match: identity(match[0]), text)

    return file_text


def recorded_builders(instance: Instance) -> dict[str, Builder]:
    """Read the builders as they were; one that cannot be read any more is left out."""
    from tablevault.engine.builders.builder import parse_recorded

    found = {}
    for name, blob in instance.document.builders.items():
        with contextlib.suppress(TableVaultError):
            text = instance.snapshot.text_of(BlobId(blob), name)
            found[name] = parse_recorded(name, text, table=instance.table_name)
    return found


def _lazily(read: Callable[[], Mapping[str, str]]) -> Callable[[str], str]:
    """Return a function that looks up a name in what is read when first asked."""
    kept = cache(read)
    return lambda name: kept().get(name, "")


def code_edits(view: VaultView) -> list[Edit]:
    """Find what was edited by hand since the commit that the working tree shows."""
    worktree, main = view.parts.worktree, view.snapshot
    checked_out = worktree.checked_out()
    return worktree.code_edits(
        main if checked_out is None else Snapshot(main.repository, checked_out)
    )


def module_texts(main: Snapshot, edits: Sequence[Edit] = ()) -> dict[str, str]:
    """Return the text of each module by its name, with edits by hand."""
    modules = main.code_modules().items()
    found = {name: main.text_of(blob, code_path(name)) for name, blob in modules}
    for edit in edits:
        name = PurePosixPath(edit.path).stem
        if isinstance(edit, Put):
            found[name] = decode_text(edit.data, edit.path)
        elif isinstance(edit, Remove):
            found.pop(name, None)
    return {name: found[name] for name in sorted(found)}


def fingerprints_now(path: Path, texts: Mapping[str, str]) -> FingerprintOf:
    """Return a function that gives fingerprints of modules with these texts, in a vault."""
    sources = {f"{name}.py": text.encode("utf-8", "surrogatepass") for name, text in texts.items()}
    return fingerprints(sources, files_beside_modules(path / CODE_DIR))
