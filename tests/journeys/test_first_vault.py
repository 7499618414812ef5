"""From an empty folder to a history of tables, as a new user goes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from tablevault import TableVault
from tests.looking import check_clean, git
from tests.scripts import Script

AUTHOR = "Ana Lund <ana@example.org>"
CODE = """\
import pandas as pd


def rank(cities):
    return cities.sort_values("people", ascending=False)[["city"]].reset_index(drop=True)


def label(city, ending):
    return city + ending
"""
INDEX = """\
builder_type: IndexBuilder
changed_columns: [city]
python_function: rank
code_module: ranking
is_custom: true
arguments: {cities: "<<cities.{city, people}>>"}
"""
LABEL = """\
builder_type: ColumnBuilder
changed_columns: [label]
python_function: label
code_module: ranking
is_custom: true
return_type: row-wise
arguments: {city: "<<self.city[index]>>", ending: "!"}
"""


def write_cities(vault: TableVault, people: list[int]) -> str:
    vault.create_instance("cities", external_edit=True)
    vault.write_instance(pd.DataFrame({"city": ["Bern", "Oslo"], "people": people}), "cities")
    return vault.get_table_instances("cities")[-1]


def make_ranking(vault: TableVault) -> str:
    vault.create_instance("ranking", copy=bool(vault.get_table_instances("ranking")))
    vault.create_builder_file("ranking", text=INDEX)
    vault.create_builder_file("ranking", "label", text=LABEL)
    vault.execute_instance("ranking")
    return vault.get_table_instances("ranking")[-1]


def test_two_tables_and_their_history(path: Path) -> None:
    vault = TableVault(path, AUTHOR, create=True, description="where people live")
    vault.create_table("cities")
    cities = write_cities(vault, [134_000, 709_000])
    vault.create_code_module("ranking", text=CODE)
    vault.create_table("ranking")
    first = make_ranking(vault)
    assert vault.get_dataframe("ranking")[0].to_dict("list") == {
        "city": ["Oslo", "Bern"],
        "label": ["Oslo!", "Bern!"],
    }
    assert vault.get_descriptions(first)["dependencies"] == [["cities", cities]]

    # The world changes, and so does the code, edited where it lies.
    write_cities(vault, [900_000, 709_000])
    code = path / "code/ranking.py"
    code.write_text(CODE.replace("city + ending", "ending + city"), "utf-8")
    second = make_ranking(vault)
    assert vault.get_dataframe("ranking")[0]["label"].tolist() == ["!Bern", "!Oslo"]
    assert vault.get_dataframe("ranking", first)[0]["label"].tolist() == ["Oslo!", "Bern!"]

    subjects = git(path, "log", "--first-parent", "--format=%s").splitlines()
    assert subjects == [
        "ranking/base: execute, 2 rows",
        "code/ranking.py: edited by hand",
        "cities/base: write, 2 rows",
        "ranking/base: execute, 2 rows",
        "ranking: create table",
        "code: write ranking",
        "cities/base: write, 2 rows",
        "cities: create table",
        "create vault",
    ]
    diff = git(path, "diff", f"ranking/{first}", f"ranking/{second}", "--", "code")
    assert "+    return ending + city" in diff
    frame = path / "tables/ranking/base/dataframe.parquet"
    assert pd.read_parquet(frame)["label"].tolist() == ["!Bern", "!Oslo"]
    assert git(path, "describe", "--tags", "--exact-match", "main").strip() == f"ranking/{second}"
    check_clean(path)


def test_a_plain_clone_goes_on_where_the_vault_was(path: Path, tmp_path: Path) -> None:
    vault = TableVault(path, AUTHOR, create=True)
    vault.create_table("cities")
    first = write_cities(vault, [1, 2])
    vault.create_instance("cities", version="draft", external_edit=True)

    copy = tmp_path / "copy"
    git(tmp_path, "clone", "-q", str(path), str(copy))
    git(copy, "lfs", "pull")
    git(copy, "branch", "temp/cities/draft", "origin/temp/cities/draft")
    other = TableVault(copy, "Bob <bob@example.org>")
    assert other.get_dataframe("cities")[0]["people"].tolist() == [1, 2]
    other.write_instance(pd.DataFrame({"city": ["Rome"]}), "cities", version="draft")
    second = write_cities(other, [3, 4])
    assert other.get_table_instances("cities") == [first, second]
    check_clean(copy)

    # Back again: objects first, then refs, then the working tree follows.
    git(copy, "lfs", "push", "origin", "main")
    git(path, "pull", "-q", "--tags", str(copy), "main")
    again = TableVault(path, AUTHOR)
    assert again.get_table_instances("cities") == [first, second]
    assert again.get_dataframe("cities")[0]["people"].tolist() == [3, 4]
    assert again.get_dataframe("cities", version="draft")[0]["city"].tolist() == ["Rome"]
    assert git(path, "status", "--porcelain") == ""


def test_another_process_sees_what_was_written(
    path: Path, python: Callable[..., Script], finish: Callable[[Script], str]
) -> None:
    vault = TableVault(path, AUTHOR, create=True)
    vault.create_table("cities")
    write_cities(vault, [5, 6])
    script = (
        "import sys\n"
        "from tablevault import TableVault\n"
        "vault = TableVault(sys.argv[1], 'bob')\n"
        "print(vault.get_dataframe('cities')[0]['people'].sum())\n"
    )
    assert finish(python(script, path)) == "11\n"
