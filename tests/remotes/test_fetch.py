"""Data that comes when it is read, or at once."""

from __future__ import annotations

import pandas as pd
import pytest

from tablevault import TableVault, clone_vault
from tablevault.errors import TVFileError
from tests.clones import BO, path_of, read, same, sound, write
from tests.looking import check_clean
from tests.looking import git as stock


def test_data_comes_when_it_is_read(ana, bare, tmp_path):
    ana.add_remote("origin", bare)
    ana.push()
    bo = clone_vault(bare, tmp_path / "bo", BO)
    objects = tmp_path / "bo/.git/lfs/objects"
    assert not objects.exists() or not any(path.is_file() for path in objects.rglob("*"))
    assert (tmp_path / "bo/tables/t/base/dataframe.parquet").stat().st_size < 200
    assert stock(tmp_path / "bo", "status", "--porcelain") == ""
    assert read(bo) == [1, 2]
    assert len([path for path in objects.rglob("*") if path.is_file()]) == 1


def test_data_comes_at_once_on_request(ana, bare, tmp_path):
    write(ana, [7], version="other")
    ana.add_remote("origin", bare)
    ana.push()
    bo = clone_vault(bare, tmp_path / "bo", BO, data="all")
    bare.rename(tmp_path / "away")
    for name in ("base", "other"):
        frame = pd.read_parquet(tmp_path / f"bo/tables/t/{name}/dataframe.parquet")
        assert frame["n"].tolist() == read(ana, version=name)
    same(ana, bo)


def test_data_that_cannot_come_is_reported(shared, bare, tmp_path):
    _, bo = shared
    bare.rename(tmp_path / "away")
    with pytest.raises(TVFileError, match=r"(?s)is missing, and no remote has it\. origin:.*hub"):
        bo.get_dataframe("t")
    sound(bo)


def test_lazy_data_is_checked_out_later(shared):
    ana, bo = shared
    file = path_of(bo) / "tables/t/base/dataframe.parquet"
    assert file.stat().st_size < 200
    report = bo.pull(data="all")
    assert (report.commits, report.objects.objects) == (0, 1)
    assert pd.read_parquet(file)["n"].tolist() == [1, 2]
    same(ana, bo)


def test_a_frame_that_was_read_is_checked_out_by_the_next_opening(shared):
    _, bo = shared
    file = path_of(bo) / "tables/t/base/dataframe.parquet"
    assert read(bo) == [1, 2]
    assert file.stat().st_size < 200, "who reads writes nothing into the working tree"
    TableVault(path_of(bo), BO)
    assert pd.read_parquet(file)["n"].tolist() == [1, 2]
    assert not file.stat().st_mode & 0o222
    check_clean(path_of(bo))
