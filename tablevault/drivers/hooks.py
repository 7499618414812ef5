"""Git's hooks in a vault: what makes plain git safe there. Each is called by a few lines of shell.

Light to start: neither pandas nor pyarrow. A hook that only follows never stops git.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tablevault.errors import TableVaultError, TVBuilderError, TVFileError
from tablevault.names import CommitId, is_lfs_path
from tablevault.vault import Vault

_NOTHING = "0" * 40
_INSTANCE = re.compile(r"tables/[^/]+/[^/]+/(instance\.yaml|builders/.*)")
_OURS = ("tables/", "code/", "vault.yaml")
_ROOTS = ("tables", "vault.yaml")


def pre_push(vault: Vault, arguments: Sequence[str]) -> int:
    """Send the objects of what is pushed, before git sends what names them."""
    from tablevault.remotes.push import send_objects

    remote = arguments[0]
    tips, known = [], list(_seen(vault, remote))
    for line in sys.stdin.read().splitlines():
        _, local, _, there = line.split()
        if local != _NOTHING:
            tips.append(_commit(vault, local))
        if there != _NOTHING and vault.journal.repository.has(CommitId(there)):
            known.append(_commit(vault, there))
    if tips:
        report = send_objects(vault, remote, tips, known)
        if report.objects:
            _say(f"sent {report.objects:,} objects ({report.bytes:,} bytes) to {remote}")
    return 0


def follow(vault: Vault, _: Sequence[str]) -> int:
    """Let working tree, temporary instances, index and tags follow what git has done."""
    from tablevault.operations.vaults import open_vault
    from tablevault.remotes.pull import lay_tags

    open_vault(vault)
    lay_tags(vault)
    return 0


def post_merge(vault: Vault, arguments: Sequence[str]) -> int:
    """Finish what git's own merge leaves to do, and follow."""
    from tablevault.operations.vaults import open_vault

    if open_vault(vault):
        _say("instances that both sides made are whole again: a commit was added to the merge")
    return follow(vault, arguments)


def pre_merge_commit(vault: Vault, _: Sequence[str]) -> int:
    """Refuse a merge that is none for git but is one for the vault, such as one name twice."""
    from tablevault.drivers.merge import merged_commit
    from tablevault.history.joining import join

    repository = vault.journal.repository
    theirs, ours = merged_commit(), repository.tip("HEAD")
    if theirs is None or ours is None:
        return 0
    conflicts = join(repository, ours, repository.peeled(theirs)).conflicts_in(_ROOTS)
    for conflict in conflicts:
        _say(f"{conflict.path}: {conflict.problem}. {conflict.hint}")
    if conflicts:
        _say("the merge was not committed: `git merge --abort`, then do that.")
    return 1 if conflicts else 0


def pre_rebase(_: Vault, arguments: Sequence[str]) -> int:
    """Refuse to make commits of operations anew: what made an instance would be in none of them."""
    upstream, branch = (*arguments, "HEAD")[:2]
    done = subprocess.run(
        ["git", "log", "--format=%h %s", "--grep=^Vault-Process: ", f"{upstream}..{branch}"],
        capture_output=True,
        check=True,
    )
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    if lines:
        _say(f"commits of operations cannot be rebased, {lines[0]} for one. Merge: git merge")
    return 1 if lines else 0


def post_checkout(vault: Vault, arguments: Sequence[str]) -> int:
    """Follow a change of branch; a checkout of single files is the user's own affair."""
    return follow(vault, arguments) if arguments[-1:] == ["1"] else 0


def pre_commit(vault: Vault, _: Sequence[str]) -> int:
    """Refuse what would break the vault: hand-edited instances, code and YAML that do not parse."""
    git_dir = vault.journal.repository.git_dir
    is_joining = any(
        (git_dir / name).exists() for name in ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD")
    )
    on_main = vault.journal.repository.head_is_main()
    problems = []
    for status, path in _staged():
        if not path.startswith(_OURS):
            continue
        if on_main and not is_joining and (is_lfs_path(path) or _INSTANCE.fullmatch(path)):
            problems.append(
                f"{path}: it belongs to an instance, which never changes. "
                "Make a new one with create_instance; undo this by: "
                f"git restore --staged --worktree {path}"
            )
        elif status != "D":
            problems.extend(f"{path}: {problem}" for problem in _wrong(path))
    for problem in problems:
        _say(problem)
    if problems:
        _say("nothing was committed. `git commit --no-verify` does it all the same.")
    return 1 if problems else 0


_HOOKS = {
    "pre-push": pre_push,
    "pre-commit": pre_commit,
    "pre-merge-commit": pre_merge_commit,
    "pre-rebase": pre_rebase,
    "post-checkout": post_checkout,
    "post-commit": post_merge,
    "post-merge": post_merge,
    "post-rewrite": follow,
}


def main(arguments: Sequence[str]) -> int:
    """Run one hook; those that come after the event cannot fail."""
    from tablevault.remotes.door import bring

    name, *rest = arguments
    here = Path.cwd()
    if name.startswith("post-") and (here / ".git").is_file():
        return 0  # a second worktree: nothing of the vault follows it
    try:
        vault = Vault(path=here, author="git hook", bring=bring)
        return _HOOKS[name](vault, rest)
    except TableVaultError as error:
        _say(f"{name}: {error}")
    except Exception as error:  # noqa: BLE001 - git shows a person what a hook says
        _say(f"{name}: {type(error).__name__}: {error}")
    return 0 if name.startswith("post-") else 1


def _say(text: str) -> None:
    """Tell the person who runs git."""
    from tablevault.render import harmless

    sys.stderr.write(f"tablevault: {harmless(text)}\n")


def _commit(vault: Vault, oid: str) -> CommitId:
    """Give the commit that an object id names, which may be that of a tag."""
    return vault.journal.repository.peeled(oid)


def _seen(vault: Vault, remote: str) -> list[CommitId]:
    """Give what the remote had when we looked last."""
    return list(vault.journal.repository.refs(f"refs/remotes/{remote}/").values())


def _staged() -> list[tuple[str, str]]:
    """List what is to be committed; git's own index counts, also that of ``git commit FILE``."""
    done = subprocess.run(
        ["git", "diff", "--cached", "--no-renames", "--name-status", "-z"],
        capture_output=True,
        check=True,
    )
    parts = os.fsdecode(done.stdout).split("\0")
    return list(zip(parts[::2], parts[1::2], strict=False))


def _wrong(path: str) -> list[str]:
    """Say what is wrong with a file that is to be committed; nothing in it is run."""
    done = subprocess.run(["git", "cat-file", "blob", f":{path}"], capture_output=True, check=True)
    from tablevault.engine.document import check_builder_text
    from tablevault.history.documents import decode_table, decode_vault
    from tablevault.history.snapshot import decode_text

    try:
        if path.endswith("table.yaml"):
            decode_table(done.stdout, path)
        elif path == "vault.yaml":
            decode_vault(done.stdout, path)
        elif path.endswith(".py"):
            ast.parse(decode_text(done.stdout, path))
        elif path.endswith(".yaml") and "/builders/" in path:
            name = path.rsplit("/", 1)[-1].removesuffix(".yaml")
            check_builder_text(name, decode_text(done.stdout, path))
    except (TVBuilderError, TVFileError) as error:
        return [str(error)]
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        return [f"{error}" if line is None else f"line {line}: {getattr(error, 'msg', error)}"]
    return []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
