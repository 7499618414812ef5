"""A reader that knows nothing but the format reads what the package reads."""

from __future__ import annotations

import ast
import datetime as dt
import decimal
import pathlib
import sys
import uuid
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tablevault import TableVault, clone_vault
from tests import vault_reader
from tests.looking import check_clean, check_readable
from tests.test_house import ROOT, lines_of_code

ANA, BO = "Ana Lund <ana@example.org>", "Bo Holm <bo@example.org>"
DAY = dt.date(2024, 2, 29)
NOON = dt.datetime(2024, 2, 29, 12, 30, 15, 250)  # noqa: DTZ001 - without a zone on purpose
COPENHAGEN = ZoneInfo("Europe/Copenhagen")
CODE = '''"""Words."""

import pathlib

import pandas as pd


def words(folder, text):
    """One word a row, and the text as a file."""
    pathlib.Path(folder, "in").mkdir(exist_ok=True)
    pathlib.Path(folder, "in", "text.txt").write_text(text)
    return pd.DataFrame({"word": text.split(), "source": "in/text.txt"})


def length(word):
    """Count letters, and fail for one word."""
    if word == "fails":
        raise ValueError(word)
    return len(word)


def dear(word):
    """Stop at the third word, every time."""
    if word == "stops":
        raise RuntimeError(word)
    return word.upper()
'''
INDEX = """
builder_type: IndexBuilder
changed_columns: [word, source]
python_function: words
code_module: words
is_custom: true
arguments: {folder: ~ARTIFACT_FOLDER~, text: TEXT}
dtypes: {source: artifact_string}
"""
COLUMN = """
builder_type: ColumnBuilder
changed_columns: [COLUMN]
python_function: FUNCTION
code_module: words
is_custom: true
arguments: {word: "<<self.word[index]>>"}
return_type: row-wise
n_threads: 1
MORE
"""
NUMBERS = pd.DataFrame(
    {
        "int": pd.array([1, None, -(2**63)], "Int64"),
        "float": pd.array([0.1, None, float("inf")], "Float64"),
        "flag": pd.array([True, None, False], "boolean"),
        "text": pd.array(["é\n", None, ""], "string"),
        "day": pd.to_datetime([NOON, None, NOON.replace(year=1968)]).as_unit("us"),
        "zoned": pd.to_datetime([NOON, None, NOON]).as_unit("us").tz_localize(COPENHAGEN),
        "fixed": pd.to_datetime([NOON] * 3).tz_localize(dt.timezone(dt.timedelta(hours=-3))),
        "span": pd.to_timedelta([1, None, -90], unit="s").as_unit("us"),
        "sort": pd.Categorical(["b", None, "a"], categories=["b", "unused", "a"]),
        "year": pd.Categorical([2024, None, 2023], ordered=True),
        "month": pd.array(["2024-02", None, "1969-12"], "period[M]"),
        "root": pd.Series([1j, 1.5 - 2j, 2]),
        "nested": pd.array([[1, None], None, []], pd.ArrowDtype(pa.list_(pa.int64()))),
        "range": pd.arrays.IntervalArray.from_tuples([(0, 1), None, (1, 2.5)]),
    }
)
OBJECTS = {
    "mixed": [None, float("nan"), DAY, [1, None, "a"], {"a": {"b": (1, 2)}}, {1, 2}],
    "uuid": [uuid.UUID(int=n) for n in range(5)] + [None],
    "dates": [DAY, None, DAY, DAY, None, DAY],
    "times": [NOON, None, NOON, NOON, NOON, NOON],
    "lists": [[1], [], None, [3, None], [4], [5]],
    "nan": [DAY, float("nan"), DAY, DAY, DAY, DAY],
    "vector": [np.array([0.5, n]) for n in range(6)],
    "exact": [decimal.Decimal("1.50"), None, *[decimal.Decimal("-0.25")] * 4],
    "more": [
        2**80,
        b"\0",
        1 + 2j,
        NOON.replace(tzinfo=COPENHAGEN),
        dt.timedelta(1, 2, 3),
        "\ud800",
    ],
    "keys": [{"$date": 1}, {1: 2}, float("inf"), frozenset({"a"}), decimal.Decimal("NaN"), True],
}


def column_builder(column, function, more=""):
    text = COLUMN.replace("COLUMN", column).replace("FUNCTION", function)
    return text.replace("MORE", more)


def execute(vault, text, version="base", more=""):
    """Execute the table of words."""
    vault.create_instance(
        "words",
        version,
        builders={
            "words_index": INDEX.replace("TEXT", text),
            "length": column_builder("length", "length", more),
        },
    )
    return vault.execute_instance("words", version)


def write(vault, frame, table, version="base", **more):
    vault.create_instance(table, version, external_edit=True)
    return vault.write_instance(frame, table, version, **more)


