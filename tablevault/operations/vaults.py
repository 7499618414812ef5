"""Create, open, compress and delete a vault as a whole."""

from __future__ import annotations

import contextlib
import itertools
import logging
import lzma
import os
import shutil
import tarfile
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from tablevault.errors import TableVaultError, TVArgumentError, TVFileError, TVLockError, reason_of
from tablevault.files.disk import files_below, sync_file
from tablevault.files.vault_folders import (
    building,
    is_free,
    move_folder,
    put_in_place,
    remove_tree,
    target_of,
)
from tablevault.history.commits.change import Signing
from tablevault.history.commits.documents import VaultDocument, timestamp
from tablevault.history.commits.setup import (
    EARLIER_NAMES,
    configure,
    init_repository,
    refuse_partial,
    reset_config,
)
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.object_files import read_refs
from tablevault.history.git.repository import Repository
from tablevault.names import MAIN, TABLES_DIR
from tablevault.paths import is_plain_path
from tablevault.secrets import IN_DESCRIPTION
from tablevault.transactions.allowed_secrets import admit
from tablevault.transactions.git_merges import complete_merge
from tablevault.transactions.records import RecordStore, Request
from tablevault.transactions.recovery import recover
from tablevault.vault import (
    Vault,
    absolute,
    is_vault,
    log_to_stderr,
    refuse_git_elsewhere,
    refuse_unless_vault,
)
from tablevault.wording import OperationName, Wording

_log = logging.getLogger("tablevault")


def attach(
    vault: Vault,
    description: str = "",
    *,
    create: bool = False,
    restart: bool = False,
    allow_secret: bool = False,
) -> Vault:
    """Open a vault, or make one; what :class:`tablevault.core.TableVault` does at first."""
    if vault.verbose:
        log_to_stderr()
    if create:
        create_vault(vault, description, allow_secret=allow_secret)
    else:
        open_vault(vault)
    if restart:
        from tablevault.operations.processes import restart_processes

        restart_processes(vault)
    return vault


def create_vault(vault: Vault, description: str, *, allow_secret: bool = False) -> None:
    """Make an empty vault; an existing vault is moved aside, anything else refused.

    A path that is a symbolic link means its target. The new vault is built before the old
    one moves. If it crashes before, nothing has changed; if it crashes after, the old vault has
    its new name, and the path is free.

    Raises
    ------
    TVArgumentError
        The path is a file, or a folder that is neither empty nor a vault.
    TVSecretError
        Something in the description looks like a key, and that is not allowed.
    TVLockError
        The existing vault is in use.
    TVFileError
        The existing vault cannot be moved.
    """
    path = target_of(vault.path)
    _refuse_foreign(path)
    request = Request(operation="TableVault", arguments={"allow_secret": allow_secret})
    admitted = admit(request, {"description": description}, IN_DESCRIPTION)
    with building(path) as beside:
        now = time.time()
        document = VaultDocument(
            id=str(uuid.uuid4()),
            description=description,
            created_by=vault.author,
            created_at=timestamp(now),
        )
        signing = Signing(author=vault.author, at=now)
        init_repository(beside, document, signing, allowed=[str(each) for each in admitted.found])
        if is_free(path):
            put_in_place(beside, path)
        else:
            _replace(path, beside)
    recover(vault.parts)


def _replace(path: Path, new: Path) -> None:
    """Put `new` in the place of the vault at `path`, which is kept if there is work in it."""
    files = RecordStore(path / ".git" / "tablevault")
    with files.mutex():
        _refuse_in_use(path)
        is_kept = holds_work(path)
        old = _name_for_replaced(path) if is_kept else path.with_name(f".{uuid.uuid4()}.old")
        move_folder(path, old)
        if is_kept:
            _log.warning('The vault that was at "%s" is at "%s" now.', path, old)
    try:
        put_in_place(new, path)
    except BaseException:
        if not path.exists():
            old.rename(path)
        raise
    if not is_kept:
        remove_tree(old)


def _name_for_replaced(path: Path) -> Path:
    """Return a free name beside `path` for the vault that is moved away."""
    name = f"{path.name}.replaced-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(path.with_name(each) for each in names if not os.path.lexists(path.with_name(each)))


