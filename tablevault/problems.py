"""What can be wrong with a vault, as values: found by verify, mended by repair."""

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
    """One thing that is not as it should be.

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
        Whether ``verify(repair=True)`` can mend it.
    repaired : bool
        Whether it was mended just now: a second look did not find it any more.
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
        """What to do, of which there is nothing when it is done."""
        if self.repaired or not self.repairable:
            return "" if self.repaired else self.advice
        mend = Wording(Call("verify", repair=True), " mends it.")
        return Wording(self.advice, " ", mend) if self.advice else mend

    @property
    def key(self) -> tuple[str, str]:
        """By which two looks tell that they found the same."""
        return self.kind, self.where

    def mended(self) -> Problem:
        """Return the same problem as one that is no more."""
        return replace(self, repaired=True)


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Sort the worst first, and name each once."""
    once = {(problem.key, problem.text): problem for problem in problems}
    return sorted(once.values(), key=lambda each: (_ORDER[each.severity], *each.key, each.text))
