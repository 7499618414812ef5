"""Clones that plain git has made, of repositories that somebody else had in hand."""

from __future__ import annotations

import contextlib
import shutil
import subprocess

import pytest

from tablevault import TableVault
from tablevault.errors import TableVaultError, TVFileError
from tests.clones import write
from tests.looking import check_clean
from tests.looking import git as stock

CY = "Cy Berg <cy@example.org>"


def furnish(vault):
    vault.create_table("t")
    vault.create_code_module("m", text="A = 1\n")
    write(vault, [1])


@pytest.fixture
def ana(copy_of, tmp_path):
    return copy_of(furnish, tmp_path / "ana")


@pytest.fixture
def outside(tmp_path):
    """Return a folder with a file in it that is nobody's business."""
    path = tmp_path / "outside"
    (path / "t/base/builders").mkdir(parents=True)
    (path / "secret.py").write_text("SECRET = 1\n", encoding="utf-8")
    (path / "secret.yaml").write_text("SECRET: 1\n", encoding="utf-8")
    (path / "t/base/builders/secret.yaml").write_text("SECRET: 1\n", encoding="utf-8")
    return path


@pytest.fixture
def clone(ana, tmp_path):
    """Return a plain clone of the vault after somebody has put a link into it."""

    def make(name, target):
        mallory, path = tmp_path / "mallory", tmp_path / "clone"
        stock(tmp_path, "clone", "-q", str(tmp_path / "ana"), str(mallory))
        stock(mallory, "config", "core.hooksPath", "/dev/null")
        if (mallory / name).is_dir():
            shutil.rmtree(mallory / name)
        (mallory / name).unlink(missing_ok=True)
        (mallory / name).parent.mkdir(parents=True, exist_ok=True)
        (mallory / name).symlink_to(target)
        stock(mallory, "add", "-A")
        stock(mallory, "add", "-f", name)
        stock(mallory, "commit", "-qm", "innocent")
        stock(tmp_path, "clone", "-q", str(mallory), str(path))
        assert (path / name).is_symlink()
        return path

    return make


def content(path):
    return {
        str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()
    }


@pytest.mark.parametrize(
    "name",
    [
        "code",
        "temp",
        "temp/t/base/builders",
        "tables/t",
        "tables/t/base/artifacts",
    ],
)
def test_nothing_is_read_or_written_through_a_link(clone, outside, name):
    path = clone(name, outside)
    before = content(outside)
    vault = TableVault(path, CY)
    for act in (
        lambda: vault.create_table("u"),
        lambda: vault.create_instance("t", builders={"t_index": "n_threads: 1\n"}),
        lambda: vault.create_builder_file("t", "more", text="n_threads: 1\n"),
        lambda: vault.create_code_module("other", text="A = 1\n"),
        lambda: write(vault, [2]),
        lambda: vault.delete_code_module("other"),
        lambda: vault.verify(repair=True),
        lambda: vault.delete_table("t"),
        lambda: TableVault(path, CY),
    ):
        with contextlib.suppress(TableVaultError):
            act()
    assert content(outside) == before
    assert stock(path, "log", "--all", "-S", "SECRET", "--format=%h", "--", ".") == ""
    stock(path, "fsck", "--strict", "--no-dangling")


def test_code_that_is_a_link_leaves_the_modules_of_main_alone(clone, outside):
    path = clone("code", outside)
    vault = TableVault(path, CY)
    assert vault.get_code_modules_list() == []
    vault.create_table("u")
    assert "code/m.py" not in stock(path, "show", "--name-only", "--format=", "main")


def test_a_temporary_folder_that_is_a_link_is_named_with_the_way_out(clone, outside):
    path = clone("temp", outside)
    vault = TableVault(path, CY)
    with pytest.raises(TVFileError, match=r'"temp" is a symbolic link.*git rm --cached temp; rm'):
        vault.create_instance("t", builders={"t_index": "n_threads: 1\n"})
    subprocess.run("git rm -q --cached temp; rm temp", shell=True, cwd=path, check=True)
    stock(path, "commit", "-qm", "no link")
    vault = TableVault(path, CY)
    vault.create_instance("t", builders={"t_index": "n_threads: 1\n"})
    assert (path / "temp/t/base/builders/t_index.yaml").is_file()
    assert [each.name for each in (outside / "t/base").iterdir()] == ["builders"]


@pytest.mark.parametrize("forgets", [False, True], ids=["filter", "promisor alone"])
def test_a_partial_clone_says_how_to_bring_the_rest(ana, tmp_path, forgets):
    stock(tmp_path / "ana", "config", "uploadpack.allowFilter", "true")
    path = tmp_path / "partial"
    url = f"file://{tmp_path / 'ana'}"
    stock(tmp_path, "clone", "-q", "--filter=blob:none", url, str(path))
    if forgets:
        stock(path, "config", "--unset", "remote.origin.partialclonefilter")
    with pytest.raises(TVFileError, match="is a partial clone") as caught:
        TableVault(path, CY)
    subprocess.run(str(caught.value.hint).partition(": ")[2], shell=True, cwd=path, check=True)
    vault = TableVault(path, CY)
    write(vault, [3])
    assert vault.get_dataframe("t")[0]["n"].tolist() == [3]
    vault.verify()
    check_clean(path)


@pytest.mark.parametrize("inner", ["builders", "artifacts"])
def test_a_link_in_a_temporary_folder_is_refused_before_anything_is_made(clone, outside, inner):
    name = f"temp/t/base/{inner}"
    path = clone(name, outside)
    vault = TableVault(path, CY)
    refs = stock(path, "for-each-ref")
    with pytest.raises(TVFileError, match=f'"{name}" is a symbolic link'):
        vault.create_instance("t", builders={"t_index": "n_threads: 1\n"})
    assert stock(path, "for-each-ref") == refs
    assert vault.get_active_processes() == {}
