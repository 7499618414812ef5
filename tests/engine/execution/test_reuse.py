"""What is unchanged is not computed again: counted calls, and the reasons that are told."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tablevault import TableVault
from tests.looking import check_clean, git

CODE = """\
import os

import pandas as pd


def paid(what):
    with open({calls!r}, "a") as file:
        file.write(what + "\\n")


def index(keys, extra=0):
    return pd.DataFrame({{"k": list(keys), "n": [ord(key) + extra for key in keys]}})


def up(k, mark="!"):
    paid(f"up {{k}}")
    return k.upper() + mark


def whole(frame):
    paid("whole")
    return pd.DataFrame({{"twice": frame["n"] * 2}})


def each(frame):
    paid("each")
    for n in frame["n"]:
        yield n + 1


def look(k, table):
    paid(f"look {{k}}")
    return None if table is None else str(table)

"""


class Bench:
    """A vault with one table, whose builders are given anew for each execution."""

    def __init__(self, path: Path) -> None:
        self.path = path / "v"
        self.calls = path / "calls"
        self.vault = TableVault(self.path, "Ana", create=True)
        self.write_code()
        self.vault.create_table("t")

    def write_code(self, change: str = "") -> None:
        self.vault.create_code_module("m", text=CODE.format(calls=str(self.calls)) + change)

    def run(self, builders: dict[str, dict[str, object]], **options: object) -> Counter[str]:
        """Execute; give how often which function was called for which row."""
        self.calls.write_text("", encoding="utf-8")
        texts = {name: yaml.safe_dump(each) for name, each in builders.items()}
        self.vault.create_instance("t", builders=texts)
        self.vault.execute_instance("t", **options)
        return Counter(self.calls.read_text(encoding="utf-8").splitlines())

    def told(self) -> dict[str, dict[str, object]]:
        """Return what the last instance says of its execution."""
        _, instance_id = self.vault.get_dataframe("t")
        return self.vault.get_descriptions(instance_id, "t")["execution"]

    def frame(self) -> pd.DataFrame:
        return self.vault.get_dataframe("t")[0]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def index(keys: str = "abc", **more: object) -> dict[str, object]:
    arguments = {"keys": list(keys)} | more.pop("arguments", {})
    return {
        "builder_type": "IndexBuilder",
        "changed_columns": ["k", "n"],
        "primary_key": ["k"],
        "python_function": "index",
        "code_module": "m",
        "is_custom": True,
        "arguments": arguments,
    } | more


def column(name: str, function: str, arguments: dict[str, object], **more: object):
    return {
        "builder_type": "ColumnBuilder",
        "changed_columns": [name],
        "python_function": function,
        "code_module": "m",
        "is_custom": True,
        "return_type": "row-wise",
        "arguments": arguments,
    } | more


UP = column("u", "up", {"k": "<<self.k[index]>>"})
WHOLE = column("twice", "whole", {"frame": "<<self.n>>"}, return_type="dataframe")
EACH = column("next", "each", {"frame": "<<self.n>>"}, return_type="generator")
ALL = {"t_index": index(), "up": UP, "whole": WHOLE, "each": EACH}
EVERY_CALL = Counter({"up a": 1, "up b": 1, "up c": 1, "whole": 1, "each": 1})


def test_nothing_changed_nothing_is_called(bench):
    assert bench.run(ALL) == EVERY_CALL
    assert bench.told()["up"] == {"computed": 3, "reused": 0, "reason": "first run"}
    first = bench.frame()
    assert bench.run(ALL) == Counter()
    assert bench.told()["up"] == {"computed": 0, "reused": 3, "reason": "unchanged"}
    pd.testing.assert_frame_equal(bench.frame(), first)
    check_clean(bench.path)


def test_it_is_told_in_the_commit(bench):
    bench.run(ALL)
    bench.run(ALL | {"t_index": index("abcd")})
    body = git(bench.path, "log", "-1", "--first-parent", "--format=%b").splitlines()
    assert body[:4] == [
        "t_index: 4 rows computed: index builders always run",
        "each: 4 rows computed: 1 new row; `self.n` changed",
        "up: 1 row computed, 3 reused: 1 new row",
        "whole: 4 rows computed: 1 new row; `self.n` changed",
    ]


def test_rows_are_known_by_their_key(bench):
    bench.run(ALL)
    calls = bench.run({"t_index": index("cxa"), "up": UP})
    assert set(calls) == {"up x"}
    assert bench.frame()["u"].tolist() == ["C!", "X!", "A!"]
    assert bench.frame()["k"].tolist() == ["c", "x", "a"]


def test_a_row_whose_other_column_changed_is_kept_if_nobody_reads_that(bench):
    bench.run(ALL)
    calls = bench.run(ALL | {"t_index": index(arguments={"extra": 1})})
    assert calls == Counter({"whole": 1, "each": 1})
    assert bench.frame()["n"].tolist() == [98, 99, 100]
    assert bench.frame()["twice"].tolist() == [196, 198, 200]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"arguments": {"k": "<<self.k[index]>>", "mark": "?"}}, "argument `mark` changed"),
        ({"changed_columns": ["v"]}, ""),
    ],
)
def test_a_changed_builder_computes_its_columns(bench, change, reason):
    bench.run(ALL)
    calls = bench.run(ALL | {"up": UP | change})
    assert calls == Counter({"up a": 1, "up b": 1, "up c": 1})
    assert reason in bench.told()["up"]["reason"]
    assert bench.told()["whole"]["reason"] == "unchanged"
    assert set(bench.frame()) == {
        "k",
        "n",
        "twice",
        "next",
        *(change.get("changed_columns") or "u"),
    }


def test_comments_order_and_names_of_builders_change_nothing_that_is_paid(bench):
    bench.run(ALL)
    text = "# a comment\n" + yaml.safe_dump(dict(reversed(UP.items())), sort_keys=False)
    bench.vault.create_instance("t", builders={"t_index": yaml.safe_dump(index()), "up": text})
    bench.calls.write_text("", encoding="utf-8")
    bench.vault.execute_instance("t")
    assert bench.calls.read_text(encoding="utf-8") == ""


def test_a_builder_that_goes_takes_its_column(bench):
    bench.run(ALL)
    assert bench.run({"t_index": index(), "up": UP}) == Counter()
    assert list(bench.frame()) == ["k", "n", "u"]


def test_what_depends_on_a_changed_column_is_computed(bench):
    after = column("v", "up", {"k": "<<self.u[index]>>"})
    bench.run(ALL | {"after": after})
    shout = UP | {"arguments": {"k": "<<self.k[index]>>", "mark": "?"}}
    calls = bench.run(ALL | {"up": shout, "after": after})
    assert calls["up A?"] == calls["up B?"] == calls["up C?"] == 1
    assert "`self.u`" in bench.told()["after"]["reason"]
    assert bench.frame()["v"].tolist() == ["A?!", "B?!", "C?!"]


def test_one_changed_cell_computes_one_row_after_it(bench):
    after_n = column("v", "up", {"k": "<<self.n[index]>>x"})
    bench.run({"t_index": index("abc"), "after": after_n})
    assert bench.run({"t_index": index("abc"), "after": after_n}) == Counter()
    assert bench.run({"t_index": index("abd"), "after": after_n}) == Counter({"up 100x": 1})


def upstream(bench: Bench, values: dict[str, str]) -> None:
    if "words" not in bench.vault.get_table_instances():
        bench.vault.create_table("words")
    bench.vault.create_instance("words", external_edit=True)
    frame = pd.DataFrame({"key": list(values), "word": list(values.values())})
    bench.vault.write_instance(frame, "words")


LOOK = column(
    "w", "look", {"k": "<<self.k[index]>>", "table": "<<words.word[key::<<self.k[index]>>]>>"}
)


def test_a_row_is_computed_when_the_cell_that_it_reads_changes(bench):
    builders = {"t_index": index(), "look": LOOK}
    upstream(bench, {"a": "1", "b": "2", "c": "3"})
    assert len(bench.run(builders)) == 3
    upstream(bench, {"c": "3", "a": "1", "b": "2"})
    assert bench.run(builders) == Counter()
    upstream(bench, {"a": "1", "b": "two", "c": "3", "d": "4"})
    assert bench.run(builders) == Counter({"look b": 1})
    assert bench.frame()["w"].tolist() == ["1", "two", "3"]


def test_a_row_that_moves_is_looked_up_where_it_was(bench):
    builders = {"t_index": index("bc"), "look": LOOK}
    upstream(bench, {"a": "1", "b": "2", "c": "3"})
    assert len(bench.run(builders)) == 2
    assert bench.run(builders | {"t_index": index("abc")}) == Counter({"look a": 1})
    assert bench.told()["look"]["reason"] == "1 new row"
    upstream(bench, {"c": "3", "b": "two", "a": "1"})
    assert bench.run(builders | {"t_index": index("cab")}) == Counter({"look b": 1})
    assert bench.frame()["w"].tolist() == ["3", "1", "two"]


@pytest.mark.parametrize(
    "argument", ["<<self.index>>", "<<words.word[index]>>", "<<words.word[key::<<self.index>>]>>"]
)
def test_a_row_that_moves_is_asked_anew_if_its_place_is_what_it_reads(bench, argument):
    look = column("w", "look", {"k": "<<self.k[index]>>", "table": argument})
    upstream(bench, {"0": "1", "1": "2", "2": "3"})
    bench.run({"t_index": index("bc"), "look": look})
    calls = bench.run({"t_index": index("abc"), "look": look})
    assert calls == Counter({"look a": 1, "look b": 1, "look c": 1})


def test_a_column_called_index_that_a_condition_reads_is_a_change(bench):
    bench.vault.create_table("marks")

    def marks(at):
        bench.vault.create_instance("marks", external_edit=True)
        bench.vault.write_instance(pd.DataFrame({"index": at, "m": ["x", "y", "z"]}), "marks")

    look = column("w", "look", {"k": "<<self.k[index]>>", "table": "<<marks.m[index::1:3]>>"})
    builders = {"t_index": index(), "look": look}
    marks([1, 5, 2])
    assert len(bench.run(builders)) == 3
    marks([1, 5, 2])
    assert bench.run(builders) == Counter()
    marks([1, 2, 5])
    assert len(bench.run(builders)) == 3
    assert bench.frame()["w"].tolist() == ["['x', 'y']"] * 3


def test_the_same_content_in_a_new_instance_is_no_change(bench):
    whole = column("w", "look", {"k": "<<self.k[index]>>", "table": "<<words.word>>"})
    builders = {"t_index": index(), "look": whole}
    upstream(bench, {"a": "1"})
    assert len(bench.run(builders)) == 3
    upstream(bench, {"a": "1"})
    assert bench.run(builders) == Counter()
    upstream(bench, {"a": "2"})
    assert len(bench.run(builders)) == 3
    assert "`words.word`" in bench.told()["look"]["reason"]


def test_a_rename_of_what_is_read_changes_no_value(bench):
    builders = {"t_index": index(), "look": LOOK}
    upstream(bench, {"a": "1", "b": "2", "c": "3"})
    bench.run(builders)
    bench.vault.rename_table("terms", "words")
    renamed = yaml.safe_load(yaml.safe_dump(LOOK).replace("words", "terms"))
    assert bench.run({"t_index": index(), "look": renamed}) == Counter()
    assert bench.told()["look"]["reason"] == "argument `table` changed; made before"
    assert bench.run({"t_index": index(), "look": renamed}) == Counter()


FAILS = """
def up(k, mark="!"):
    paid(f"up {{k}}")
    if k == "{at}":
        raise OSError("away")
    return k