def open_vault(vault: Vault) -> str:
    """Check that the folder is a vault, set up what a plain clone lacks, recover from crashes.

    Returns
    -------
    str
        The process that finished a merge by git, "" when none was left unfinished.

    Raises
    ------
    TVArgumentError
        The folder is missing or no vault. It is not touched.
    TVFormatError
        The vault was written by a newer release.
    TVFileError
        It is a partial clone.
    """
    refuse_unless_vault(vault.path)
    refuse_partial(vault.path)
    vault.snapshot().vault()
    configure(vault.path)
    recover(vault.parts)
    try:
        return complete_merge(vault)
    except TableVaultError as error:
        _log.warning("A merge by git is finished when the vault is next opened: %s", error)
        return ""


def delete_vault(where: str | os.PathLike[str]) -> None:
    """Remove a vault with everything in it; of a symbolic link, its target.

    Raises
    ------
    TVArgumentError
        The folder is missing or no vault.
    TVLockError
        A process runs in it.
    TVFileError
        The folder cannot be moved or removed; the error says where what is left of it is.
    """
    path = absolute(where)
    refuse_unless_vault(path)
    path = target_of(path)
    _refuse_linked_data(path)
    storage = Repository(path).storage().lfs
    old = path.with_name(f".{uuid.uuid4()}.old")
    with RecordStore(path / ".git" / "tablevault").mutex():
        _refuse_in_use(path)
        move_folder(path, old)
    try:
        remove_tree(old)
    except OSError as error:
        raise TVFileError(
            f'The vault "{path}" is not wholly deleted: {error.strerror}: "{error.filename}".',
            f'What is left of it is in "{old}".',
            path=str(old),
        ) from error
    if storage.is_dir():
        _log.warning(
            'The objects in "%s" are still there: other repositories may use them.', storage
        )


def refuse_content(path: Path) -> None:
    """Refuse a folder with anything in it, a vault or not."""
    if path.is_dir() and not is_free(path):
        raise TVArgumentError(
            f'The folder "{path}" is there and is not empty; nothing in it was touched.',
            "Choose a new folder, or delete that one first.",
            path=str(path),
        )


def _refuse_linked_data(path: Path) -> None:
    """Refuse to delete a link and leave the data that it leads to."""
    for name in (".git", ".git/objects", ".git/lfs", ".git/lfs/objects"):
        link = path / name
        if link.is_symlink():
            raise TVArgumentError(
                f'"{link}" is a symbolic link to "{os.path.realpath(link)}"; nothing was deleted.',
                "Move that folder into the place of the link, or delete both by hand.",
                path=str(path),
            )


def _refuse_foreign(path: Path) -> None:
    """Refuse to replace what is no vault."""
    if is_free(path):
        return
    if not path.is_dir():
        raise TVArgumentError(
            f'"{path}" is a file, not a folder.',
            "Choose another path for the vault.",
            path=str(path),
        )
    refuse_git_elsewhere(path)
    if is_vault(path):
        _refuse_in_use(path)
    else:
        raise TVArgumentError(
            f'The folder "{path}" is no vault and is not empty; nothing in it was touched.',
            "Choose an empty or a new folder.",
            path=str(path),
        )


def _refuse_in_use(path: Path) -> None:
    """Refuse while a process runs in the vault."""
    files = RecordStore(path / ".git" / "tablevault")
    for record in files.every():
        if files.is_alive(record.process_id):
            raise TVLockError(
                Wording(
                    f'The vault "{path}" is in use: process {record.process_id} (',
                    OperationName(record.request.operation),
                    f", {record.author}) runs.",
                ),
                "Wait until it ends.",
                holder=record.process_id,
            )


# -- work that would be lost --------------------------------------------------------------------

_OF_EVERY_VAULT = frozenset({"vault.yaml", ".gitattributes", ".gitignore"})


def holds_work(path: Path) -> bool:
    """Return whether the vault at `path` holds more than descriptions of tables.

    Work is an instance, temporary or not, a builder, a code module, an object, a process that is
    not finished, a branch, or a file that is not committed. A vault that cannot be read counts
    as one with work.
    """
    try:
        return any(_signs_of_work(path))
    except Exception:  # noqa: BLE001 - damage takes any form, and what cannot be read is kept
        return True


