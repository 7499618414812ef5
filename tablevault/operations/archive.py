"""A vault as one compressed file, and back."""

from __future__ import annotations

import lzma
import os
import tarfile
import uuid
from pathlib import Path, PurePosixPath

from tablevault.errors import TVArgumentError
from tablevault.history.layout import configure, reset_config
from tablevault.vault import absolute, is_vault, refuse_unless_vault, remove_tree

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
        The folder is no vault.
    """
    path = absolute(where)
    if not path.is_dir():
        raise FileNotFoundError(f'There is no folder "{path}".')
    if preset not in range(10):
        raise ValueError(f"preset is {preset!r}; LZMA has presets 0 to 9.")
    refuse_unless_vault(path)
    target = archive_path(path)
    beside = target.with_name(f".{target.name}.{uuid.uuid4()}.tmp")
    try:
        # A hard link within the vault is stored once; symbolic links are stored as such.
        with (
            lzma.open(beside, "wb", preset=preset) as stream,
            tarfile.open(fileobj=stream, mode="w") as archive,
        ):
            archive.add(path, arcname=path.name, filter=_keep)
        _sync(beside)
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


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
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise TVArgumentError(
            f'"{path}" is there already; nothing was changed.', "Move it away or delete it first."
        )
    beside = path.with_name(f".{path.name}.{uuid.uuid4()}.tmp")
    beside.mkdir(parents=True)
    try:
        _extract(source, beside)
        vault = next((folder for folder in (beside / path.name, beside) if is_vault(folder)), None)
        if vault is None:
            vault = _only_folder(beside)
        if vault is None:
            raise TVArgumentError(f'"{source}" holds no vault.', "Was it made by compress_vault?")
        reset_config(vault)
        configure(vault)
        if path.is_dir():
            path.rmdir()
        vault.rename(path)
    finally:
        if beside.exists():
            remove_tree(beside)


def _keep(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out what belongs to running processes."""
    parts = PurePosixPath(member.name).parts
    if parts[1:3] == (".git", "tablevault") and len(parts) > 4 and parts[3] in _LOCAL:  # noqa: PLR2004 - <vault>/.git/tablevault/<folder>/<file>
        return None
    return member if member.isfile() or member.isdir() or member.islnk() or member.issym() else None


def _extract(source: Path, target: Path) -> None:
    """Unpack, refusing what is no plain file or folder below the target (PEP 706)."""
    try:
        with tarfile.open(source, mode="r:xz") as archive:
            for member in archive:
                _refuse_strange(source, member)
                if _is_trusted(member):
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


def _refuse_strange(source: Path, member: tarfile.TarInfo) -> None:
    """Refuse links that lead somewhere, devices, and names that leave the folder."""
    path = PurePosixPath(member.name)
    is_plain = member.isfile() or member.isdir() or member.islnk()
    if not is_plain or path.is_absolute() or ".." in path.parts:
        raise TVArgumentError(
            f'"{source}" holds "{member.name}", which is no plain file below the vault.',
            "Do not trust this archive.",
        )


def _is_trusted(member: tarfile.TarInfo) -> bool:
    """Leave out what makes git run programs or look elsewhere: it never comes from outside."""
    parts = PurePosixPath(member.name).parts
    if ".git" not in parts[:2]:
        return True
    below = parts[parts.index(".git") + 1 :]
    return below[:1] not in {("hooks",), ("config.worktree",), ("modules",), ("worktrees",)} and (
        below[:2] != ("info", "attributes") and below[:3] != ("objects", "info", "alternates")
    )


def _only_folder(folder: Path) -> Path | None:
    """Give the vault in a top folder of another name: the archive file was renamed."""
    inner = [entry for entry in folder.iterdir() if entry.is_dir() and is_vault(entry)]
    return inner[0] if len(inner) == 1 else None


def _sync(path: Path) -> None:
    """Make the bytes of a file durable."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
