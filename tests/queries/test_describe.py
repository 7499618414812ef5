"""How a vault shows itself."""

from __future__ import annotations

import pandas as pd

from tablevault import TableVault


def test_a_vault_shows_its_tables(vault: TableVault, vault_path) -> None:
    assert repr(vault).startswith(f"TableVault({str(vault_path)!r}, '")
    vault.create_table("empty", description="<b>")
    vault.create_table("t", has_side_effects=True)
    for _ in range(7):
        vault.create_instance("t", external_edit=True)
        vault.write_instance(pd.DataFrame({"n": [1]}), "t")
    html = vault._repr_html_()
    assert "no instance" in html
    assert "and 2 earlier" in html
    shown = [each for each in vault.get_table_instances("t") if each in html]
    assert shown == vault.get_table_instances("t")[2:]
    assert (html.count(">active<"), html.count(">inactive<")) == (1, 4)


def test_a_path_is_no_markup(tmp_path) -> None:
    vault = TableVault(tmp_path / "<i>v", "Ana", create=True)
    assert "&lt;i&gt;v" in vault._repr_html_()
    assert "<i>" not in vault._repr_html_()