def _signs_of_work(path: Path) -> Iterator[bool]:
    """Look at one place after the other."""
    git_dir = path / ".git"
    state = git_dir / "tablevault"
    yield read_refs(git_dir).targets.keys() != {MAIN}
    kept = (git_dir / "lfs", state / "processes", state / "quarantine")
    yield any(True for folder in kept for _ in files_below(folder))
    repository = Repository(path)
    snapshot = Snapshot(repository, repository.main())
    tracked = set()
    for top in snapshot.entries(""):
        inner = snapshot.files(top.name) if top.is_folder else ()
        tracked.update([f"{top.name}/{file.name}" for file in inner] or [top.name])
    yield any(not _is_of_every_vault(name) for name in tracked)
    for folder, folders, names in os.walk(path):
        if ".git" in folders:
            folders.remove(".git")
        inside = Path(folder).relative_to(path)
        yield any((inside / name).as_posix() not in tracked for name in names)


def _is_of_every_vault(name: str) -> bool:
    """Return whether a file is one that the vault made by itself, or the settings of a table."""
    parts = name.split("/")
    return name in _OF_EVERY_VAULT or (parts[0] == TABLES_DIR and parts[2:] == ["table.yaml"])


# -- archives -----------------------------------------------------------------------------------

_TAKEN = frozenset(
    tuple(path.split("/"))
    for path in (
        "HEAD",
        "ORIG_HEAD",
        "MERGE_HEAD",
        "MERGE_MODE",
        "MERGE_MSG",
        "CHERRY_PICK_HEAD",
        "REVERT_HEAD",
        "config",  # but for what is harmless in it: see reset_config
        "description",
        "index",
        "info/exclude",
        "lfs/objects",
        "logs",
        "objects",
        "packed-refs",
        "refs",
        "shallow",
        "tablevault/calls.sqlite",
        "tablevault/checked-out",
        "tablevault/history.jsonl",
        "tablevault/quarantine",
        "tablevault/temp-folders",
        *(f"tablevault/{name}" for name in EARLIER_NAMES),
    )
)
_NOT_TAKEN = ("objects", "info")
_LOCAL = ("incomplete", "logs", "processes", "tmp")
"""State of processes of this machine: not part of what is archived."""


def archive_path(path: Path) -> Path:
    """File that holds the archive of the vault at `path`."""
    return path.with_name(f"{path.name}.tar.xz")


def compress_vault(where: str | os.PathLike[str], preset: int) -> None:
    """Write ``<path>.tar.xz``, in one step; the vault stays as it is.

    Raises
    ------
    FileNotFoundError
        The path is missing or no folder.
    ValueError
        `preset` is not 0 to 9.
    TVArgumentError
        The folder is no vault, or holds a symbolic link, with which it could not be unpacked.
    """
    path = absolute(where)
    if not path.is_dir():
        raise FileNotFoundError(f'There is no folder "{path}".')
    if preset not in range(10):
        raise ValueError(f"preset is {preset!r}; LZMA has presets 0 to 9.")
    refuse_unless_vault(path)
    _refuse_links(path)
    Vault(path=path, author="").calls.checkpoint()
    target = archive_path(path)
    beside = target.with_name(f".{target.name}.{uuid.uuid4()}.tmp")
    try:
        # A hard link within the vault is stored once.
        with (
            lzma.open(beside, "wb", preset=preset) as stream,
            _Archive.open(fileobj=stream, mode="w") as archive,
        ):
            archive.add(target_of(path), arcname=path.name, filter=_keep)
        sync_file(beside)
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


class _Archive(tarfile.TarFile):
    """An archive without files that go while it is written, such as those of a closed database."""

    def add(self, name: Any, *args: Any, **options: Any) -> None:  # noqa: ANN401 - as tarfile has it
        """Add a file or folder, unless it is gone."""
        with contextlib.suppress(FileNotFoundError):
            super().add(name, *args, **options)


def decompress_vault(where: str | os.PathLike[str]) -> None:
    """Restore `path` from ``<path>.tar.xz``.

    Raises
    ------
    FileNotFoundError
        There is no such archive.
    TVArgumentError
        The target is not empty, the archive is damaged, holds no vault, or holds a member that
        would leave the folder.
    """
    path = absolute(where)
    source = archive_path(path)
    if not source.is_file():
        raise FileNotFoundError(f'There is no archive "{source}".')
    place = target_of(path)
    if not is_free(place):
        raise TVArgumentError(
            f'"{path}" is there already; nothing was changed.', "Move it away or delete it first."
        )
    with building(place) as beside:
        _extract(source, beside)
        vault = next((folder for folder in (beside / path.name, beside) if is_vault(folder)), None)
        if vault is None:
            vault = _only_folder(beside)
        if vault is None:
            raise TVArgumentError(
                f'"{source}" holds no vault.',
                Wording("Was it made by ", OperationName("compress_vault"), "?"),
            )
        reset_config(vault)
        configure(vault)
        put_in_place(vault, place)


