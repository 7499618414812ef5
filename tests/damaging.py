"""A vault with a bit of everything, to be damaged and verified."""

from __future__ import annotations

import shutil
import subprocess

import pandas as pd
import pytest

from tablevault import TableVault
from tablevault.operations.maintenance import verify
from tablevault.vault import Vault
from tests.looking import git

BUILDER = """
builder_type: IndexBuilder
changed_columns: [word, source]
python_function: words
code_module: words
is_custom: true
arguments: {folder: ~ARTIFACT_FOLDER~, text: to be or not}
dtypes: {source: artifact_string}
"""
CODE = '''"""Words."""

import pathlib

import pandas as pd


def words(folder, text):
    """One word a row, and the text as a file."""
    pathlib.Path(folder, "text.txt").write_text(text)
    return pd.DataFrame({"word": text.split(), "source": "text.txt"})
'''


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Make a vault with a bit of everything, once."""
    path = tmp_path_factory.mktemp("original") / "vault"
    vault = TableVault(path, "Ana <ana@example.org>", create=True)
    vault.create_code_module("words", text=CODE)
    vault.create_table("words")
    vault.create_instance("words", builders={"words_index": BUILDER})
    vault.execute_instance("words")
    vault.create_table("lengths")
    for first in (1, 2, 3):
        vault.create_instance("lengths", external_edit=True)
        vault.write_instance(
            pd.DataFrame({"length": [first, 2]}), "lengths", dependencies=[("words", "")]
        )
    vault.delete_instance(vault.get_table_instances("lengths")[0], "lengths")
    vault.create_instance("words", copy=True)
    return path


@pytest.fixture
def damaged(original, tmp_path):
    """Copy that vault, to be damaged."""
    path = tmp_path / "vault"
    copy(original, path)
    return path


def copy(source, target):
    """Copy a vault with its hard links, times and modes."""
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def look(path, **how):
    """Verify a vault that may not even open."""
    return verify(Vault(path=path, author="Ana"), **how)


def one(path, **how):
    """Verify, and expect exactly one problem."""
    (problem,) = look(path, **how)
    return problem


def object_of(path, tracked):
    """Return the object behind a tracked file."""
    oid = git(path, "show", f"main:{tracked}").split("sha256:")[1].split()[0]
    return path / f".git/lfs/objects/{oid[:2]}/{oid[2:4]}/{oid}"


FRAME = "tables/lengths/base/dataframe.parquet"
