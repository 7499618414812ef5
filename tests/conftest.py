"""The sealed environment of all tests, a fresh vault, and stock git to look at it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import hypothesis
import pygit2
import pytest
from pygit2.enums import ConfigLevel

from tablevault import TableVault
from tablevault.history.commits.change import Signing
from tablevault.history.commits.documents import VaultDocument, timestamp
from tablevault.history.commits.setup import init_repository
from tablevault.history.git.repository import Repository
from tablevault.vault import Vault

pytest.register_assert_rewrite("tests.looking", "tests.clones")
from tests import looking  # noqa: E402 - whose assertions are rewritten first
from tests.scripts import Script  # noqa: E402

ROOT = Path(__file__).parents[1]
AUTHOR = "Ana Lund <ana@example.org>"

# Tests start interpreters by the hundred: what these import is compiled once.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

hypothesis.settings.register_profile("ci", max_examples=25, deadline=None, derandomize=True)
hypothesis.settings.register_profile("thorough", max_examples=1000, deadline=None)
hypothesis.settings.load_profile("ci")


@pytest.fixture(scope="session", autouse=True)
def sealed(tmp_path_factory):
    """Keep the machine's git settings, home folder and network out of every test."""
    home = tmp_path_factory.mktemp("home")
    config = home / ".gitconfig"
    config.write_text("[user]\n\tname = Ana Lund\n\temail = ana@example.org\n", "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("GIT_")]:
            patch.delenv(name)
        person = {f"GIT_{who}_NAME": "Ana Lund" for who in ("AUTHOR", "COMMITTER")}
        person |= {f"GIT_{who}_EMAIL": "ana@example.org" for who in ("AUTHOR", "COMMITTER")}
        fixed = {
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "GIT_CONFIG_GLOBAL": str(config),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_ALLOW_PROTOCOL": "file",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_EDITOR": "true",
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "PYTHONPATH": str(ROOT),
            **person,
        }
        # A shell that runs this in the background has its children pass over SIGINT.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for name, value in fixed.items():
            patch.setenv(name, value)
        # libgit2 ignores GIT_CONFIG_GLOBAL, and has read HOME already.
        for level in (ConfigLevel.SYSTEM, ConfigLevel.XDG, ConfigLevel.GLOBAL):
            pygit2.settings.search_path[level] = str(home)
        yield home


@pytest.fixture(scope="session")
def author():
    """Who works in the tests."""
    return AUTHOR


@pytest.fixture(scope="session")
def git():
    """Run stock git in a folder and give what it prints; it must succeed."""
    return looking.git


@pytest.fixture
def python():
    """Start Python processes on a script, output and errors piped; none outlives its test."""
    with contextlib.ExitStack() as started:

        def start(script, *arguments):
            process = Script(script, *arguments)
            started.callback(process.close)
            return process

        yield start


@pytest.fixture(scope="session")
def finish():
    """Wait for a process that has to succeed, and give what it printed."""

    def wait(process):
        out, errors = process.communicate(timeout=280)
        assert process.returncode == 0, errors
        return out

    return wait


@pytest.fixture(scope="session")
def check_clean():
    """Assert that a vault is whole and that nothing is left over from any operation."""
    return looking.check_clean


@pytest.fixture
def repo_path(tmp_path):
    """Folder of the vault that the fixtures `vault` and `parts` open."""
    return tmp_path / "vaults" / "vault"


@pytest.fixture
def vault_path(repo_path):
    """Return the folder of the vault under its other name."""
    return repo_path


@pytest.fixture
def vault(repo_path):
    """Make a fresh vault."""
    return TableVault(repo_path, AUTHOR, create=True)


@pytest.fixture(scope="session")
def copy_of(sealed, tmp_path_factory):
    """Copy a vault that a function furnishes, once in each process of tests."""
    made = {}

    def copy(furnish, path):
        if furnish not in made:
            made[furnish] = tmp_path_factory.mktemp("furnished") / "vault"
            furnish(TableVault(made[furnish], AUTHOR, create=True))
        path.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", made[furnish], path], check=True)
        return TableVault(path, AUTHOR)

    return copy


@pytest.fixture
def parts(vault, repo_path):
    """Return the parts list of the fresh vault, apart from the one that `vault` uses."""
    return Vault(path=repo_path, author=AUTHOR)


@pytest.fixture(scope="session")
def new_repository(tmp_path_factory):
    """Make repositories of empty vaults, also many within one test."""

    def make():
        path = tmp_path_factory.mktemp("repository")
        document = VaultDocument(
            id="v", description="", created_by="Ana", created_at=timestamp(1_700_000_000)
        )
        init_repository(path, document, Signing(author=AUTHOR, at=1_700_000_000.0))
        return Repository(path)

    return make


@pytest.fixture(scope="session")
def program():
    """Return the path of a program; without it a test is skipped, and fails where CI is set."""

    def find(name, path=None):
        found = shutil.which(name, path=path)
        if not found:
            assert "CI" not in os.environ, f"{name} is missing"
            pytest.skip(f"needs {name}")
        return found

    return find


@pytest.fixture(scope="session")
def own_mounts():
    """Return a command before which others see mounts of their own."""
    command = ["unshare", "--map-root-user", "--mount"]
    try:
        done = subprocess.run([*command, "mount", "-t", "tmpfs", "t", "/mnt"], check=False)
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    if done.returncode:
        pytest.skip("nobody may mount here")
    return command


@pytest.fixture(scope="session")
def mounted(own_mounts):
    """Run a script where something is mounted at a path, and return what it prints."""

    def run(mount, script, path):
        command = [*own_mounts, "sh", "-c", f'{mount} && exec "$1" -c "$2" "$0"']
        done = subprocess.run(
            [*command, path, sys.executable, script], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return run
