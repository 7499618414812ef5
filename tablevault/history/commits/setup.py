"""Create the repository of a vault, and set git up for it: configuration and hooks."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import pygit2

from tablevault.errors import TVFileError, TVLockError, TVRemoteError
from tablevault.history.commits.change import Signing
from tablevault.history.commits.documents import VaultDocument
from tablevault.history.git.commit_message import Message, trailers
from tablevault.history.git.git_config import TRUE, pairs_of
from tablevault.history.git.git_program import run_git
from tablevault.history.git.refs import RefMove, move_refs
from tablevault.history.git.repository import Repository
from tablevault.history.git.trees import Put
from tablevault.names import CODE_DIR, MAIN, TEMP_DIR, VAULT_DOCUMENT

_CONFIG_LOCK_S = 2.0
"""How long to wait for another process that writes ``.git/config``."""
ATTRIBUTES = ".gitattributes"
_OF_CALLS = b"/tables/*/*/calls.parquet filter=lfs diff=tablevault merge=tablevault -text"
GITATTRIBUTES = (
    b"""\
# Every byte is kept as it is, whatever core.autocrlf says: what made a row is told by its bytes.
* -text
# Instances are merged whole. Dataframes and artifacts are Git LFS pointers.
/vault.yaml merge=tablevault
/tables/** merge=tablevault
/tables/**/dataframe.parquet filter=lfs diff=tablevault merge=tablevault -text
/tables/**/artifacts/** filter=lfs diff=lfs merge=tablevault -text
%b
"""
    % _OF_CALLS
)
GITIGNORE = f"""\
# Editable folders of temporary instances; the branches temp/<table>/<version> track them.
/{TEMP_DIR}/
# What file managers and editors leave behind.
.DS_Store
._*
.~lock.*#
~$*
*~
*.sw[op]
Thumbs.db
desktop.ini
""".encode("ascii")

_HARMLESS = re.compile(r"remote\.[^.]+\.(url|pushurl|fetch)|branch\..+\.(remote|merge)|user\..+")
_STOCK_FILTER = {
    "clean": "git-lfs clean -- %f",
    "smudge": "git-lfs smudge -- %f",
    "process": "git-lfs filter-process",
    "required": "true",
}
# A rebase makes commits anew, without what they say of instances. A table that has another name
# takes along the versions that the other side has added.
_JOINING = {"pull.rebase": "false", "merge.directoryrenames": "true"}
EARLIER_NAMES = {"aside": "quarantine", "faces": "temp-folders", "laid": "checked-out"}
"""What early versions called files and folders below ``.git/tablevault``."""
_OUR_TEXTCONV = "tablevault.drivers.textconv"


def init_repository(
    path: Path, document: VaultDocument, signing: Signing, *, allowed: Sequence[str] = ()
) -> None:
    """Make the repository of a new vault, with its first commit, in an empty folder.

    That names what looks like a key in the description, and is `allowed`.
    """
    pygit2.init_repository(str(path), initial_head=MAIN.removeprefix("refs/heads/"))
    configure(path)
    repository = Repository(path)
    message = Message(
        subject="create vault",
        body=document.description,
        trailers=trailers(
            [
                ("Operation", "create_vault"),
                *(("Allowed-Secret", each) for each in allowed),
                ("Time", document.created_at),
            ]
        ),
    )
    commit = repository.write_commit(
        parents=[],
        base=None,
        edits=[
            Put(path=VAULT_DOCUMENT, data=document.encode()),
            Put(path=ATTRIBUTES, data=GITATTRIBUTES),
            Put(path=".gitignore", data=GITIGNORE),
        ],
        message=message,
        author=signing.author,
        at=signing.at,
    )
    move_refs(repository, [RefMove(ref=MAIN, old=None, new=commit)], message.subject)


def configure(path: Path) -> None:
    """Set in the vault's own ``.git/config`` what stock git needs; changes only what differs.

    A plain ``git clone`` of a vault becomes whole by this, too. The LFS filter is git-lfs where
    that is installed, else the one of this package, so that git works either way. A vault that
    may only be read stays as it is: git changes nothing there.
    """
    if not os.access(path / ".git", os.W_OK):
        return
    state = path / ".git/tablevault"
    for folder in ("tmp", "processes"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    for old, new in EARLIER_NAMES.items():
        if os.path.lexists(state / old) and not os.path.lexists(state / new):
            with contextlib.suppress(OSError):  # another process was faster
                (state / old).rename(state / new)
    if not os.path.lexists(path / CODE_DIR):
        (path / CODE_DIR).mkdir(exist_ok=True)
    install_hooks(path / ".git")
    _write_settings(path)


def _write_settings(path: Path) -> None:
    """Write what is missing in ``.git/config``; libgit2 does not wait for others who write it."""
    lock = path / ".git/config.lock"
    until = time.monotonic() + _CONFIG_LOCK_S
    while missing := _missing(_config(path)):
        try:
            _set_config(path, missing)
        except pygit2.GitError:
            if time.monotonic() < until:
                time.sleep(0.01)
                continue
            if not lock.exists():
                raise
            raise TVLockError(
                f'A git command holds "{lock}".', "Try again; remove that file if none runs."
            ) from None
        return


def _set_config(path: Path, values: Mapping[str, str]) -> None:
    """Write settings; each has one value afterwards."""
    config = _config(path)
    for key, value in values.items():
        with contextlib.suppress(KeyError):
            config.delete_multivar(key, "")  # set twice it could not be replaced
        config[key] = value


def refuse_partial(path: Path) -> None:
    """Refuse a clone for which git brings objects only when it misses them: libgit2 cannot.

    Raises
    ------
    TVFileError
        Says how to bring the rest.
    """
    try:
        # To have libgit2 read it takes twenty times as long, and there is one vault in a thousand.
        text = (path / ".git/config").read_bytes().lower()
        if b"partialclonefilter" not in text and b"promisor" not in text:
            return
        config = _config(path)
    except (OSError, pygit2.GitError):
        return  # who opens the repository tells what is wrong with it
    found: dict[str, dict[str, str]] = {}
    for name, value in pairs_of(config):
        remote, _, key = name.removeprefix("remote.").rpartition(".")
        if remote and key in {"partialclonefilter", "promisor"}:
            found.setdefault(remote, {})[key] = value or "true"
    for remote, values in found.items():
        # Without a filter, too, git is content with what is missing.
        if "partialclonefilter" in values or values["promisor"].lower() in TRUE:
            ways = [f"`git config --unset remote.{remote}.{key}`" for key in sorted(values)]
            at = 1 if "partialclonefilter" in values else 0
            ways.insert(at, f"`git fetch --refetch {remote}`")
            raise TVFileError(
                f'"{path}" is a partial clone '
                f"({values.get('partialclonefilter', 'promisor')}): "
                "much of its history is not here.",
                f"Bring it: {'; '.join(ways)}",
                path=str(path),
            )


def missing_settings(path: Path) -> dict[str, str]:
    """Return the settings that :func:`configure` would make."""
    return _missing(_config(path))


def settings_are_readable(path: Path) -> bool:
    """Return whether git can read the vault's own ``.git/config``."""
    try:
        _missing(_config(path))
    except (pygit2.GitError, OSError, ValueError, KeyError):
        return False
    return True


def put_on_main(path: Path) -> None:
    """Check ``main`` out, in name: no file is touched."""
    (path / ".git" / "HEAD").write_text(f"ref: {MAIN}\n", "ascii")


def missing_attributes(text: bytes) -> list[str]:
    """Name the lines that a ``.gitattributes`` lacks: each keeps git from a mistake."""
    lines = {tuple(line.split()) for line in text.splitlines()}
    return [
        line.decode("ascii")
        for line in GITATTRIBUTES.splitlines()
        if not line.startswith(b"#") and tuple(line.split()) not in lines
    ]


def with_calls(attributes: bytes) -> bytes:
    """Return a ``.gitattributes`` with the line of calls, which came after release 0.1."""
    lines = attributes.splitlines()
    if any(line.split()[:1] == _OF_CALLS.split()[:1] for line in lines):
        return attributes
    return b"".join(line + b"\n" for line in [*lines, _OF_CALLS])


def _config(path: Path) -> pygit2.Config:
    """Open this file alone: what the user's own configuration says is not there elsewhere."""
    return pygit2.Config(str(path / ".git" / "config"))


def _missing(config: pygit2.Config) -> dict[str, str]:
    """Return the settings that are not there, or are others."""
    # Read in one go: each key asked for by itself costs as much as all of them.
    found = dict(pairs_of(config))
    wanted = _always()
    taste = {**_diff(), **_JOINING}  # what the user has set stays
    for key, value in taste.items():
        if key not in found or _OUR_TEXTCONV in found[key]:
            wanted[key] = value
    return {key: value for key, value in wanted.items() if found.get(key) != value}


def _always() -> dict[str, str]:
    """Return the settings without which git does not do what a vault needs."""
    return {
        # A dataframe in the working tree is a hard link to its object: each new link changes
        # the ctime of the inode, never the bytes.
        "core.trustctime": "false",
        # An index in two parts can only be written by git itself.
        "core.splitindex": "false",
        # Git smudges whatever it shows as rows. Without this `git log -p` would end at the first
        # object that is neither here nor to be had from a remote (git-lfs 3.3).
        "lfs.skipdownloaderrors": "true",
        **{f"filter.lfs.{key}": value for key, value in _filter().items()},
        **_merge(),
    }


def begin_clone(path: Path, remote: str, url: str) -> None:
    """Make an empty repository with one remote, whose ``main`` plain git pulls and pushes."""
    pygit2.init_repository(str(path), initial_head=MAIN.removeprefix("refs/heads/"))
    config = pygit2.Config(str(path / ".git" / "config"))
    config[f"remote.{remote}.url"] = os.fsencode(url)
    config[f"remote.{remote}.fetch"] = f"+refs/heads/*:refs/remotes/{remote}/*"
    config["branch.main.remote"] = remote
    config["branch.main.merge"] = MAIN
    for folder in ("tmp", "processes"):
        (path / ".git" / "tablevault" / folder).mkdir(parents=True, exist_ok=True)


def reset_config(path: Path) -> None:
    """Replace a ``.git/config`` from outside by a fresh one with only its remotes and branches.

    Many settings of git name programs to run.
    """
    file = path / ".git" / "config"
    kept = {}
    with contextlib.suppress(pygit2.GitError, OSError):  # what cannot be read is not kept
        kept = dict(pairs_of(pygit2.Config(str(file))))
    file.unlink(missing_ok=True)
    config = pygit2.Config(str(file))
    fresh = {"core.repositoryformatversion": "0", "core.filemode": "true", "core.bare": "false"}
    fresh |= {"core.logallrefupdates": "true"}
    for key, value in fresh.items():
        config[key] = value
    for key, value in kept.items():
        if _HARMLESS.fullmatch(key):
            config[key] = os.fsencode(value)


def _diff() -> dict[str, str]:
    """Return the settings that show dataframes as rows, with their columns above each hunk.

    If this interpreter is gone one day, git goes on without the rows.
    """
    command = f"{shlex.quote(sys.executable)} -P -m {_OUR_TEXTCONV}"
    otherwise = "echo '# Rows are shown again once TableVault has opened this vault.'; cksum"
    return {
        "diff.tablevault.textconv": f'f() {{ {command} "$1" || {{ {otherwise} <"$1"; }}; }}; f',
        "diff.tablevault.xfuncname": "^# columns: (.*)$",
    }


def _merge() -> dict[str, str]:
    """Return the settings of the merge driver; without this interpreter each file is a conflict."""
    command = f"{shlex.quote(sys.executable)} -P -m tablevault.drivers.merge"
    return {
        "merge.tablevault.name": "instances whole, settings field by field",
        "merge.tablevault.driver": f"{command} %O %A %B %P",
        # What several common ancestors come to, git merges by itself: ours is asked for the rest.
        "merge.tablevault.recursive": "text",
    }


def _filter() -> dict[str, str]:
    """Return the settings of the LFS filter."""
    if shutil.which("git-lfs"):
        return _STOCK_FILTER
    # -P: the vault is the current folder, and no file in it may pose as a Python module.
    command = f"{shlex.quote(sys.executable)} -P -m tablevault.drivers.filter"
    return {
        "clean": f"{command} clean %f",
        "smudge": f"{command} smudge %f",
        "process": f"{command} process",
        "required": "true",
    }


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
        with contextlib.suppress(OSError):
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
    """Return whether a hook is to be written: a link is the user's own, like any other text."""
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
