"""What one vault writes, every vault clones and pulls: each name goes through each entry point."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tablevault import TableVault, clone_vault
from tablevault.errors import TableVaultError, TVRemoteError
from tests.looking import check_clean
from tests.looking import git as stock
from tests.test_paths import PEOPLES

ANA, BO = "Ana Lund <ana@example.org>", "Bo <bo@example.org>"
OF_THE_VAULT = [
    "instance.yaml",
    "table.yaml",
    "vault.yaml",
    "dataframe.parquet",
    "builders/t_index.yaml",
    "artifacts/artifacts/instance.yaml",
    "code/m.py",
    "line\nbreak.txt",
    "Read.txt",
    "read.txt",
    "a/" * 400 + "deep",
    "Thumbs.db",
    ".hidden",
]
REFUSED = ["a\\b", ".gitattributes", "x\u202egpj.exe", ".git ", "x" * 256, "sub/.git/config"]
INDEX = """builder_type: IndexBuilder
changed_columns: [file]
python_function: files
code_module: work
is_custom: true
arguments: {names: NAMES, folder: ~ARTIFACT_FOLDER~}
dtypes: {file: artifact_string}
"""
CODE = """
import pathlib

import pandas as pd

def files(names, folder):
    for name in names:
        path = pathlib.Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return pd.DataFrame({"file": names})
