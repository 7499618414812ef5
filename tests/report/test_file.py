"""The file of a report: whole, in place of nothing but a report."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tablevault.errors import TVArgumentError, TVFileError
from tablevault.report.page import MARK
from tests.report.conftest import check_sound


def test_a_report_is_replaced_and_nothing_else(vault, tmp_path):
    path = tmp_path / "r.html"
    assert vault.report(path) == str(path)
    assert vault.report(str(path)) == str(path)
    assert path.read_text("utf-8").startswith(MARK)
    path.write_text("<!DOCTYPE html>\nmine", "utf-8")
    with pytest.raises(TVArgumentError, match="no report"):
        vault.report(path)
    assert path.read_text("utf-8").endswith("mine")
    vault.report(path, force=True)
    assert path.read_text("utf-8").startswith(MARK)
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["r.html"]


def test_who_may_read_it_stays_as_it_was(vault, tmp_path):
    path = tmp_path / ("日本語" * 25 + ".html")
    vault.report(path)
    path.chmod(0o640)
    vault.report(path)
    assert path.stat().st_mode & 0o777 == 0o640


def test_two_may_write_it_at_once(vault, tmp_path):
    path = tmp_path / "r.html"
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: vault.report(path), range(8))) == {str(path)}
    check_sound(path.read_text("utf-8"))
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["r.html"]


def test_a_path_that_cannot_be_is_refused(vault, tmp_path, repo_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(TVArgumentError, match="no file"):
        vault.report(tmp_path / "folder", force=True)
    with pytest.raises(TVArgumentError, match="no folder"):
        vault.report(tmp_path / "nowhere" / "r.html")
    with pytest.raises(TVArgumentError, match="no report"):
        vault.report(repo_path / "vault.yaml")
    with pytest.raises(TVFileError, match="too long"):
        vault.report(tmp_path / ("r" * 300))


def test_a_link_stays_a_link(vault, tmp_path):
    link = tmp_path / "link.html"
    link.symlink_to(tmp_path / "target.html")
    assert vault.report(link) == str(tmp_path / "target.html")
    assert link.is_symlink()
    assert link.read_text("utf-8").startswith(MARK)
