"""Messages of git, ssh and hosts as errors that say what to do next."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tablevault.errors import (
    TableVaultError,
    TVCredentialsError,
    TVFileError,
    TVOutcomeUnknownError,
    TVRemoteError,
)
from tablevault.render import visible
from tablevault.wording import Call, Wording

_ASK = "Ask who runs it."
_THERE = "Ask who runs it: git fsck there names what is damaged."
_LATER = "Try again later."
_PATH = "Check the path. The address of a host begins with https://, or is user@host:path."
_LONGEST = 1000
_MOST_SHOWN = 3
_OURS = ("hint:", "To ", "remote:", "Please make sure", "and the repository exists", "@@@")
_NOISE = re.compile(
    r"fatal: Could not read from remote repository|error: failed to push some refs"
    r"|fatal: the remote end hung up unexpectedly|fatal: expected flush|git config --global"
)
_HOSTS_NOISE = re.compile(r"error: hook declined to update |To add an exception|=+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class GitFailure:
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


def read_failure(printed: bytes, reasons: dict[str, str]) -> GitFailure:
    """Parse the standard error of git."""
    lines = printed.decode("utf-8", "replace").splitlines()
    said = [line.removeprefix("remote:").strip() for line in lines if line.startswith("remote:")]
    host = tuple(visible(line) for line in said if line and not _HOSTS_NOISE.match(line))
    return GitFailure(text="\n".join(lines), host=host, reasons=reasons)


def explain(failure: GitFailure, remote: str, folder: Path, *, is_push: bool) -> TableVaultError:
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
    if kind is _LOST and not is_push:
        return TVRemoteError(message, _LATER, remote=remote)
    return kind.error(message, _worded(kind.hint, parts), remote=remote)


def _worded(hint: str, parts: Mapping[str, str]) -> str:
    """Return a hint with its facts; the pull in it is a call."""
    before, pull, after = hint.partition(_PULL)
    texts = (before.format_map(parts), after.format_map(parts))
    return Wording(texts[0], Call("pull", remote=parts["remote"]), texts[1]) if pull else texts[0]


def listed(refs: Collection[str]) -> str:
    """Return the first refs as text."""
    more = f" and {len(refs) - _MOST_SHOWN:,} more" if len(refs) > _MOST_SHOWN else ""
    return ", ".join(visible(ref) for ref in list(refs)[:_MOST_SHOWN]) + more


def lacks_atomic(failure: GitFailure) -> bool:
    """Return whether the host cannot move refs together."""
    return "does not support --atomic push" in failure.text


def _classified(text: str, *, is_push: bool) -> tuple[_Kind, dict[str, str]]:
    """Return the first kind that matches, and what its pattern found."""
    for kind in _KINDS:
        if found := kind.pattern.search(text):
            return kind, {name: visible(each or "") for name, each in found.groupdict().items()}
    return (_LOST if is_push else _OTHER), {}


def _fault_here(failure: GitFailure, folder: Path, *, is_push: bool) -> TVFileError | None:
    """Return the error of a damaged file in this vault's repository; None if it is another one."""
    own = "\n".join(line for line in failure.text.splitlines() if not line.startswith("remote:"))
    for pattern, text, hint in _FAULTS_HERE:
        found = pattern.search(own)
        name = next(filter(None, found.groups()), "") if found else ""
        if name and _is_here(name, folder):
            parts = {"ref": visible(name), "words": failure.words}
            return TVFileError(text.format_map(parts), hint.format_map(parts), path=name)
    if not is_push and _UNWRITABLE.search(own):
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """A kind of failure.

    Attributes
    ----------
    pattern : str
        Matches the message; its named groups stand in `text` and `hint`.
    text : str
        What is wrong, after ``Remote "origin"``.
    hint : str
        What to do next.
    error : type
        Class of the error.
    shows_host : bool
        The message of the host says more than `text`.
    """

    pattern: re.Pattern[str]
    text: str
    hint: str
    error: type[TableVaultError] = TVRemoteError
    shows_host: bool = True


_PULL = "<pull>"
"""Placeholder for a pull from the remote in a hint."""


def _kind(pattern: str, text: str, hint: str, **more: object) -> _Kind:
    """Return a kind with its pattern compiled."""
    compiled = re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    return _Kind(pattern=compiled, text=text, hint=hint, **more)  # type: ignore[arg-type]  # as the class takes them