def _refuse_links(path: Path) -> None:
    """Refuse to write an archive that could not be unpacked again."""
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            link = Path(folder, name)
            inner = link.relative_to(path)
            if link.is_symlink() and _is_trusted(inner.parts):
                raise TVArgumentError(
                    f'"{inner}" is a symbolic link, and an archive of a vault holds none.',
                    "Move it out of the vault, or put a copy in its place.",
                    path=str(link),
                )


def _keep(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out what belongs to running processes."""
    parts = PurePosixPath(member.name).parts
    if parts[1:3] == (".git", "tablevault") and len(parts) > 4 and parts[3] in _LOCAL:  # noqa: PLR2004 - <vault>/.git/tablevault/<folder>/<file>
        return None
    return member if member.isfile() or member.isdir() or member.islnk() else None


def _extract(source: Path, target: Path) -> None:
    """Unpack, refusing what is no plain file or folder below the target (PEP 706)."""
    try:
        with tarfile.open(source, mode="r:xz") as archive:
            for member in archive:
                _refuse_strange(source, member)
                if _is_trusted(PurePosixPath(member.name).parts):
                    _refuse_large(source, member, target)
                    archive.extract(member, target, filter="data")
                    if not member.isdir():
                        # The safe filter makes files writable: objects are not.
                        (target / member.name).chmod(member.mode & 0o777)
    except tarfile.FilterError as error:
        raise TVArgumentError(
            f'"{source}" is refused: {error}.', "Do not trust this archive."
        ) from error
    except (tarfile.TarError, lzma.LZMAError, EOFError, OSError, KeyError) as error:
        raise TVArgumentError(
            f'"{source}" cannot be unpacked: {reason_of(error)}.',
            "If it is damaged, restore it from a copy.",
        ) from error


def _refuse_large(source: Path, member: tarfile.TarInfo, target: Path) -> None:
    """Refuse what the disk has no room for before it is full: a few bytes may unpack to many."""
    if member.isfile() and member.size > shutil.disk_usage(target).free:
        raise TVArgumentError(
            f'"{source}" holds "{member.name}" of {member.size:,} bytes: there is no room for it.',
            "Free some space on the disk, if this archive is yours.",
        )


def _refuse_strange(source: Path, member: tarfile.TarInfo) -> None:
    """Refuse links that lead somewhere, devices, and names that leave the folder."""
    path = PurePosixPath(member.name)
    is_plain = member.isfile() or member.isdir() or member.islnk()
    is_folder = member.isdir() and path.parts[-2:] == (".git", "config")
    # Some file systems take ".GIT" for ".git".
    is_inside = all(part == ".git" or is_plain_path(part) for part in path.parts)
    if not is_plain or path.is_absolute() or not is_inside or is_folder:
        raise TVArgumentError(
            f'"{source}" holds "{member.name}", which is no plain file below the vault.',
            "Do not trust this archive.",
        )


def _is_trusted(parts: Sequence[str]) -> bool:
    """Return whether a member of an archive may be unpacked into the vault.

    Much in ``.git`` makes git run programs or look elsewhere (hooks, ``commondir``, alternates),
    and derived files could be forged: only what a vault needs is unpacked, the rest is made again.
    """
    if ".git" not in parts[:2]:
        return True
    below = tuple(parts[parts.index(".git") + 1 :])
    if below[:1] == ("refs",) and below[-1].endswith(".lock"):
        return False  # a leftover of a crash, whose record is not in the archive
    for length in range(1, len(below) + 1):
        if below[:length] in _TAKEN:
            return tuple(map(str.lower, below[:2])) != _NOT_TAKEN
    # A folder on the way to one that is taken.
    return any(path[: len(below)] == below for path in _TAKEN)


def _only_folder(folder: Path) -> Path | None:
    """Return the vault in a top folder of another name: the archive file was renamed."""
    inner = [entry for entry in folder.iterdir() if entry.is_dir() and is_vault(entry)]
    return inner[0] if len(inner) == 1 else None
