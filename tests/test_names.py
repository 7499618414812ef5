"""Names that may be used, and the paths, refs and tags that they become."""

from __future__ import annotations

import re
import string
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault import names
from tablevault.errors import TVArgumentError

AWKWARD_VERSIONS = [
    "base",
    "prompt 2",
    "two  blanks",
    "a~b",
    "v1.0",
    "a..b",
    "x.lock",
    "x.tmp",
    "@",
    "a@{b",
    "-dash",
    "[x]",
    "a^b",
    "a'b",
    "50%",
    "%41",
    "été",
    "版本",
    "e\u0301",
    "#1",
    "$HOME",
    "HEAD",
    "main",
    "🙂",
]


def accepted(check, text):
    """Return whether `check` lets `text` pass."""
    try:
        check(text)
    except TVArgumentError:
        return False
    return True


versions = st.one_of(st.sampled_from(AWKWARD_VERSIONS), st.text(min_size=1, max_size=60)).filter(
    lambda text: accepted(names.check_version, text)
)
tables = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=100).filter(
    lambda text: accepted(names.check_table_name, text)
)


@pytest.mark.parametrize("name", ["a", "A-b_9", "x" * 100, "builder", "-", "_x", "2024"])
def test_a_table_name_holds_what_a_reference_can_spell(name):
    assert names.check_table_name(name) == name


@pytest.mark.parametrize("name", ["", " ", "a b", "a/b", "a.b", "é", "..", "x" * 101, "a\n"])
def test_a_table_name_holds_nothing_else(name):
    with pytest.raises(TVArgumentError, match=r"^Table name .* cannot be used\."):
        names.check_table_name(name)


def test_a_reserved_table_name_is_refused():
    for name in names.RESERVED_TABLES:
        with pytest.raises(TVArgumentError):
            names.check_table_name(name)


def test_the_index_builder_of_the_longest_table_name_can_be_made():
    index = names.index_builder("x" * 100)
    assert names.check_builder_name(index) == index


@pytest.mark.parametrize("name", ["", "a b", "a.b", "../x", "x" * 107, None])
def test_a_builder_name_is_plain(name):
    with pytest.raises(TVArgumentError):
        names.check_builder_name(name)


@pytest.mark.parametrize("name", ["", "a-b", "1a", "a.py", "a/b", "é", "a\n", "x" * 101])
def test_a_module_name_is_an_identifier(name):
    with pytest.raises(TVArgumentError):
        names.check_module_name(name)


def test_an_empty_version_means_base():
    assert names.check_version("") == "base"


def test_a_version_may_be_any_plain_label():
    for version in AWKWARD_VERSIONS:
        assert names.check_version(version) == version


@pytest.mark.parametrize(
    "version",
    [
        "a_b",
        "a/b",
        "a\\b",
        "a:b",
        "a\nb",
        "a\0b",
        "\u202e",
        "\u2028",
        " a",
        "a ",
        ".",
        "..",
        ".hidden",
        "a.",
        "artifacts",
        "table.yaml",
        "git~1",
        "GIT~1",
        "x" * 101,
        "版" * 33,
        "\ud800",
    ],
)
def test_a_version_that_cannot_be_a_folder_or_a_branch_is_refused(version):
    with pytest.raises(TVArgumentError, match="cannot be used"):
        names.check_version(version)


@pytest.mark.parametrize("version", AWKWARD_VERSIONS)
def test_git_accepts_the_branch_and_the_tag_of_a_version(version):
    temp = names.TempRef(table="stories", version=version)
    tag = names.tag_ref("stories", names.new_instance_id(version, 1_700_000_000))
    for ref in (temp.ref, tag):
        subprocess.run(["git", "check-ref-format", ref], check=True)
        assert ref.isascii()
        assert max(map(len, ref.split("/"))) <= 250


