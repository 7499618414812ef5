"""The summary of a vault: instances, how they were made, which are current."""

from __future__ import annotations

import pandas as pd

from tablevault.queries.vault_summary import vault_summary
from tests.looking import git
from tests.report.conftest import CODE, write


def summary_of(vault):
    return vault_summary(vault._vault)


def test_an_instance_has_its_entry_document_and_first_rows(made):
    found = summary_of(made)
    assert [table.name for table in found.tables] == ["numbers", "sums", "apart"]
    numbers = found.tables[0]
    assert numbers.document.description == "Numbers & their doubles"
    latest, before, first = numbers.instances
    assert [each.id for each in (first, before, latest)] == made.get_table_instances("numbers")
    assert (latest.rows, latest.rows_before, latest.author) == (3, 3, "Ana Lund")
    assert [each.is_current for each in numbers.instances] == [True, False, False]
    assert latest.duration_s is not None
    assert latest.details.document.description == "another factor"
    runs = {each.name: (each.run.computed, each.run.reused) for each in latest.details.builders}
    assert runs == {"numbers_index": (3, 0), "twice": (3, 0)}
    assert (latest.results, before.results) == ((3, 0), (1, 2))
    assert found.texts[latest.details.builders[1].text_id].lines[-1] == "  factor: 3"
    assert found.texts[latest.details.document.code["m"]].lines[0] == CODE.splitlines()[0]
    assert latest.details.head.rows[1] == ("1", "3")


def test_without_files_of_calls_only_their_numbers_are_known(made, repo_path):
    tracked = git(repo_path, "log", "--format=", "--raw", "--no-abbrev", "--", "*calls.parquet")
    for line in tracked.splitlines():
        if line.split()[4] == "D":
            continue
        pointer = git(repo_path, "cat-file", "blob", line.split()[3])
        oid = pointer.splitlines()[1].rpartition(":")[2]
        (repo_path / ".git/lfs/objects" / oid[:2] / oid[2:4] / oid).unlink(missing_ok=True)
    instances = summary_of(made).tables[0].instances
    builders = [builder for each in instances for builder in each.details.builders]
    assert {builder.calls for builder in builders} == {None}
    assert all(builder.run.calls is not None for builder in builders)


def test_an_instance_is_compared_with_the_one_before_it_in_its_version(vault):
    vault.create_table("t")
    write(vault, "t", {"x": [1]})
    write(vault, "t", {"x": [2, 3]}, version="other")
    write(vault, "t", {"x": [1, 2]})
    newest, other, _ = summary_of(vault).tables[0].instances
    assert (newest.rows_before, other.rows_before) == (1, None)
    assert newest.is_current
    assert other.is_current


def test_deleted_instances_are_listed_and_nothing_is_compared_with_them(made):
    first, _, latest = made.get_table_instances("numbers")
    made.delete_instance(first, "numbers")
    process = make_process(made)
    made.undo(process)
    instances = summary_of(made).tables[0].instances
    assert [bool(each.instance.deleted_at) for each in instances] == [True, False, False, True]
    assert [each.instance.withdrawn for each in instances] == [True, False, False, False]
    current = [each.id for each in instances if each.is_current]
    assert current == [latest]
    # The first that is left has nothing before it.
    assert instances[2].details.changes is None
    assert instances[3].details.changes is None


def make_process(vault):
    vault.create_instance("numbers", external_edit=True)
    return vault.write_instance(pd.DataFrame({"n": [1]}), "numbers")
