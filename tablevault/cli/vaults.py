"""Commands on a vault as a whole: create, compress, decompress, delete, demo."""

from __future__ import annotations

import argparse
import sys

from tablevault.cli.command import ALLOW_SECRET, DESCRIPTION, Command, option, positional, switch
from tablevault.cli.context import Place, existing_file, existing_folder, refuse_below_file
from tablevault.cli.usage_errors import AbortedError, UsageError
from tablevault.wording import Call

_ENDING = ".tar.xz"


def _create(place: Place, given: argparse.Namespace) -> object:
    """Make an empty vault."""
    vault = place.create(given.new_dir, given.description, allow_secret=given.allow_secret)
    return f"Created → {vault.path}"


def _compress(place: Place, given: argparse.Namespace) -> object:
    """Write a vault into one file."""
    from tablevault.operations import vaults

    del place
    folder = existing_folder(given.vault_dir)
    vaults.compress_vault(folder, given.preset)
    return f"Compressed → {folder.name}{_ENDING}"


def _decompress(place: Place, given: argparse.Namespace) -> object:
    """Restore a vault from such a file."""
    from tablevault.operations.vaults import decompress_vault

    del place
    archive = existing_file(given.archive)
    if not archive.name.endswith(_ENDING):
        raise UsageError(f'"{archive}" does not end in {_ENDING}')
    target = archive.with_name(archive.name.removesuffix(_ENDING))
    decompress_vault(target)
    return f"Decompressed → {target.name}/"


def _delete(place: Place, given: argparse.Namespace) -> object:
    """Remove a vault."""
    from tablevault.operations import vaults

    del place
    from tablevault.vault import refuse_unless_vault

    folder = existing_folder(given.vault_dir)
    refuse_unless_vault(folder)
    if not given.yes:
        sys.stdout.write(f'Delete the vault "{folder}" with everything in it? [y/N] ')
        sys.stdout.flush()
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            raise AbortedError
    vaults.delete_vault(folder)
    return f"Deleted → {folder}"


def _demo(place: Place, given: argparse.Namespace) -> object:
    """Make a small vault to look at."""
    from tablevault.cli import demo

    return demo.make(place, given.new_dir)


def _import(place: Place, given: argparse.Namespace) -> object:
    """Take over a vault of TableVault 0.1."""
    from tablevault.operations import import_v01

    old = existing_folder(given.old_dir)
    refuse_below_file(given.new_dir)
    options = place.options(allow_secret=given.allow_secret)
    report = import_v01.import_original(old, given.new_dir, place.author, options)
    return f"{report}\nThe vault is {given.new_dir}; {old} is as it was."


COMMANDS = (
    Command(
        name="create-vault",
        summary="make an empty vault",
        run=_create,
        calls=(Call("TableVault", create=True),),
        arguments=(
            positional("new_dir", "folder of the new vault", "path", parameter="db_dir"),
            DESCRIPTION,
            ALLOW_SECRET,
        ),
    ),
    Command(
        name="demo",
        summary="make a small vault to look at, and say what to look at",
        run=_demo,
        arguments=(positional("new_dir", "folder of the new vault", "path", default="demo.vault"),),
    ),
    Command(
        name="import-original",
        summary="make a vault of one of TableVault 0.1, with its history as commits",
        run=_import,
        arguments=(
            positional(
                "old_dir", "folder of the vault of TableVault 0.1; it stays as it is", "path"
            ),
            positional("new_dir", "folder of the new vault", "path"),
            ALLOW_SECRET,
        ),
    ),
    Command(
        name="compress",
        summary="write a vault into one file, DIR.tar.xz; the vault stays",
        run=_compress,
        calls=(Call("compress_vault"),),
        arguments=(
            positional("vault_dir", "folder of the vault", "path", parameter="db_dir"),
            option("preset", "0 (fast) to 9 (small)", default=6, type=int, choices=range(10)),
        ),
    ),
    Command(
        name="decompress",
        summary="restore a vault from such a file",
        run=_decompress,
        calls=(Call("decompress_vault"),),
        arguments=(positional("archive", "the file, NAME.tar.xz", "path", parameter="db_dir"),),
    ),
    Command(
        name="delete-vault",
        summary="remove a vault with everything in it",
        run=_delete,
        arguments=(
            positional("vault_dir", "folder of the vault", "path", parameter="db_dir"),
            switch("yes", "do not ask"),
        ),
    ),
)
