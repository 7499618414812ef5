"""Problems that `verify` finds in a vault, and that a repair can fix."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from tablevault.wording import Call, Wording

Severity = Literal["error", "warning", "note"]
"""``error``: something that was committed cannot be read. ``warning``: something does not work as
it should, or waits for a decision. ``note``: nothing is lost, and nothing is in the way."""

Kind = Literal[
    "repository",
    "git object",
    "ref",
    "tag",
    "object",
    "dataframe",
    "instance",
    "file",
    "index",
    "working tree",
    "temporary folder",
    "process",
    "settings",
    "state",
    "leftover",
    "remote",
]
"""What is concerned. ``repository``: git cannot work at all. ``object``: a file of the object
store. ``file``: what ``main`` tracks and no other vault would pull. ``state``: what this machine
keeps in ``.git/tablevault``. ``remote``: what a remote lacks."""

_ORDER: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One problem of a vault.

    Attributes
    ----------
    kind : str
        What is concerned: ``object``, ``tag``, ``temporary folder``, ``working tree`` and so on.
    severity : str
        ``"error"``, ``"warning"`` or ``"note"``.
    where : str
        A path relative to the vault, the full name of a ref, or the id of an object or process.
    text : str
        What is wrong, for a person.
    advice : str
        What to do about it.
    repairable : bool
        Whether ``verify(repair=True)`` can repair it.
    repaired : bool
        Whether it was repaired just now: a second check did not find it.
    """

    kind: Kind
    severity: Severity
    where: str
    text: str
    advice: str = ""
    repairable: bool = False
    repaired: bool = False

    def __str__(self) -> str:
        """Return one line for people."""
        state = "repaired" if self.repaired else self.severity
        return f"{state}: {self.where}: {self.text} {self.next}".rstrip()

    def __repr__(self) -> str:
        """Return the line as a list of problems shows it."""
        state = "repaired" if self.repaired else self.severity
        return f"<{state}, {self.kind} {self.where}: {self.text} {self.next}".rstrip() + ">"

    @property
    def next(self) -> str:
        """What to do next; "" once it is repaired."""
        if self.repaired or not self.repairable:
            return "" if self.repaired else self.advice
        repair = Wording(Call("verify", repair=True), " repairs it.")
        return Wording(self.advice, " ", repair) if self.advice else repair

    @property
    def key(self) -> tuple[str, str]:
        """Identifies a problem across two checks."""
        return self.kind, self.where

    def as_repaired(self) -> Problem:
        """Return the problem, marked as repaired."""
        return replace(self, repaired=True)


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Sort the worst first, and name each once."""
    once = {(problem.key, problem.text): problem for problem in problems}
    return sorted(once.values(), key=lambda each: (_ORDER[each.severity], *each.key, each.text))
