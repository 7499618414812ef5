"""Git's hooks in a vault, which make plain git safe there. A few lines of shell call each.

Starts without pandas and pyarrow. A hook that runs after the event never stops git.
"""

from __future__ import annotations

import ast
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tablevault.errors import TableVaultError, TVBuilderError, TVFileError, reason_of
from tablevault.history.checkout.hand_edits import make_temporary
from tablevault.history.commits.documents import decode_vault
from tablevault.history.commits.snapshot import decode_text
from tablevault.history.merge.validate_commits import (
    fault_of_change,
    fault_of_document,
    fault_of_entry,
    validate_outgoing,
)
from tablevault.names import CODE_DIR, MAIN, VAULT_DOCUMENT, TempRef
from tablevault.paths import (
    fault_to_read,
    fault_to_write,
    is_lfs_path,
    is_of_instance,
    kind_of_document,
    temp_of_builder,
)
from tablevault.secrets import IN_BUILDER, IN_CODE, IN_DESCRIPTION, find_secrets
from tablevault.vault import Vault
from tablevault.wording import Named, written

_NOTHING = "0" * 40
_OURS = ("tables/", "code/", "vault.yaml")
_LINKS = (0o120000, 0o160000)
"""A symbolic link, a submodule: of use where they are, and nothing that another vault takes."""
_ROOTS = ("tables", "vault.yaml")


def pre_push(vault: Vault, arguments: Sequence[str]) -> int:
    """Send the objects of what is pushed, before git sends what names them."""
    from tablevault.remotes.remote_objects import commits_of, push_targets, upload_for_git

    lines = [line.split() for line in sys.stdin.read().splitlines()]
    moves = {ref: (local, there) for _, local, ref, there in lines if local != _NOTHING}
    if not moves:
        return 0
    remote, address = arguments
    if len(push_targets(vault, remote)) > 1:
        remote = address  # git comes here for each of them
    mains = [vault.repository.peeled(local) for ref, (local, _) in moves.items() if ref == MAIN]
    known = commits_of(vault.repository, (there for _, there in moves.values()))
    seen = vault.repository.refs(f"refs/remotes/{remote}/").values()
    validate_outgoing(vault.repository, mains, [*known, *seen], remote)
    found = upload_for_git(vault, remote, moves)
    sent = found.objects
    if sent.objects:
        _say(f"sent {sent.objects:,} objects ({sent.bytes:,} bytes) to {remote}")
    for pointer, path in found.missing.items():
        _say(f"{remote} and this vault lack {path} ({pointer.oid}): push from the vault with it")
    return 0


def follow(vault: Vault, _: Sequence[str]) -> int:
    """Let working tree, temporary instances, index and tags follow what git has done."""
    from tablevault.operations.vaults import open_vault
    from tablevault.remotes.pull import update_tags

    open_vault(vault)
    update_tags(vault)
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
    from tablevault.history.merge.merge_commits import merge_tree

    repository = vault.repository
    theirs, ours = merged_commit(), repository.tip("HEAD")
    if theirs is None or ours is None:
        return 0
    merged = merge_tree(repository, ours, repository.peeled(theirs))
    conflicts = merged.conflicts_in(_ROOTS)
    for conflict in conflicts:
        _say(f"{conflict.path}: {conflict.problem}. {written(conflict.hint, _in_shell)}")
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
    """Refuse what would break the vault, or what no other vault would take over."""
    git_dir = vault.repository.git_dir
    is_joining = any(
        (git_dir / name).exists() for name in ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD")
    )
    is_final = vault.repository.head_is_main() and not is_joining
    staged = _staged()
    problems: list[str] = [] if is_joining else _secrets(vault, staged)
    misplaced: dict[TempRef, list[str]] = {}
    for entry in staged:
        temp = temp_of_builder(entry.path)
        if entry.mode in _LINKS:
            _say(f"{entry.path}: {fault_of_entry(entry.path, entry.mode)}: push will refuse it")
            continue
        wrong = _wrong(vault, entry, fault_to_read if is_joining else fault_to_write)
        if is_final and temp is not None:
            misplaced.setdefault(temp, []).append(entry.path)
        elif wrong or not (is_final and is_of_instance(entry.path)):
            problems.extend(f"{entry.path}: {problem}" for problem in wrong)
        else:
            problems.append(
                f"{entry.path}: it belongs to an instance, which never changes. Make a new one "
                f"with `tablevault create-instance`; undo this by: {_taking_back([entry.path])}"
            )
    problems.extend(
        f"{', '.join(paths)}: the builders of an instance never change. This makes a temporary "
        f"instance of yours: {make_temporary(vault.repository, temp, paths)}; this undoes "
        f"the edit here: {_taking_back(paths)}"
        for temp, paths in misplaced.items()
    )
    for problem in problems:
        _say(problem)
    if problems:
        _say("nothing was committed. `git commit --no-verify` does it all the same.")
    return 1 if problems else 0