_LOST = _kind(
    r"RPC failed",
    "was interrupted: {words}",
    "The outcome of the push is unknown: push again to be sure.",
    error=TVOutcomeUnknownError,
)
# The first match counts: special patterns stand above general ones.
_KINDS = (
    # -- the remote refuses the push ---------------------------------------------------------
    _kind(
        r"stale info|fetch first|non-fast-forward",
        "has commits that this vault lacks; nothing was pushed.",
        f"Pull first: {_PULL}.",
    ),
    _kind(
        r"is currently checked out|denyCurrentBranch",
        "is a working vault, and git does not push to a branch that is checked out.",
        "Push to a bare repository (`git init --bare`), or pull from that vault.",
        shows_host=False,
    ),
    _kind(
        r"No space left on device|Disk quota exceeded",
        "has no space left on its disk.",
        "Free some space there, or ask who runs it.",
    ),
    _kind(
        r"exceeds maximum allowed size|HTTP 413|error: 413",
        "does not accept a push of this size.",
        "Ask who runs it for a higher limit.",
    ),
    _kind(
        r"insufficient permission for adding an object|unable to (?:create|write) [^\n]*:"
        r" (?:Permission denied|Read-only file system)|unable to create temporary",
        "cannot be written.",
        "Ask its owner for permission to write, or to share it: `git init --shared=group`.",
    ),
    _kind(
        r"Unable to create '(?P<path>[^'\n]*\.lock)': File exists",
        'is locked by the file "{path}".',
        "If no git command runs there, it was left by one that crashed: delete it.",
        shows_host=False,
    ),
    _kind(
        r"'(?P<ref>refs/[^'\n]+)' exists; cannot create '(?P<other>[^'\n]+)'",
        'has the ref "{ref}", which is in the way of "{other}".',
        "Remove it there: git push {remote} :{ref}",
        shows_host=False,
    ),
    _kind(
        r"receiving end does not support (?:(?P<signed>--signed) push|(?P<options>push options))",
        "does not support what git's configuration asks for: {signed}{options}.",
        "See push.gpgSign and push.pushOption: `git config --show-origin --get-regexp '^push'`.",
    ),
    # -- the remote is no repository, or cannot be opened ------------------------------------
    _kind(
        r"does not support this repository's hash algorithm|mismatched algorithms",
        "is a repository with sha256 object names, and a vault has sha1 names.",
        "Recreate it: `git init --bare --object-format=sha1`.",
    ),
    _kind(
        r"detected dubious ownership in repository at '(?P<path>[^\n]*)'",
        'is the folder "{path}", which belongs to another user: git does not open it.',
        'If you trust its owner: git config --global --add safe.directory "{path}"',
    ),
    _kind(
        r"'(?P<path>[^\n]*)' does not appear to be a git repository",
        'is not a git repository: there is none at "{path}", or you may not see it.',
        _PATH,
    ),
    # -- the remote is damaged ---------------------------------------------------------------
    _kind(
        r"fsck error|bad object in pack|fsck_objects",
        "contains objects that git refuses: {words}",
        "Nothing was pulled. Ask who pushed them.",
    ),
    _kind(
        r"bad object (?P<ref>refs/\S+)",
        'has a damaged ref: the file "{ref}" of its repository contains no commit id.',
        "Delete it there, if a program that syncs folders has created it.",
        shows_host=False,
    ),
    _kind(
        r"not our ref (?P<commit>[0-9a-f]{40})",
        "is damaged: one of its branches refers to commit {commit}, which is missing.",
        _THERE,
        shows_host=False,
    ),
    _kind(
        r"inflate:|pack has bad object|is corrupt|unresolved deltas|bad object"
        r"|missing necessary objects|did not send all necessary objects|unable to read tree",
        "is damaged, git objects of its history are missing or cannot be read: {words}",
        _THERE,
    ),
    # -- network, ssh, login -----------------------------------------------------------------
    _kind(
        r"returned error: 403|HTTP 403",
        "denies access (403).",
        "Ask its owner for permission, or give git another login.",
        error=TVCredentialsError,
    ),
    _LOST,
    _kind(
        r"remote-(?P<scheme>\S+)' is not a git command|Unable to find remote helper for"
        r" '(?P<other>[^']+)'",
        'has an address that begins with "{scheme}{other}://", which git does not know.',
        "Use a path, file://, ssh:// or https://.",
    ),
    _kind(
        r"transport '(?P<scheme>[^']+)' not allowed",
        'has an address for "{scheme}", which git must not use here.',
        "Use a path, file://, ssh:// or https://, and see what GIT_ALLOW_PROTOCOL and"
        " protocol.{scheme}.allow of git's configuration say.",
    ),
    _kind(
        r"bad line length character: (?P<start>[^\n]*)",
        'cannot be reached: its host prints "{start}..." before git can speak.',
        "Ask who runs it: the start-up files of the shell must print nothing.",
    ),
    _kind(
        r"REMOTE HOST IDENTIFICATION HAS CHANGED[\s\S]*?Host key for (?P<host>\S+) has changed",
        'is at the host "{host}", whose ssh key has changed since you used it last.',
        'Ask who runs it whether that is right. If so: ssh-keygen -R "{host}"',
        shows_host=False,
    ),
    _kind(
        r"Host key verification failed",
        "is at a host whose ssh key is not known here.",
        "Connect once at a terminal with `ssh`, and compare its fingerprint.",
    ),
    _kind(
        r"Permissions \d+ for '(?P<key>[^'\n]+)' are too open",
        'is not reached: ssh does not use your key "{key}", which others may read.',
        'chmod 600 "{key}"',
        error=TVCredentialsError,
        shows_host=False,
    ),
    _kind(
        r"(?:^|\s)(?P<who>\S+): Permission denied \((?P<ways>[^)\n]*)\)",
        "denies access: {who} accepts none of your ssh keys.",
        "Give the host your public key, and see whether ssh offers it: `ssh -v {who}`.",
        error=TVCredentialsError,
    ),
    _kind(
        r"could not read (?P<what>Username|Password) for '(?P<url>[^'\n]*)'",
        "wants a login, and there is no terminal to ask for one.",
        "Let git remember one: set credential.helper, and run `git ls-remote {remote}` once at a"
        " terminal.",
        error=TVCredentialsError,
    ),
    _kind(
        r"Authentication failed|returned error: 401",
        "does not accept your login.",
        "Check user and password, or token, in your credential helper and in the address.",
        error=TVCredentialsError,
    ),
    _kind(
        r"CONNECT (?:tunnel failed, response|response) (?P<status>\d+)|HTTP code (?P<other>\d+)"
        r" from proxy|returned error: (?P<third>407)",
        "cannot be reached: the proxy refuses ({status}{other}{third}).",
        "Check http.proxy of git's configuration and https_proxy of the environment.",
    ),
    _kind(
        r"repository '[^\n]*' not found|returned error: (?:404|410)",
        "does not exist, or you have no access to it.",
        "Check the address (`git remote -v`), and with which login git goes there.",
    ),
    _kind(
        r"returned error: (?P<status>\d+)",
        "answers with error {status}.",
        _LATER,
    ),
    _kind(
        r"certificate verification failed|certificate problem|certificate verify failed",
        "has no valid certificate: {words}",
        "Set http.sslCAInfo in git's configuration to the certificate of its authority.",
    ),
    _kind(
        r"gnutls_handshake|SSL routines|TLS packet|wrong version number|SSL_ERROR",
        "fails to speak TLS: {words}",
        "Check whether its address begins with http:// or https://.",
    ),
    _kind(
        r"Could not resolve (?:host|proxy)|unable to look up|ssh: connect to host"
        r"|Failed to connect|Couldn't connect|unable to connect"
        r"|unable to access [^\n]*(?:timed out|reset|refused|failure|Empty reply|unreachable)",
        "cannot be reached: {words}",
        "Check the address, the network, and http.proxy of git's configuration.",
    ),
    _kind(
        r"shallow roots are not allowed|attempt to fetch/clone from a shallow",
        "is a shallow clone: part of its history is missing.",
        "Ask who runs it to fetch the rest: git fetch --unshallow.",
    ),
    # -- other messages of the host ----------------------------------------------------------
    _kind(r"remote error: (?P<why>[^\n]*[^.\n])", "refuses: {why}.", _ASK),
    _kind(r"\[(?:remote )?rejected\]", "refuses: {reasons} ({refs}).", _ASK),
    _kind(
        r"Could not read from remote repository|unable to access",
        "cannot be used: {words}",
        "Check the address, and whether you may read it.",
    ),
)
_OTHER = _kind("", "cannot be used: {words}", "Try it with git alone: `git ls-remote {remote}`.")

