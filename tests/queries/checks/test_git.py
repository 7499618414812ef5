"""No damaged file of git's store keeps anybody waiting: opening and verify name it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pandas as pd
import pygit2
import pytest

from tablevault import TableVault
from tests.conftest import AUTHOR
from tests.looking import check_clean, git

PROGRAM = """
import sys
from pathlib import Path

from tablevault import TableVault
from tablevault.operations.maintenance import verify
from tablevault.vault import Vault


def outcome(act):
    try:
        act()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "done"


def use(path):
    def opened():
        return TableVault(path, "Ana")

    print("open", outcome(opened))
    print("list", outcome(lambda: opened().get_table_instances("words")))
    print("read", outcome(lambda: opened().get_dataframe("words")))
    print("write", outcome(lambda: opened().create_code_module("m", text="x = 1")))


for path in map(Path, sys.argv[1:]):
    use(path)
    print("verify", [str(each) for each in verify(Vault(path=path, author="Ana"))])
    verify(Vault(path=path, author="Ana"), repair=True)
    use(path)
    print("again", [str(each) for each in verify(Vault(path=path, author="Ana"))])
    print("end of", path)
"""


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Make a vault with a table and three instances, once."""
    path = tmp_path_factory.mktemp("original") / "vault"
    vault = TableVault(path, AUTHOR, create=True)
    vault.create_table("words")
    for number in range(3):
        vault.create_instance("words", external_edit=True)
        vault.write_instance(pd.DataFrame({"n": [number]}), "words")
    return path


def use(*paths):
    """Return the lines of a process that does everything with damaged vaults, one after another."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *paths],
        capture_output=True,
        text=True,
        timeout=240,  # it takes seconds; what hangs, hangs for ever
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("end of") == len(paths)
    return done.stdout.splitlines()


def loose(path, revision):
    """Return the file of a loose object, which can be written to."""
    name = git(path, "rev-parse", revision).strip()
    file = path / ".git/objects" / name[:2] / name[2:]
    file.chmod(0o644)
    return file


def cut_to(size):
    """Return what cuts a file off after so many bytes."""
    return lambda file: file.write_bytes(file.read_bytes()[:size])


def put_folder(file):
    """Put a folder in place of a file."""
    file.unlink()
    (file / "inner").mkdir(parents=True)


DAMAGE = {
    "empty": cut_to(0),
    "a byte": cut_to(1),
    "header": cut_to(7),
    "most": lambda file: cut_to(file.stat().st_size * 2 // 3)(file),
    "checksum gone": lambda file: cut_to(file.stat().st_size - 4)(file),
    "longer": lambda file: file.write_bytes(file.read_bytes() + b"more"),
    "garbage": lambda file: file.write_bytes(b"garbage" * 20),
    "zeros": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "folder": put_folder,
}
NEEDED = ("main", "main~1", "main^{tree}", "main:vault.yaml")


@pytest.mark.sweep
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_loose_object_that_is_needed_is_named(original, tmp_path, damage):
    vaults = {}
    for number, revision in enumerate(NEEDED):
        path = tmp_path / f"v{number}"
        shutil.copytree(original, path, symlinks=True)
        file = loose(path, revision)
        DAMAGE[damage](file)
        vaults[path] = file
    lines = use(*vaults)
    for path, file in vaults.items():
        name = f"{file.parent.name}/{file.name}"
        found = lines[: lines.index(f"end of {path}")]
        for line in found[:4]:
            assert re.match(rf'\w+ TVFileError: The git object ".git/objects/{name}" is dam', line)
            assert "verify --repair` finds its content elsewhere" in line
        assert f"The loose object .git/objects/{name} is damaged" in found[4]
        assert "is damaged" not in found[-1]
        lines = lines[lines.index(f"end of {path}") + 1 :]


@pytest.mark.sweep
@pytest.mark.parametrize("damage", DAMAGE)
def test_one_that_nothing_needs_is_set_aside(original, tmp_path, damage):
    path = tmp_path / "vault"
    shutil.copytree(original, path, symlinks=True)
    name = str(pygit2.Repository(str(path)).create_blob(b"an operation that has not happened"))
    file = loose(path, name)
    DAMAGE[damage](file)
    lines = use(path)
    assert [line.split(" ", 1)[1] for line in lines[:4]] == ["done"] * 4
    assert lines[4] == "verify []"
    assert not file.exists()
    kept = list((path / ".git/tablevault/quarantine").glob(f"*/{file.name}"))
    assert len(kept) == 1
    check_clean(path)


def test_what_is_somewhere_else_is_brought_back(original, tmp_path):
    path = tmp_path / "vault"
    shutil.copytree(original, path, symlinks=True)
    cut_to(9)(loose(path, "main:tables/words/base/dataframe.parquet"))
    lines = use(path)
    assert lines[0].startswith("open TVFileError")
    assert [line.split(" ", 1)[1] for line in lines[5:9]] == ["done"] * 4
    assert lines[9] == "again []"
    check_clean(path)


def flip_at(part):
    """Return what flips a byte at a part of the file."""

    def flip(file):
        data = bytearray(file.read_bytes())
        data[int(len(data) * part)] ^= 0xFF
        file.write_bytes(bytes(data))

    return flip


@pytest.mark.sweep
@pytest.mark.parametrize("ending", ["pack", "idx"])
def test_a_damaged_pack_keeps_nobody_waiting(original, tmp_path, ending):
    damages = {
        **{f"cut {part}": cut_to_part(part) for part in (0, 0.1, 0.5, 0.97)},
        **{f"flip {part}": flip_at(part) for part in (0.01, 0.3, 0.6, 0.99)},
        "gone": lambda file: file.unlink(),
    }
    vaults = []
    for number, damage in enumerate(damages.values()):
        path = tmp_path / f"v{number}"
        shutil.copytree(original, path, symlinks=True)
        git(path, "gc", "-q")
        (file,) = (path / ".git/objects/pack").glob(f"*.{ending}")
        file.chmod(0o644)
        damage(file)
        vaults.append(path)
    for line in use(*vaults):
        assert line not in ("verify []", "again []")


def cut_to_part(part):
    """Return what leaves a part of a file."""
    return lambda file: cut_to(int(file.stat().st_size * part))(file)
