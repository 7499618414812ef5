"""Which objects a remote has: remembers it, asks for it, verifies it, and sends what is missing."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tablevault.errors import TVFileError, TVRemoteError, TVTransferError
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.git_config import find_repository, read_settings
from tablevault.history.git.reachability import pointers_of
from tablevault.history.git.repository import Repository
from tablevault.lfs.pointer import Pointer
from tablevault.names import MAIN, CommitId, ObjectId
from tablevault.problems import Problem, in_order
from tablevault.remotes.git_refs import list_refs
from tablevault.remotes.lfs.batch_api import Refusal
from tablevault.remotes.lfs.endpoint import LocalAddress, find_remote
from tablevault.remotes.lfs.transfer import endpoint_of, find_missing, open_transport, send
from tablevault.remotes.reports import NO_TRANSFER, TransferReport
from tablevault.vault import Vault
from tablevault.wording import Call, Wording

_GIT = ("repository", "git object", "ref")


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteState:
    """Commits whose objects a remote is known to have.

    Attributes
    ----------
    main : CommitId, optional
        Tip of ``main`` of the remote at that time.
    tips : tuple of CommitId
        The remote has the objects that these commits and their ancestors name.
    missing : dict of Pointer to str
        Except for these, with a path of each.
    """

    main: CommitId | None = None
    tips: tuple[CommitId, ...] = ()
    missing: Mapping[Pointer, str] = field(default_factory=dict)

    def at(self, repository: Repository, main: CommitId | None) -> RemoteState:
        """Return what is known while ``main`` of the remote is at `main`.

        If ``main`` was set back, nothing is known: it may be another repository.
        """
        if main is None or self.main is None or not repository.is_ancestor(self.main, main):
            return RemoteState()
        return self


def refuse_other_vault(vault: Vault, remote: str, tip: CommitId, done: str, hint: str) -> None:
    """Raise TVRemoteError if a commit of a remote does not belong to this vault.

    Parameters
    ----------
    done : str
        What has not happened, at the end of the message.
    hint : str
        What to do with another vault.
    """
    try:
        found = Snapshot(vault.repository, tip).vault().id
    except TVFileError:
        found = ""
    if found != vault.snapshot().vault().id:
        what = "another vault" if found else "something other than a vault"
        advice = hint if found else "Check its address: `git remote -v`."
        raise TVRemoteError(f'Remote "{remote}" holds {what}: {done}.', advice, remote=remote)


def read_state(vault: Vault, remote: str) -> RemoteState:
    """Return the known objects of a remote; none if their file cannot be read."""
    try:
        raw = json.loads(_path(vault, remote).read_bytes())
        tips = (CommitId(tip) for tip in raw["tips"])
        return RemoteState(
            main=CommitId(raw["main"]),
            tips=tuple(tip for tip in tips if vault.repository.has(tip)),
            missing={
                Pointer(oid=ObjectId(oid), size=size): path for oid, size, path in raw["missing"]
            },
        )
    except (OSError, ValueError, KeyError, TypeError):
        return RemoteState()


def write_state(vault: Vault, remote: str, state: RemoteState) -> None:
    """Write the known objects of a remote; without their file, a push checks all objects again."""
    value = {
        "main": state.main,
        "tips": sorted(set(state.tips)),
        "missing": [[each.oid, each.size, path] for each, path in state.missing.items()],
    }
    path = _path(vault, remote)
    beside = vault.state / "tmp" / f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}"
    with suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        try:
            beside.write_text(json.dumps(value), "ascii")
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


def _path(vault: Vault, remote: str) -> Path:
    """Return the file of a remote, named by its address and by the endpoint of its objects."""
    endpoint = endpoint_of(vault.path, remote, "upload")
    name = f"{endpoint.remote}\n{endpoint.address}"
    if isinstance(endpoint.address, LocalAddress):
        name += f"\n{_creation(find_repository(endpoint.address.path).git_dir)}"
    return vault.state / "remotes" / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"


def _creation(git_dir: Path) -> str:
    """Return what tells a repository from one that was deleted and made anew at the same path.

    A file system gives the inode of the old one to the new one, but not its time. Git replaces
    `description` never, `config` when a setting changes; then all objects are checked once more.
    """
    made = [git_dir / "description", git_dir / "config", git_dir]
    found = next(path.stat() for path in made if path.exists())
    return f"{found.st_ino} {found.st_ctime_ns}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """The result of an upload.

    Attributes
    ----------
    objects : TransferReport
        Objects that were sent.
    missing : dict of Pointer to str
        Objects of commits of the remote that neither the remote nor this vault has, with a path.
    asked : tuple of Pointer
        Objects of the push, if the remote said of any that it has it.
    """

    objects: TransferReport
    missing: Mapping[Pointer, str]
    asked: tuple[Pointer, ...] = ()


def upload_missing(
    vault: Vault,
    remote: str,
    *,
    served: Collection[CommitId],
    new: Collection[CommitId],
    state: RemoteState,
) -> Upload:
    """Send the objects that a remote lacks.

    Objects of `served` commits may be missing there: somebody pushed without the hook, or the
    server lost them. This vault sends those that it has. Objects of `new` commits must arrive.
    Objects of deleted instances are gone for good, and nobody expects them.

    Parameters
    ----------
    served : collection of CommitId
        Commits that refs of the remote name.
    new : collection of CommitId
        Commits that they are to name.
    state : RemoteState
        Objects that need no request.

    Raises
    ------
    TVTransferError
        An object of a new commit did not arrive, or the server wrongly says that it has it.
    """
    repository, store = vault.repository, vault.store
    gone = vault.index.deleted_objects()
    named = pointers_of(repository, served, state.tips) | dict(state.missing)
    old = {pointer: path for pointer, path in named.items() if pointer.oid not in gone}
    fresh = {
        pointer: path
        for pointer, path in pointers_of(repository, new, [*served, *state.tips]).items()
        if pointer not in old and (pointer.oid not in gone or store.has(pointer))
    }
    lacking = missing_there(vault, remote, old)
    found = [pointer for pointer in lacking if store.has(pointer)]
    report = _send(vault, remote, [*fresh, *found])
    if report.present:
        # The server says that it has them, and may be wrong.
        denied = missing_there(vault, remote, [*fresh, *found])
        _refuse_denied({each: denied[each] for each in fresh if each in denied}, remote)
        found = [pointer for pointer in found if pointer not in denied]
    missing = {each: old[each] for each in lacking if each not in found}
    asked = (*fresh, *found) if report.present else ()
    return Upload(objects=report, missing=missing, asked=asked)


def send_removed(vault: Vault, remote: str, asked: Collection[Pointer]) -> None:
    """Send again what was removed from a remote since it said that it has it.

    Called when the refs have moved: ``gc`` elsewhere sees either them or this vault the removal.
    """
    _send(vault, remote, list(missing_there(vault, remote, asked)))


def upload_for_git(vault: Vault, remote: str, moves: Mapping[str, tuple[str, str]]) -> Upload:
    """Send the objects of a push by plain git, before git moves the refs.

    Parameters
    ----------
    moves : dict of str to (str, str)
        By full name of each ref of the remote: its new and its present commit.
    """
    repository = vault.repository
    new = commits_of(repository, (local for local, _ in moves.values()))
    served = commits_of(repository, (there for _, there in moves.values()))
    state = read_state(vault, remote)
    main = state.main
    if MAIN in moves:
        main, there = (repository.commit_of(name) for name in moves[MAIN])
        state = state.at(repository, there)
    found = upload_missing(vault, remote, served=served, new=new - served, state=state)
    tips = (*state.tips, *served, *new)
    # If the remote refuses the push after this, main is not there, and all objects are checked
    # again.
    write_state(vault, remote, RemoteState(main=main, tips=tips, missing=found.missing))
    return found


def push_address(vault: Vault, remote: str) -> str:
    """Return the name or address by which git reads what a push changes."""
    found = find_remote(read_settings(vault.path), remote, vault.path)
    return remote if found.push_url == found.url else found.push_url


def push_targets(vault: Vault, remote: str) -> list[str]:
    """Return where a push to a remote goes: its name, or each of its addresses."""
    found = find_remote(read_settings(vault.path), remote, vault.path)
    return list(found.push_urls) or [remote]


def commits_of(repository: Repository, names: Iterable[str]) -> set[CommitId]:
    """Return the commits that ids of commits or annotated tags name, if this vault has them."""
    found = (repository.commit_of(name) for name in set(names))
    return {commit for commit in found if commit is not None}


def missing_there(vault: Vault, remote: str, pointers: Iterable[Pointer]) -> dict[Pointer, Refusal]:
    """Return the objects that a remote lacks where pushes send them."""
    wanted = list(pointers)
    if not wanted:
        return {}
    with closing(open_transport(vault.path, remote, "download", is_push=True)) as transport:
        return find_missing(transport, wanted, vault.progress())


def damaged_there(vault: Vault, remote: str, pointers: Iterable[Pointer]) -> dict[Pointer, str]:
    """Return damaged objects of a remote, with their places; LFS servers check theirs."""
    with closing(open_transport(vault.path, remote, "download", is_push=True)) as transport:
        found = {pointer: transport.damaged(pointer) for pointer in pointers}
    return {pointer: place for pointer, place in found.items() if place}


def _send(vault: Vault, remote: str, pointers: Collection[Pointer]) -> TransferReport:
    """Send objects; all must arrive."""
    if not pointers:
        return NO_TRANSFER
    with closing(open_transport(vault.path, remote, "upload", ref=MAIN)) as transport:
        report = send(transport, pointers, vault.store, vault.progress())
    report.check()
    return report


def _refuse_denied(denied: Mapping[Pointer, Refusal], remote: str) -> None:
    """Raise TVTransferError for objects that a server says it has, and does not provide."""
    for pointer, refusal in denied.items():
        more = f" {len(denied):,} objects are like that." if len(denied) > 1 else ""
        words = f'{refusal.code}, "{refusal.message}"' if refusal.message else f"{refusal.code}"
        raise TVTransferError(
            f'The server of remote "{remote}" takes object {pointer.oid} for one that it has, and '
            f"does not give it ({words}): nothing was pushed.{more}",
            "Ask who runs it to remove that object there; then push again.",
            oid=pointer.oid,
            code=refusal.code,
        )


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
    gone = vault.index.deleted_objects()
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
    found += [_damaged(vault, remote, pointer, place) for pointer, place in damaged.items()]
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


def _damaged(vault: Vault, remote: str, pointer: Pointer, place: str) -> Problem:
    """Return the problem of an object that a clone will not accept."""
    return Problem(
        kind="remote",
        severity="warning" if vault.store.has(pointer) else "error",
        where=pointer.oid,
        text=f'Remote "{remote}" has other bytes under its name, in "{place}".',
        advice=Wording("Delete it there, and call ", Call("push", remote=remote), "."),
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
