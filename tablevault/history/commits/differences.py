"""Paths that differ between two snapshots, and the edits that turn one into the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tablevault.history.commits.snapshot import Entry, Snapshot
from tablevault.history.git.trees import Edit, Graft, Remove
from tablevault.names import CODE_DIR, TABLES_DIR

_OPEN = frozenset({"", CODE_DIR, TABLES_DIR})
"""Folders that are there because something is in them: nobody made them as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A file or a whole folder that differs; None where it is not there."""

    path: str
    old: Entry | None
    new: Entry | None

    @property
    def turned(self) -> Difference:
        """The same, seen from the other side."""
        return Difference(path=self.path, old=self.new, new=self.old)


def differences(old: Snapshot, new: Snapshot, folder: str = "") -> list[Difference]:
    """List what differs below a folder, by path.

    A folder that is on one side alone is one difference, so that whoever compares it notices what
    was added to it. Below `folder`, when one is named, only files are compared.
    """
    return list(_walk(old, new, folder, files_only=bool(folder)))


def entry_at(snapshot: Snapshot, path: str) -> Entry | None:
    """Find the file or folder at a path."""
    folder, _, name = path.rpartition("/")
    return next((entry for entry in snapshot.entries(folder) if entry.name == name), None)


def edits_for(wanted: Sequence[tuple[str, Entry | None]]) -> list[Edit]:
    """Return the edits that put what is wanted at each path, None for nothing."""
    return [
        Remove(path=path)
        if entry is None
        else Graft(path=path, source=entry.id, is_tree=entry.is_folder, executable=entry.executable)
        for path, entry in wanted
    ]


def _walk(old: Snapshot, new: Snapshot, folder: str, *, files_only: bool) -> Iterator[Difference]:
    """Compare one folder with its other side, and go into those that both have."""
    before = {entry.name: entry for entry in old.entries(folder)}
    after = {entry.name: entry for entry in new.entries(folder)}
    for name in sorted(before.keys() | after.keys()):
        one, other = before.get(name), after.get(name)
        if one == other:
            continue
        path = f"{folder}/{name}" if folder else name
        sides = [each for each in (one, other) if each is not None]
        is_open = files_only or path in _OPEN or len(sides) == 2  # noqa: PLR2004 - both sides
        if is_open and all(each.is_folder for each in sides):
            yield from _walk(old, new, path, files_only=files_only)
        else:
            yield Difference(path=path, old=one, new=other)
