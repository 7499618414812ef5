"""Roots of garbage collection: refs, and other names of commits and files."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from tablevault.errors import TVFileError
from tablevault.history.git.index_file import read_index
from tablevault.history.git.object_files import check_loose, check_packs, read_refs
from tablevault.history.git.reachability import Reach
from tablevault.lfs.files import files_below, matching
from tablevault.wording import Call, Wording

_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{40}(?![0-9a-f])")
_NAMED_IN_STATE = ("laid", "faces/*", "processes/*")


def whole_reach(git_dir: Path, state: Path) -> Reach:
    """Walk all that something needs: refs first, and then what need not be there any more.

    Raises
    ------
    TVFileError
        Something is damaged: whatever is there may be the last copy of something.
    """
    for problem in (*check_loose(git_dir), *check_packs(git_dir), *read_refs(git_dir).problems):
        raise _damaged(problem.where)
    reach = Reach(git_dir)
    extend(reach, git_dir, state)
    return reach


def extend(reach: Reach, git_dir: Path, state: Path) -> None:
    """Go on from what has come since; TVFileError when something is missing."""
    reach.extend((target, ref) for ref, target in read_refs(git_dir).targets.items())
    for name in reach.broken:
        raise _damaged(name)
    reach.extend((name, "a note") for name in _noted(git_dir, state))
    for folder in (git_dir, *_folders(git_dir / "worktrees")):
        with contextlib.suppress(OSError, TVFileError):
            for (path, _), entry in read_index(folder / "index").entries.items():
                text = path.decode("utf-8", "replace")
                reach.add_blob(entry.blob.hex(), text, "git's index")
    # A log may name what `git gc` has removed.
    reach.broken.clear()


def _noted(git_dir: Path, state: Path) -> Iterator[str]:
    """Return all ids in logs of refs, in HEAD and its like, and in the records of processes."""
    for folder in (git_dir, *_folders(git_dir / "worktrees")):
        for path in (*matching(folder, "*HEAD"), *files_below(folder / "logs")):
            yield from _ids_in(path)
    for pattern in _NAMED_IN_STATE:
        for path in matching(state, pattern):
            yield from _ids_in(path)


def _ids_in(path: Path) -> list[str]:
    """Find what looks like an id."""
    try:
        found = _ID.findall(path.read_text("ascii", "replace"))
    except OSError:
        return []
    return [name for name in dict.fromkeys(found) if name.strip("0")]


def _folders(folder: Path) -> list[Path]:
    """List what is below a folder, which need not be there."""
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _damaged(where: str) -> TVFileError:
    """Make the error for a vault from which nothing may be removed."""
    return TVFileError(
        f'The vault is damaged ("{where}"), so nothing was removed from it.',
        Wording(
            Call("verify"), " tells more, ", Call("verify", repair=True), " mends what it can."
        ),
        path=where,
    )
