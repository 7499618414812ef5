"""Objects that are missing or damaged."""

from __future__ import annotations

import pytest

from tablevault import TableVault
from tablevault.errors import TVFileError
from tests.damaging import FRAME, look, object_of, one
from tests.looking import git


@pytest.mark.parametrize("what", ["gone", "damaged", "moved away"])
def test_a_missing_file_is_not_called_safe_when_its_object_is_not(damaged, what):
    file = object_of(damaged, FRAME)
    (damaged / FRAME).unlink()
    if what != "gone":
        file.chmod(0o644)
        file.write_bytes(b"damage")
    else:
        file.unlink()
    if what == "moved away":
        with pytest.raises(TVFileError, match="damaged"):
            TableVault(damaged, "Ana").get_dataframe("lengths")
    git(damaged, "remote", "add", "origin", "https://example.invalid/v.git")
    found = look(damaged)
    assert not any("Nothing is lost" in str(problem) for problem in found)
    if what != "gone":
        assert any(each.kind == "object" and each.severity == "error" for each in found)


def test_a_flipped_byte_is_found_by_reading_and_mended_from_a_copy(damaged):
    file = object_of(damaged, FRAME)
    text = bytearray(file.read_bytes())
    (damaged / FRAME).unlink()
    (damaged / FRAME).write_bytes(bytes(text))
    (damaged / FRAME).chmod(0o444)
    text[10] ^= 1
    file.chmod(0o644)
    file.write_bytes(bytes(text))
    file.chmod(0o444)
    assert look(damaged, data=False) == []
    found = one(damaged)
    assert (found.kind, found.severity, found.where) == ("object", "error", file.name)
    assert found.repairable
    assert "repair=True" in repr(found)
    assert one(damaged, repair=True).repaired
    assert look(damaged) == []
    assert (damaged / f".git/lfs/bad/{file.name}").is_file()


def test_a_missing_object_is_an_error_unless_a_remote_may_have_it(damaged):
    file = object_of(damaged, FRAME)
    file.unlink()
    (damaged / FRAME).unlink()
    (damaged / FRAME).write_text(git(damaged, "show", f"main:{FRAME}"))
    found = one(damaged)
    assert (found.kind, found.severity) == ("object", "error")
    git(damaged, "remote", "add", "origin", "/nowhere")
    found = one(damaged)
    assert (found.severity, found.repairable) == ("note", False)
    assert "not here" in found.text


def test_what_deleted_instances_had_is_not_missed(damaged):
    vault = TableVault(damaged, "Ana")
    for instance in vault.get_table_instances("lengths"):
        vault.delete_instance(instance, "lengths")
    assert vault.verify() == []
