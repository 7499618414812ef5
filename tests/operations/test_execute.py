"""execute_instance: builders run, references are read, failures leave nothing."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tablevault import TableVault
from tablevault.errors import (
    TableReferenceError,
    TVArgumentError,
    TVBuilderError,
    TVFileError,
    TVTableError,
)
from tests.looking import check_clean, git, state_of

CODE = """\
import pandas as pd


class Unexpected(Exception):
    pass


def make(names):
    return pd.DataFrame({"name": names})


def shout(name, ending="!"):
    return name.upper() + ending


def lengths(frame):
    for name in frame["name"]:
        yield len(name)


def fail(name):
    raise Unexpected(f"no {name}")


def total(values):
    return pd.DataFrame({"total": [int(values["length"].sum())]})
"""
INDEX = """\
builder_type: IndexBuilder
changed_columns: [name]
python_function: make
code_module: words
is_custom: true
arguments:
  names: [a, bb, ccc]
"""
SHOUT = """\
builder_type: ColumnBuilder
changed_columns: [loud]
python_function: shout
code_module: words
is_custom: true
return_type: row-wise
arguments: {name: "<<self.name[index]>>"}
"""
LENGTHS = """\
builder_type: ColumnBuilder
changed_columns: [length]
python_function: lengths
code_module: words
is_custom: true
return_type: generator
arguments: {frame: "<<self.name>>"}
"""
TOTAL = """\
builder_type: IndexBuilder
changed_columns: [total]
python_function: total
code_module: words
is_custom: true
arguments: {values: "<<words.length>>"}
"""


@pytest.fixture
def words(vault: TableVault) -> TableVault:
    vault.create_code_module("words", text=CODE)
    vault.create_table("words")
    vault.create_instance(
        "words", builders={"words_index": INDEX, "shout": SHOUT, "lengths": LENGTHS}
    )
    return vault


def test_the_three_return_types_make_a_table(words: TableVault, vault_path: Path) -> None:
    process = words.execute_instance("words")
    frame, instance = words.get_dataframe("words")
    assert frame.to_dict("list") == {
        "name": ["a", "bb", "ccc"],
        "length": [1, 2, 3],
        "loud": ["A!", "BB!", "CCC!"],
    }
    assert words.get_process_completion(process)
    assert words.get_active_processes() == {}
    assert instance.startswith("base_")
    assert git(vault_path, "log", "-1", "--format=%s") == "words/base: execute, 3 rows\n"
    shown = git(vault_path, "show", f"words/{instance}:code/words.py")
    assert shown == CODE
    check_clean(vault_path)


def test_another_table_is_read_and_recorded(words: TableVault) -> None:
    words.execute_instance("words")
    (source,) = words.get_table_instances("words")
    words.create_table("sums")
    words.create_instance("sums", builders={"sums_index": TOTAL})
    words.execute_instance("sums")
    frame, instance = words.get_dataframe("sums")
    assert frame["total"].tolist() == [6]
    assert words.get_descriptions(instance)["dependencies"] == [["words", source]]


def test_the_exception_of_a_function_passes_unchanged(words: TableVault, vault_path: Path) -> None:
    words.create_builder_file("words", "shout", text=SHOUT.replace("shout", "fail"))
    before = state_of(vault_path)
    with pytest.raises(Exception, match=r"^no a\n") as caught:
        words.execute_instance("words")
    assert type(caught.value).__name__ == "Unexpected"
    assert state_of(vault_path) == before
    assert words.get_active_processes() == {}
    words.create_builder_file("words", "shout", text=SHOUT)
    words.execute_instance("words")
    assert len(words.get_dataframe("words")[0]) == 3


@pytest.mark.parametrize(
    ("error", "builder", "text"),
    [
        (TVBuilderError, "shout", SHOUT.replace("row-wise", "nonsense")),
        (TVBuilderError, "shout", SHOUT.replace("loud", "length")),
        (TVBuilderError, "shout", SHOUT.replace("ColumnBuilder", "Nonsense")),
        (TVBuilderError, "words_index", INDEX + "  x: <<self.loud>>\n"),
        (TVFileError, "shout", SHOUT.replace("code_module: words", "code_module: nope")),
        (TVFileError, "shout", SHOUT.replace("python_function: shout", "python_function: nope")),
        (TableReferenceError, "shout", SHOUT.replace("<<self.name[index]>>", "<<nope.x[index]>>")),
        (TableReferenceError, "shout", SHOUT.replace("<<self.name[index]>>", "<<self.x[index]>>")),
        (TVTableError, "shout", SHOUT + "dtypes: {loud: Int64}\n"),
        (TVBuilderError, "shout", SHOUT + "dtypes: {loud: nonsense}\n"),
        (TVBuilderError, "lengths", LENGTHS.replace("generator", "dataframe")),
        (
            TVTableError,
            "words_index",
            INDEX.replace("[a, bb, ccc]", "[a, a]") + "primary_key: [name]\n",
        ),
    ],
)
def test_a_bad_builder_changes_nothing(
    words: TableVault, vault_path: Path, error: type[Exception], builder: str, text: str
) -> None:
    words.create_builder_file("words", builder, text=text)
    before = state_of(vault_path)
    with pytest.raises(error):
        words.execute_instance("words")
    assert state_of(vault_path) == before


def test_unedited_templates_and_missing_index_are_refused(
    vault: TableVault, vault_path: Path
) -> None:
    vault.create_table("words")
    vault.create_instance("words")
    with pytest.raises(TVBuilderError):
        vault.execute_instance("words")
    vault.delete_builder_file("words_index", "words")
    before = state_of(vault_path)
    with pytest.raises(TVBuilderError, match="words_index"):
        vault.execute_instance("words")
    with pytest.raises(TVArgumentError):
        vault.execute_instance("words", version="other")
    assert state_of(vault_path) == before


def test_edits_in_the_folders_are_what_runs(words: TableVault, vault_path: Path) -> None:
    (vault_path / "code/words.py").write_text(CODE.replace('"!"', '"?"'))
    edited = vault_path / "temp/words/base/builders/words_index.yaml"
    edited.write_text(INDEX.replace("[a, bb, ccc]", "[x]"))
    words.execute_instance("words")
    frame, instance = words.get_dataframe("words")
    assert frame["loud"].tolist() == ["X?"]
    assert '"?"' in git(vault_path, "show", f"words/{instance}:code/words.py")
    assert words.get_builder_str("words", is_temp=False) == INDEX.replace("[a, bb, ccc]", "[x]")
    check_clean(vault_path)


def test_a_copy_takes_the_builders_over(words: TableVault, vault_path: Path) -> None:
    words.execute_instance("words")
    (first,) = words.get_table_instances("words")
    words.create_instance("words", copy=True, builders={"shout": SHOUT + "# louder\n"})
    assert words.get_builders_list("words") == ["lengths", "shout", "words_index"]
    words.execute_instance("words")
    second = words.get_table_instances("words")[-1]
    assert words.get_descriptions(second)["origin"] == [first, "words"]
    diff = git(vault_path, "diff", f"words/{first}", f"words/{second}", "--", "tables/words/base")
    assert "+# louder" in diff


def test_a_copy_into_another_table_renames_the_index_builder(words: TableVault) -> None:
    words.execute_instance("words")
    (first,) = words.get_table_instances("words")
    words.create_table("other")
    words.create_instance("other", origin_id=first, origin_table="words")
    assert words.get_builders_list("other") == ["lengths", "other_index", "shout"]
    words.execute_instance("other")
    assert len(words.get_dataframe("other")[0]) == 3


def test_rename_with_builders_executes(words: TableVault) -> None:
    words.rename_table("terms", "words")
    words.execute_instance("terms")
    assert len(words.get_dataframe("terms")[0]) == 3


def test_an_instance_being_read_cannot_be_deleted_meanwhile(words: TableVault) -> None:
    from tablevault.errors import TVLockError

    words.execute_instance("words")
    (source,) = words.get_table_instances("words")
    seen = []
    words.create_code_module(
        "meddle",
        text=(
            "import pandas as pd\n"
            "from tablevault import TableVault\n"
            "from tablevault.errors import TVLockError\n"
            "import threading\n"
            "def meddle(values, path, instance):\n"
            "    caught = []\n"
            "    def work():\n"
            "        vault = TableVault(path, 'bob', lock_timeout=0.2)\n"
            "        try:\n"
            "            vault.delete_instance(instance, 'words')\n"
            "        except TVLockError as error:\n"
            "            caught.append(str(error))\n"
            "    thread = threading.Thread(target=work)\n"
            "    thread.start()\n"
            "    thread.join()\n"
            "    return pd.DataFrame({'total': caught})\n"
        ),
    )
    text = (
        TOTAL.replace("python_function: total", "python_function: meddle")
        .replace("code_module: words", "code_module: meddle")
        .replace(
            '{values: "<<words.length>>"}',
            f'{{values: "<<words.length>>", path: {words._vault.path}, instance: {source}}}',
        )
    )
    words.create_table("sums")
    words.create_instance("sums", builders={"sums_index": text})
    words.execute_instance("sums")
    seen = words.get_dataframe("sums")[0]["total"].tolist()
    assert len(seen) == 1
    assert "execute_instance" in seen[0]
    assert TVLockError.__name__
    assert words.get_table_instances("words") == [source]


def test_a_function_may_work_on_the_vault_it_runs_in(words: TableVault, vault_path: Path) -> None:
    words.create_code_module(
        "nested",
        text=(
            "import pandas as pd\n"
            "from tablevault import TableVault\n"
            "def nested(path):\n"
            "    vault = TableVault(path, 'bob')\n"
            "    vault.create_table('made_within')\n"
            "    return pd.DataFrame({'name': ['x']})\n"
        ),
    )
    index = (
        INDEX.replace("python_function: make", "python_function: nested")
        .replace("code_module: words", "code_module: nested")
        .replace("names: [a, bb, ccc]", f"path: {vault_path}")
    )
    words.create_table("outer")
    words.create_instance("outer", builders={"outer_index": index})
    process = words.execute_instance("outer")
    assert "made_within" in words.get_table_instances()
    log = git(vault_path, "log", "--format=%(trailers:key=Vault-Parent-Process,valueonly)", "-3")
    assert process in log
    check_clean(vault_path)


def test_an_empty_result_is_an_instance(words: TableVault) -> None:
    words.create_builder_file("words", "words_index", text=INDEX.replace("[a, bb, ccc]", "[]"))
    words.execute_instance("words")
    frame, _ = words.get_dataframe("words")
    assert frame.shape == (0, 3)


def test_a_frame_of_a_function_is_stored_under_side_effects(vault: TableVault) -> None:
    vault.create_table("events", has_side_effects=True)
    ids = []
    for n in range(2):
        vault.create_instance("events", external_edit=True)
        vault.write_instance(pd.DataFrame({"n": [n]}), "events")
        ids.append(vault.get_table_instances("events")[-1])
    assert vault.get_table_instances("events") == ids
    assert vault.get_descriptions(ids[0])["active"] is False
    assert vault.get_dataframe("events")[1] == ids[1]
    vault.delete_instance(ids[1], "events")
    with pytest.raises(TVTableError, match="active"):
        vault.get_dataframe("events")
    assert vault.get_dataframe("events", active_only=False)[1] == ids[0]


def test_code_edited_while_it_runs_is_not_what_made_the_instance(
    vault: TableVault, vault_path: Path
) -> None:
    text = (
        "import pandas as pd\n"
        "from pathlib import Path\n"
        "def edit_itself(path):\n"
        "    file = Path(path) / 'code' / 'restless.py'\n"
        "    file.write_text(file.read_text() + '# later\\n')\n"
        "    return pd.DataFrame({'name': ['x']})\n"
    )
    index = (
        INDEX.replace("python_function: make", "python_function: edit_itself")
        .replace("code_module: words", "code_module: restless")
        .replace("names: [a, bb, ccc]", f"path: {vault_path}")
    )
    vault.create_table("words")
    vault.create_instance("words", builders={"words_index": index})
    (vault_path / "code/restless.py").write_text(text)
    vault.execute_instance("words")
    (instance,) = vault.get_table_instances("words")
    assert git(vault_path, "show", f"words/{instance}:code/restless.py") == text
    assert git(vault_path, "status", "--porcelain") == " M code/restless.py\n"
    vault.create_table("other")
    assert git(vault_path, "status", "--porcelain") == ""
    assert git(vault_path, "show", "main:code/restless.py").endswith("# later\n")


def test_only_the_modules_that_ran_are_recorded(words: TableVault) -> None:
    words.create_code_module("helper", text="def bang():\n    return '!'\n")
    words.create_code_module("unrelated", text="x = 1\n")
    text = CODE.replace("import pandas as pd\n", "import pandas as pd\nimport helper\n", 1)
    words.create_code_module("words", text=text)
    words.execute_instance("words")
    (instance,) = words.get_table_instances("words")
    shown = git(words._vault.path, "show", f"words/{instance}:tables/words/base/instance.yaml")
    assert "\n  helper: " in shown
    assert "\n  words: " in shown
    assert "unrelated" not in shown


def test_own_artifacts_are_read_by_full_path(vault: TableVault) -> None:
    text = (
        "from pathlib import Path\n"
        "import pandas as pd\n"
        "def make(folder):\n"
        "    for name in ('a.txt', 'b.txt'):\n"
        "        (Path(folder) / name).write_text(name * 2)\n"
        "    return pd.DataFrame({'file': ['a.txt', 'b.txt', None]})\n"
        "def read(path):\n"
        "    return Path(path).read_text() if path else ''\n"
    )
    index = (
        "builder_type: IndexBuilder\nchanged_columns: [file]\npython_function: make\n"
        "code_module: files\nis_custom: true\ndtypes: {file: artifact_string}\n"
        "arguments: {folder: ~ARTIFACT_FOLDER~}\n"
    )
    column = (
        "builder_type: ColumnBuilder\nchanged_columns: [text]\npython_function: read\n"
        "code_module: files\nis_custom: true\nreturn_type: row-wise\n"
        "arguments:\n  path: <<self.file[index]>>\n"
    )
    vault.create_code_module("files", text=text)
    vault.create_table("papers")
    vault.create_instance("papers", builders={"papers_index": index, "text": column})
    vault.execute_instance("papers")
    frame, _ = vault.get_dataframe("papers", full_artifact_path=False)
    assert frame["text"].tolist() == ["a.txta.txt", "b.txtb.txt", ""]
    assert frame["file"].tolist()[:2] == ["a.txt", "b.txt"]
    read, _ = vault.get_dataframe("papers")
    assert Path(read["file"][1]).read_text() == "b.txtb.txt"


def warned_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [text for text in caplog.messages if "[index]" in text]
    caplog.clear()
    return found


def one_column(argument: str, return_type: str = "row-wise") -> dict[str, str]:
    """Builders of a table whose column `size` is made from one argument."""
    column = LENGTHS.replace("lengths", "size").replace("generator", return_type)
    return {
        "sizes_index": INDEX.replace("words", "sizes"),
        "size": column.replace('{frame: "<<self.name>>"}', argument).replace("[length]", "[size]"),
    }


SIZES = (
    CODE
    + """

