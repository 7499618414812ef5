"""Install the hooks of a vault, where the user has none of their own."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import sys
from functools import lru_cache
from pathlib import Path

from tablevault.errors import TVRemoteError
from tablevault.history.git.git_program import run_git

_log = logging.getLogger("tablevault")
_NAMES = (
    "pre-push",
    "pre-commit",
    "pre-merge-commit",
    "pre-rebase",
    "post-checkout",
    "post-commit",
    "post-merge",
    "post-rewrite",
)
_OURS = b"#!/bin/sh\n# TableVault: "
_CALLS_OURS = b"tablevault.drivers.hooks"
_OF_GIT_LFS = (b"command -v git-lfs ", b"git lfs ")


def install_hooks(git_dir: Path) -> None:
    """Write the hooks that are missing or call another interpreter.

    A hook of the user's own stays; one that only calls git-lfs is replaced, since ours does what
    that does. Where ``core.hooksPath`` leads elsewhere, git does not read these files.
    """
    folder = git_dir / "hooks"
    for name in missing_hooks(git_dir):
        with contextlib.suppress(OSError):  # a vault that may only be read needs none
            folder.mkdir(exist_ok=True)
            beside = folder / f".{name}.new"
            beside.write_bytes(_text(name))
            beside.chmod(0o755)
            beside.replace(folder / name)


def missing_hooks(git_dir: Path) -> list[str]:
    """Name the hooks that :func:`install_hooks` would write."""
    return [name for name in _NAMES if _is_missing(git_dir / "hooks" / name, name)]


def other_push_hook(path: Path) -> Path | None:
    """Return the file that git runs before a push from `path`; None where it runs ours.

    That is a hook of the user's own, or there is none where ``core.hooksPath`` leads.
    """
    command = ["rev-parse", "--git-path", "hooks/pre-push"]
    try:
        hook = path / os.fsdecode(run_git(command, path).removesuffix(b"\n"))
    except TVRemoteError:
        return None  # git does not work here at all, which is another matter
    try:
        return None if _CALLS_OURS in hook.read_bytes() else hook
    except OSError:
        return hook


def _is_missing(path: Path, name: str) -> bool:
    """Return whether a hook is to be written: a link is somebody's own, like any other text."""
    try:
        found = path.read_bytes()
    except OSError:
        found = b""
    if found == _text(name) or path.is_symlink():
        return False
    return not found or found.startswith(_OURS) or _only_calls_git_lfs(found)


def _only_calls_git_lfs(text: bytes) -> bool:
    """Return whether a hook does no more than that of git-lfs."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(b"#")]
    return bool(lines) and all(line.startswith(_OF_GIT_LFS) for line in lines)


@lru_cache
def _text(name: str) -> bytes:
    """Format a hook."""
    text = _source(name).read_text("utf-8")
    return text.replace("@PYTHON@", shlex.quote(sys.executable)).encode()


def _source(name: str) -> Path:
    """Find the text of a hook: in the package, or beside it in a checkout."""
    package = Path(__file__).parents[2]
    within = package / "_hooks" / name
    return within if within.is_file() else package.parent / "hooks" / name
