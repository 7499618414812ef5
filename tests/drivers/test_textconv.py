"""Stock git shows dataframes as rows."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tablevault import TableVault
from tests.looking import check_clean, git

FRAME = "tables/papers/base/dataframe.parquet"


def write(vault: TableVault, frame: pd.DataFrame) -> str:
    vault.create_instance("papers", external_edit=True)
    vault.write_instance(frame, "papers")
    return vault.get_table_instances("papers")[-1]


def rows(count: int) -> pd.DataFrame:
    return pd.DataFrame({"id": range(count), "title": [f"title {n}" for n in range(count)]})


@pytest.fixture
def papers(vault: TableVault) -> TableVault:
    vault.create_table("papers")
    write(vault, rows(4))
    frame = rows(5)
    frame.loc[1, "title"] = "another\ttitle"
    write(vault, frame)
    return vault


@pytest.fixture
def tags(papers: TableVault) -> list[str]:
    return [f"papers/{instance}" for instance in papers.get_table_instances("papers")]


def show(path: Path, *files: Path) -> str:
    command = [sys.executable, "-P", "-m", "tablevault.drivers.textconv", *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=path).stdout


def test_git_diff_shows_the_rows_that_differ(tags: list[str], vault_path: Path) -> None:
    text = git(vault_path, "diff", "-U0", *tags, "--", FRAME)
    assert text.splitlines()[4:] == [
        "@@ -2 +2 @@ id (Int64), title (string)",
        "-# rows: 4",
        "+# rows: 5",
        "@@ -4 +4 @@ id (Int64), title (string)",
        "-1\ttitle 1",
        "+1\tanother\\ttitle",
        "@@ -6,0 +7 @@ id (Int64), title (string)",
        "+4\ttitle 4",
    ]


def test_log_and_show_and_blame_do_so_too(tags: list[str], vault_path: Path) -> None:
    for command in (("log", "-p", "-1"), ("show", tags[-1])):
        text = git(vault_path, *command, "--first-parent", "--", FRAME)
        assert "\n-1\ttitle 1\n+1\tanother\\ttitle\n" in text
        assert "\n+4\ttitle 4" in text
    blamed = git(vault_path, "blame", "-s", "--first-parent", "main", "--", FRAME).splitlines()
    first, second = (git(vault_path, "rev-parse", tag)[:8] for tag in tags)
    assert [line[:8] for line in blamed[2:]] == [first, second, first, first, second]
    assert "4\ttitle 4" in blamed[-1]
    assert "another" in git(vault_path, "log", "-G", "another", "--first-parent", "-p", "--", FRAME)


def test_a_dataframe_that_was_changed_by_hand_shows_its_rows(
    papers: TableVault, vault_path: Path
) -> None:
    path = vault_path / FRAME
    path.unlink()
    papers.get_dataframe("papers")[0].drop(index=2).to_parquet(path)
    text = git(vault_path, "diff", "-U0", "--", FRAME)
    assert "\n-2\ttitle 2\n" in text
    git(vault_path, "checkout", "--", "tables")


def test_a_vault_is_clean_after_looking(tags: list[str], vault_path: Path) -> None:
    before = git(vault_path, "show-ref")
    git(vault_path, "log", "-p")
    git(vault_path, "diff", *tags)
    assert git(vault_path, "show-ref") == before
    check_clean(vault_path)


def test_what_was_shown_is_not_read_again(tags: list[str], vault_path: Path) -> None:
    shown = git(vault_path, "diff", *tags)
    texts = sorted((vault_path / ".git/tablevault/texts").iterdir())
    assert len(texts) == 2
    times = [text.stat().st_mtime_ns for text in texts]
    assert git(vault_path, "diff", *tags) == shown
    assert [text.stat().st_mtime_ns for text in texts] == times
    for text in texts:
        text.write_bytes(b"damaged")
    assert git(vault_path, "diff", *tags) == shown


def test_what_is_deleted_is_shown_no_more(
    papers: TableVault, tags: list[str], vault_path: Path
) -> None:
    git(vault_path, "diff", *tags)
    papers.delete_instance(tags[0].removeprefix("papers/"), "papers")
    assert len(list((vault_path / ".git/tablevault/texts").iterdir())) == 1
    text = git(vault_path, "log", "-p", "--first-parent", "--", FRAME)
    assert "title 1\n" not in text
    assert "+version https://git-lfs.github.com/spec/v1" in text
    assert "is not here" in text


def test_without_its_object_a_pointer_is_shown(vault_path: Path, tags: list[str]) -> None:
    shutil.rmtree(vault_path / ".git/lfs/objects")
    text = git(vault_path, "diff", *tags)
    assert text.count("oid sha256:") == 2
    assert " # The dataframe is not here." in text


def test_a_pointer_is_looked_up_where_git_has_no_filter(vault_path: Path, tags: list[str]) -> None:
    text = git(vault_path, "diff", *tags)
    off = [f"filter.lfs.{key}=" for key in ("process", "smudge", "clean")]
    none = [part for key in [*off, "filter.lfs.required=false"] for part in ("-c", key)]
    assert git(vault_path, *none, "diff", *tags) == text


def test_another_working_tree_shows_rows(vault_path: Path, tags: list[str], tmp_path: Path) -> None:
    text = git(vault_path, "diff", *tags)
    shutil.rmtree(vault_path / ".git/tablevault/texts")
    git(vault_path, "worktree", "add", "-q", "--detach", str(tmp_path / "beside"))
    assert git(tmp_path / "beside", "diff", *tags) == text
    assert len(list((vault_path / ".git/tablevault/texts").iterdir())) == 2
    assert git(vault_path / "tables", "diff", *tags) == text
    folder = f"--git-dir={vault_path / '.git'}"
    assert git(vault_path, folder, "--work-tree=.", "diff", *tags) == text


def test_an_environment_that_is_gone_does_not_stop_git(
    vault_path: Path, tags: list[str], author: str
) -> None:
    command = git(vault_path, "config", "diff.tablevault.textconv").rstrip("\n")
    gone = command.replace(sys.executable, "/nowhere/bin/python")
    assert gone != command
    git(vault_path, "config", "diff.tablevault.textconv", gone)
    text = git(vault_path, "diff", *tags)
    assert "Rows are shown again once" in text
    assert "\n-" in text
    TableVault(vault_path, author)
    assert git(vault_path, "config", "diff.tablevault.textconv").rstrip("\n") == command


def test_a_command_of_the_users_own_stays(vault: TableVault, vault_path: Path, author: str) -> None:
    git(vault_path, "config", "diff.tablevault.textconv", "cksum")
    TableVault(vault_path, author)
    assert git(vault_path, "config", "diff.tablevault.textconv") == "cksum\n"


def test_rows_beyond_what_is_shown_still_make_a_difference(
    vault: TableVault, vault_path: Path
) -> None:
    vault.create_table("papers")
    frame = rows(30_000)
    write(vault, frame)
    frame.loc[29_000, "title"] = "late"
    write(vault, frame)
    text = git(vault_path, "diff", "-U0", "main~1", "main", "--", FRAME)
    changed = [line for line in text.splitlines()[4:] if line[0] in "+-"]
    assert [line[:19] for line in changed] == ["-# 10000 more rows;", "+# 10000 more rows;"]


def test_a_file_that_is_no_dataframe_is_named(vault_path: Path, papers: TableVault) -> None:
    for name, data, said in (
        ("damaged", b"PAR1" + b"\0" * 2000, "cannot be shown: Arrow"),
        ("other", b"\0" * 2000, "is no dataframe"),
        ("text", b"some text\n", "some text"),
        ("empty", b"", ""),
    ):
        path = vault_path / ".git" / name
        path.write_bytes(data)
        text = show(vault_path, path)
        assert said in text
        assert text.count("\n") <= 1


def test_showing_what_was_shown_loads_hardly_anything(vault_path: Path, tags: list[str]) -> None:
    git(vault_path, "diff", *tags)
    script = "import sys\nfrom tablevault.drivers.textconv import main\nmain()\nprint(*sys.modules)"
    unmeasured = {name: each for name, each in os.environ.items() if "COVERAGE" not in name}
    done = subprocess.run(
        [sys.executable, "-c", script, FRAME],
        capture_output=True,
        text=True,
        check=True,
        cwd=vault_path,
        env=unmeasured,
    )
    heavy = {"pyarrow", "pathlib", "re", "typing", "sqlite3", "dataclasses"}
    assert not heavy & set(done.stdout.splitlines()[-1].split())