@given(tables, versions)
def test_a_branch_tells_its_temporary_instance(table, version):
    temp = names.TempRef(table=table, version=version)
    assert names.temp_of_ref(temp.ref) == temp


@given(st.lists(versions, min_size=2, max_size=2, unique=True))
def test_different_versions_have_different_branches_and_folders(pair):
    one, other = (names.TempRef(table="t", version=version) for version in pair)
    assert one.ref != other.ref
    assert one.folder != other.folder


@pytest.mark.parametrize(
    "ref",
    [
        "refs/heads/main",
        "refs/heads/temp/t",
        "refs/heads/temp/t/a/b",
        "refs/tags/temp/t/base",
        "refs/heads/temp/a b/base",
        "refs/heads/temp/t/..%2F..",
        "refs/heads/temp/t/%2E%2E",
        "refs/heads/temp/t/%2Fetc",
        "refs/heads/temp/t/a%0Ab",
        "refs/heads/temp/t/%62ase",
        "refs/heads/temp/t/%FF",
        "refs/heads/temp/t/",
        "refs/heads/temp/t/a_b",
    ],
)
def test_any_other_ref_is_no_temporary_instance(ref):
    assert names.temp_of_ref(ref) is None


@given(versions, st.integers(0, 4_000_000_000))
def test_an_instance_id_tells_its_version(version, started_at):
    instance_id = names.new_instance_id(version, started_at)
    assert names.is_instance_id(instance_id)
    assert names.version_of(instance_id) == version
    assert not names.is_temp_id(instance_id)


@given(versions)
def test_a_temporary_id_tells_its_version(version):
    temp_id = names.TempRef(table="t", version=version).instance_id
    assert names.is_temp_id(temp_id)
    assert names.version_of(temp_id) == version


@pytest.mark.parametrize(
    "process_id", ["1", "job 1", "..", "a/b", " ", " a\n", "a\0b", "a\u2028b", "é", "x" * 5000]
)
def test_any_text_is_a_process_id(process_id):
    assert names.check_process_id(process_id) == process_id


@pytest.mark.parametrize("process_id", ["", "\ud800", None, 7])
def test_what_is_no_text_is_no_process_id(process_id):
    with pytest.raises(TVArgumentError):
        names.check_process_id(process_id)


process_ids = st.one_of(
    st.sampled_from([".", "..", "...", ".lock", "a/../b", "a.json", "a.tmp", "%2E", "x" * 300]),
    st.text(min_size=1),
).filter(lambda text: accepted(names.check_process_id, text))


@given(process_ids)
def test_a_record_file_is_a_plain_file_name(process_id):
    name = names.record_file(names.ProcessId(process_id))
    assert re.fullmatch(r"[A-Za-z0-9%_~-][A-Za-z0-9%._~-]{0,119}", name)


@given(st.lists(process_ids, min_size=2, max_size=2, unique=True))
def test_different_processes_have_different_record_files(pair):
    one, other = (names.record_file(names.ProcessId(process_id)) for process_id in pair)
    assert one != other


def test_paths_of_an_instance_are_stable():
    assert names.table_document("t") == "tables/t/table.yaml"
    assert names.instance_document("t", "v 2") == "tables/t/v 2/instance.yaml"
    assert names.frame_path("t", "base") == "tables/t/base/dataframe.parquet"
    assert names.builder_path("t", "base", "q") == "tables/t/base/builders/q.yaml"
    assert names.artifacts_dir("t", "base", multiple=True) == "tables/t/base/artifacts"
    assert names.artifacts_dir("t", "base", multiple=False) == "tables/t/artifacts"
    assert names.code_path("m") == "code/m.py"


@pytest.mark.parametrize(
    ("path", "builder"), [("a.yaml", "a"), ("/x/y.z/a.b.yaml", "a"), ("a", "a"), ("x/.a", "")]
)
def test_a_builder_is_named_up_to_the_first_dot(path, builder):
    assert names.builder_of_path(path) == builder
