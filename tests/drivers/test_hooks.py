"""What the pre-commit hook says of edits in the folders of instances."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tablevault import TableVault
from tablevault.secrets import IN_CODE, IN_DESCRIPTION
from tests.looking import git as stock

CODE = "import pandas as pd\n\ndef rows(n):\n    return pd.DataFrame({'id': range(n)})\n"
INDEX = """builder_type: IndexBuilder
changed_columns: [id]
python_function: rows
code_module: work
is_custom: true
arguments: {n: 2}
"""


def furnish(vault: TableVault) -> None:
    """Make an instance by a builder."""
    vault.create_code_module("work", text=CODE)
    vault.create_table("t")
    vault.create_instance("t", builders={"t_index": INDEX})
    vault.execute_instance("t")


@pytest.fixture
def vault(copy_of: Callable[..., TableVault], vault_path: Path) -> TableVault:
    return copy_of(furnish, vault_path)


@pytest.fixture
def made(vault: TableVault, vault_path: Path) -> Path:
    """Return the file of the builder in the folder of its instance."""
    return vault_path / "tables/t/base/builders/t_index.yaml"


def commit(path: Path) -> tuple[int, str]:
    """Stage all, commit, and return what git says."""
    stock(path, "add", "-A")
    done = subprocess.run(
        ["git", "commit", "-q", "-m", "by hand"],
        cwd=path,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def paste(command: str) -> None:
    """Run a command of the package as a shell does."""
    program, *words = shlex.split(command)
    assert program == "tablevault"
    subprocess.run([sys.executable, "-m", "tablevault", *words], check=True, capture_output=True)


def test_the_hook_names_what_makes_a_temporary_instance_of_an_edit(vault, vault_path, made):
    made.write_text(INDEX.replace("n: 2", "n: 3"))
    code, said = commit(vault_path)
    assert code
    command = said.split("makes a temporary instance of yours: ")[1].split(";")[0]
    stock(vault_path, "reset", "-q")
    paste(command)
    assert made.read_text() == INDEX
    assert stock(vault_path, "status", "--porcelain") == ""
    vault.execute_instance("t")
    assert len(vault.get_dataframe("t")[0]) == 3


def test_the_hook_names_what_takes_an_edit_back(vault_path, made):
    made.write_text("x: 1\n")
    said = commit(vault_path)[1]
    subprocess.run(
        shlex.split(said.split("undoes the edit here: ")[1].splitlines()[0]),
        cwd=vault_path,
        check=True,
    )
    assert made.read_text() == INDEX


def test_a_builder_called_table_is_no_document_of_a_table(vault, vault_path, made):
    vault.create_instance("t", copy=True, version="other")
    stock(vault_path, "checkout", "-q", "temp/t/other")
    builder = vault_path / "tables/t/other/builders/table.yaml"
    builder.write_text(INDEX)
    assert commit(vault_path)[0] == 0


def test_a_document_that_cannot_be_read_is_committed_on_no_branch(vault, vault_path, made):
    vault.create_instance("t", copy=True, version="other")
    stock(vault_path, "checkout", "-q", "temp/t/other")
    (vault_path / "tables/t/other/instance.yaml").write_text("version: [\n")
    code, said = commit(vault_path)
    assert code
    assert "tables/t/other/instance.yaml" in said
    assert "no readable YAML" in said


@pytest.mark.parametrize(
    ("path", "old", "new", "said"),
    [
        ("vault.yaml", "id: ", "id: x", "vault.yaml: its id never changes"),
        ("tables/t/table.yaml", "id: ", "id: x", "its id never changes"),
        (
            "tables/t/table.yaml",
            "multiple_artifacts: false\nside_effects: false",
            "multiple_artifacts: true\nside_effects: true",
            "its multiple_artifacts and side_effects never change",
        ),
        ("tables/t/table.yaml", "description: ''", "description: better", ""),
        (
            "vault.yaml",
            "description: ''",
            "description: ''\nlimits:\n  calls: -5",
            "vault.yaml, line 5: limits.calls is -5; it has to be a whole number",
        ),
    ],
)
def test_what_never_changes_in_a_document_is_not_committed(vault_path, made, path, old, new, said):
    text = (vault_path / path).read_text()
    assert old in text
    (vault_path / path).write_text(text.replace(old, new, 1))
    code, answer = commit(vault_path)
    assert (bool(code), said in answer) == (bool(said), True)


def test_what_lies_in_temp_is_committed_on_no_branch(vault, vault_path, made):
    vault.create_instance("t", copy=True)
    stock(vault_path, "add", "-f", "temp")
    code, said = commit(vault_path)
    assert code
    assert "temp/t/base/builders/t_index.yaml: temp/ holds what each vault edits" in said


def test_notes_beside_an_instance_are_committed(vault_path, made):
    made.parents[1].joinpath("notes.md").write_text("mine")
    assert commit(vault_path)[0] == 0


@pytest.mark.parametrize("name", [".DS_Store", "x.yaml~"])
def test_what_programs_leave_behind_is_not_staged(vault_path, made, name):
    made.with_name(name).write_bytes(b"\0")
    stock(vault_path, "add", "-A")
    assert stock(vault_path, "status", "--porcelain") == ""


@pytest.fixture
def staged(vault, vault_path, git):
    """Check out a temporary instance, and try to commit a text as a builder of it."""
    vault.create_instance("t")

    def commit(text):
        git(vault_path, "checkout", "-q", "temp/t/base")
        (vault_path / "tables/t/base/builders/ask.yaml").write_text(text)
        git(vault_path, "add", "tables")
        return subprocess.run(
            ["git", "commit", "-qm", "mine"],
            cwd=vault_path,
            check=False,
            capture_output=True,
            text=True,
        )

    return commit


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("builder_type: ColumnBuilder\nn_thread: 8\n", 'Did you mean "n_threads"?'),
        ("a: [", "is no valid YAML"),
        ("[a]", "it holds a list"),
    ],
)
def test_a_builder_that_none_could_execute_is_not_committed(staged, text, problem):
    done = staged(text)
    assert done.returncode == 1
    assert 'builders/ask.yaml: Builder "ask"' in done.stderr
    assert problem in done.stderr


def test_a_builder_that_is_not_finished_is_committed(staged):
    done = staged("builder_type: ColumnBuilder\n")
    assert done.returncode == 0, done.stderr


KEY = "sk-proj-" + "Az09" * 12


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("code/work.py", f"{CODE}\nA = '{KEY}'\n", f"code/work.py, line 6: {{}} {IN_CODE}"),
        ("code/prompt.txt", f"\n{KEY}\n", f"code/prompt.txt, line 2: {{}} {IN_DESCRIPTION}"),
        (".env", f"OPENAI_API_KEY={KEY}\n", f".env, line 1: {{}} {IN_DESCRIPTION}"),
    ],
)
def test_the_hook_refuses_what_looks_like_a_key(vault_path, made, file, text, told):
    (vault_path / file).write_text(text)
    code, said = commit(vault_path)
    assert code
    assert f"tablevault: {told.format('this looks like a key (OpenAI key).')}\n" in said
    assert KEY not in said
    assert stock(vault_path, "log", "-1", "--format=%s") != "by hand\n"


def test_the_hook_refuses_a_key_in_the_description_of_the_vault(vault_path, made):
    document = vault_path / "vault.yaml"
    document.write_text(document.read_text().replace("description: ''", f"description: {KEY}"))
    assert KEY in document.read_text()
    code, said = commit(vault_path)
    assert code
    assert "vault.yaml, line " in said


def test_the_hook_lets_a_key_stay_that_is_there_already(vault, vault_path, made):
    vault.create_code_module("work", text=f"{CODE}\nA = '{KEY}'\n", allow_secret=True)
    (vault_path / "code/work.py").write_text(f"{CODE}\n\nA = '{KEY}'\n")
    assert commit(vault_path)[0] == 0


def test_the_hook_looks_at_the_first_commit_of_a_branch_without_any(vault_path, made):
    stock(vault_path, "checkout", "-q", "--orphan", "fresh")
    assert commit(vault_path)[0] == 0
    (vault_path / "code/work.py").write_text(f"{CODE}\nA = '{KEY}'\n")
    stock(vault_path, "update-ref", "-d", "refs/heads/fresh")
    code, said = commit(vault_path)
    assert code
    assert "code/work.py, line 6: this looks like a key (OpenAI key)." in said


def test_a_commit_without_the_hook_has_the_key_and_operations_go_on(vault, vault_path, made):
    (vault_path / "code/work.py").write_text(f"{CODE}\nA = '{KEY}'\n")
    stock(vault_path, "commit", "-qam", "by hand", "--no-verify")
    vault.create_table("u")
    assert KEY in stock(vault_path, "show", "main:code/work.py")
