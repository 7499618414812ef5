"""Documents of instances that tell something else than what is there."""

from __future__ import annotations

import pandas as pd

from tablevault import TableVault
from tests.damaging import look, one
from tests.looking import git


def test_a_document_that_tells_another_number_of_rows_is_found(damaged):
    vault = TableVault(damaged, "Ana")
    vault.create_instance("lengths", external_edit=True)
    vault.write_instance(pd.DataFrame({"length": [9, 9, 9]}), "lengths")
    document = damaged / "tables/lengths/base/instance.yaml"
    document.write_text(document.read_text().replace("rows: 3", "rows: 4"))
    git(damaged, "commit", "-qa", "--amend", "--no-edit", "--no-verify")
    vault.get_table_instances("lengths")
    found = one(damaged)
    assert (found.kind, found.where) == ("dataframe", vault.get_table_instances("lengths")[-1])
    assert "3 rows" in found.text
    assert "4" in found.text


def test_a_table_whose_id_was_changed_is_named(damaged):
    table = damaged / "tables/words/table.yaml"
    table.write_text(table.read_text().replace("id: ", "id: x", 1))
    git(damaged, "commit", "-q", "--no-verify", "-a", "-m", "by hand")
    found = [problem for problem in look(damaged) if problem.severity == "error"]
    assert [(each.kind, each.where) for each in found] == [("instance", "tables/words/table.yaml")]