def size(what):
    return len(what)
"""
)


@pytest.fixture
def sizes(vault: TableVault):
    vault.create_code_module("sizes", text=SIZES)
    vault.create_table("sizes")

    def execute(argument: str) -> list[object]:
        builders = one_column(argument)
        builders = {name: text.replace("words", "sizes") for name, text in builders.items()}
        vault.create_instance("sizes", builders=builders)
        vault.execute_instance("sizes")
        return vault.get_dataframe("sizes")[0]["size"].tolist()

    return execute


@pytest.mark.parametrize(
    ("argument", "place", "written", "by_row"),
    [
        ('"<<self.name>>"', "what", "<<self.name>>", "<<self.name[index]>>"),
        ('"<< self.{name} >>"', "what", "<< self.{name} >>", "<< self.{name}[index]>>"),
        ('["<<self>>"]', "what[0]", "<<self>>", "<<self[index]>>"),
    ],
)
def test_a_whole_column_in_the_call_of_a_row_is_warned_of_once(
    sizes, caplog, argument, place, written, by_row
) -> None:
    sizes(f"{{what: {argument}}}")
    (text,) = warned_of(caplog)
    for word in ('"size"', f"arguments.{place} ", f'"{written}"', f'"{by_row}"'):
        assert word in text
    sizes(f"{{what: {argument}}}")
    assert warned_of(caplog) == []


def test_whole_columns_of_other_return_types_are_not_warned_of(words, caplog) -> None:
    words.execute_instance("words")
    assert warned_of(caplog) == []
