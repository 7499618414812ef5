"""A vault as one compressed file, and back."""

from __future__ import annotations

import contextlib
import lzma
import os
import shutil
import tarfile
import uuid
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from tablevault.errors import TVArgumentError
from tablevault.filenames import is_plain_path
from tablevault.history.commits.setup import configure, reset_config
from tablevault.lfs.vault_folders import building, is_free, put_in_place, target_of
from tablevault.vault import Vault, absolute, is_vault, refuse_unless_vault
from tablevault.wording import OperationName, Wording

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
        "tablevault/aside",
        "tablevault/calls.sqlite",
        "tablevault/checkpoints",
        "tablevault/faces",
        "tablevault/history.jsonl",
        "tablevault/laid",
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
    Vault(path=path, author="").calls.settle()
    target = archive_path(path)
    beside = target.with_name(f".{target.name}.{uuid.uuid4()}.tmp")
    try:
        # A hard link within the vault is stored once.
        with (
            lzma.open(beside, "wb", preset=preset) as stream,
            _Archive.open(fileobj=stream, mode="w") as archive,
        ):
            archive.add(target_of(path), arcname=path.name, filter=_keep)
        _sync(beside)
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
            f'"{source}" cannot be unpacked: {error}.', "If it is damaged, restore it from a copy."
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
    """Return whether what stands so in an archive may come from outside.

    Much in ``.git`` makes git run programs or look elsewhere (hooks, ``commondir``, alternates),
    and what is derived could lie: only what a vault needs is taken, the rest is made again.
    """
    if ".git" not in parts[:2]:
        return True
    below = tuple(parts[parts.index(".git") + 1 :])
    if below[:1] == ("refs",) and below[-1].endswith(".lock"):
        return False  # left by who died, and whose note of it does not come along
    for length in range(1, len(below) + 1):
        if below[:length] in _TAKEN:
            return tuple(map(str.lower, below[:2])) != _NOT_TAKEN
    # A folder on the way to one that is taken.
    return any(path[: len(below)] == below for path in _TAKEN)


def _only_folder(folder: Path) -> Path | None:
    """Return the vault in a top folder of another name: the archive file was renamed."""
    inner = [entry for entry in folder.iterdir() if entry.is_dir() and is_vault(entry)]
    return inner[0] if len(inner) == 1 else None


def _sync(path: Path) -> None:
    """Make the bytes of a file durable."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