@pytest.fixture(scope="module")
def rich(tmp_path_factory, git):
    """Make a vault in which most things have happened that can happen."""
    folder = tmp_path_factory.mktemp("rich")
    vault = TableVault(folder / "ana", ANA, "Rich", create=True)
    vault.create_code_module("words", text=CODE)
    vault.create_table("words", description="Words")
    execute(vault, "to be or not")
    execute(vault, "to be fails", more="on_error: keep")
    vault.create_table("old")
    write(vault, NUMBERS, "old", "a b.é", dependencies=[("words", "")])
    vault.rename_table("data", "old")
    vault.create_table("old")
    write(vault, pd.DataFrame({n: pd.Series(v, dtype=object) for n, v in OBJECTS.items()}), "data")
    write(vault, pd.DataFrame({"n": [1]}), "data")
    undone = write(vault, pd.DataFrame({"n": [2]}), "data")
    vault.undo(vault.undo(undone))
    vault.undo(write(vault, pd.DataFrame({"n": [7]}), "data", "taken"))
    write(vault, pd.DataFrame({"n": [3]}), "data", "gone")
    vault.delete_instance(vault.get_table_instances("data", "gone")[0], "data")
    vault.create_table("lost")
    write(vault, pd.DataFrame({"n": [4]}), "lost")
    vault.delete_table("lost")
    effects(vault)
    partial(vault)
    merged(vault, folder, git)
    vault.create_instance("words", copy=True)
    vault.create_instance("words", "x..y", copy=False)
    return vault, folder / "ana"


def effects(vault):
    """Make instances of a table with side effects: the later execution ends the earlier."""
    vault.create_table("sent", has_side_effects=True, allow_multiple_artifacts=True)
    for text in ("one two", "three", "four five"):
        vault.create_instance(
            "sent",
            builders={
                "sent_index": INDEX.replace("TEXT", text),
                "length": column_builder("length", "length"),
            },
        )
        made = vault.execute_instance("sent")
    vault.undo(made)


def partial(vault):
    """Stop an execution and keep its rows."""
    vault.create_instance(
        "words",
        "part",
        builders={
            "words_index": INDEX.replace("TEXT", "this one stops"),
            "dear": column_builder("dear", "dear"),
        },
    )
    with pytest.raises(RuntimeError, match="stops"):
        vault.execute_instance("words", "part", process_id=' "p"\n')
    vault.stop_process(' "p"\n', materialize=True)


def merged(vault, folder, git):
    """Pull what somebody else has made meanwhile, of the same version and of a renamed table."""
    (folder / "hub.git").mkdir()
    git(folder / "hub.git", "init", "-q", "--bare", "-b", "main")
    vault.add_remote("origin", str(folder / "hub.git"))
    vault.push()
    other = clone_vault(str(folder / "hub.git"), folder / "bo", BO)
    write(other, pd.DataFrame({"n": [5]}), "data")
    other.rename_table("measures", "data")
    other.push()
    write(vault, pd.DataFrame({"n": [6]}), "data")
    vault.pull(data="all")


def expected(vault, table, instance_id):
    """Return what the package says of an instance."""
    found = vault.get_descriptions(instance_id, table)
    return {key: found[key] for key in ("active", "success", "rows", "dtypes", "process")}


def test_both_list_the_same_tables_and_instances(rich):
    vault, path = rich
    reader = vault_reader.Vault(path)
    assert list(reader.tables) == vault.get_table_instances()
    assert {"words", "measures", "old", "sent"} == set(reader.tables)
    for table in reader.tables:
        listed = [each.id for each in reader.instances(table)]
        assert listed == vault.get_table_instances(table, "")
        for version in {each.version for each in reader.instances(table)}:
            some = [each.id for each in reader.instances(table, version)]
            assert some == vault.get_table_instances(table, version)


def test_both_say_the_same_of_each_instance(rich):
    vault, path = rich
    reader = vault_reader.Vault(path)
    seen = set()
    for table in reader.tables:
        for each in reader.instances(table):
            document = each.document
            assert document["id"] == each.id
            ours = expected(vault, table, each.id)
            said = {key: document[key] for key in ("success", "rows", "dtypes", "process")}
            assert said | {"active": each.active} == ours
            assert each.success == ours["success"]
            frame = each.frame()
            assert (frame.rows, frame.dtypes) == (ours["rows"], ours["dtypes"])
            names = vault.get_builders_list(table, each.id)
            assert list(each.builders) == names
            for name, text in each.builders.items():
                assert text == vault.get_builder_str(table, name, each.id)
            seen.add((each.active, each.success, bool(each.errors)))
    assert {(False, True, False), (True, False, False), (True, True, True)} <= seen


def test_the_vault_has_what_is_to_be_read(rich):
    reader = vault_reader.Vault(rich[1])
    authors = [each.document["author"] for each in reader.instances("measures", "base")]
    assert authors[-2:] == [BO, ANA]
    assert [each.active for each in reader.instances("sent")] == [False, True]
    assert [each.success for each in reader.instances("words", "part")] == [False]
    assert [each.errors for each in reader.instances("words", "base")] == [0, 1]
    forms = {
        (facts["form"], facts["facts"].get("objects"))
        for each in reader.instances("measures")
        for facts in each.frame().facts.values()
    }
    plain = {"masked", "string", "datetime", "zoned", "timedelta", "category", "interval"}
    plain |= {"period", "complex", "arrow"}
    objects = {"json", "uuid", "date", "datetime", "list", "vector", "decimal"}
    assert forms == {(form, None) for form in plain} | {("objects", each) for each in objects}


