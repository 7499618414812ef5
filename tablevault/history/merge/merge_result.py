"""What a merge takes and what it returns: three commits, then edits and conflicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from tablevault.history.catalog.in_memory import MergedCatalog
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.trees import Edit, Remove
from tablevault.names import InstanceId, table_dir
from tablevault.wording import Call, Wording

Side = Literal["ours", "theirs"]
Resolve = Callable[[str], Side | None]
"""Returns which side counts where both changed the same path; None leaves a conflict."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreeWay:
    """The commits of a three-way merge.

    Attributes
    ----------
    base : Snapshot or None
        The merge base; None for histories without a common commit.
    ours, theirs : Snapshot
        The commits to merge.
    catalog : MergedCatalog or None
        The catalog of both histories; None if neither has deleted anything since the base.
    """

    base: Snapshot | None
    ours: Snapshot
    theirs: Snapshot
    catalog: MergedCatalog | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """A path that both sides changed, each in its own way."""

    path: str
    problem: str
    hint: str


@dataclass(kw_only=True)
class MergeResult:
    """Edits of the tree of ours, which count only if there are no conflicts."""

    resolve: Resolve
    edits: list[Edit] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    """New name of each table of ours that theirs renamed."""
    deleted: list[str] = field(default_factory=list)
    """Tables of ours that theirs deleted."""
    deactivated: list[InstanceId] = field(default_factory=list)
    """Instances that become inactive, because the other side has a later one."""

    def conflict(self, path: str, problem: str, hint: str = "") -> None:
        """Record a conflict; by default the hint is to choose a side."""
        choose = Wording(
            "Choose: ",
            Call("pull", resolve={path: "ours"}),
            " or ",
            Call("pull", resolve={path: "theirs"}),
            ".",
        )
        self.conflicts.append(Conflict(path=path, problem=problem, hint=hint or choose))

    def merge_field(self, path: str, name: str, base: T | None, ours: T, theirs: T) -> T:
        """Return the merged value of one field of the document at `path`."""
        if theirs in (ours, base):
            return ours
        if ours == base:
            return theirs
        side = self.resolve(path)
        if side is None:
            here, there = ("not set" if each is None else repr(each) for each in (ours, theirs))
            self.conflict(path, f"its {name} is {here} here and {there} there")
        return theirs if side == "theirs" else ours

    def remove_table(self, name: str) -> None:
        """Remove the folder of a table, before another table takes its name."""
        self.edits.insert(0, Remove(path=table_dir(name)))
