"""Commands on remotes: clone, remote, push, pull."""

from __future__ import annotations

import argparse

from tablevault.cli.command import Argument, Command, positional, switch
from tablevault.cli.context import Place, UsageError, refuse_below_file
from tablevault.cli.output import Listing
from tablevault.wording import Call

_REMOTE = positional("remote", "name or address of the remote", "remote", default="origin")
_ALL = Argument(
    ("--all",),
    {
        "help": "bring the data of all instances now, not when it is first read",
        "action": "store_true",
    },
    parameter="data",
    typed=lambda data: [True] if data == "all" else [],
)


def _clone(place: Place, given: argparse.Namespace) -> object:
    """Copy a vault from elsewhere."""
    from tablevault.remotes import clone

    folder = given.new_dir or _name_of(given.url)
    refuse_below_file(folder)
    path = clone.clone(
        given.url, folder, place.author, place.progress, data="all" if given.all else "lazy"
    )
    return f"Cloned → {path}"


def _name_of(url: str) -> str:
    """Name the folder of a clone as git does."""
    name = url.rstrip("/").replace(":", "/").rpartition("/")[2].removesuffix(".git")
    if not name:
        raise UsageError(f'"{url}" names no folder: say where the clone is to be')
    return name


def _remote(place: Place, given: argparse.Namespace) -> object:
    """Name an address, or list the names."""
    from tablevault.remotes import clone

    vault = place.read()
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


def _push(place: Place, given: argparse.Namespace) -> object:
    """Bring a remote up to date."""
    from tablevault.remotes import push

    return push.push(place.vault(), given.remote, temp=given.temp)


def _pull(place: Place, given: argparse.Namespace) -> object:
    """Take over what a remote has."""
    from tablevault.remotes import pull

    resolve: dict[str, str] = {}
    for side in ("ours", "theirs"):
        resolve |= dict.fromkeys(getattr(given, side) or (), side)
    return pull.pull(
        place.vault(), given.remote, data="all" if given.all else "lazy", resolve=resolve
    )


def _paths(side: str, whose: str) -> Argument:
    """Make the option that resolves conflicts for one side."""
    return Argument(
        (f"--{side}",),
        {
            "action": "append",
            "metavar": "PATH",
            "help": f"where both sides changed the same, {whose} is right; may be repeated",
        },
        parameter="resolve",
        typed=lambda chosen: [path for path, of in chosen.items() if of == side],
    )


COMMANDS = (
    Command(
        name="clone",
        summary="copy a vault from elsewhere",
        run=_clone,
        calls=(Call("clone_vault"),),
        arguments=(
            positional("url", "path or address of a repository that holds a vault", "path"),
            positional("new_dir", "folder to be made", "path", default="", parameter="db_dir"),
            _ALL,
        ),
    ),
    Command(
        name="remote",
        summary="give the address of another repository a name; without arguments, list them",
        run=_remote,
        calls=(Call("add_remote"), Call("list_remotes")),
        arguments=(
            positional("name", "such as origin", "remote", default=""),
            positional("url", "path or address", "path", default=""),
        ),
    ),
    Command(
        name="push",
        summary="bring a remote up to date",
        run=_push,
        arguments=(_REMOTE, switch("temp", "temporary instances, too")),
    ),
    Command(
        name="pull",
        summary="take over what a remote has, and merge it with what was done here",
        run=_pull,
        arguments=(_REMOTE, _ALL, _paths("ours", "this vault"), _paths("theirs", "the remote")),
    ),
)
