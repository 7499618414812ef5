"""Builder files and code modules are created and deleted."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tablevault import TableVault
from tablevault.errors import TVArgumentError, TVBuilderError, TVFileError
from tests.looking import check_clean, git, state_of

COLUMN = "builder_type: ColumnBuilder\n"


@pytest.fixture
def papers(vault: TableVault) -> TableVault:
    vault.create_table("papers")
    vault.create_instance("papers")
    return vault


def test_an_instance_without_origin_gets_an_index_template(papers: TableVault) -> None:
    assert papers.get_builders_list("papers") == ["papers_index"]
    template = yaml.safe_load(papers.get_builder_str("papers"))
    assert template["builder_type"] == "IndexBuilder"


def test_builders_may_be_names_files_and_texts(vault: TableVault, tmp_path: Path) -> None:
    vault.create_table("papers")
    path = tmp_path / "from_file.yaml"
    path.write_text(COLUMN)
    given = ["named", str(path)]
    vault.create_instance("papers", builders=given)
    assert given == ["named", str(path)]
    assert vault.get_builders_list("papers") == ["from_file", "named", "papers_index"]
    vault.create_instance("papers", builders={"texted": COLUMN, "filed": str(path)})
    assert vault.get_builders_list("papers") == ["filed", "papers_index", "texted"]
    assert vault.get_builder_str("papers", "filed") == COLUMN


def test_a_builder_is_one_commit_on_the_branch(papers: TableVault, vault_path: Path) -> None:
    before = git(vault_path, "rev-parse", "main")
    process = papers.create_builder_file("papers", "column", text=COLUMN)
    assert git(vault_path, "rev-parse", "main") == before
    subject = git(vault_path, "log", "-1", "--format=%s", "temp/papers/base", "--")
    assert subject == "papers/base: write column\n"
    assert papers.get_process_completion(process)
    assert (vault_path / "temp/papers/base/builders/column.yaml").read_text() == COLUMN


def test_a_folder_of_builders_is_copied(papers: TableVault, tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml", "c.yml"):
        (tmp_path / name).write_text(COLUMN)
    papers.create_builder_file("papers", copy_dir=str(tmp_path))
    assert papers.get_builders_list("papers") == ["a", "b", "papers_index"]


@pytest.mark.parametrize("name", ["../x", "a/b", "a b", "x\n", "", "é"])
def test_a_bad_name_changes_nothing(papers: TableVault, vault_path: Path, name: str) -> None:
    before = state_of(vault_path)
    with pytest.raises(TVArgumentError):
        papers.create_instance("papers", builders={name: COLUMN})
    if name:
        with pytest.raises(TVArgumentError):
            papers.create_builder_file("papers", name, text=COLUMN)
        with pytest.raises(TVArgumentError):
            papers.delete_builder_file(name, "papers")
    assert state_of(vault_path) == before


def test_a_foreign_index_name_is_refused(papers: TableVault, vault_path: Path) -> None:
    before = state_of(vault_path)
    for text in ("", COLUMN):
        with pytest.raises(TVFileError, match="papers_index"):
            papers.create_builder_file("papers", "other_index", text=text)
    with pytest.raises(TVFileError, match="papers_index"):
        papers.create_instance("papers", builders=["other_index"])
    assert state_of(vault_path) == before


@pytest.mark.parametrize("text", ["- a list\n", "just text", "a: [", "a: &x 1\nb: *x: 2", "\t"])
def test_what_is_no_mapping_is_refused(papers: TableVault, vault_path: Path, text: str) -> None:
    before = state_of(vault_path)
    with pytest.raises(TVBuilderError):
        papers.create_builder_file("papers", "column", text=text)
    assert state_of(vault_path) == before


def test_wrong_places_are_refused(papers: TableVault, vault_path: Path, tmp_path: Path) -> None:
    papers.create_instance("papers", version="external", external_edit=True)
    (tmp_path / "x.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9\n")
    before = state_of(vault_path)
    for error, action in (
        (TVArgumentError, lambda: papers.create_builder_file("nope", "c", text=COLUMN)),
        (TVArgumentError, lambda: papers.create_builder_file("papers", "c", version="other")),
        (TVArgumentError, lambda: papers.create_builder_file("papers", "c", version="external")),
        (TVArgumentError, lambda: papers.delete_builder_file("c", "papers", version="external")),
        (TVFileError, lambda: papers.create_builder_file("papers", copy_dir=str(tmp_path / "no"))),
        (
            TVFileError,
            lambda: papers.create_builder_file("papers", copy_dir=str(tmp_path / "x.txt")),
        ),
        (
            TVFileError,
            lambda: papers.create_builder_file("papers", copy_dir=str(tmp_path / "empty")),
        ),
        (
            TVFileError,
            lambda: papers.create_builder_file("papers", copy_dir=str(tmp_path / "no.yaml")),
        ),
        (
            TVFileError,
            lambda: papers.create_builder_file("papers", copy_dir=str(tmp_path / "latin.yaml")),
        ),
        (TVFileError, lambda: papers.delete_builder_file("nope", "papers")),
        (TVFileError, lambda: papers.get_builder_str("papers", "nope")),
        (TVArgumentError, lambda: papers.get_builders_list("papers", version="other")),
        (
            TVArgumentError,
            lambda: papers.create_instance("papers", external_edit=True, builders=["a"]),
        ),
        (TVArgumentError, lambda: papers.create_instance("papers", builders="a")),  # type: ignore[arg-type]  # a common mistake
    ):
        with pytest.raises(error) as caught:
            action()
        assert caught.value.hint, caught.value
    assert state_of(vault_path) == before


def test_hand_edits_are_committed_before_the_operation(
    papers: TableVault, vault_path: Path
) -> None:
    builders = vault_path / "temp/papers/base/builders"
    (builders / "papers_index.yaml").write_text("builder_type: IndexBuilder\n# by hand\n")
    (builders / "new.yaml").write_text(COLUMN)
    papers.create_builder_file("papers", "column", text=COLUMN)
    subjects = git(vault_path, "log", "-2", "--format=%s", "temp/papers/base", "--").splitlines()
    assert subjects[0] == "papers/base: write column"
    assert subjects[1].endswith("edited by hand")
    tracked = git(vault_path, "show", "temp/papers/base:tables/papers/base/builders/new.yaml")
    assert tracked == COLUMN
    assert papers.get_builders_list("papers") == ["column", "new", "papers_index"]


def test_deleting_a_builder_by_hand_counts(papers: TableVault, vault_path: Path) -> None:
    papers.create_builder_file("papers", "column", text=COLUMN)
    (vault_path / "temp/papers/base/builders/column.yaml").unlink()
    papers.create_builder_file("papers", "other", text=COLUMN)
    assert papers.get_builders_list("papers") == ["other", "papers_index"]


def test_branch_and_face_edited_apart_is_an_error_that_names_the_file(
    papers: TableVault, vault_path: Path, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    git(vault_path, "worktree", "add", "-q", str(tree), "temp/papers/base", "--")
    (tree / "tables/papers/base/builders/papers_index.yaml").write_text("n_threads: 1\n")
    git(tree, "commit", "-q", "-am", "on the branch")
    git(vault_path, "worktree", "remove", "--force", str(tree))
    (vault_path / "temp/papers/base/builders/papers_index.yaml").write_text("n_threads: 2\n")
    before = state_of(vault_path)
    with pytest.raises(TVFileError, match=r"temp/papers/base/builders/papers_index\.yaml"):
        papers.create_builder_file("papers", "column", text=COLUMN)
    assert state_of(vault_path) == before


def test_a_replaced_temporary_instance_stays_in_history(
    papers: TableVault, vault_path: Path
) -> None:
    edited = vault_path / "temp/papers/base/builders/papers_index.yaml"
    edited.write_text("builder_type: IndexBuilder\n# precious\n")
    papers.create_instance("papers")
    path = "tables/papers/base/builders/papers_index.yaml"
    assert "# precious" in git(vault_path, "show", f"temp/papers/base^2:{path}")
    assert "# precious" not in edited.read_text()


def test_delete_temporary_instance(papers: TableVault, vault_path: Path) -> None:
    process = papers.delete_instance("TEMP_base", "papers")
    assert papers.get_process_completion(process)
    assert git(vault_path, "branch", "--list", "temp/*") == ""
    assert not (vault_path / "temp/papers").exists()
    with pytest.raises(TVArgumentError, match=r"TEMP_base|temporary"):
        papers.delete_instance("TEMP_base", "papers")


def test_a_folder_is_copied_without_what_programs_left_in_it(papers: TableVault, tmp_path) -> None:
    for name in ("x.yaml", "._x.yaml", "~$x.yaml", "m.py", "._m.py"):
        (tmp_path / name).write_text(COLUMN if name == "x.yaml" else "")
    papers.create_builder_file("papers", copy_dir=tmp_path)
    papers.create_code_module(copy_dir=tmp_path)
    assert papers.get_builders_list("papers") == ["papers_index", "x"]
    assert papers.get_code_modules_list() == ["m"]


def test_a_module_is_written_read_and_deleted(vault: TableVault, vault_path: Path) -> None:
    vault.create_code_module("metrics", text="x = 1\n")
    assert vault.get_code_modules_list() == ["metrics"]
    assert vault.get_code_module_str("metrics") == "x = 1\n"
    assert (vault_path / "code/metrics.py").read_text() == "x = 1\n"
    vault.delete_code_module("metrics")
    assert vault.get_code_modules_list() == []
    assert not (vault_path / "code/metrics.py").exists()
    assert (vault_path / "code").is_dir()


def test_a_name_alone_never_overwrites(vault: TableVault) -> None:
    vault.create_code_module("metrics")
    template = vault.get_code_module_str("metrics")
    compile(template, "metrics.py", "exec")
    vault.create_code_module("metrics", text="x = 1\n")
    vault.create_code_module("metrics")
    assert vault.get_code_module_str("metrics") == "x = 1\n"


def test_a_file_and_a_folder_are_copied_and_stay(vault: TableVault, tmp_path: Path) -> None:
    for name in ("a.py", "b.py", "c.txt"):
        (tmp_path / name).write_text(f"# {name}\n")
    vault.create_code_module(copy_dir=str(tmp_path))
    assert vault.get_code_modules_list() == ["a", "b"]
    vault.create_code_module("other", copy_dir=str(tmp_path / "a.py"))
    assert vault.get_code_module_str("other") == "# a.py\n"
    assert sorted(path.name for path in tmp_path.glob("*.*")) == ["a.py", "b.py", "c.txt"]


@pytest.mark.parametrize("name", ["../x", "a.b", "a b", "1a", "a/b", "é"])
def test_a_bad_module_name_changes_nothing(vault: TableVault, vault_path: Path, name: str) -> None:
    before = state_of(vault_path)
    with pytest.raises(TVArgumentError):
        vault.create_code_module(name, text="x = 1\n")
    with pytest.raises((TVArgumentError, TVFileError)):
        vault.delete_code_module(name)
    assert state_of(vault_path) == before


def test_wrong_calls_change_nothing(vault: TableVault, vault_path: Path, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    before = state_of(vault_path)
    for error, action in (
        (TVArgumentError, vault.create_code_module),
        (TVFileError, lambda: vault.create_code_module(copy_dir=str(tmp_path / "no.py"))),
        (TVFileError, lambda: vault.create_code_module(copy_dir=str(tmp_path / "x.txt"))),
        (TVFileError, lambda: vault.create_code_module(copy_dir=str(tmp_path / "empty"))),
        (TVFileError, lambda: vault.delete_code_module("nope")),
        (TVFileError, lambda: vault.get_code_module_str("nope")),
    ):
        with pytest.raises(error) as caught:
            action()
        assert caught.value.hint
    assert state_of(vault_path) == before


def test_a_hand_edit_is_a_commit_of_its_own(vault: TableVault, vault_path: Path) -> None:
    vault.create_code_module("metrics", text="x = 1\n")
    (vault_path / "code/metrics.py").write_text("x = 2\n")
    (vault_path / "code/new.py").write_text("y = 1\n")
    assert vault.get_code_module_str("metrics") == "x = 2\n"
    vault.create_table("papers")
    subjects = git(vault_path, "log", "-2", "--format=%s").splitlines()
    assert subjects == [
        "papers: create table",
        "code/metrics.py, code/new.py: edited by hand",
    ]
    assert git(vault_path, "status", "--porcelain") == ""
    assert git(vault_path, "show", "main:code/metrics.py") == "x = 2\n"


def test_a_module_removed_by_hand_is_gone(vault: TableVault, vault_path: Path) -> None:
    vault.create_code_module("metrics", text="x = 1\n")
    (vault_path / "code/metrics.py").unlink()
    vault.create_table("papers")
    assert vault.get_code_modules_list() == []
    assert git(vault_path, "status", "--porcelain") == ""


def test_a_failed_operation_commits_no_hand_edit(vault: TableVault, vault_path: Path) -> None:
    vault.create_code_module("metrics", text="x = 1\n")
    (vault_path / "code/metrics.py").write_text("x = 2\n")
    before = state_of(vault_path)
    with pytest.raises(TVArgumentError):
        vault.create_table("../x")
    assert state_of(vault_path) == before


def test_work_on_another_branch_is_left_alone(vault: TableVault, vault_path: Path) -> None:
    vault.create_code_module("metrics", text="x = 1\n")
    git(vault_path, "checkout", "-q", "-b", "feature")
    (vault_path / "code/metrics.py").write_text("x = 'draft'\n")
    vault.create_table("papers")
    assert git(vault_path, "show", "main:code/metrics.py") == "x = 1\n"
    assert vault.get_code_module_str("metrics") == "x = 1\n"
    assert (vault_path / "code/metrics.py").read_text() == "x = 'draft'\n"
    assert not (vault_path / "tables/papers").exists()
    git(vault_path, "checkout", "-q", "--", "code/metrics.py")
    git(vault_path, "checkout", "-q", "main")
    vault.create_table("stories")
    assert git(vault_path, "status", "--porcelain") == ""
    assert (vault_path / "tables/papers/table.yaml").exists()


def test_what_the_user_staged_stays_staged(vault: TableVault, vault_path: Path) -> None:
    (vault_path / "notes.md").write_text("mine\n")
    git(vault_path, "add", "notes.md")
    vault.create_table("papers")
    assert git(vault_path, "status", "--porcelain") == "A  notes.md\n"


def test_commits_of_the_user_are_built_upon(vault: TableVault, vault_path: Path) -> None:
    vault.create_table("papers")
    (vault_path / "notes.md").write_text("mine\n")
    git(vault_path, "add", "notes.md")
    git(vault_path, "commit", "-q", "-m", "notes")
    vault.create_table("stories")
    subjects = git(vault_path, "log", "--first-parent", "--format=%s", "-3").splitlines()
    assert subjects == ["stories: create table", "notes", "papers: create table"]
    assert (vault_path / "notes.md").read_text() == "mine\n"
    assert git(vault_path, "status", "--porcelain") == ""


def test_an_operation_wins_over_what_was_edited_by_hand_before(
    vault: TableVault, vault_path: Path
) -> None:
    (vault_path / "code/words.py").write_text("by = 'hand'\n")
    vault.create_code_module("words", text="by = 'operation'\n")
    assert (vault_path / "code/words.py").read_text() == "by = 'operation'\n"
    assert git(vault_path, "show", "main~1:code/words.py") == "by = 'hand'\n"
    (vault_path / "code/words.py").write_text("by = 'hand'\n")
    vault.delete_code_module("words")
    assert vault.get_code_modules_list() == []
    assert git(vault_path, "show", "main~1:code/words.py") == "by = 'hand'\n"
    vault.create_table("papers")
    assert vault.get_code_modules_list() == []
    check_clean(vault_path)


def test_an_edit_back_to_an_earlier_text_is_an_edit(vault: TableVault, vault_path: Path) -> None:
    vault.create_code_module("words", text="x = 1\n")
    git(vault_path, "checkout", "-q", "-b", "side")
    vault.create_code_module("words", text="x = 2\n")
    git(vault_path, "checkout", "-q", "main")
    (vault_path / "code/words.py").write_text("x = 1\n")
    vault.create_table("papers")
    assert vault.get_code_module_str("words") == "x = 1\n"
    assert git(vault_path, "show", "main:code/words.py") == "x = 1\n"
    check_clean(vault_path)
