"""Files outside of ``tables/`` that two sides have changed: by field, and by line."""

from __future__ import annotations

import pytest

from tablevault.errors import TVFileError, TVRemoteError
from tests.clones import finish, path_of
from tests.looking import git

PRICE = {"input": 1, "output": 2}


def test_a_file_of_the_users_own_is_merged_by_lines(ana, part):
    def keep(vault, data):
        (path_of(vault) / "notes.txt").write_bytes(data)
        git(path_of(vault), "add", "notes.txt")
        git(path_of(vault), "commit", "-qm", "notes")

    keep(ana, b"\xe9 a\n\n\n\n\nb\n")  # no UTF-8
    bo = part()
    keep(ana, b"\xe9 A\n\n\n\n\nb\n")
    keep(bo, b"\xe9 a\n\n\n\n\nB\n")
    finish(ana, bo)
    assert (path_of(bo) / "notes.txt").read_bytes() == b"\xe9 A\n\n\n\n\nB\n"
    keep(ana, b"\0\1")
    keep(bo, b"\0\2")
    with pytest.raises(TVRemoteError, match=r"notes.txt: both sides changed the same lines"):
        bo.pull()
    bo.pull(resolve={"notes.txt": "theirs"})
    finish(ana, bo)
    assert (path_of(bo) / "notes.txt").read_bytes() == b"\0\1"


def commit_config(vault, text, *options):
    """Commit text at the end of ``vault.yaml`` by plain git."""
    with (path_of(vault) / "vault.yaml").open("a", encoding="utf-8") as file:
        file.write(text)
    git(path_of(vault), "commit", "-q", *options, "-am", "by hand")


def test_limits_merge_by_field_and_prices_by_model(ana, part):
    ana.set_config("limits", {"calls": 1, "cost": 1})
    ana.set_config("prices", {"both": PRICE, "gone": PRICE})
    bo = part()
    ana.set_config("limits.calls", 2)
    ana.set_config("prices.ana-1.0", PRICE)
    ana.set_config("prices.both.input", 3)
    bo.set_config("limits.cost", None)
    bo.set_config("prices.bo/1.0", PRICE)
    bo.set_config("prices.gone", None)
    finish(ana, bo)
    assert ana.get_config() == bo.get_config()
    assert ana.get_config() == {
        "limits": {"calls": 2},
        "prices": {"ana-1.0": PRICE, "bo/1.0": PRICE, "both": {"input": 3, "output": 2}},
    }


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_a_limit_that_both_have_set_is_a_conflict_that_is_resolved(ana, part, side):
    ana.set_config("limits.calls", 1)
    bo = part()
    ana.set_config("limits", {"calls": 2, "cost": 5})
    bo.set_config("limits.calls", None)
    bo.set_config("prices.m", PRICE)
    with pytest.raises(
        TVRemoteError, match=r"vault\.yaml: its limits\.calls is 2 here and not set there"
    ):
        ana.pull()
    ana.pull(resolve={"vault.yaml": side})
    left = {"calls": 2, "cost": 5} if side == "ours" else {"cost": 5}
    assert ana.get_config() == {"limits": left, "prices": {"m": PRICE}}
    finish(ana, bo)


def test_a_price_that_both_have_set_is_a_conflict_of_that_model(ana, part):
    bo = part()
    ana.set_config("prices.m", PRICE)
    bo.set_config("prices.m", {"input": 9, "output": 9})
    with pytest.raises(TVRemoteError, match=r"its prices\.m is \{'input': 1, 'output': 2\} here"):
        ana.pull()


def test_what_one_side_alone_has_written_is_taken_as_it_is(ana, part):
    bo = part()
    commit_config(bo, "# until March\nlimits: {calls: 5}\nlater: 1\n")
    ana.create_table("mine")
    finish(ana, bo)
    assert ana.get_config("limits.calls") == 5
    assert "# until March\n" in (path_of(ana) / "vault.yaml").read_text("utf-8")


def test_a_limit_that_cannot_be_is_pulled_and_corrected(ana, part):
    bo = part()
    commit_config(bo, "limits: {calls: -5}\n", "--no-verify")
    ana.create_table("mine")
    ana.pull()
    ana.create_table("more")
    with pytest.raises(TVFileError, match=r"vault\.yaml, line 6: limits\.calls is -5"):
        ana.get_config()
    text = (path_of(ana) / "vault.yaml").read_text("utf-8")
    (path_of(ana) / "vault.yaml").write_text(text.replace("calls: -5", "calls: 5"), "utf-8")
    git(path_of(ana), "commit", "-qam", "corrected")
    finish(ana, bo)
    assert bo.get_config("limits.calls") == 5


def test_a_limit_that_cannot_be_is_a_conflict_where_both_have_set_some(ana, part):
    bo = part()
    commit_config(bo, "limits: {calls: -5}\n", "--no-verify")
    ana.set_config("limits.calls", 5)
    for vault in (ana, bo):
        before = git(path_of(vault), "rev-parse", "main")
        with pytest.raises(TVRemoteError, match=r"vault\.yaml, line 6: limits\.calls is -5"):
            vault.pull()
        assert git(path_of(vault), "rev-parse", "main") == before
