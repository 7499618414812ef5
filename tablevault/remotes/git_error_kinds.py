"""Patterns of the messages of git, ssh and hosts, with the errors that they mean."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tablevault.errors import (
    TableVaultError,
    TVCredentialsError,
    TVOutcomeUnknownError,
    TVRemoteError,
)

_ASK = "Ask who runs it."
_THERE = "Ask who runs it: `git fsck` there names what is damaged."
LATER = "Try again later."
_NETWORK = "Check the address and the network."
_PATH = "Check the path. The address of a host begins with https://, or is user@host:path."


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
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
    is_known : bool
        The push has certainly failed. Otherwise its outcome is unknown.
    shows_host : bool
        The message of the host says more than `text`.
    """

    pattern: re.Pattern[str]
    text: str
    hint: str
    error: type[TableVaultError] = TVRemoteError
    is_known: bool = True
    shows_host: bool = True


PULL = "<pull>"
"""Placeholder for a pull from the remote in a hint."""


def _kind(pattern: str, text: str, hint: str, **more: object) -> Kind:
    """Return a kind with its pattern compiled."""
    compiled = re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    return Kind(pattern=compiled, text=text, hint=hint, **more)  # type: ignore[arg-type]  # as Kind takes them


# The first match counts: special patterns stand above general ones.
KINDS = (
    # -- the remote refuses the push ---------------------------------------------------------
    _kind(
        r"stale info|fetch first|non-fast-forward",
        "has commits that this vault lacks; nothing was pushed.",
        f"Pull first: {PULL}.",
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
        r"shallow update not allowed",
        "lacks history that this shallow clone lacks, too.",
        "Fetch it first: `git fetch --unshallow`.",
    ),
    _kind(
        r"deletion (?:of the current branch )?prohibited",
        "does not allow branches or tags to be deleted.",
        "Ask who runs it.",
    ),
    # -- the remote is no repository, or cannot be opened ------------------------------------
    _kind(
        r"does not support this repository's hash algorithm|mismatched algorithms",
        "is a repository with sha256 object names, and a vault has sha1 names.",
        "Recreate it: `git init --bare --object-format=sha1`.",
    ),
    _kind(
        r"receiving end does not support (?:(?P<signed>--signed) push|(?P<options>push options))",
        "does not support what git's configuration asks for: {signed}{options}.",
        "See push.gpgSign and push.pushOption: `git config --show-origin --get-regexp '^push'`.",
    ),
    _kind(
        r"detected dubious ownership in repository at '(?P<path>[^\n]*)'",
        'is the folder "{path}", which belongs to another user: git does not open it.',
        'If you trust its owner: git config --global --add safe.directory "{path}"',
    ),
    _kind(
        r"Expected git repo version <= (?P<most>\d+), found (?P<found>\d+)|unknown repository"
        r" extension",
        "was created by a newer git than the one that opens it.",
        "Update that git.",
    ),
    _kind(
        r"bad config [^\n]*in file (?P<path>[^\n]*)",
        'cannot be opened: git cannot read the settings in "{path}".',
        "Repair that file: `git config --file <file> --list` has to work.",
    ),
    _kind(
        r"invalid gitfile format",
        "is a file, not a folder with a git repository.",
        "Check the address.",
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
        r"unexpected line in (?P<path>\S*packed-refs)",
        'is damaged: git cannot read the file "{path}" of its repository.',
        "Ask who runs it to repair that file.",
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
    _kind(
        r"RPC failed",
        "was interrupted: {words}",
        "The outcome of the push is unknown: push again to be sure.",
        error=TVOutcomeUnknownError,
        is_known=False,
    ),
    _kind(
        r"remote-(?P<scheme>\S+)' is not a git command|Unable to find remote helper for"
        r" '(?P<other>[^']+)'",
        'has an address that begins with "{scheme}{other}://", which git does not know.',
        "Use a path, file://, ssh:// or https://.",
    ),
    _kind(
        r"transport 'ext' not allowed",
        "has an address that would run a program, which is never allowed.",
        "Use a path, file://, ssh:// or https://.",
    ),
    _kind(
        r"transport '(?P<scheme>[^']+)' not allowed",
        'has an address for "{scheme}", which git must not use here.',
        "Use another address, or allow it: `git config protocol.{scheme}.allow always`, and no"
        " GIT_ALLOW_PROTOCOL in the environment.",
    ),
    _kind(
        r"(?P<program>[\w./-]*(?:upload|receive)-pack\S*): (?:command )?not found",
        'cannot be reached: its host has no program "{program}".',
        "Install git there.",
    ),
    _kind(
        r"cannot run (?P<program>[^\n:]+): (?P<why>[^\n]+)",
        'cannot be reached: the program "{program}" cannot be run here.',
        "Install it, or see what core.sshCommand and GIT_SSH_COMMAND say.",
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
        LATER,
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
        r"Could not resolve (?:host|hostname|proxy)|unable to look up",
        "cannot be reached, its host name is unknown: {words}",
        _NETWORK,
    ),
    _kind(
        r"ssh: connect to host|Failed to connect|Couldn't connect|unable to connect"
        r"|unable to access [^\n]*(?:timed out|reset|refused|failure|Empty reply|unreachable)",
        "cannot be reached: {words}",
        "Check the address, the network, and http.proxy of git's configuration.",
    ),
    _kind(
        r"shallow roots are not allowed|attempt to fetch/clone from a shallow",
        "is a shallow clone: part of its history is missing.",
        "Ask who runs it to fetch the rest: `git fetch --unshallow`.",
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
LOST = _kind(
    "",
    "was interrupted: {words}",
    "The outcome of the push is unknown: push again to be sure.",
    error=TVOutcomeUnknownError,
    is_known=False,
)
OTHER = _kind("", "cannot be used: {words}", "Try it with git alone: `git ls-remote {remote}`.")

FAULTS_HERE = (
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
        "It only caches a ref of a remote: git update-ref -d {ref}",
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
UNWRITABLE = re.compile(
    r"No space left on device|Disk quota exceeded|Permission denied$|Read-only file system"
    r"|insufficient permission for adding an object",
    re.MULTILINE,
)
