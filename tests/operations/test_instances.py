"""write_instance: a frame of the user's own, read back as it was."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from tablevault import TableVault
from tablevault.errors import TVArgumentError, TVTableError
from tests.looking import check_clean, git, state_of


@pytest.fixture
def papers(vault: TableVault) -> TableVault:
    vault.create_table("papers")
    vault.create_instance("papers", external_edit=True)
    return vault


def write(
    vault: TableVault, frame: pd.DataFrame, table: str = "papers", version: str = "base"
) -> str:
    vault.create_instance(table, version=version, external_edit=True)
    vault.write_instance(frame, table, version=version)
    return vault.get_table_instances(table, version)[-1]


def test_an_instance_is_a_merge_with_a_tag(papers: TableVault, vault_path: Path) -> None:
    before = git(vault_path, "rev-parse", "main").strip()
    process = papers.write_instance(pd.DataFrame({"a": [1, 2]}), "papers")
    (instance,) = papers.get_table_instances("papers")
    log = git(vault_path, "log", "--first-parent", "--format=%s", f"{before}..main")
    assert log == "papers/base: write, 2 rows\n"
    parents = git(vault_path, "log", "-1", "--format=%P").split()
    assert parents[0] == before
    assert len(parents) == 2
    assert git(vault_path, "rev-parse", f"papers/{instance}^{{commit}}", "main").split()[0] == (
        git(vault_path, "rev-parse", "main").strip()
    )
    assert git(vault_path, "branch", "--list", "temp/*") == ""
    assert not (vault_path / "temp" / "papers").exists()
    trailers = git(vault_path, "log", "-1", "--format=%(trailers:only,unfold)")
    assert f"Vault-Process: {process}" in trailers
    assert f"Vault-Instance: {instance}" in trailers
    check_clean(vault_path)


def test_the_file_in_the_working_tree_is_the_frame(papers: TableVault, vault_path: Path) -> None:
    papers.write_instance(pd.DataFrame({"a": [1, 2]}), "papers")
    path = vault_path / "tables/papers/base/dataframe.parquet"
    assert pd.read_parquet(path)["a"].tolist() == [1, 2]
    assert path.stat().st_mode & 0o222 == 0
    assert "dataframe.parquet" in git(vault_path, "lfs", "ls-files")


def test_the_callers_frame_is_not_changed(papers: TableVault) -> None:
    frame = pd.DataFrame({"index": [3, 4], 7: ["x", "y"]}, index=[10, 11])
    copy = frame.copy()
    papers.write_instance(frame, "papers", dtypes={"index": "Float64"})
    pd.testing.assert_frame_equal(frame, copy)
    read, _ = papers.get_dataframe("papers")
    assert list(read.columns) == ["index", "7"]
    assert read["index"].dtype == "Float64"
    assert list(read.index) == [0, 1]


def test_numbers_and_text_become_nullable(papers: TableVault) -> None:
    papers.write_instance(
        pd.DataFrame({"i": [1, 2], "f": [0.1, None], "b": [True, False], "s": ["x", None]}),
        "papers",
    )
    read, _ = papers.get_dataframe("papers")
    assert [str(dtype) for dtype in read.dtypes] == ["Int64", "Float64", "boolean", "string"]
    assert read["f"].isna().tolist() == [False, True]


def test_values_come_back_exactly(papers: TableVault) -> None:
    frame = pd.DataFrame(
        {
            "text": ["", "NA", "007", "a\r\nb", "\0x", None],
            "float": [0.30000000000000004, 1e-320, -0.0, 1.7e308, 2.0, None],
            "list": [[1, 2], [], ["a", {"b": None}], None, [1.5], ["x"]],
            "bytes": [b"", b"\0\xff", None, b"a", b"b", b"c"],
            "decimal": [Decimal("1.10"), Decimal(-3), None, Decimal("1E+5"), Decimal(0), None],
            "when": pd.date_range("2024-01-01", periods=6, tz="Europe/Rome", unit="us"),
            "naive": pd.date_range("1800-01-01", periods=6, unit="s"),
            "delta": pd.to_timedelta([1, 2, 3, None, 5, 6], unit="s"),
            "kind": pd.Categorical(["b", "a", None, "b", "a", "b"], ["z", "b", "a"], ordered=True),
            "period": pd.period_range("2024-01", periods=6, freq="M"),
            "day": [dt.date(2024, 1, n) for n in range(1, 7)],
            "": [1, 2, 3, 4, 5, 6],
            "größe": [True, False, None, True, False, None],
        }
    )
    papers.write_instance(frame, "papers")
    read, _ = papers.get_dataframe("papers")
    assert list(read.columns) == list(frame.columns)
    for name in ("when", "naive", "delta", "kind", "period", "list", "bytes", "decimal", "day"):
        pd.testing.assert_series_equal(read[name], frame[name])
    assert read["text"].tolist()[:5] == ["", "NA", "007", "a\r\nb", "\0x"]
    assert read["float"].tolist()[:5] == frame["float"].tolist()[:5]
    assert str(read["kind"].dtype.categories.tolist()) == "['z', 'b', 'a']"


def test_rows_and_columns_choose(papers: TableVault) -> None:
    papers.write_instance(pd.DataFrame({"a": range(5), "b": range(5)}), "papers")
    read, _ = papers.get_dataframe("papers", rows=2, columns=["b"])
    assert read.to_dict("list") == {"b": [0, 1]}
    empty, _ = papers.get_dataframe("papers", rows=0)
    assert empty.shape == (0, 2)
    with pytest.raises(TVTableError):
        papers.get_dataframe("papers", rows=-1)
    with pytest.raises(TVTableError, match="nope"):
        papers.get_dataframe("papers", columns=["nope"])


def test_a_dataset_reads_in_place(papers: TableVault) -> None:
    papers.write_instance(pd.DataFrame({"a": range(5)}), "papers")
    assert papers.get_dataset("papers").to_table().column("a").to_pylist() == list(range(5))


def test_dependencies_are_resolved_and_recorded(papers: TableVault, vault_path: Path) -> None:
    papers.write_instance(pd.DataFrame({"a": [1]}), "papers")
    (first,) = papers.get_table_instances("papers")
    papers.create_table("stories")
    papers.create_instance("stories", external_edit=True)
    papers.write_instance(
        pd.DataFrame({"a": [1]}), "stories", dependencies=[("papers", first), ("papers", "")]
    )
    (story,) = papers.get_table_instances("stories")
    described = papers.get_descriptions(story)
    assert described["dependencies"] == [["papers", first]]
    assert described["author"] == "Ana Lund <ana@example.org>"
    assert described["success"] is True
    log = git(vault_path, "log", "-1", "--format=%(trailers:key=Vault-Depends-On,valueonly)")
    assert log.strip() == f"papers/{first}"


def test_bad_input_changes_nothing(papers: TableVault, vault_path: Path) -> None:
    papers.create_instance("papers", version="built")
    before = state_of(vault_path)
    frame = pd.DataFrame({"a": ["1", "x"]})
    for error, action in (
        (TVArgumentError, lambda: papers.write_instance(frame, "nope")),
        (TVArgumentError, lambda: papers.write_instance(frame, "papers", version="other")),
        (TVArgumentError, lambda: papers.write_instance(frame, "papers", version="built")),
        (TVArgumentError, lambda: papers.write_instance(frame, "papers", version="a_b")),
        (TVArgumentError, lambda: papers.write_instance(pd.DataFrame(), "papers")),
        (TVArgumentError, lambda: papers.write_instance(frame[:0], "papers")),
        (TVArgumentError, lambda: papers.write_instance([1], "papers")),  # type: ignore[arg-type]  # a common mistake
        (TVArgumentError, lambda: papers.write_instance(frame, "papers", dtypes={"b": "Int64"})),
        (TVTableError, lambda: papers.write_instance(frame, "papers", dtypes={"a": "Int64"})),
        (TVTableError, lambda: papers.write_instance(frame, "papers", dtypes={"a": "nonsense"})),
        (
            TVArgumentError,
            lambda: papers.write_instance(frame, "papers", dependencies=[("nope", "")]),
        ),
        (
            TVArgumentError,
            lambda: papers.write_instance(frame, "papers", dependencies=[("papers", "x")]),
        ),
        (
            TVArgumentError,
            lambda: papers.write_instance(frame, "papers", dependencies=[("papers", "")]),
        ),
        (TVArgumentError, lambda: papers.write_instance(frame, "papers", dependencies=["papers"])),
        (TVTableError, lambda: papers.write_instance(pd.DataFrame({"a": [object()]}), "papers")),
        (TVArgumentError, lambda: papers.execute_instance("papers")),
        (TVTableError, lambda: papers.get_dataframe("papers")),
        (TVTableError, lambda: papers.get_dataframe("papers", "base_1_nope")),
        (TVArgumentError, lambda: papers.get_dataframe("nope")),
    ):
        with pytest.raises(error) as caught:
            action()
        assert caught.value.hint, caught.value
    assert state_of(vault_path) == before


def test_versions_are_compared_as_a_whole(vault: TableVault) -> None:
    vault.create_table("papers")
    ids = {
        name: write(vault, pd.DataFrame({"v": [name]}), version=name)
        for name in ("b", "base", "base2")
    }
    for name, instance in ids.items():
        assert vault.get_table_instances("papers", name) == [instance]
        assert vault.get_dataframe("papers", version=name)[1] == instance
    assert vault.get_table_instances("papers", "") == list(ids.values())
    assert vault.get_dataframe("papers", version="")[1] == ids["base2"]


def test_the_same_bytes_are_stored_once(vault: TableVault, vault_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2, 3]})
    for table in ("one", "two"):
        vault.create_table(table)
        write(vault, frame, table)
    objects = [path for path in (vault_path / ".git/lfs/objects").rglob("*") if path.is_file()]
    assert len(objects) == 1
    vault.delete_table("one")
    assert vault.get_dataframe("two")[0]["a"].tolist() == [1, 2, 3]
    check_clean(vault_path)


def test_older_instances_stay_readable(vault: TableVault, vault_path: Path) -> None:
    vault.create_table("papers")
    ids = [write(vault, pd.DataFrame({"n": [n]})) for n in range(3)]
    for n, instance in enumerate(ids):
        assert vault.get_dataframe("papers", instance)[0]["n"].tolist() == [n]
    (vault_path / ".git/tablevault/index.sqlite").unlink()
    assert vault.get_table_instances("papers") == ids


def test_deleting_the_latest_brings_back_the_one_before(
    vault: TableVault, vault_path: Path
) -> None:
    vault.create_table("papers")
    first, second = (write(vault, pd.DataFrame({"n": [n]})) for n in range(2))
    vault.delete_instance(second, "papers")
    assert vault.get_table_instances("papers") == [first]
    assert vault.get_dataframe("papers")[1] == first
    path = vault_path / "tables/papers/base/dataframe.parquet"
    assert pd.read_parquet(path)["n"].tolist() == [0]
    described = vault.get_descriptions(second)
    assert described["deleted_by"] == "Ana Lund"
    objects = [path for path in (vault_path / ".git/lfs/objects").rglob("*") if path.is_file()]
    assert len(objects) == 1
    with pytest.raises(TVTableError, match="was deleted"):
        vault.get_dataframe("papers", second)
    with pytest.raises(TVArgumentError, match="was deleted"):
        vault.delete_instance(second, "papers")
    vault.delete_instance(first, "papers")
    assert not (vault_path / "tables/papers/base").exists()
    check_clean(vault_path)


def test_a_copy_of_an_external_edit_starts_with_the_frame(vault: TableVault) -> None:
    vault.create_table("papers")
    first = write(vault, pd.DataFrame({"n": [1, 2]}))
    vault.create_instance("papers", external_edit=True, copy=True)
    frame, name = vault.get_dataframe("papers", "TEMP_base")
    assert (frame["n"].tolist(), name) == ([1, 2], "TEMP_base")
    assert vault.get_descriptions("TEMP_base", "papers")["origin"] == [first, "papers"]
    vault.delete_instance(first, "papers")
    assert vault.get_dataframe("papers", "TEMP_base")[0]["n"].tolist() == [1, 2]


def test_a_new_temporary_instance_reads_as_empty(papers: TableVault) -> None:
    frame, _ = papers.get_dataframe("papers", "TEMP_base")
    assert frame.empty


def test_rename_keeps_instances_and_tags(vault: TableVault, vault_path: Path) -> None:
    vault.create_table("papers")
    first = write(vault, pd.DataFrame({"n": [1]}))
    vault.rename_table("stories", "papers")
    assert vault.get_table_instances("stories") == [first]
    assert vault.get_dataframe("stories", first)[0]["n"].tolist() == [1]
    assert git(vault_path, "tag").split() == [f"stories/{first}"]
    second = write(vault, pd.DataFrame({"n": [2]}), "stories")
    assert vault.get_table_instances("stories") == [first, second]
    check_clean(vault_path)


def test_instances_are_ordered_by_time_even_if_the_clock_goes_back(
    vault: TableVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    vault.create_table("papers")
    ids = [write(vault, pd.DataFrame({"n": [1]}))]
    monkeypatch.setattr(time, "time", lambda: 1_600_000_000.0)
    ids.append(write(vault, pd.DataFrame({"n": [2]})))
    assert vault.get_table_instances("papers") == ids
    assert vault.get_dataframe("papers")[1] == ids[-1]


def test_a_damaged_object_is_named_and_set_aside(papers: TableVault, vault_path: Path) -> None:
    from tablevault.errors import TVFileError

    papers.write_instance(pd.DataFrame({"a": [1]}), "papers")
    (path,) = [p for p in (vault_path / ".git/lfs/objects").rglob("*") if p.is_file()]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    with pytest.raises(TVFileError, match="damaged"):
        papers.get_dataframe("papers")
    assert (vault_path / ".git/lfs/bad" / path.name).exists()
