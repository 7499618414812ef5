"""Rows from folders, frames, CSV files and lists."""

from __future__ import annotations

import os

import pandas as pd
import pytest

from tablevault.engine.functions import table_generation
from tablevault.errors import TVFileError, TVTableError


@pytest.fixture
def papers(tmp_path):
    folder = tmp_path / "papers"
    folder.mkdir()
    for name in ("b.pdf", "a.pdf", "c.txt"):
        (folder / name).write_text(name)
    (folder / "d.pdf").mkdir()
    (tmp_path / "artifacts").mkdir()
    return tmp_path


def test_files_are_copied_in_sorted_order(papers):
    frame = table_generation.create_paper_table_from_folder(
        str(papers / "papers"), 1, str(papers / "artifacts")
    )
    assert frame["file_name"].tolist() == ["a", "b"]
    assert frame["artifact_name"].tolist() == ["a.pdf", "b.pdf"]
    assert frame["original_path"].iloc[0] == str(papers / "papers" / "a.pdf")
    assert (papers / "artifacts" / "b.pdf").read_text() == "b.pdf"


def test_a_file_whose_name_is_no_utf8_is_named(papers):
    (papers / "papers" / os.fsdecode(b"caf\xe9.pdf")).write_bytes(b"x")
    with pytest.raises(TVFileError, match=r"caf\\udce9\.pdf' is no UTF-8"):
        table_generation.create_paper_table_from_folder(
            str(papers / "papers"), 1, str(papers / "artifacts")
        )


def test_copies_are_numbered(papers):
    frame = table_generation.create_paper_table_from_folder(
        str(papers / "papers"), 2, str(papers / "artifacts"), extension=".txt"
    )
    assert frame["artifact_name"].tolist() == ["c_0.txt", "c_1.txt"]
    assert frame["file_name"].tolist() == ["c_0", "c_1"]


def test_no_file_gives_the_three_columns(papers):
    frame = table_generation.create_paper_table_from_folder(
        str(papers / "papers"), 1, str(papers / "artifacts"), extension=".none"
    )
    assert frame.shape == (0, 3)


def test_frames_are_copied_cut_or_sampled():
    df = pd.DataFrame({"x": range(10)})
    copied = table_generation.create_data_table_from_table(df)
    assert copied is not df
    assert copied.equals(df)
    assert table_generation.create_data_table_from_table(df, 3)["x"].tolist() == [0, 1, 2]
    sample = table_generation.create_data_table_from_table(df, 3, random_sample=True, seed=1)
    again = table_generation.create_data_table_from_table(df, 3, random_sample=True, seed=1)
    assert sample.equals(again)
    assert sample["x"].is_unique
    assert len(table_generation.create_data_table_from_table(df, 30, random_sample=True)) == 10


def test_csv_and_lists_become_frames(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,x\n")
    frame = table_generation.create_data_table_from_csv(str(tmp_path / "x.csv"))
    assert frame["a"].tolist() == [1]
    assert table_generation.create_data_table_from_list([1, 2])["temp_name"].tolist() == [1, 2]


CSV_INDEX = """builder_type: IndexBuilder
changed_columns: {columns}
python_function: create_data_table_from_csv
code_module: table_generation
arguments: {{csv_file_path: {path}}}
dtypes: {dtypes}
"""


@pytest.mark.parametrize("columns", ["[id, zip]", "[key, code]", "[zip, id]"])
def test_a_builder_reads_declared_columns_from_the_text_in_the_file(tmp_path, execute, columns):
    path = tmp_path / "x.csv"
    path.write_text("id,zip\n1234567890123456789,00501\n,02134\n")
    declared = "code" if "code" in columns else "zip"
    text = CSV_INDEX.format(columns=columns, path=path, dtypes=f"{{{declared}: string}}")
    frame = execute({"t_index": text}, code={}).frame
    assert frame[declared].tolist() == ["00501", "02134"]
    other = frame.drop(columns=declared).iloc[:, 0]
    assert (str(other.dtype), int(other[0])) == ("Int64", 1234567890123456789)


def test_a_builder_that_declares_nothing_reads_numbers(tmp_path, execute):
    (tmp_path / "x.csv").write_text("id,zip\n1,00501\n")
    text = CSV_INDEX.format(columns="[id, zip]", path=tmp_path / "x.csv", dtypes="{}")
    assert execute({"t_index": text}, code={}).frame["zip"].tolist() == [501]


def test_a_long_row_ends_the_builder_with_the_line(tmp_path, execute):
    (tmp_path / "x.csv").write_text("id,name\n1,Ann\n2,Bob,y\n")
    text = CSV_INDEX.format(columns="[id, name]", path=tmp_path / "x.csv", dtypes="{}")
    with pytest.raises(TVTableError, match="line 3"):
        execute({"t_index": text}, code={})
