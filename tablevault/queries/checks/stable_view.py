"""Looks at what follows the refs, while others may move these: what passes is no problem."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tablevault.problems import Problem
from tablevault.vault import Vault

_PATIENCE_S = 30.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.01, 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """Where the vault stands."""

    is_committing: bool
    main: str | None
    temps: tuple[tuple[str, str], ...]


def settled(vault: Vault, look: Callable[[], Iterable[Problem]]) -> list[Problem]:
    """Look until nothing is found, or until it was found while nobody committed.

    No lock is taken. A commit holds one, and is followed under it by tags, working tree, faces
    and index; so what is found while the lock was free before and after, and no ref has moved,
    was not being made. In a vault that is never quiet for so long, what every look of half a
    minute finds is a problem.
    """
    deadline = time.monotonic() + _PATIENCE_S
    wait = _FIRST_WAIT_S
    lasting: list[Problem] | None = None
    while True:
        is_last = time.monotonic() > deadline
        before = _moment(vault)
        found = list(look())
        if lasting is not None:
            keys = {problem.key for problem in lasting}
            found = [problem for problem in found if problem.key in keys]
        lasting = found
        is_quiet = not before.is_committing and before == _moment(vault)
        if not lasting or is_quiet or is_last:
            return lasting
        time.sleep(wait)
        wait = min(2 * wait, _LONGEST_WAIT_S)


def _moment(vault: Vault) -> _Moment:
    """Take down where the vault stands."""
    parts = vault.parts
    return _Moment(
        is_committing=parts.is_committing(),
        main=parts.repository.tip("refs/heads/main"),
        temps=tuple(sorted(parts.repository.temp_refs().items())),
    )
