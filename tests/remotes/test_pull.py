"""A pull while something goes on here: what runs, what is paused, what is drafted."""

from __future__ import annotations

import threading

import pytest

from tablevault import TableVault, clone_vault
from tablevault.errors import TVLockError, TVRemoteError
from tests.clones import ANA, BO, path_of, write
from tests.looking import check_clean, state_of
from tests.looking import git as stock

FAILS = "def make(n):\n    raise LookupError\n"
WAITS = """
import pathlib, time, pandas as pd

def make(n):
    pathlib.Path("{flag}.begun").touch()
    while not pathlib.Path("{flag}").exists():
        time.sleep(0.01)
    return pd.DataFrame({{"n": [n]}})
"""
INDEX = """builder_type: IndexBuilder
changed_columns: [n]
python_function: make
code_module: m
is_custom: true
arguments: {n: 5}
"""
EXECUTES = """
import sys
from tablevault import TableVault
TableVault(sys.argv[1], "Bo <bo@example.org>").execute_instance("t")
"""


@pytest.fixture
def two(tmp_path, git):
    """Return two vaults with a table and a module, and a repository between them."""
    bare = tmp_path / "hub.git"
    bare.mkdir()
    git(bare, "init", "-q", "--bare", "-b", "main")
    ana = TableVault(tmp_path / "ana", ANA, create=True)
    ana.create_table("t")
    ana.create_table("u")
    ana.create_code_module("m", text=WAITS.format(flag=tmp_path / "flag"))
    ana.add_remote("origin", bare)
    ana.push()
    clone_vault(bare, tmp_path / "bo", BO)
    return ana, TableVault(tmp_path / "bo", BO, lock_timeout=200)


@pytest.fixture
def running(two, tmp_path, python):
    """Open both vaults while an execution on table `t` runs in that of Bo, and a way to end it."""
    ana, bo = two
    bo.create_instance("t", builders={"t_index": INDEX})
    process = python(EXECUTES, path_of(bo))
    while not (tmp_path / "flag.begun").exists():
        assert process.poll() is None

    def end():
        (tmp_path / "flag").touch()
        assert process.wait() == 0

    return ana, bo, end


def read(vault, table):
    return vault.get_dataframe(table)[0]["n"].tolist()


def settle(*vaults):
    for vault in (*vaults, *vaults):
        vault.pull(data="all")
        vault.push()
    for vault in vaults:
        check_clean(path_of(vault))
    assert len({stock(path_of(vault), "rev-parse", "main") for vault in vaults}) == 1


def test_what_runs_does_not_keep_a_pull_waiting(running):
    ana, bo, end = running
    write(ana, [1], "t")
    ana.rename_table("v", "u")
    ana.push()
    assert bo.pull().renamed == {"u": "v"}
    assert read(bo, "t") == [1]
    end()
    assert read(bo, "t") == [5]
    settle(ana, bo)


@pytest.mark.parametrize("change", ["rename", "delete"])
def test_what_runs_on_a_table_is_not_lost_when_that_is_renamed_or_deleted(running, change):
    ana, bo, end = running
    if change == "rename":
        ana.rename_table("v", "t")
    else:
        ana.delete_table("t")
    ana.push()
    impatient = TableVault(path_of(bo), BO, lock_timeout=0.1)
    with pytest.raises(TVLockError, match=r'Table "t" is held by|"TEMP_base" of table "t" is held'):
        impatient.pull()
    waiting = threading.Thread(target=end)
    waiting.start()
    if change == "rename":
        assert bo.pull().renamed == {"t": "v"}
        waiting.join()
        assert read(bo, "v") == [5]
    else:
        with pytest.raises(TVRemoteError, match=r"changed here and deleted there"):
            bo.pull()
        waiting.join()
        bo.rename_table("kept", "t")
        with pytest.raises(TVRemoteError, match=r"changed here and deleted there"):
            bo.pull()
        bo.pull(resolve={"tables/t": "theirs"})
        assert bo.get_table_instances() == ["u"]
    settle(ana, bo)


def test_what_is_paused_stands_in_the_way_of_a_rename_alone(two):
    ana, bo = two
    bo.create_code_module("m", text=FAILS)
    bo.create_instance("t", builders={"t_index": INDEX})
    with pytest.raises(LookupError):
        bo.execute_instance("t", process_id="paused")
    ana.create_table("w")
    ana.push()
    bo.pull()
    ana.rename_table("v", "t")
    ana.push()
    with pytest.raises(
        TVLockError, match=r"""paused process "paused" .*stop_process\('paused'\)"""
    ):
        bo.pull()
    assert list(bo.get_active_processes()) == ["paused"]
    bo.stop_process("paused")
    assert bo.pull().renamed == {"t": "v"}
    assert bo.get_table_instances("v", include_temp=True) == ["TEMP_base"]
    settle(ana, bo)


@pytest.mark.parametrize("has_news", [False, True])
def test_what_is_drafted_for_a_deleted_table_is_not_lost_unasked(two, has_news):
    ana, bo = two
    bo.create_instance("t", version="draft", builders={"t_index": INDEX})
    if has_news:
        bo.create_table("mine")
    ana.delete_table("t")
    ana.push()
    before = state_of(path_of(bo))
    with pytest.raises(TVRemoteError, match=r'deleted there, and has temporary instance "draft"'):
        bo.pull()
    after = state_of(path_of(bo))
    assert {**after, "refs": ""} == {**before, "refs": ""}
    tip = stock(path_of(bo), "rev-parse", "refs/heads/temp/t/draft").strip()
    assert bo.pull(resolve={"tables/t": "theirs"}).merged
    assert stock(path_of(bo), "for-each-ref", "refs/heads/temp") == ""
    assert not (path_of(bo) / "temp/t").exists()
    stock(path_of(bo), "merge-base", "--is-ancestor", tip, "main")
    bo.create_table("t")
    assert bo.get_table_instances("t", "draft", include_temp=True) == []
    settle(ana, bo)


def test_a_new_table_of_the_same_name_does_not_take_over_what_was_drafted(two):
    ana, bo = two
    bo.create_instance("t", version="draft", builders={"t_index": INDEX})
    ana.delete_table("t")
    ana.create_table("t")
    ana.push()
    with pytest.raises(TVRemoteError, match=r'has temporary instance "draft"'):
        bo.pull()
    bo.pull(resolve={"tables/t": "theirs"})
    assert bo.get_table_instances("t", "draft", include_temp=True) == []
    settle(ana, bo)
