"""What this machine keeps for itself: the branch, temporary folders, edited files."""

from __future__ import annotations

import signal

from tablevault import TableVault
from tests.damaging import BUILDER, look, one
from tests.looking import git


def test_a_branch_that_is_not_there_is_told_of(damaged):
    git(damaged, "symbolic-ref", "HEAD", "refs/heads/mbin")
    found = one(damaged)
    assert (found.where, found.severity, found.repairable) == (".git/HEAD", "warning", False)


def test_a_builder_with_an_unknown_field_is_found(damaged):
    name = "temp/words/base/builders/words_index.yaml"
    (damaged / name).write_text(BUILDER.replace("dtypes:", "dtype:"))
    found = one(damaged, repair=True)
    assert (found.kind, found.severity, found.where) == ("temporary folder", "warning", name)
    assert found.advice == 'Did you mean "dtypes"?'
    assert not found.repairable


def test_a_file_edited_by_hand_is_told_of_and_stays(damaged):
    (damaged / "code/words.py").write_text("# mine\n")
    with (damaged / "temp/words/base/builders/words_index.yaml").open("a") as file:
        file.write("# mine\n")
    assert look(damaged) == []
    table = damaged / "tables/words/table.yaml"
    table.write_text(table.read_text().replace("description: ''", "description: mine"))
    found = one(damaged, repair=True)
    assert (found.severity, found.repairable, found.repaired) == ("note", False, False)
    assert "description: mine" in table.read_text()


def test_a_process_that_died_is_told_of_and_left_to_the_user(damaged, python):
    script = """
import os, signal, sys
from tablevault import TableVault
vault = TableVault(sys.argv[1], "Ana")
vault.create_instance("lengths", builders={"lengths_index": '''
builder_type: IndexBuilder
changed_columns: [a]
python_function: die
code_module: die
is_custom: true
arguments: {}
'''})
vault.create_code_module("die", text='''
def die():
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)
''')
vault.execute_instance("lengths")
"""
    process = python(script, damaged)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors
    found = one(damaged, repair=True)
    assert (found.kind, found.severity, found.repaired) == ("process", "note", False)
    TableVault(damaged, "Ana").stop_process(found.where)
    assert look(damaged) == []
