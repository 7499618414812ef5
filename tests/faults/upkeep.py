"""What mends and cleans a vault, and what there is to mend and to clean."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pygit2

from tablevault import TableVault
from tablevault.operations import maintenance
from tablevault.vault import Vault
from tests.faults.scenarios import AUTHOR
from tests.looking import git


def litter(path: Path) -> None:
    """Leave what nothing needs: objects, git objects loose and in packs, leftovers of a crash."""
    vault = TableVault(path, AUTHOR)
    store = vault._vault.store
    drafts = []
    for n in range(3):
        with store.draft("litter") as draft:
            draft.write(b"%d nobody needs this" % n)
        drafts.append(draft)
    with store.locked():
        store.keep(drafts)
    store.discard("litter")
    vault.create_table("gone")
    vault.delete_table("gone")
    for name in ("once", "twice"):
        _add_git_object(path, name.encode())
        if name == "once":
            git(path, "repack", "-aq")
            git(path, "prune-packed")
    quarantined = path / ".git/tablevault/quarantine/1/file"
    quarantined.parent.mkdir(parents=True)
    quarantined.write_bytes(b"was in the way")


def _add_git_object(path: Path, data: bytes) -> None:
    pygit2.Repository(str(path)).create_blob(data)


def damage_derived(path: Path) -> None:
    """Spoil what can be made again while the vault can be opened."""
    (path / ".git/tablevault/index.sqlite").unlink()
    frame = path / "tables/words/base/dataframe.parquet"
    frame.unlink()
    frame.write_bytes(b"no parquet")
    (path / "tables/papers/base/instance.yaml").unlink()
    first, second = git(path, "tag").split()[:2]
    git(path, "tag", "-d", first)
    git(path, "tag", "-f", second, "main")
    stray = path / ".git/tablevault/processes/stray.json"
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"{")
    _flip_object(path)


def damage_git(path: Path) -> None:
    """Spoil refs, git's index, settings, and a loose git object."""
    (path / ".git/index").write_bytes(b"DIRC")
    main = path / ".git/refs/heads/main"
    main.parent.mkdir(parents=True, exist_ok=True)
    main.write_bytes(b"0" * 17)
    (path / ".git/HEAD").write_bytes(b"")
    (path / ".git/config").write_bytes(b"[core\n")


def _flip_object(path: Path) -> None:
    """Spoil an object of which a sound file lies in the working tree."""
    drawn = path / "tables/papers/artifacts/a.txt"
    oid = hashlib.sha256(drawn.read_bytes()).hexdigest()
    place = path / ".git/lfs/objects" / oid[:2] / oid[2:4] / oid
    size = place.stat().st_size
    place.unlink()
    place.write_bytes(b"x" * size)


def _collect(path: Path) -> None:
    TableVault(path, AUTHOR).gc(grace_s=0)


def _repair(path: Path) -> None:
    maintenance.verify(Vault(path=path, author=AUTHOR), repair=True)


@dataclass(frozen=True, kw_only=True)
class Upkeep:
    """One way to look after a vault, and what was done to it before."""

    prepare: Callable[[Path], None]
    act: Callable[[Path], None]
    can_open: bool = True
    """The vault can be opened all the time."""


UPKEEP = {
    "gc": Upkeep(prepare=litter, act=_collect),
    "repair_derived": Upkeep(prepare=damage_derived, act=_repair),
    "repair_git": Upkeep(prepare=damage_git, act=_repair, can_open=False),
}
