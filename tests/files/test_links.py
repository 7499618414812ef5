"""A second name for the bytes of a file."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys

import pytest

from tablevault.files import links


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "object"
    path.write_bytes(b"content")
    path.chmod(0o444)
    os.utime(path, ns=(10**18, 10**18))
    return path


@pytest.fixture
def no_links(monkeypatch):
    """Stand in for a file system without hard links."""

    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)


def assert_placed(source, target):
    assert target.read_bytes() == b"content"
    assert target.stat().st_mode & 0o777 == 0o444
    assert target.stat().st_mtime_ns == source.stat().st_mtime_ns
    assert {path.name for path in target.parent.iterdir()} <= {"object", target.name}


def test_a_placed_file_has_bytes_time_and_no_write_permission(source, tmp_path):
    links.place(source, tmp_path / "target")
    assert_placed(source, tmp_path / "target")


def test_a_file_system_without_links_gets_a_copy(source, tmp_path, no_links):
    links.place(source, tmp_path / "target")
    assert_placed(source, tmp_path / "target")
    assert (tmp_path / "target").stat().st_ino != source.stat().st_ino


def test_a_file_that_is_there_is_replaced_in_one_step(source, tmp_path):
    target = tmp_path / "target"
    target.write_bytes(b"old")
    with target.open("rb") as reader:
        links.place(source, target)
        assert reader.read() == b"old"
    assert_placed(source, target)


def test_placing_twice_leaves_one_name(source, tmp_path):
    for _ in range(3):
        links.place(source, tmp_path / "target")
    assert_placed(source, tmp_path / "target")


def test_a_symbolic_link_in_the_way_is_replaced_not_followed(source, tmp_path):
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    target = tmp_path / "folder" / "target"
    target.parent.mkdir()
    target.symlink_to(outside)
    links.place(source, target)
    assert outside.read_bytes() == b"mine"
    assert not target.is_symlink()
    assert_placed(source, target)


def test_a_failure_leaves_the_folder_as_it_was(source, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "target").mkdir()
    with pytest.raises(OSError, match="target"):
        links.place(source, folder / "target")
    assert [path.name for path in folder.iterdir()] == ["target"]


def test_a_source_that_is_missing_is_an_error_and_leaves_nothing(tmp_path):
    with pytest.raises(FileNotFoundError):
        links.place(tmp_path / "object", tmp_path / "target")
    assert not list(tmp_path.iterdir())


def test_an_executable_never_shares_the_mode_of_the_object(source, tmp_path):
    links.place(source, tmp_path / "target", executable=True)
    assert (tmp_path / "target").stat().st_mode & 0o777 == 0o555
    assert source.stat().st_mode & 0o777 == 0o444


def test_who_may_write_to_read_only_files_gets_a_copy(source, tmp_path):
    links.place(source, tmp_path / "target")
    assert_placed(source, tmp_path / "target")
    shares_inode = (tmp_path / "target").stat().st_ino == source.stat().st_ino
    assert not (shares_inode and os.access(source, os.W_OK))


def test_a_replaced_link_keeps_bytes_time_and_mode_and_shares_no_inode(source, tmp_path):
    target = tmp_path / "target"
    os.link(source, target)
    links.replace_link(target)
    assert_placed(source, target)
    assert target.stat().st_nlink == source.stat().st_nlink == 1


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root gives rights away"
)
@pytest.mark.parametrize(("right", "may"), [("dac_override", "False"), ("chown", "True")])
def test_the_right_to_ignore_permissions_forbids_hard_links(right, may):
    rights = ["--inh-caps", f"+dac_read_search,+{right}"]
    rights += ["--ambient-caps", f"+dac_read_search,+{right}"]
    person = ["setpriv", "--reuid", "12347", "--regid", "12347", "--clear-groups", *rights]
    script = "from tablevault.files import links; print(links.may_link())"
    command = [*person, "--", sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{may}\n"
