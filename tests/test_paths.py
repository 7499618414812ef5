"""Paths: which are refused, and what a file is by its path."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tablevault.history.commits.setup import GITATTRIBUTES
from tablevault.paths import fault_to_read, fault_to_write, is_hidden, is_lfs_path, is_read_by_git

parts = st.sampled_from(
    ["tables", "artifacts", "dataframe.parquet", "t", "base", "builders", "a.b", "x y"]
)


@pytest.fixture(scope="session")
def attributes(git, tmp_path_factory):
    """Make a repository that has nothing but the attributes of a vault."""
    path = tmp_path_factory.mktemp("attributes")
    git(path, "init", "-q")
    (path / ".gitattributes").write_bytes(GITATTRIBUTES)
    return path


@given(st.lists(st.lists(parts, min_size=1, max_size=6).map("/".join), min_size=1))
def test_git_and_the_vault_agree_which_files_are_pointers(git, attributes, paths):
    assume(all(not path.startswith("/") for path in paths))
    said = git(attributes, "check-attr", "-z", "--stdin", "filter", text="\0".join(paths))
    values = said.split("\0")[2::3]
    assert [value == "lfs" for value in values] == [is_lfs_path(path) for path in paths]


ARTIFACTS = "tables/t/artifacts/"
PEOPLES = [
    "Screenshot 2026-01-05 at 9.41.00\u202fAM.png",
    "Sn\u00edmek v\u00a013.05.png",
    "草案\u3000\uff11.txt",
    "می\u200cشود.txt",
    "👩\u200d💻.txt",
    "cafe\u0301.txt",
    "caf\u00e9.txt",
    "soft\u00adhyphen",
    "\uf022 from a Mac",
    "12:30.png",
    'a"b<c>|?*',
    "CON",
    "aux.txt",
    "trailing dot.",
    " blanks ",
    ".github",
    ".gitkeep",
    "x.git",
    "é" * 127,
]
DANGEROUS = [
    "..",
    ".",
    ".git",
    ".GIT",
    ".g\u200cit",
    ".git ",
    ".git...",
    ".git::$INDEX_ALLOCATION",
    "git~1",
    "GIT~1",
    "a\\b",
    "\\..\\x",
    "a\0b",
    "\ud800",
    "x" * 256,
    "é" * 128,
    "a//b",
]


@pytest.mark.parametrize("folder", ["", "notes/", "code/", ARTIFACTS, "tables/t/base/artifacts/a/"])
def test_what_people_call_their_files_is_written_and_read(folder):
    for name in PEOPLES:
        assert fault_to_write(folder + name) == fault_to_read(folder + name) == "", name


@pytest.mark.parametrize("folder", ["", "notes/", ARTIFACTS])
def test_what_harms_a_file_system_is_neither_written_nor_read(folder):
    for name in DANGEROUS:
        assert fault_to_write(folder + name), name
        assert fault_to_read(folder + name), name


@pytest.mark.parametrize("character", ["\n", "\x1b", "\x7f", "\x85", "\u2028"])
def test_an_artifact_may_have_control_characters_in_its_name_and_no_other_file(character):
    assert fault_to_write(f"{ARTIFACTS}a{character}b") == ""
    assert f"U+{ord(character):04X}" in fault_to_write(f"notes/a{character}b")
    assert f"U+{ord(character):04X}" in fault_to_read(f"code/a{character}b")


@pytest.mark.parametrize("character", ["\u202a", "\u202e", "\u2066", "\u2069"])
def test_a_name_that_turns_the_text_around_is_read_of_an_artifact_alone(character):
    assert fault_to_write(f"{ARTIFACTS}a{character}gpj.exe")
    assert fault_to_read(f"{ARTIFACTS}a{character}gpj.exe") == ""
    assert fault_to_read(f"notes/a{character}gpj.exe")


@pytest.mark.parametrize("path", ["a/" * 600 + "x", "/".join(["d" * 200] * 11)])
def test_a_path_has_an_end(path):
    assert fault_to_write(path)
    assert fault_to_read(path)


@given(st.text(min_size=1, max_size=40), st.sampled_from(["", "notes/", ARTIFACTS]))
def test_whatever_is_written_can_be_read(name, folder):
    assert fault_to_write(folder + name) or not fault_to_read(folder + name)


@pytest.mark.parametrize(
    "name",
    [".gitattributes", "a/.gitignore", ".GITMODULES", ".git\u200cignore", "gitatt~1", "GI7EBA~1",
     ".gitignore ", ".gitignore:x"],
)  # fmt: skip
def test_git_reads_some_names_wherever_they_lie(name):
    assert is_read_by_git(name)


@pytest.mark.parametrize("name", ["gitignore", ".gitkeep", ".github", ".gitlab-ci.yml", "a.git"])
def test_git_reads_no_other_names(name):
    assert not is_read_by_git(name)


@pytest.mark.parametrize(
    "name",
    ["._x.yaml", ".DS_Store", ".x.yaml.swp", "x.swp", "x.yaml~", "#x.yaml#", ".~lock.x.ods#",
     "~$x.docx", "Thumbs.db", "ehthumbs.db", "Desktop.ini", "Icon\r"],
)  # fmt: skip
def test_what_programs_leave_behind_is_hidden(name):
    assert is_hidden(name)


@pytest.mark.parametrize("name", ["x.yaml", "a~b.png", "thumbs.dbx", "icon", "#1.png", "swp"])
def test_what_people_make_is_not_hidden(name):
    assert not is_hidden(name)