"""


def new_vault(path: Path, *, multiple: bool) -> TableVault:
    vault = TableVault(path, ANA, create=True)
    vault.create_table("t", allow_multiple_artifacts=multiple)
    return vault


def write(vault: TableVault, names: list[str]) -> None:
    """Write an instance whose artifacts are called so."""
    vault.create_instance("t", external_edit=True)
    folder = Path(vault.get_artifact_folder("t"))
    for name in names:
        with contextlib.suppress(OSError, ValueError):  # what no file system takes
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(name.encode("utf-8", "surrogatepass"))
    vault.write_instance(pd.DataFrame({"file": names}), "t", dtypes={"file": "artifact_string"})


def add_hub(vault: TableVault, tmp_path: Path) -> None:
    """Make an empty hub beside the vault and add it as its origin."""
    stock(tmp_path, "init", "-q", "--bare", "-b", "main", "hub.git")
    vault.add_remote("origin", tmp_path / "hub.git")


def cloned(vault: TableVault, tmp_path: Path) -> dict[str, bytes]:
    """Push a vault, clone it with all data, and return the artifacts of the clone."""
    add_hub(vault, tmp_path)
    vault.push()
    clone = clone_vault(tmp_path / "hub.git", tmp_path / "clone", BO, data="all")
    assert clone.verify() == []
    check_clean(tmp_path / "clone")
    names = clone.get_dataframe("t", full_artifact_path=False)[0]["file"]
    paths = clone.get_dataframe("t")[0]["file"]
    return {name: Path(path).read_bytes() for name, path in zip(names, paths, strict=True)}


@pytest.mark.parametrize("multiple", [False, True], ids=["shared", "multiple"])
def test_artifacts_that_are_written_arrive(tmp_path, multiple):
    names = [*PEOPLES, *OF_THE_VAULT]
    vault = new_vault(tmp_path / "v", multiple=multiple)
    write(vault, names)
    assert cloned(vault, tmp_path) == {name: name.encode() for name in names}


def test_artifacts_that_a_function_makes_arrive(tmp_path):
    names = [*PEOPLES[:6], "instance.yaml"]
    vault = new_vault(tmp_path / "v", multiple=True)
    vault.create_code_module("work", text=CODE)
    vault.create_instance(
        "t", builders={"t_index": INDEX.replace("NAMES", json.dumps(names, ensure_ascii=False))}
    )
    vault.execute_instance("t")
    assert cloned(vault, tmp_path) == {name: name.encode() for name in names}


@pytest.mark.parametrize("name", REFUSED, ids=lambda name: ascii(name)[:40])
def test_an_artifact_that_could_not_arrive_is_refused(tmp_path, name):
    vault = new_vault(tmp_path / "v", multiple=False)
    with pytest.raises(TableVaultError, match=r"cannot be used|holds"):
        write(vault, [name])
    assert vault.get_table_instances("t") == []


@pytest.mark.sweep
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(min_size=1, max_size=30))
def test_any_name_is_refused_or_arrives(tmp_path_factory, name):
    path = tmp_path_factory.mktemp("law")
    vault = new_vault(path / "v", multiple=True)
    try:
        write(vault, [name])
    except TableVaultError:
        return
    assert cloned(vault, path) == {name: name.encode()}


def test_notes_that_are_committed_with_git_arrive(tmp_path):
    vault = new_vault(tmp_path / "v", multiple=False)
    write(vault, ["a"])
    (tmp_path / "v/notes").mkdir()
    for name in PEOPLES:
        (tmp_path / "v/notes" / name).write_text(name)
    stock(tmp_path / "v", "add", "notes")
    stock(tmp_path / "v", "commit", "-q", "-m", "notes")
    cloned(vault, tmp_path)
    found = {path.name: path.read_text() for path in (tmp_path / "clone/notes").iterdir()}
    assert found == {name: name for name in PEOPLES}


def commit(path: Path, name: bytes, *arguments: str) -> str:
    """Stage a file of any name that git takes, and commit; return what git says of it."""
    blob = stock(path, "hash-object", "-w", "--stdin", text="x: 1\n").strip()
    entry = b"100644 " + blob.encode() + b"\t" + name + b"\0"
    subprocess.run(["git", "update-index", "-z", "--index-info"], input=entry, cwd=path, check=True)
    done = subprocess.run(
        ["git", "commit", "-q", "-m", "by hand", *arguments],
        cwd=path,
        capture_output=True,
        check=False,
    )
    stock(path, "reset", "-q")
    return done.stderr.decode() if done.returncode else ""


UNFIT = [
    (b"notes/a\nb.md", "U\\+000A"),
    (b"notes/a\\b.md", "backslash"),
    ("notes/x\u202egpj.exe".encode(), r"U\+202E"),
    (b"notes/caf\xe9.md", "no UTF-8 text"),
    (b"tables/a b/table.yaml", "Table name 'a b' cannot be used"),
    (b"tables/t/a_b/notes.md", "Version 'a_b' cannot be used"),
    (b"tables/u/table.yaml", ""),
]


@pytest.mark.parametrize(("name", "said"), UNFIT, ids=repr)
def test_a_name_that_could_not_be_pulled_is_not_committed(tmp_path, name, said):
    vault = new_vault(tmp_path / "v", multiple=False)
    refused = commit(tmp_path / "v", name)
    assert bool(refused) == bool(said)
    if said:
        assert re.search(said, refused)
    assert vault.get_table_instances("t") == []


@pytest.mark.parametrize(("name", "said"), UNFIT[:-1], ids=repr)
def test_what_was_committed_all_the_same_is_not_pushed(tmp_path, name, said):
    vault = new_vault(tmp_path / "v", multiple=False)
    commit(tmp_path / "v", name, "--no-verify")
    add_hub(vault, tmp_path)
    with pytest.raises(TVRemoteError, match=said):
        vault.push()
    plain = subprocess.run(
        ["git", "push", "-q", "origin", "main"],
        cwd=tmp_path / "v",
        capture_output=True,
        text=True,
        check=False,
    )
    assert plain.returncode
    assert "cannot be pulled by any vault" in plain.stderr
    assert stock(tmp_path / "hub.git", "for-each-ref") == ""


def test_a_symbolic_link_is_reported_when_it_is_committed_and_not_pushed(tmp_path):
    vault = new_vault(tmp_path / "v", multiple=False)
    (tmp_path / "v/link").symlink_to("vault.yaml")
    stock(tmp_path / "v", "add", "link")
    done = subprocess.run(
        ["git", "commit", "-q", "-m", "x"],
        cwd=tmp_path / "v",
        capture_output=True,
        text=True,
        check=False,
    )
    assert "link: it is a symbolic link: push will refuse it" in done.stderr
    add_hub(vault, tmp_path)
    with pytest.raises(TVRemoteError, match=r"it is a symbolic link"):
        vault.push()


def test_a_name_that_earlier_releases_gave_to_an_artifact_is_pulled(tmp_path):
    vault = new_vault(tmp_path / "v", multiple=True)
    write(vault, ["a"])
    pointer = stock(tmp_path / "v", "rev-parse", "main:tables/t/base/artifacts/a").strip()
    entry = f"100644 {pointer}\ttables/t/base/artifacts/x\u202ey\0".encode()
    subprocess.run(
        ["git", "update-index", "-z", "--index-info"], input=entry, cwd=tmp_path / "v", check=True
    )
    stock(tmp_path / "v", "commit", "-q", "--no-verify", "-m", "as it was")
    stock(tmp_path / "v", "reset", "-q", "--hard")
    add_hub(vault, tmp_path)
    vault.push()
    clone_vault(tmp_path / "hub.git", tmp_path / "clone", BO, data="all")
    assert (tmp_path / "clone/tables/t/base/artifacts/x\u202ey").read_bytes() == b"a"


def test_a_vault_without_its_document_is_not_committed(tmp_path):
    new_vault(tmp_path / "v", multiple=False)
    stock(tmp_path / "v", "rm", "-q", "--cached", "vault.yaml")
    done = subprocess.run(
        ["git", "commit", "-q", "-m", "x"],
        cwd=tmp_path / "v",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode
    assert "vault.yaml: without it the folder is no vault" in done.stderr
