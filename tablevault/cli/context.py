"""The context of a command: the vault that it works in, and the author."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tablevault.errors import TVArgumentError, TVFileError
from tablevault.progress import Progress
from tablevault.wording import BLANK, Call, Wording

if TYPE_CHECKING:
    from tablevault.vault import Vault

_CREATE = Call("TableVault", db_dir=BLANK, create=True)


class UsageError(Exception):
    """Arguments that do not fit together, or name a missing file: exit code 2."""


class AbortedError(Exception):
    """The user said no, or nothing: exit code 1. Its text is a hint."""


class CommandContext:
    """The vault and the author, from the options of every command."""

    def __init__(self, *, db_dir: str = "", named_author: str = "", is_quiet: bool = False) -> None:
        self.db_dir = db_dir
        self.named_author = named_author
        self.is_quiet = is_quiet

    @property
    def named(self) -> str:
        """Folder that the command line or the environment names; "" for none."""
        return self.db_dir or os.environ.get("TABLEVAULT_DIR", "")

    @cached_property
    def path(self) -> Path:
        """Folder of the vault: as it was named, else found from the current directory upwards."""
        if not self.named:
            return find_vault(_current_folder())
        if not Path(self.named).exists():
            raise TVArgumentError(
                f'There is no vault at "{self.named}": the folder does not exist.',
                Wording("Check --db-dir or TABLEVAULT_DIR, or make one: ", _CREATE, "."),
                path=self.named,
            )
        return Path(self.named)

    @cached_property
    def author(self) -> str:
        """Author of commits: as given, else as git knows them."""
        return (
            self.named_author
            or os.environ.get("TABLEVAULT_AUTHOR", "").strip()
            or _git_author(self._folder())
        )

    def _folder(self) -> Path:
        """Return the folder whose git configuration counts."""
        named = Path(self.named)
        return named if named.is_dir() else Path()

    def vault(self) -> Vault:
        """Open the vault for a change, after recovery from crashes."""
        from tablevault.operations import vaults

        return vaults.attach(self.handle(self.path, self.author))

    def read(self) -> Vault:
        """Open the vault to read it; that needs no author."""
        from tablevault.operations import vaults

        return vaults.attach(self.handle(self.path, self.named_author or "reader"))

    def inspect(self) -> Vault:
        """Return the vault without opening it: no setup, no recovery."""
        from tablevault.vault import Vault, absolute

        return Vault(path=absolute(self.path), author="")

    def create(self, path: str, description: str, *, allow_secret: bool = False) -> Vault:
        """Create a vault at `path`."""
        from tablevault.operations import vaults
        from tablevault.vault import absolute

        refuse_below_file(path)
        vaults.refuse_content(Path(path))
        self.__dict__["path"] = absolute(Path(path))
        handle = self.handle(self.path, self.author)
        return vaults.attach(handle, description, create=True, allow_secret=allow_secret)

    def restart(self) -> Vault:
        """Open the vault, and run crashed processes to their end."""
        from tablevault.operations import vaults

        return vaults.attach(self.handle(self.path, self.author), restart=True)

    def handle(self, path: Path, author: str) -> Vault:
        """Return a vault that logs and shows progress, and that is not opened yet."""
        import logging

        from tablevault.remotes.fetch import fetch_object
        from tablevault.vault import Vault, absolute

        # A command says by itself what it did.
        logging.getLogger("tablevault.operations").setLevel(logging.WARNING)
        return Vault(
            path=absolute(path),
            author=author,
            verbose=not self.is_quiet,
            progress=self.progress,
            bring=fetch_object,
        )

    @property
    def progress(self) -> type[Progress]:
        """Class that shows progress; of a quiet command, one that shows nothing."""
        from tablevault.progress import Bars

        return Progress if self.is_quiet else Bars


def _current_folder() -> Path:
    """Return the current folder; raise an error that says so if it is gone.

    The import costs a third of what the quickest commands take.
    """
    try:
        return Path.cwd()
    except FileNotFoundError:
        from tablevault.vault import absolute

        return absolute(".")


def find_vault(start: Path) -> Path:
    """Find the vault that `start` is in, looking upwards as git does.

    Raises
    ------
    TVArgumentError
        None of the folders from `start` to the root is a vault.
    """
    for folder in (start, *start.parents):
        if (folder / ".git").exists() and _is_vault(folder):
            return folder
    raise TVArgumentError(
        f'There is no vault at "{start}" nor in a folder above it.',
        Wording(
            "Go into a vault, name one by --db-dir or TABLEVAULT_DIR, or make one: ", _CREATE, "."
        ),
        path=str(start),
    )


def _is_vault(repository: Path) -> bool:
    """Return whether a repository is a vault, by its files if they show it."""
    if (repository / "vault.yaml").is_file():
        return True
    from tablevault.vault import is_vault

    return is_vault(repository)


def existing_file(path: str) -> Path:
    """Return the path of a file, or raise UsageError."""
    if Path(path).is_dir():
        raise UsageError(f'"{path}" is a folder, not a file')
    if not Path(path).exists():
        raise UsageError(f'there is no file "{path}"')
    return Path(path)


def existing_folder(path: str) -> Path:
    """Return the path of a folder, or raise UsageError."""
    if not Path(path).exists():
        raise UsageError(f'there is no folder "{path}"')
    if not Path(path).is_dir():
        raise UsageError(f'"{path}" is a file, not a folder')
    return Path(path)


def given_text(text: str) -> str:
    """Return the text of ``--text``; ``-`` stands for the standard input.

    Raises
    ------
    UsageError
        The standard input is empty, which means a template elsewhere, or not UTF-8.
    """
    if text != "-":
        return text
    try:
        found = sys.stdin.read()
        found.encode("utf-8")
    except UnicodeError:
        raise UsageError("the standard input is not UTF-8") from None
    if not found:
        raise UsageError("the standard input is empty")
    return found


def refuse_blank_part(text: str, form: str) -> None:
    """Raise UsageError for `text` with a blank part, most likely a variable that is not set."""
    if not all(part.strip() for part in text.split("/")):
        raise UsageError(f'"{text}" is not {form}: a part of it is blank')


def refuse_below_file(path: str) -> None:
    """Raise UsageError if a parent of a path is a file."""
    for parent in Path(path).parents:
        if parent.exists() and not parent.is_dir():
            raise UsageError(f'"{parent}" is a file, not a folder, so there can be no "{path}"')


def output_file(path: str) -> Path:
    """Return a path to which a file can be written, or raise UsageError before any work."""
    file = Path(path)
    if file.is_dir():
        raise UsageError(f'"{path}" is a folder: name a file in it')
    if not file.parent.is_dir():
        raise UsageError(f'there is no folder "{file.parent}" to write "{file.name}" into')
    return file


def _git_author(folder: Path) -> str:
    """Return the author that git would write into a commit in a folder.

    Raises
    ------
    TVArgumentError
        Git does not know.
    """
    # Git signs with a name alone, but only where the address is given as empty.
    for without_address in ([], ["-c", "user.email=", "-c", "user.useConfigOnly=true"]):
        found = _git(folder, *without_address, "var", "GIT_AUTHOR_IDENT")
        if found is not None and found.returncode == 0:
            signature, _, _ = found.stdout.rpartition(">")
            return f"{signature}>".removesuffix("<>").strip()
    settings = _git(folder, "config", "--list")
    if settings is not None and settings.returncode != 0:
        reason = settings.stderr.strip().removeprefix("fatal: ")
        raise TVFileError(
            f"Git cannot name the author: {reason}.",
            Wording(
                "Pass --author or set TABLEVAULT_AUTHOR; ",
                Call("verify", repair=True),
                " repairs the settings of a vault.",
            ),
        )
    if settings is None:
        raise TVArgumentError(
            "There is no author: the program git, which would know one, is not on the PATH.",
            "Pass --author, set TABLEVAULT_AUTHOR, or install git.",
        )
    raise TVArgumentError(
        "There is no author.",
        "Pass --author, set TABLEVAULT_AUTHOR, or tell git: "
        '`git config --global user.name "Your Name"`.',
    )


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str] | None:
    """Run git in a folder; None where there is no git."""
    import subprocess

    try:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError:
        return None
