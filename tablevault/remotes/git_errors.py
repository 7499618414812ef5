"""Turns messages of git at a remote into errors, with the message of the host beside them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tablevault.errors import (
    TableVaultError,
    TVFileError,
    TVOutcomeUnknownError,
    TVRemoteError,
)
from tablevault.remotes.git_error_kinds import (
    FAULTS_HERE,
    KINDS,
    LATER,
    LOST,
    OTHER,
    PULL,
    UNWRITABLE,
    Kind,
)
from tablevault.render import visible
from tablevault.wording import Call, Wording

_LONGEST = 1000
_MOST_SHOWN = 3
_OURS = ("hint:", "To ", "remote:", "Please make sure", "and the repository exists", "@@@")
_NOISE = re.compile(
    r"fatal: Could not read from remote repository|error: failed to push some refs"
    r"|fatal: the remote end hung up unexpectedly|fatal: expected flush|git config --global"
)
_HOSTS_NOISE = re.compile(r"error: hook declined to update |To add an exception|=+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The output of a git command that failed.

    Attributes
    ----------
    text : str
        Lines of git, of ssh, and of git at the other side where it writes to the same file.
    host : tuple of str
        Lines of the host.
    reasons : dict of str to str
        Why each ref did not move, where git says so.
    """

    text: str
    host: tuple[str, ...] = ()
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """The message of git in one line, without its advice."""
        lines = [
            visible(line.strip().removeprefix("fatal: ").removeprefix("error: "))
            for line in self.text.splitlines()
            if line.strip() and not line.startswith(_OURS) and not _NOISE.search(line)
        ]
        once = "; ".join(dict.fromkeys(lines))[:_LONGEST]
        return f"{(once or 'the connection was closed without a message').rstrip('.')}."


def read_failure(printed: bytes, reasons: dict[str, str]) -> Failure:
    """Parse the standard error of git."""
    lines = printed.decode("utf-8", "replace").splitlines()
    said = [line.removeprefix("remote:").strip() for line in lines if line.startswith("remote:")]
    host = tuple(visible(line) for line in said if line and not _HOSTS_NOISE.match(line))
    return Failure(text="\n".join(lines), host=host, reasons=reasons)


def explain(failure: Failure, remote: str, folder: Path, *, is_push: bool) -> TableVaultError:
    """Return the error of a failure.

    Parameters
    ----------
    folder : Path
        The vault; its own files may be the cause.
    is_push : bool
        The remote may have changed.
    """
    if here := _fault_here(failure, folder, is_push=is_push):
        return here
    reasons = "; ".join(dict.fromkeys(failure.reasons.values()))
    text = f"{failure.text}\n[rejected] {reasons}" if reasons else failure.text
    kind, found = _classified(text, is_push=is_push)
    parts = {
        **found,
        "remote": remote,
        "words": failure.words,
        "reasons": reasons,
        "refs": listed(failure.reasons),
    }
    message = f'Remote "{remote}" {kind.text.format_map(parts)}'
    if kind.shows_host and failure.host:
        told = " / ".join(failure.host)[:_LONGEST]
        message += f" It says: {told.rstrip('.')}."
    known = kind.is_known or not is_push
    error = TVRemoteError if known and kind.error is TVOutcomeUnknownError else kind.error
    hint = _worded(kind.hint, parts) if known == kind.is_known else LATER
    return error(message, hint, remote=remote)


def _worded(hint: str, parts: Mapping[str, str]) -> str:
    """Return a hint with its facts; the pull in it is a call."""
    before, pull, after = hint.partition(PULL)
    texts = (before.format_map(parts), after.format_map(parts))
    return Wording(texts[0], Call("pull", remote=parts["remote"]), texts[1]) if pull else texts[0]


def sha256_error(remote: str) -> TVRemoteError:
    """Return the error of a repository with sha256 object names."""
    failure = Failure(text="mismatched algorithms")
    kind, found = _classified(failure.text, is_push=False)
    return TVRemoteError(f'Remote "{remote}" {kind.text}', kind.hint.format_map(found))


def listed(refs: Collection[str]) -> str:
    """Return the first refs as text."""
    more = f" and {len(refs) - _MOST_SHOWN:,} more" if len(refs) > _MOST_SHOWN else ""
    return ", ".join(visible(ref) for ref in list(refs)[:_MOST_SHOWN]) + more


def lacks_atomic(failure: Failure) -> bool:
    """Return whether the host cannot move refs together."""
    return "does not support --atomic push" in failure.text


def _classified(text: str, *, is_push: bool) -> tuple[Kind, dict[str, str]]:
    """Return the first kind that matches, and what its pattern found."""
    for kind in KINDS:
        if found := kind.pattern.search(text):
            return kind, {name: visible(each or "") for name, each in found.groupdict().items()}
    return (LOST if is_push else OTHER), {}


def _fault_here(failure: Failure, folder: Path, *, is_push: bool) -> TVFileError | None:
    """Return the error of a damaged file in this vault's repository; None if it is another one."""
    own = "\n".join(line for line in failure.text.splitlines() if not line.startswith("remote:"))
    for pattern, text, hint in FAULTS_HERE:
        found = pattern.search(own)
        name = next(filter(None, found.groups()), "") if found else ""
        if name and _is_here(name, folder):
            parts = {"ref": visible(name), "words": failure.words}
            return TVFileError(text.format_map(parts), hint.format_map(parts), path=name)
    if not is_push and UNWRITABLE.search(own):
        # A fetch does not write to the remote.
        text = f"Fetched objects cannot be written into this vault: {failure.words}"
        return TVFileError(text, "Check the free space and the owner of its folder.")
    return None


def _is_here(name: str, folder: Path) -> bool:
    """Return whether a path is in this vault, and not in a remote on the same disk."""
    if name.startswith("refs/remotes/"):
        return True  # refs of this name are never pushed
    if name.startswith("refs/"):
        return (folder / ".git" / name).is_file()
    return (folder / name).is_relative_to(folder / ".git") or Path(name).is_relative_to(
        (folder / ".git").resolve()
    )
