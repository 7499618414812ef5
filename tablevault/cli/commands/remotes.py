"""Commands on remotes: clone, remote, push, pull."""

from __future__ import annotations

import argparse

from tablevault.cli.command import Argument, Command, positional, switch
from tablevault.cli.context import CommandContext, UsageError, refuse_below_file
from tablevault.cli.output import Listing
from tablevault.wording import Call

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
    from tablevault.remotes import clone

    folder = given.new_dir or _name_of(given.url)
    refuse_below_file(folder)
    data = _ALL.value(given)
    path = clone.clone(given.url, folder, context.author, context.progress, data=data)
    return f"Cloned → {path}"


def _name_of(url: str) -> str:
    """Name the folder of a clone as git does."""
    name = url.rstrip("/").replace(":", "/").rpartition("/")[2].removesuffix(".git")
    if not name:
        raise UsageError(f'"{url}" names no folder: say where the clone is to be')
    return name


def _remote(context: CommandContext, given: argparse.Namespace) -> object:
    """Name an address, or list the names."""
    from tablevault.remotes import clone

    vault = context.read()
    if given.name and not given.url:
        raise UsageError("the address is missing: tablevault remote NAME URL")
    if given.name:
        clone.add_remote(vault, given.name, given.url)
        return None
    known = clone.list_remotes(vault)
    return Listing(
        columns=("remote", "address"),
        rows=list(known.items()),
        value=known,
        if_empty="There is no remote: tablevault remote origin URL adds one.",
    )


def _push(context: CommandContext, given: argparse.Namespace) -> object:
    """Bring a remote up to date."""
    from tablevault.remotes import push

    return push.push(context.vault(), given.remote, temp=given.temp)


def _pull(context: CommandContext, given: argparse.Namespace) -> object:
    """Take over what a remote has."""
    from tablevault.remotes import pull

    resolve: dict[str, str] = {}
    for side in ("ours", "theirs"):
        resolve |= dict.fromkeys(getattr(given, side) or (), side)
    return pull.pull(context.vault(), given.remote, data=_ALL.value(given), resolve=resolve)


def _paths(side: str, whose: str) -> Argument:
    """Make the option that resolves conflicts for one side."""
    return Argument(
        (f"--{side}",),
        {
            "action": "append",
            "metavar": "PATH",
            "help": f"resolve a conflict at this path in favour of {whose}; may be repeated",
        },
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
            positional("name", "such as origin", "remote", default=""),
            positional("url", "path or address", "path", default=""),
        ),
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
