"""Git's merge driver: gives each file below ``tables/`` its content in the merge of two vaults.

Git runs it in the top folder of the working tree, for each file that both sides changed, with the
names of four files: what both had, ours, theirs, and the path in the tree (gitattributes(5),
"Defining a custom merge driver"). The merge as a whole is worked out, and what that has at the path
is left in the file of ours. What git merges without asking is put right by the hook `post-merge`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tablevault.errors import TableVaultError
from tablevault.names import CommitId

_HEAD = re.compile(r"GITHEAD_([0-9a-f]{40})")


def merge(path: str, mine: Path) -> int:
    """Write into `mine` what the merge has at `path`; 1 when that is a conflict."""
    from tablevault.history.git.repository import Repository
    from tablevault.history.merge.merge_commits import merge_tree

    there = merged_commit()
    repository = Repository(Path.cwd())
    ours = repository.tip("HEAD")
    if there is None or ours is None:
        return -1
    merged = merge_tree(repository, ours, repository.peeled(there))
    conflicts = merged.conflicts_at(path)
    for conflict in conflicts:
        sys.stderr.write(f"tablevault: {conflict.path}: {conflict.problem}.\n")
    if conflicts:
        return 1
    file = merged.read(path)
    if file is not None:
        mine.write_bytes(file)
    return 0


def merged_commit() -> CommitId | None:
    """Return the one commit that ``git merge`` merges just now; None when it is something else.

    It names them to whatever it starts. A rebase, a cherry-pick and a stash do not.
    """
    found = [match[1] for name in os.environ if (match := _HEAD.fullmatch(name))]
    return CommitId(found[0]) if len(found) == 1 else None


def _as_text(base: str, mine: str, theirs: str) -> int:
    """Merge one file by lines, as git does where there is no driver."""
    return subprocess.run(["git", "merge-file", "-q", mine, base, theirs], check=False).returncode


def main(arguments: list[str]) -> int:
    """Merge one file."""
    base, mine, theirs, path = arguments
    try:
        done = merge(path, Path(mine))
    except TableVaultError as error:
        sys.stderr.write(f"tablevault: {path}: {error}\n")
        return 1
    return _as_text(base, mine, theirs) if done < 0 else done


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
