"""The status of a vault: what is stale and why, told without calling or changing anything."""

from __future__ import annotations

import dataclasses
import pickle

import pytest

from tablevault import TableVault, clone_vault
from tests.looking import calls_kept, state_of
from tests.operations.staleness import builders


def test_what_was_just_made_is_current(chain):
    status = chain.vault.status()
    assert [(each.name, each.state, each.rows) for each in status.tables] == [
        ("moods", "current", 3),
        ("sums", "current", 3),
        ("texts", "current", 3),
    ]
    assert str(status).splitlines()[-1] == status.note == "Nothing is stale."
    assert status.stale == ()


def test_inactive_instances_and_empty_tables_have_states_of_their_own(chain):
    chain.vault.create_table("mails", has_side_effects=True)
    chain.vault.create_table("drafts")
    files = {name.replace("texts", "mails"): text for name, text in builders("texts").items()}
    chain.vault.create_instance("mails", builders=files)
    chain.vault.execute_instance("mails")
    chain.edit('pay("write")', 'raise ConnectionError("down")')
    chain.vault.create_instance("mails", copy=True)
    with pytest.raises(ConnectionError):
        chain.vault.execute_instance("mails")
    found = {each.name: each for each in chain.vault.status().tables}
    assert (found["mails"].state, found["mails"].reasons) == ("inactive", ())
    assert (found["drafts"].state, found["drafts"].version) == ("missing", "")
    assert str(found["drafts"]) == "drafts: missing"
    chain.vault.create_instance("drafts")
    found = {each.name: each for each in chain.vault.status().tables}
    assert str(found["drafts"]) == "drafts/base: missing [in preparation]"


def test_it_calls_and_changes_nothing(chain):
    chain.run("texts", (1, 2))
    chain.edit("return len(text)", "raise_when_imported()")
    chain.edit("import pandas as pd", "import pandas as pd\n\nraise RuntimeError('imported')")
    chain.paid_for()
    before = state_of(chain.path), calls_kept(chain.path)
    assert chain.states()["moods"] == "stale"
    assert (state_of(chain.path), calls_kept(chain.path), chain.paid_for()) == (*before, {})


def test_a_clone_without_data_tells_the_same(chain, tmp_path):
    chain.run("texts", (1, 2))
    chain.edit("return score + 1", "return score + 2")
    chain.vault.create_code_module("other", text="")  # commits what was edited by hand
    clone = clone_vault(chain.path, tmp_path / "clone", "Bo")
    state = [(each.place, each.state, each.reasons) for each in clone.status().tables]
    assert state == [(each.place, each.state, each.reasons) for each in chain.vault.status().tables]
    assert not [each for each in (tmp_path / "clone/.git/lfs").rglob("*") if each.is_file()]


def test_it_is_a_value(chain):
    status = chain.vault.status()
    assert pickle.loads(pickle.dumps(status)) == status
    with pytest.raises(dataclasses.FrozenInstanceError):
        status.tables = ()
    assert "<caption>Nothing is stale.</caption>" in status._repr_html_()
    assert repr(status) == str(status)


def test_an_empty_vault_has_no_tables(vault: TableVault):
    assert str(vault.status()) == "There are no tables."