def same(ours, read):
    """Return whether two values are equal, NaN equal to itself, and of one type."""
    if isinstance(ours, pd.Timestamp | pd.Timedelta):
        return ours == read
    if isinstance(ours, pd.Period):
        return ours.ordinal == read
    if isinstance(ours, np.ndarray):
        return ours.tolist() == read
    if isinstance(ours, pd.Interval):
        return [ours.left, ours.right] == read
    if isinstance(ours, float | decimal.Decimal) and ours != ours:  # noqa: PLR0124 - NaN
        return type(ours) is type(read) and read != read  # noqa: PLR0124 - as above
    return type(ours) is type(read) and ours == read


def test_both_read_the_same_values(rich):
    vault, path = rich
    reader = vault_reader.Vault(path)
    count = 0
    for table in reader.tables:
        for each in reader.instances(table):
            ours, _ = vault.get_dataframe(table, each.id, full_artifact_path=False)
            for name, read in each.frame().columns.items():
                kept = ours[name]
                is_object = kept.dtype == object
                cells = kept.tolist()
                if not is_object:
                    cells = [None if pd.api.types.is_scalar(v) and pd.isna(v) else v for v in cells]
                assert len(cells) == len(read)
                unlike = [pair for pair in zip(cells, read, strict=True) if not same(*pair)]
                assert not unlike, (table, name)
                count += len(read)
    assert count > 50


def test_both_read_the_same_code_calls_and_artifacts(rich):
    vault, path = rich
    reader = vault_reader.Vault(path)
    made = reader.instances("words", "base")
    for each in made:
        assert each.code == {"words": CODE}
        ours = vault.get_calls("words", each.id)
        calls = each.calls()
        assert [call["outcome"] for call in calls] == ours["outcome"].tolist()
        assert [call["builder"] for call in calls] == ours["builder"].tolist()
        columns = each.frame().columns
        for call in calls:
            if call["builder"] == "length" and call["outcome"] == "ok":
                assert call["value"] == [columns["length"][call["row"]]]
    folder = pathlib.Path(vault.get_artifact_folder("words", made[-1].id))
    found = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert (list(made[0].artifacts), set(made[-1].artifacts)) == (["in/text.txt"], found)


def test_both_read_the_same_dependencies_and_temporary_instances(rich):
    vault, path = rich
    reader = vault_reader.Vault(path)
    (numbers,) = reader.instances("measures", "a b.é")
    (source,) = numbers.document["dependencies"]
    assert [source] == vault.get_descriptions(numbers.id, "measures")["dependencies"]
    temps = {(each.table, each.version): each for each in reader.temps()}
    assert list(temps) == [
        ("measures", "taken"),
        ("sent", "base"),
        ("words", "base"),
        ("words", "x..y"),
    ]
    copied = temps["words", "base"]
    assert copied.document["origin"] == [reader.instances("words", "base")[-1].id, "words"]
    assert sorted(copied.builders) == sorted(vault.get_builders_list("words", "TEMP_base"))


def test_the_vault_that_is_read_is_sound(rich):
    check_clean(rich[1])


def test_a_document_that_is_not_that_of_the_instance_is_found(tmp_path, git):
    vault = TableVault(tmp_path / "v", ANA, create=True)
    vault.create_table("t")
    write(vault, pd.DataFrame({"n": [1]}), "t")
    check_readable(tmp_path / "v")
    document = tmp_path / "v/tables/t/base/instance.yaml"
    document.write_text(document.read_text("utf-8").replace("rows: 1", "rows: 2"), "utf-8")
    git(tmp_path / "v", "commit", "-qam", "by hand", "--no-verify")
    with pytest.raises(AssertionError):
        check_readable(tmp_path / "v")


def test_a_dataframe_that_is_not_that_of_the_document_is_found(tmp_path):
    vault = TableVault(tmp_path / "v", ANA, create=True)
    vault.create_table("t")
    write(vault, pd.DataFrame({"n": [1]}), "t")
    (kept,) = (file for file in (tmp_path / "v/.git/lfs/objects").rglob("*") if file.is_file())
    kept.unlink()
    pd.DataFrame({"n": [1, 2]}).to_parquet(kept)
    with pytest.raises(AssertionError):
        check_readable(tmp_path / "v")


def test_the_reader_uses_nothing_of_the_package_and_is_short():
    path = ROOT / "tests" / "vault_reader.py"
    names = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(path.read_bytes()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [str(node.module)]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert names - sys.stdlib_module_names == {"pyarrow", "pygit2", "yaml"}
    assert lines_of_code(path) <= 200
