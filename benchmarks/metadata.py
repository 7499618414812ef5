"""Metadata operations against a raw pygit2 loop that writes the same objects, as durably."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pygit2
from pairs import Row, median_of_pairs

from tablevault import TableVault

AIM = "1.5, at most 2"
COLUMN = "builder_type: ColumnBuilder\n# {}\n"


class Replay:
    """Writes into another repository what the last operation wrote into the vault's.

    The very same blobs, trees and commits, byte for byte, and the same ref moves, with
    libgit2's fsync on: what any tool that uses git would have to pay at least.
    """

    def __init__(self, vault: Path, raw: Path) -> None:
        self._source = pygit2.Repository(str(vault))
        self._repo = pygit2.init_repository(str(raw), initial_head="main")
        self._known: set[str] = set()
        self._refs: dict[str, str] = {}
        self.look()
        self.objects: list[tuple[int, bytes]] = []

    def look(self) -> None:
        """Find out what is new in the vault since the last look."""
        self._source = pygit2.Repository(self._source.path)
        new = [oid for oid in self._source.odb if str(oid) not in self._known]
        self._known.update(map(str, new))
        self.objects = [self._source.odb.read(oid)[:2] for oid in new]
        refs = {name: str(self._source.references[name].target) for name in self._source.references}
        self.moved = {name: to for name, to in refs.items() if self._refs.get(name) != to}
        self.gone = [name for name in self._refs if name not in refs]
        self._refs = refs

    def write(self) -> None:
        """Write it, synced; the switch is one for the process, ours does without it."""
        pygit2.settings.enable_fsync_gitdir(True)
        for kind, data in self.objects:
            self._repo.odb.write(kind, data)
        with self._repo.transaction() as transaction:
            for name, target in self.moved.items():
                transaction.lock_ref(name)
                transaction.set_target(name, target, message="replay")
            for name in self.gone:
                transaction.lock_ref(name)
                transaction.remove(name)
        pygit2.settings.enable_fsync_gitdir(False)


def against_raw(folder: Path, pairs: int) -> list[Row]:
    """Measure every operation that touches no dataframe."""
    vault = TableVault(folder / "vault", "ana", create=True)
    replay = Replay(folder / "vault", folder / "raw")
    replay.write()

    def row(name: str, step: Callable[[int], object]) -> Row:
        def theirs(_: int) -> None:
            replay.write()

        return median_of_pairs(
            name, step, theirs, pairs=pairs, aim=AIM, between=lambda _: replay.look()
        )

    return [
        row("create_table", lambda i: vault.create_table(f"a{i}")),
        row("create_code_module", lambda i: vault.create_code_module("m", text=f"x = {i}")),
        row("create_instance", lambda i: vault.create_instance(f"a{i}")),
        row(
            "create_builder_file",
            lambda i: vault.create_builder_file(f"a{i}", "column", text=COLUMN.format(i)),
        ),
        row("delete_builder_file", lambda i: vault.delete_builder_file("column", f"a{i}")),
        row("rename_table", lambda i: vault.rename_table(f"c{i}", f"a{i}")),
        row("delete_instance (temporary)", lambda i: vault.delete_instance("TEMP_base", f"c{i}")),
        row("delete_table", lambda i: vault.delete_table(f"c{i}")),
    ]