_FAULTS_HERE = (
    (
        re.compile(r"bad object (?P<ref>refs/\S+)"),
        'The file ".git/{ref}" of this vault contains no commit id, and git stops at it.',
        "Delete it, if a program that syncs folders has created it.",
    ),
    (
        re.compile(r"unexpected line in (?P<ref>\S*packed-refs)"),
        'The file ".git/packed-refs" of this vault is damaged: {words}',
        "Remove that line, or copy the file from another clone.",
    ),
    (
        re.compile(r"'(?P<ref>refs/remotes/[^'\n]+)' exists; cannot create"),
        'The ref "{ref}" of this vault is in the way of another one.',
        "It only caches a ref of a remote: `git update-ref -d {ref}`.",
    ),
    (
        re.compile(r"Unable to create '(?P<ref>[^'\n]*\.lock)': File exists"),
        'This vault is locked by the file "{ref}".',
        "If no git command runs here, it was left by one that crashed: delete it.",
    ),
    (
        re.compile(r"\(stored in (?P<ref>\S+)\) is corrupt|object file (?P<empty>\S+) is empty"),
        "The history of this vault is damaged: {words}",
        "`tablevault verify` names what is damaged; copy it from another clone.",
    ),
)
_UNWRITABLE = re.compile(
    r"No space left on device|Disk quota exceeded|Permission denied$|Read-only file system"
    r"|insufficient permission for adding an object",
    re.MULTILINE,
)
