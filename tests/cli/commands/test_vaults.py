"""Commands that make, pack and delete whole vaults."""

from __future__ import annotations

import io
import json
from pathlib import Path

from tablevault import TableVault
from tests.looking import check_clean


def test_a_vault_is_packed_unpacked_and_deleted(made, run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run("compress", "v", "--preset", "0")[:2] == (0, "Compressed → v.tar.xz\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("no\n"))
    code, _, err = run("delete-vault", "v")
    question = 'Delete the vault "v" with everything in it? [y/N] '
    assert (code, err) == (1, f"{question}Nothing was changed.\n")
    code, out, err = run("delete-vault", "v")
    assert (code, out) == (1, "")
    assert err.endswith("Nothing was changed. There is no terminal to ask in: answer by --yes.\n")
    assert run("delete-vault", "v", "--yes")[:2] == (0, "Deleted → v\n")
    assert not Path("v").exists()
    assert run("decompress", "v.tar.xz")[:2] == (0, "Decompressed → v/\n")
    assert TableVault("v", "Bo").get_table_instances() == ["t"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def interrupted():
    raise KeyboardInterrupt


def test_a_question_that_is_left_open_is_no(made, run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", Terminal())
    asked = 'Delete the vault "v" with everything in it? [y/N] \n'
    assert run("delete-vault", "v") == (1, "", f"{asked}Nothing was changed.\n")
    monkeypatch.setattr("sys.stdin.readline", interrupted)
    assert run("delete-vault", "v") == (130, "", f"{asked}Interrupted.\n")
    assert Path("v/vault.yaml").is_file()


def test_an_archive_of_the_current_folder_is_named_like_it(made, run):
    assert run("compress", ".", "--preset", "0")[:2] == (0, "Compressed → v.tar.xz\n")
    assert Path("../v.tar.xz").is_file()


def test_the_demonstration(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run("demo", "shown")
    assert code == 0, err
    assert "tablevault log" in out
    vault = TableVault("shown", "Bo")
    assert vault.get_table_instances() == ["reviews", "moods"]
    moods = vault.get_dataframe("moods")[0]
    assert dict(zip(moods["mood"], moods["reviews"], strict=True)) == {
        "bad": 1,
        "good": 1,
        "neutral": 2,
    }
    assert len(vault.get_table_instances("reviews")) == 2
    check_clean(tmp_path / "shown")


def test_the_demonstration_suggests_a_path_in_quotes(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "\n  cd 'my shop'\n" in run("demo", "my shop")[1]


def test_json_of_what_is_made_or_deleted_has_its_path(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = str(tmp_path / "in" / "v")
    Path("in").mkdir()
    for words, found in (
        (["create-vault", "in/v", "--author", "Bo"], path),
        (["compress", "in/v"], f"{path}.tar.xz"),
        (["delete-vault", "in/v", "--yes"], path),
        (["decompress", "in/v.tar.xz"], path),
    ):
        code, out, err = run(*words, "--json")
        assert (code, json.loads(out)) == (0, {"path": found}), err
    copied = {"path": str(tmp_path / "copy"), "unconfirmed_buckets": []}
    assert json.loads(run("clone", "in/v", "copy", "--author", "Bo", "--json")[1]) == copied
    assert json.loads(run("demo", "shop", "--json")[1]) == {"path": str(tmp_path / "shop")}
