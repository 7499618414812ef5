"""Verifies a remote: objects of its branches and tags that are missing or damaged."""

from __future__ import annotations

import itertools
from pathlib import Path

from tablevault.history.git.reachability import pointers_of
from tablevault.lfs.pointer import Pointer
from tablevault.names import MAIN
from tablevault.problems import Problem, in_order
from tablevault.remotes.fetch import deleted_objects
from tablevault.remotes.git_refs import list_refs
from tablevault.remotes.lfs.batch_api import Refusal
from tablevault.remotes.remote_state import RemoteState, read_state, write_state
from tablevault.remotes.upload import (
    commits_of,
    damaged_there,
    missing_there,
    push_address,
    push_targets,
)
from tablevault.vault import Vault
from tablevault.wording import Call, Wording

_GIT = ("repository", "git object", "ref")


def add_remote_problems(
    vault: Vault, remote: str, found: list[Problem], *, data: bool = True
) -> list[Problem]:
    """Return the problems found here, with those of a remote.

    Parameters
    ----------
    remote : str
        Name of a remote, or an address; "" for none.
    data : bool, default True
        Read the objects of a repository on this machine.

    Raises
    ------
    TVRemoteError
        There is no such remote, or it cannot be reached.
    """
    if not remote:
        return found
    if any(each.kind in _GIT and each.severity == "error" for each in found):
        return in_order([*found, _not_asked(remote)])
    targets = push_targets(vault, remote)
    there = (find_remote_problems(vault, target, data=data) for target in targets)
    return in_order([*found, *itertools.chain.from_iterable(there)])


def find_remote_problems(vault: Vault, remote: str, *, data: bool) -> list[Problem]:
    """Return the objects of the branches and tags of a remote that it lacks or has damaged.

    Nothing is sent. The next push sends what is missing.

    Raises
    ------
    TVRemoteError
        There is no such remote, or it cannot be reached.
    """
    repository = vault.repository
    there = list_refs(vault.path, push_address(vault, remote))
    served = commits_of(repository, there.values())
    gone = deleted_objects(vault)
    named = {
        pointer: path
        for pointer, path in pointers_of(repository, served).items()
        if pointer.oid not in gone
    }
    lacking = missing_there(vault, remote, named)
    sound = (pointer for pointer in named if pointer not in lacking)
    damaged = damaged_there(vault, remote, sound) if data else {}
    main = repository.commit_of(there.get(MAIN, ""))
    if main is not None:
        missing = {pointer: named[pointer] for pointer in (*lacking, *damaged)}
        tips = (*read_state(vault, remote).at(repository, main).tips, main)
        write_state(vault, remote, RemoteState(main=main, tips=tips, missing=missing))
    found = [
        _lacking(vault, remote, pointer, named[pointer], refusal)
        for pointer, refusal in lacking.items()
    ]
    found += [_damaged(vault, remote, pointer, path) for pointer, path in damaged.items()]
    branches = {ref: name for ref, name in there.items() if ref.startswith("refs/heads/")}
    unknown = [ref for ref, name in branches.items() if repository.commit_of(name) is None]
    return [*found, *(_unknown(remote, ref) for ref in unknown)]


def _lacking(vault: Vault, remote: str, pointer: Pointer, path: str, refusal: Refusal) -> Problem:
    """Return the problem of an object that a clone will not get."""
    is_here = vault.store.has(pointer)
    words = f', it says "{refusal.message}"' if refusal.message else ""
    return Problem(
        kind="remote",
        severity="warning" if is_here else "error",
        where=pointer.oid,
        text=f'Remote "{remote}" does not have it ({pointer.size:,} bytes{words}). It is {path}.',
        advice=Wording(Call("push", remote=remote), " sends it.")
        if is_here
        else "Push from a vault that has it.",
    )


def _damaged(vault: Vault, remote: str, pointer: Pointer, path: Path) -> Problem:
    """Return the problem of an object that a clone will not accept."""
    return Problem(
        kind="remote",
        severity="warning" if vault.store.has(pointer) else "error",
        where=pointer.oid,
        text=f'Remote "{remote}" has other bytes under its name, in "{path}".',
        advice=Wording("Delete that file, and call ", Call("push", remote=remote), "."),
    )


def _unknown(remote: str, ref: str) -> Problem:
    """Return the problem of a ref with commits that this vault lacks."""
    return Problem(
        kind="remote",
        severity="note",
        where=ref,
        text=f'Remote "{remote}" has commits there that are not here: their objects were not'
        " looked for.",
        advice=Wording(Call("pull", remote=remote), " fetches what is on main."),
    )


def _not_asked(remote: str) -> Problem:
    """Return the problem of a vault that is too damaged to verify a remote."""
    return Problem(
        kind="remote",
        severity="note",
        where=remote,
        text="It was not asked: the history of this vault is damaged.",
        advice="Repair this vault first.",
    )