"""


def test_cells_that_were_never_computed_are(bench):
    texts = {"t_index": yaml.safe_dump(index()), "up": yaml.safe_dump(UP)}
    bench.vault.create_instance("t", builders=texts)
    bench.write_code(change=FAILS.format(at="c"))
    with pytest.raises(OSError, match="away"):
        bench.vault.execute_instance("t", process_id="p")
    bench.vault.stop_process("p", materialize=True)
    assert bench.frame()["u"].isna().tolist() == [False, False, True]
    assert bench.run({"t_index": index("ab"), "up": UP}) == Counter()
    bench.write_code(change=FAILS.format(at="d"))
    assert bench.run({"t_index": index(), "up": UP})["up c"] == 1
    assert bench.frame()["u"].tolist() == ["a", "b", "c"]


def test_the_latest_active_instance_is_the_origin_of_a_fresh_one(bench):
    bench.run(ALL)
    first = bench.vault.get_table_instances("t")[0]
    bench.run(ALL)
    second = bench.vault.get_table_instances("t")[1]
    assert tuple(bench.vault.get_descriptions(second, "t")["origin"]) == (first, "t")
    bench.vault.delete_instance(second, "t")
    assert bench.run(ALL) == Counter()
    third = bench.vault.get_table_instances("t")[-1]
    assert tuple(bench.vault.get_descriptions(third, "t")["origin"]) == (first, "t")


def test_an_origin_of_another_table(bench):
    bench.run(ALL)
    origin = bench.vault.get_table_instances("t")[0]
    bench.vault.create_table("s")
    bench.vault.create_instance("s", origin_id=origin, origin_table="t")
    bench.calls.write_text("", encoding="utf-8")
    bench.vault.execute_instance("s")
    assert bench.calls.read_text(encoding="utf-8") == ""
    pd.testing.assert_frame_equal(bench.vault.get_dataframe("s")[0], bench.frame())


@pytest.mark.parametrize("keyed", [True, False])
def test_old_rows_are_kept_once(bench, keyed):
    key = ["k"] if keyed else []
    bench.run({"t_index": index("ab", primary_key=key), "up": UP})
    later = {"t_index": index("bc", primary_key=key, keep_old=True), "up": UP}
    calls = bench.run(later)
    assert bench.frame()["k"].tolist() == (["a", "b", "c"] if keyed else ["a", "b", "b", "c"])
    assert calls["up a"] == 0
    if keyed:
        assert calls == Counter({"up c": 1})
        assert bench.run(later) == Counter()
        assert bench.frame()["k"].tolist() == ["a", "b", "c"]
    assert bench.frame()["u"].tolist()[0] == "A!"


def test_artifacts_count_by_what_is_in_them(bench, tmp_path):
    bench.vault.create_table("files", allow_multiple_artifacts=True)

    def write(text: str) -> None:
        bench.vault.create_instance("files", external_edit=True)
        folder = Path(bench.vault.get_artifact_folder("files"))
        (folder / "a.txt").write_text(text, encoding="utf-8")
        bench.vault.write_instance(
            pd.DataFrame({"key": ["a"], "file": ["a.txt"]}),
            "files",
            dtypes={"file": "artifact_string"},
        )

    look = column(
        "w", "look", {"k": "<<self.k[index]>>", "table": "<<files.file[key::<<self.k[index]>>]>>"}
    )
    builders = {"t_index": index("a"), "look": look}
    write("one")
    assert len(bench.run(builders)) == 1
    write("one")
    assert bench.run(builders) == Counter()  # another path, the same file
    write("two")
    assert len(bench.run(builders)) == 1