def _secrets(vault: Vault, staged: Sequence[_Staged]) -> list[str]:
    """Return what looks like a key in what is to be committed, and is not in the last commit.

    Artifacts and dataframes are data, and not searched.
    """
    read = vault.repository.read_blob
    return [
        f"{found.place}, line {found.line}: this looks like a key ({found.kind}). "
        f"{_instead(found.place)}"
        for entry in staged
        if entry.mode and entry.mode not in _LINKS and not is_lfs_path(entry.path)
        for found in find_secrets(
            entry.path,
            read(entry.blob),
            known=read(entry.before).decode("utf-8", "replace") if entry.before else "",
        )
    ]


def _instead(path: str) -> str:
    """Return what to do about a key in a file."""
    if kind_of_document(path) == "builder":
        return IN_BUILDER
    return IN_CODE if path.endswith(".py") else IN_DESCRIPTION


def _taking_back(paths: Sequence[str]) -> str:
    """Write the command that takes back what was staged."""
    return shlex.join(["git", "restore", "--staged", "--worktree", "--", *paths])


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
    from tablevault.remotes.fetch import fetch_object

    name, *rest = arguments
    here = Path.cwd()
    if name.startswith("post-") and (here / ".git").is_file():
        return 0  # a second worktree: nothing of the vault follows it
    try:
        vault = Vault(path=here, author="git hook", bring=fetch_object)
        return _HOOKS[name](vault, rest)
    except TableVaultError as error:
        _say(f"{name}: {error.formatted(_in_shell)}")
    except Exception as error:  # noqa: BLE001 - git shows a person what a hook says
        _say(f"{name}: {type(error).__name__}: {reason_of(error)}")
    return 0 if name.startswith("post-") else 1


def _in_shell(named: Named) -> str:
    """Write a call as a command, for a person who runs git."""
    from tablevault.cli.errors import at_prompt

    return at_prompt()(named)


def _say(text: str) -> None:
    """Print a message to the user of git."""
    from tablevault.render import harmless

    sys.stderr.write(f"tablevault: {harmless(text)}\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Staged:
    """A file that is to be committed."""

    path: str
    mode: int
    """0 when it is to be removed."""
    blob: str
    before: str
    """Blob of the file in the last commit, "" when it is none there."""


def _staged() -> list[_Staged]:
    """List what is to be committed; git's own index counts, also that of ``git commit FILE``."""
    done = subprocess.run(
        ["git", "diff", "--cached", "--no-renames", "--raw", "--no-abbrev", "-z"],
        capture_output=True,
        check=True,
    )
    parts = os.fsdecode(done.stdout).split("\0")
    found = []
    for facts, path in zip(parts[::2], parts[1::2], strict=False):
        was, mode, old, blob, _ = facts.split(" ")
        before = old if was.startswith(":100") else ""
        found.append(_Staged(path=path, mode=int(mode, 8), blob=blob, before=before))
    return found


def _wrong(vault: Vault, entry: _Staged, fault_of_path: Callable[[str], str]) -> list[str]:
    """Return what is wrong with a file that is to be committed; nothing in it is run."""
    if not entry.mode:
        is_needed = entry.path == VAULT_DOCUMENT
        return ["without it the folder is no vault"] if is_needed else []
    fault = fault_of_path(entry.path) or fault_of_entry(entry.path, entry.mode)
    if fault or not entry.path.startswith(_OURS):
        return [fault] if fault else []
    read = vault.repository.read_blob
    data = read(entry.blob)
    fault = fault_of_document(entry.path, data)
    try:
        before = read(entry.before) if entry.before and not fault else None
        if before is not None and not fault_of_document(entry.path, before):
            fault = fault_of_change(entry.path, before, data)
        return [fault] if fault else _wrong_text(entry.path, data)
    except (TVBuilderError, TVFileError) as error:
        return [error.formatted(_in_shell)]
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        return [f"{error}" if line is None else f"line {line}: {getattr(error, 'msg', error)}"]


def _wrong_text(path: str, data: bytes) -> list[str]:
    """Return what is wrong with what people write; raise if it cannot be read."""
    if path == VAULT_DOCUMENT:
        assert decode_vault(data, path).config is not None
    if path.startswith(f"{CODE_DIR}/") and path.endswith(".py"):
        ast.parse(decode_text(data, path))
    if kind_of_document(path) == "builder":
        from tablevault.engine.builders.document import check_builder_text

        name = path.rsplit("/", 1)[-1].removesuffix(".yaml")
        check_builder_text(name, decode_text(data, path))
    return []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
