"""Adds and lists remotes, and the buckets in which they keep data."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tablevault.errors import TVArgumentError, TVRemoteError
from tablevault.history.commits.change import Change
from tablevault.history.git.git_config import LFSCONFIG, read_committed_settings, read_settings
from tablevault.history.git.git_program import run_git
from tablevault.history.git.trees import Put
from tablevault.model.view import VaultView
from tablevault.remotes.git_refs import is_name
from tablevault.remotes.lfs.endpoint import TRUSTED_BUCKET, parse_bucket
from tablevault.transactions.claims import config_hold
from tablevault.transactions.operation import Operation, operation
from tablevault.transactions.records import Hold, Record
from tablevault.transactions.transaction import Transaction
from tablevault.vault import Vault, absolute
from tablevault.wording import Parameter, Wording


def add_remote(
    vault: Vault,
    name: str,
    url: str | os.PathLike[str],
    *,
    data: str = "",
    endpoint_url: str = "",
) -> None:
    """Add a remote to the git configuration of the vault, and its bucket to ``.lfsconfig``.

    If it crashes in between, the same call completes it.

    Raises
    ------
    TVArgumentError
        The name has another address already, git does not accept it, or `data` is not the address
        of a bucket.
    """
    wanted = address(url)
    if wanted.startswith("s3://"):
        raise TVArgumentError(
            f'"{wanted}" is a bucket, which can keep the data of a vault, but not its history.',
            Wording(
                "Name a git repository, and pass the bucket as ",
                Parameter("add_remote", "data", wanted),
                ".",
            ),
        )
    bucket = _bucket(data, endpoint_url) if data or endpoint_url else ""
    if not is_name(name):
        raise TVArgumentError(
            f'"{name}" cannot be the name of a remote.',
            "Use letters, digits, - and _.",
            remote=name,
        )
    known = read_settings(vault.path).get(f"remote.{name}.url")
    if known and known != wanted:
        raise TVArgumentError(
            f'Remote "{name}" exists: {known}.',
            "Choose another name, or change it: "
            f"`git remote set-url {name} {shlex.quote(wanted)}`.",
            remote=name,
        )
    if not known:
        run_git(["remote", "add", "--", name, wanted], vault.path)
    if bucket:
        trust_bucket(vault.path, bucket)
        if read_committed_settings(vault.path).get(_key(name)) != bucket:
            AddRemote(name=name, data=bucket).run(vault)


def trust_bucket(folder: Path, url: str) -> None:
    """Confirm that the data of a vault may be sent to a bucket, and read from there.

    The confirmation is in the git configuration of the repository at `folder`, not in its history.

    Raises
    ------
    TVArgumentError
        It is not the address of a bucket.
    """
    bucket = _bucket(url)
    if bucket not in read_settings(folder).all(TRUSTED_BUCKET):
        run_git(["config", "--local", "--add", TRUSTED_BUCKET, bucket], folder)


def list_remotes(vault: Vault) -> dict[str, str]:
    """Return the addresses of the remotes by name."""
    settings = read_settings(vault.path)
    return {
        name: settings.get(f"remote.{name}.url") for name in sorted(settings.names("remote", "url"))
    }


def list_buckets(folder: Path) -> dict[str, str]:
    """Return the buckets that ``.lfsconfig`` names for the remotes of a vault."""
    settings = read_committed_settings(folder)
    names = sorted(read_settings(folder).names("remote", "url"))
    named = {name: settings.get(_key(name)) for name in names}
    return {name: url for name, url in named.items() if url.startswith("s3://")}


def unconfirmed_buckets(folder: Path) -> list[str]:
    """Return the buckets that ``.lfsconfig`` names and nobody has confirmed."""
    confirmed = read_settings(folder).all(TRUSTED_BUCKET)
    return [url for url in list_buckets(folder).values() if url not in confirmed]


@operation("add_remote")
@dataclass(frozen=True, slots=True, kw_only=True)
class AddRemote(Operation[Vault, VaultView, None]):
    """Write the bucket of a remote to ``.lfsconfig``, in one commit."""

    name: str
    data: str

    def claims(self, view: VaultView, record: Record) -> Sequence[Hold]:
        """Claim the configuration."""
        return [config_hold()]

    def plan(self, view: VaultView, tx: Transaction, prepared: None, at: float) -> Change:
        """Write the setting, as ``git config`` does."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(view.snapshot.blob(LFSCONFIG) or b"")
            file.flush()
            run_git(["config", "--file", file.name, _key(self.name), self.data])
            text = Path(file.name).read_bytes()
        subject = f"remote {self.name}: data in {self.data}"
        return Change(
            message=tx.message(subject, at=at),
            main=(Put(path=LFSCONFIG, data=text),),
        )


def _key(name: str) -> str:
    """Return the setting that names the bucket of a remote; git-lfs reads it, too."""
    return f"remote.{name}.lfsurl"


def _bucket(url: str, endpoint: str = "") -> str:
    """Return the one URL of a bucket."""
    try:
        return parse_bucket(url, endpoint).url
    except TVRemoteError as error:
        raise TVArgumentError(error.message, error.hint, **error.facts) from error


def address(url: str | os.PathLike[str]) -> str:
    """Return an address as an absolute path if it is a path, unchanged if it is a URL."""
    text = os.fspath(url)
    if not text or text.startswith("-"):
        raise TVArgumentError(
            f"{text!r} is not the address of a repository.", "Give a path or a URL."
        )
    if "://" not in text and Path(text).expanduser().exists():
        return str(absolute(Path(text).expanduser()))
    return text
