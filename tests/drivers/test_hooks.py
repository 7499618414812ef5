"""What the hooks of git say about files that somebody wants to commit."""

from __future__ import annotations

import subprocess

import pytest


@pytest.fixture
def staged(vault, vault_path, git):
    """Check out a temporary instance, and try to commit a text as a builder of it."""
    vault.create_table("t")
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
