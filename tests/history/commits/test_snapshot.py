"""The vault at one commit, as values."""

from __future__ import annotations

import pytest

from tablevault.errors import TVArgumentError, TVFileError
from tablevault.history.commits.documents import InstanceDocument, TableDocument
from tablevault.history.commits.snapshot import Snapshot, decode_text, unknown_table
from tablevault.history.git.commit_message import Message
from tablevault.history.git.trees import Put
from tablevault.names import TableId

FRAME = "tables/stories/base/dataframe.parquet"


@pytest.fixture
def repository(new_repository):
    return new_repository()


@pytest.fixture
def pointer(pointer_of):
    return pointer_of(b"rows")


@pytest.fixture
def snapshot(repository, pointer):
    table = TableDocument(
        id=TableId("S"),
        description="d",
        multiple_artifacts=True,
        side_effects=False,
        created_by="Ana",
        created_at="",
    )
    instance = InstanceDocument(description="i", version="base", external_edit=False, id="base_1")
    main = repository.main()
    return Snapshot(
        repository,
        repository.write_commit(
            parents=[main],
            base=main,
            edits=[
                Put(path="tables/stories/table.yaml", data=table.encode()),
                Put(path="tables/stories/base/instance.yaml", data=instance.encode()),
                Put(path="tables/stories/base/builders/q.yaml", data=b"q"),
                Put(path="tables/stories/base/builders/a.yaml", data=b"a"),
                Put(path="tables/stories/base/builders/notes.txt", data=b""),
                Put(path="tables/stories/empty/x", data=b""),
                Put(path="tables/stories/base/artifacts/sub/run", data=b"", executable=True),
                Put(path="tables/no-table/x", data=b""),
                Put(path=FRAME, data=pointer.encode()),
                Put(path="code/m.py", data="\ufeffx = 'é'\n".encode()),
                Put(path="code/package/n.py", data=b""),
                Put(path="code/latin.py", data=b"\xe9"),
            ],
            message=Message(subject="s"),
            author="Ana",
            at=1_700_000_000.0,
        ),
    )


def test_tables_versions_builders_and_modules_are_listed(snapshot):
    assert snapshot.table_names() == ["stories"]
    assert snapshot.versions("stories") == ["base"]
    assert list(snapshot.builders("stories", "base")) == ["a", "q"]
    assert list(snapshot.code_modules()) == ["latin", "m"]
    assert snapshot.versions("nowhere") == []
    assert snapshot.builders("stories", "nowhere") == {}


def test_documents_are_read(snapshot):
    assert snapshot.vault().id == "v"
    assert snapshot.table("stories").id == "S"
    found = snapshot.instance("stories", "base")
    assert found is not None
    assert found.id == "base_1"
    assert snapshot.instance("stories", "nowhere") is None


@pytest.mark.parametrize("name", ["", ".", "..", "no-table", "stories/base", "/", "a\0b"])
def test_what_is_no_table_is_none(snapshot, name):
    assert not snapshot.has_table(name)


def test_an_unknown_table_is_an_error_that_knows_better(snapshot, repository):
    with pytest.raises(TVArgumentError, match='Did you mean "stories"') as caught:
        snapshot.table("storys")
    assert caught.value.table == "storys"
    with pytest.raises(TVArgumentError, match="Tables: stories"):
        snapshot.table("quite-another")
    with pytest.raises(TVArgumentError, match="no tables yet"):
        Snapshot(repository, repository.main()).table("stories")


def test_an_unknown_table_is_an_error_that_names_ten_others():
    tables = "Tables: a0, a1, a2, a3, a4, a5, a6, a7, a8, a9"
    assert str(unknown_table("x", [f"a{at}" for at in range(10)])).endswith(f"{tables}.")
    assert str(unknown_table("x", [f"a{at}" for at in range(12)])).endswith(f"{tables} and 2 more.")


@pytest.mark.parametrize(("table", "made"), [("t", "'t'"), ("", "table_name")])
def test_an_unknown_table_is_made_if_its_name_can_be_used(table, made):
    assert str(unknown_table(table, [])).endswith(f"create_table({made}).")


def test_files_are_listed_with_paths_below_the_folder(snapshot):
    found = {entry.name: entry.executable for entry in snapshot.files("tables/stories/base")}
    assert found == {
        "artifacts/sub/run": True,
        "builders/a.yaml": False,
        "builders/notes.txt": False,
        "builders/q.yaml": False,
        "dataframe.parquet": False,
        "instance.yaml": False,
    }
    assert snapshot.files("nowhere") == []
    assert snapshot.entries("code/m.py") == []


@pytest.mark.parametrize(
    "path", ["nowhere", "code/m.py/x", "/code", "code//m.py", "code/../x", "\0"]
)
def test_a_path_that_leads_nowhere_is_none(snapshot, path):
    assert snapshot.blob(path) is None
    assert snapshot.blob_id(path) is None
    assert snapshot.tree_id(path) is None


def test_a_folder_is_no_file_and_a_file_no_folder(snapshot):
    assert snapshot.blob("code") is None
    assert snapshot.tree_id("code/m.py") is None
    assert snapshot.tree_id("code") is not None
    assert snapshot.tree_id("") is not None


def test_a_pointer_is_read_and_anything_else_refused(snapshot, pointer):
    assert snapshot.pointer(FRAME) == pointer
    assert snapshot.pointer("tables/stories/other/dataframe.parquet") is None
    with pytest.raises(TVFileError, match="is no Git LFS pointer") as caught:
        snapshot.pointer("code/m.py")
    assert caught.value.path == "code/m.py"


def test_text_is_utf8_with_or_without_a_mark(snapshot):
    modules = snapshot.code_modules()
    assert snapshot.text_of(modules["m"], "code/m.py") == "x = 'é'\n"
    with pytest.raises(TVFileError, match=r'"code/latin\.py" is no UTF-8 text: byte 0'):
        snapshot.text_of(modules["latin"], "code/latin.py")
    assert decode_text(b"", "x") == ""


def test_a_vault_without_its_document_is_an_error(repository, git):
    (repository.path / "f").write_text("x")
    git(repository.path, "add", "f")
    tree = git(repository.path, "mktree", text="").strip()
    commit = git(repository.path, "commit-tree", tree, "-m", "x").strip()
    with pytest.raises(TVFileError, match=r"holds no vault\.yaml"):
        Snapshot(repository, commit).vault()


def test_a_folder_is_read_once_for_all_that_is_looked_up_in_it(snapshot):
    assert snapshot._folder("tables") is snapshot._folder("tables")
    assert snapshot._folder("nowhere/at/all") is None


def test_snapshots_of_one_commit_are_equal(snapshot, repository):
    assert snapshot == Snapshot(repository, snapshot.commit)
    assert snapshot != Snapshot(repository, repository.main())
