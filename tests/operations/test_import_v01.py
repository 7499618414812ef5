"""A vault that the real TableVault 0.1.1 made (see make.py) becomes one of ours."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pandas as pd
import pytest

from tablevault import TableVault
from tablevault.cli.main import main
from tablevault.operations.v01_format import OldVault
from tests.looking import check_clean, git


@pytest.fixture
def old(tmp_path: Path) -> Path:
    with tarfile.open(Path(__file__).parents[1] / "original/vault.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "old"


@pytest.fixture
def vault(old: Path, tmp_path: Path) -> TableVault:
    assert main(["-q", "--author", "Cy", "import-original", str(old), str(tmp_path / "new")]) == 0
    return TableVault(tmp_path / "new", "Cy")


def test_tables_and_instances_are_all_there(vault, tmp_path):
    assert vault.get_table_instances() == ["papers", "notes", "empty", "pictures"]
    ids = {table: vault.get_table_instances(table, "") for table in vault.get_table_instances()}
    assert {table: len(each) for table, each in ids.items()} == {
        "papers": 2,
        "notes": 2,
        "empty": 0,
        "pictures": 1,
    }
    assert all((tmp_path / "old" / t / i).is_dir() for t, each in ids.items() for i in each)
    assert vault.get_descriptions()["summary"] == "The old vault"
    papers = vault.get_descriptions(table_name="papers")
    assert (papers["summary"], papers["created_by"]) == ("What was read", "Ana")
    described = [vault.get_descriptions(each, "papers") for each in ids["papers"]]
    assert [each["summary"] for each in described] == ["2 papers", "3 papers"]
    assert {each["author"] for each in described} == {"Bo"}
    check_clean(tmp_path / "new")


def test_frames_are_what_they_were(vault):
    papers, _ = vault.get_dataframe("papers")
    assert papers["id"].tolist() == ["x", "y", "z"]
    assert papers["text"].isna().tolist() == [False, True, False]
    assert papers["text"][0] == 'a,\n"b"'
    notes, _ = vault.get_dataframe("notes")
    assert notes.dtypes.astype(str).to_dict() == {
        "id": "string",
        "score": "Float64",
        "good": "boolean",
        "day": "string",
        "loud": "string",
    }
    assert notes["score"].tolist() == [0.5, pd.NA, 2.25]
    assert notes["good"].tolist() == [True, pd.NA, False]
    assert notes["loud"].tolist() == ["X", "Y", "Z"]


def test_history_is_in_order_and_by_who_made_it(vault, tmp_path):
    log = git(tmp_path / "new", "log", "--reverse", "--format=%an: %s").splitlines()
    assert log[1:] == [
        "Ana: papers: create table",
        "Bo: papers/base: write, 2 rows",
        "Bo: papers/base: write, 3 rows",
        "Ana: notes: create table",
        "Ana: notes/base: execute, 3 rows",
        "Ana: notes/base: execute, 3 rows",
        "Ana: empty: create table",
        "Ana: pictures: create table",
        "Ana: pictures/base: write, 1 row",
        "Cy: code: as it was at the import",
    ]
    times = git(tmp_path / "new", "log", "--reverse", "--format=%ct").split()[1:]
    assert times == sorted(times)
    first, second = vault.get_table_instances("notes")
    assert [vault.get_descriptions(each, "notes")["active"] for each in (first, second)] == [
        False,
        True,
    ]
    papers = vault.get_table_instances("papers")
    assert [list(pair) for pair in vault.get_descriptions(second, "notes")["dependencies"]] == [
        ["papers", papers[-1]]
    ]


def test_the_code_that_ran_stays_with_what_it_made(vault, tmp_path):
    instance = vault.get_table_instances("notes")[0]
    ran = git(tmp_path / "new", "show", f"notes/{instance}:code/made.py")
    assert "# later" not in ran
    assert vault.get_code_module_str("made") == f"{ran}# later\n"
    assert vault.get_builders_list("notes", instance) == ["loud", "notes_index"]


def test_the_primary_key_is_that_of_the_index_builder(vault):
    keys = {
        table: vault.get_descriptions(vault.get_table_instances(table)[-1], table)["primary_key"]
        for table in ("notes", "papers")
    }
    assert keys == {"notes": ["id"], "papers": []}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("builder_type: IndexBuilder\nprimary_key: [a, b]\n", ("a", "b")),
        ("builder_type: IndexBuilder\nprimary_key: a\n", ("a",)),
        ("builder_type: IndexBuilder\nprimary_key: <<config.key>>\n", ()),
        ("builder_type: IndexBuilder\nprimary_key: [gone]\n", ()),
        ("builder_type: IndexBuilder\nprimary_key:\n", ()),
        ("builder_type: IndexBuilder\nprimary_key: 3\n", ()),
        ("builder_type: ColumnBuilder\nprimary_key: [a]\n", ()),
        ("a: [", ()),
        ("\udcff", ()),
    ],
)
def test_a_primary_key_is_one_of_columns_that_there_are(old, text, key):
    instance = OldVault(old).instances()[-1]
    (instance.folder / "builders").mkdir(exist_ok=True)
    for path in (instance.folder / "builders").iterdir():
        path.unlink()
    (instance.folder / "builders/x_index.yaml").write_text(text, "utf-8", "surrogateescape")
    assert instance.primary_key(["a", "b"]) == key


def test_what_programs_left_behind_in_the_old_vault_stays_there(old, tmp_path):
    for name in ("papers/._x.yaml", "code_functions/._made.py"):
        (old / name).write_bytes(b"\0")
    for folder in old.glob("*/*/builders"):
        (folder / "._x.yaml").write_bytes(b"\0")
    for folder in old.rglob("artifacts"):
        (folder / ".DS_Store").write_bytes(b"\0")
    main(["-q", "--author", "Cy", "import-original", str(old), str(tmp_path / "new")])
    assert not [name for name in git(tmp_path / "new", "ls-files").splitlines() if "/." in name]


def test_artifacts_are_taken_along(vault):
    frame, _ = vault.get_dataframe("pictures")
    assert Path(frame["file"][0]).read_text(encoding="utf-8") == "one"


def test_what_is_in_progress_goes_on(vault):
    assert vault.get_table_instances("notes", "next", include_temp=True) == ["TEMP_next"]
    vault.execute_instance("notes", "next")
    frame, instance = vault.get_dataframe("notes", version="next")
    assert frame["loud"].tolist() == ["X", "Y", "Z"]
    told = vault.get_descriptions(instance, "notes")["execution"]["loud"]
    assert told == {"computed": 0, "reused": 3, "reason": "unchanged"}


def test_the_old_vault_is_not_touched(old, tmp_path):
    shutil.copytree(old, tmp_path / "before")
    main(["-q", "--author", "Cy", "import-original", str(old), str(tmp_path / "new")])
    for path in (tmp_path / "before").rglob("*"):
        if path.is_file():
            assert (old / path.relative_to(tmp_path / "before")).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("wrong", ["empty", "ours", "broken", "taken"])
def test_what_cannot_be_imported_leaves_nothing(old, tmp_path, capsys, wrong):
    source, target = old, tmp_path / "new"
    if wrong == "empty":
        (source := tmp_path / "nothing").mkdir()
    elif wrong == "ours":
        TableVault(source := tmp_path / "ours", "Cy", create=True)
    elif wrong == "broken":
        (old / "metadata/tables_history.json").write_text("{", encoding="utf-8")
    else:
        target.mkdir()
    names = sorted(path.name for path in tmp_path.iterdir())
    code = main(["-q", "--author", "Cy", "import-original", str(source), str(target)])
    assert code == 1
    assert capsys.readouterr().err.startswith("TableVault error: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == names


@pytest.mark.parametrize(
    "pattern",
    [
        "code_functions/*.py",
        "*/*/builders/*.yaml",
        "*/*/EXECUTION_ARCHIVE/*.py",
        "*/description.yaml",
    ],
)
def test_what_looks_like_a_key_stops_the_import_unless_that_is_allowed(
    old, tmp_path, capsys, pattern
):
    file = min(old.glob(pattern))
    key = "sk-proj-" + "Az09" * 12
    text = file.read_text()
    line = text.count("\n") + 1
    file.write_text(f"{text}# {key}\n")
    if file.name == "description.yaml":
        file.write_text(text.replace("summary: ", f"summary: {key} "))
        line = text[: text.index("summary: ")].count("\n") + 1
    words = ["-q", "import-original", str(old), str(tmp_path / "new")]
    assert main(words) == 1
    assert f"{file}, line {line} (OpenAI key)" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    assert main([*words, "--allow-secret"]) == 0
    assert "Vault-Allowed-Secret: " in git(tmp_path / "new", "log", "--all", "--format=%B")
    check_clean(tmp_path / "new")


def test_a_description_that_is_no_yaml_is_named_with_line_and_column(old, tmp_path, capsys):
    file = min(old.glob("*/*/description.yaml"))
    file.write_text("summary: a: b\n")
    assert main(["-q", "import-original", str(old), str(tmp_path / "new")]) == 1
    said = f'"{file}" is no readable YAML: mapping values are not allowed here, line 1, column 11.'
    assert capsys.readouterr().err == f"TableVault error: {said} Correct it by hand.\n"
    assert not (tmp_path / "new").exists()
