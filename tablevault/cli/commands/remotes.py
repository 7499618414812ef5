"""Commands on remotes: clone, push, pull, and others that configure these."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from shlex import join, quote
from typing import TYPE_CHECKING

from tablevault.cli.command import Argument, Command, option, positional, repeated, switch
from tablevault.cli.context import CommandContext, UsageError, refuse_below_file
from tablevault.cli.errors import Tell, in_shell
from tablevault.cli.output import Listing, TextOutput
from tablevault.wording import Call

if TYPE_CHECKING:
    from tablevault.remotes.reports import PullReport, PushReport

_REMOTE = positional("remote", "name or address of the remote", "remote", default="origin")
_ALL = Argument(
    ("--all",),
    {
        "help": "fetch the data of all instances now, not when it is first read",
        "action": "store_true",
    },
    parameter="data",
    read=lambda is_all: "all" if is_all else "lazy",
    typed=lambda data: [True] if data == "all" else [],
)


def _clone(context: CommandContext, given: argparse.Namespace) -> object:
    """Copy a vault from elsewhere."""
    from tablevault.remotes import clone, remote_settings

    folder = given.new_dir or _name_of(given.url)
    refuse_below_file(folder)
    data = _ALL.value(given)
    path = clone.clone(given.url, folder, context.author, context.progress, data=data)
    buckets = remote_settings.unconfirmed_buckets(path)
    tell = in_shell(CommandContext(db_dir=folder))
    text = "\n".join([f"Cloned → {path}", *_confirmations(buckets, "trust-bucket", tell)])
    return TextOutput(text, {"path": str(path), "unconfirmed_buckets": buckets})


def _trust_bucket(context: CommandContext, given: argparse.Namespace) -> object:
    """Confirm a bucket for this vault."""
    from tablevault.remotes import remote_settings

    remote_settings.trust_bucket(context.read().path, given.url)
    return None


def _confirmations(buckets: Sequence[str], command: str, tell: Tell) -> list[str]:
    """Return how to confirm buckets."""
    text = 'Its data is in "{}". If you trust it: `tablevault {} {}`.'
    return [tell(text.format(bucket, command, quote(bucket))) for bucket in buckets]


def _name_of(url: str) -> str:
    """Name the folder of a clone as git does."""
    name = url.rstrip("/").replace(":", "/").rpartition("/")[2].removesuffix(".git")
    if not name:
        raise UsageError(f'"{url}" names no folder: say where the clone is to be')
    return name


_OF_GIT = {"get-url", "prune", "remove", "rename", "rm", "set-url", "show", "update"}


def _remote(context: CommandContext, given: argparse.Namespace) -> object:
    """Name an address, or list the names."""
    from tablevault.remotes import remote_settings

    name, url = given.name, given.url
    if name == "add":  # as for git
        name, url = given.url, given.url_after_add
    if name in _OF_GIT:
        words = filter(None, (given.name, given.url, given.url_after_add))
        raise UsageError(f"git does that: `git remote {join(words)}`")
    is_surplus = given.name != "add" and given.url_after_add
    has_name = bool(name) or bool(given.name or given.data or given.endpoint_url)
    if has_name != bool(url) or bool(name) != bool(url) or is_surplus:
        raise UsageError("a remote has a name and an address: `tablevault remote add NAME URL`")
    if name:
        vault = context.vault() if given.data else context.read()
        remote_settings.add_remote(
            vault, name, url, data=given.data, endpoint_url=given.endpoint_url
        )
        return None
    vault = context.read()
    known = remote_settings.list_remotes(vault)
    buckets = remote_settings.list_buckets(vault.path)
    tell = in_shell(context)
    return Listing(
        columns=("remote", "address", "data") if buckets else ("remote", "address"),
        rows=[
            (name, url, buckets.get(name, "")) if buckets else (name, url)
            for name, url in known.items()
        ],
        value={name: {"url": url, "data": buckets.get(name, "")} for name, url in known.items()},
        if_empty=tell("There is no remote. Add one: `tablevault remote add origin URL`."),
    )


def _lfs_install(context: CommandContext, given: argparse.Namespace) -> object:
    """Configure git-lfs of a clone, which need not be a vault yet."""
    from tablevault.remotes import remote_settings
    from tablevault.remotes.lfs import agent

    folder = agent.folder_of_repository(Path(context.named))
    if given.trust_bucket:
        remote_settings.trust_bucket(folder, given.trust_bucket)
    agent.install_agent(folder)
    buckets = remote_settings.unconfirmed_buckets(folder)
    tell = in_shell(context)
    return "\n".join(_confirmations(buckets, "lfs-install --trust-bucket", tell)) or None


def _lfs_agent(context: CommandContext, given: argparse.Namespace) -> object:
    """Transfer objects for git-lfs."""
    from tablevault.remotes.lfs import agent

    del context, given
    agent.main()
    return None


def _push(context: CommandContext, given: argparse.Namespace) -> object:
    """Bring a remote up to date."""
    from tablevault.remotes import push

    return _outcome(push.push(context.vault(), given.remote, temp=given.temp))


def _outcome(report: PushReport | PullReport) -> TextOutput:
    """Return a report as a sentence, and its fields for a program: what failed was raised."""
    facts = dataclasses.asdict(report)
    del facts["objects"]["failures"]
    return TextOutput(str(report), facts)


def _pull(context: CommandContext, given: argparse.Namespace) -> object:
    """Take over what a remote has."""
    from tablevault.remotes import pull

    resolve: dict[str, str] = {}
    for side in ("ours", "theirs"):
        resolve |= dict.fromkeys(getattr(given, side) or (), side)
    data = _ALL.value(given)
    return _outcome(pull.pull(context.vault(), given.remote, data=data, resolve=resolve))


def _paths(side: str, whose: str) -> Argument:
    """Make the option that resolves conflicts for one side."""
    return repeated(
        side,
        "PATH",
        f"resolve a conflict at this path in favour of {whose}",
        parameter="resolve",
        typed=lambda chosen: [path for path, of in chosen.items() if of == side],
    )


COMMANDS = (
    Command(
        name="clone",
        summary="clone a vault from a path or URL",
        run=_clone,
        calls=(Call("clone_vault"),),
        arguments=(
            positional("url", "path or address of a repository that holds a vault", "path"),
            positional("new_dir", "folder of the clone", "path", default="", parameter="db_dir"),
            _ALL,
        ),
    ),
    Command(
        name="remote",
        summary="add a remote by name and URL; without arguments, list the remotes",
        run=_remote,
        calls=(Call("add_remote"), Call("list_remotes")),
        arguments=(
            positional("name", "such as origin; add may stand before it", "remote", default=""),
            positional("url", "path or address", "path", default=""),
            Argument(
                ("url_after_add",), {"nargs": "?", "default": "", "help": argparse.SUPPRESS}, "path"
            ),
            option("data", "bucket for the data of the vault, s3://bucket/prefix"),
            option("endpoint-url", "URL of the service that has the bucket, by default AWS"),
        ),
    ),
    Command(
        name="trust-bucket",
        summary="confirm the bucket in which a vault keeps data",
        details="Whoever may push can name a bucket in the history of a vault. Your vault uses it "
        "only after this command.",
        run=_trust_bucket,
        arguments=(positional("url", "address of the bucket, as the error names it"),),
    ),
    Command(
        name="lfs-install",
        summary="have stock git-lfs transfer the objects of a clone by lfs-agent",
        details="Run it in a clone by plain git; then git lfs pull and git push use the bucket.",
        run=_lfs_install,
        arguments=(option("trust-bucket", "confirm this bucket, as trust-bucket does"),),
    ),
    Command(
        name="lfs-agent",
        summary="transfer objects for git-lfs, which starts it",
        run=_lfs_agent,
    ),
    Command(
        name="push",
        summary="send commits and objects to a remote",
        run=_push,
        arguments=(_REMOTE, switch("temp", "temporary instances, too")),
    ),
    Command(
        name="pull",
        summary="fetch the commits of a remote, and merge them",
        run=_pull,
        arguments=(_REMOTE, _ALL, _paths("ours", "this vault"), _paths("theirs", "the remote")),
    ),
)
