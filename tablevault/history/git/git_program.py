"""Run the git program in one repository, whatever the environment says."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tablevault.errors import TableVaultError, TVRemoteError

# `git rev-parse --local-env-vars`, but for what carries `git -c key=value`: git sets these for its
# hooks, and they would turn every git that a hook calls to the repository of the hook.
_OF_ONE_REPOSITORY = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_CONFIG",
        "GIT_DIR",
        "GIT_GRAFT_FILE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_INTERNAL_SUPER_PREFIX",
        "GIT_NAMESPACE",
        "GIT_NO_REPLACE_OBJECTS",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_QUARANTINE_PATH",
        "GIT_REPLACE_REF_BASE",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
    }
)

SYNCED = ("-c", "core.fsync=committed", "-c", "core.fsyncMethod=fsync")
"""Options of git for packs that have to be durable, whatever the user's configuration says."""


def run_git(
    arguments: Sequence[str],
    folder: Path | None = None,
    *,
    text: bytes = b"",
    options: Sequence[str] = (),
    failure: type[TableVaultError] = TVRemoteError,
) -> bytes:
    """Run git in `folder`, give it `text` to read, and return what it printed.

    `options` are those of git itself, before the command.

    Raises
    ------
    TableVaultError
        git is not installed, or ended with an error: of the class `failure`.
    """
    done = call_git([*options, *arguments], folder, text=text, failure=failure)
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise failure(f"`git {arguments[0]}` failed: {said}")
    return done.stdout


def call_git(
    arguments: Sequence[str],
    folder: Path | None = None,
    *,
    text: bytes = b"",
    failure: type[TableVaultError] = TVRemoteError,
) -> subprocess.CompletedProcess[bytes]:
    """Run git in `folder`, give it `text` to read, and return how it ended; it speaks English.

    Raises
    ------
    TableVaultError
        git is not installed: of the class `failure`.
    """
    command, where = ["git", *arguments], {**environment(), "LC_ALL": "C"}
    try:
        return subprocess.run(
            command, input=text, capture_output=True, cwd=folder, env=where, check=False
        )
    except FileNotFoundError as error:
        raise failure(
            f"The program git cannot be run: {error.strerror}.",
            "Install git, and see that it is on the PATH.",
        ) from error


def environment() -> dict[str, str]:
    """Return the environment for programs that git or we start, without another repository's."""
    return {name: value for name, value in os.environ.items() if name not in _OF_ONE_REPOSITORY}
