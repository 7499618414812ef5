"""What is stale, and its refresh, at the prompt."""

from __future__ import annotations

import json

import pytest

from tests.operations.staleness import Chain


@pytest.fixture
def chain(vault, tmp_path):
    made = Chain(vault, tmp_path / "v", tmp_path / "paid")
    made.paid_for()
    return made


def rows(out):
    return [line.split("\t") for line in out.splitlines()]


def test_the_status_has_a_line_for_each_version_of_each_table(chain, run):
    chain.edit("return len(text)", "return -len(text)")
    code, out, _ = run("status")
    assert code == 0
    assert [[*row[:3], row[4]] for row in rows(out)] == [
        ["moods/base", "stale", "3", "judge: `judge` calls `rate`, which changed"],
        ["sums/base", "behind", "3", "reads moods/base, which is stale"],
        ["texts/base", "current", "3", ""],
    ]
    found = json.loads(run("status", "--json")[1])
    assert found[0]["reasons"] == ["judge: `judge` calls `rate`, which changed"]


def test_a_refresh_and_its_dry_run(chain, run):
    chain.edit("return len(text)", "return -len(text)")
    code, out, _ = run("refresh", "--dry-run")
    assert code == 0
    assert [row[:4] for row in rows(out)] == [
        ["moods/base", "planned", "3", "0"],
        ["sums/base", "planned", "at most 3", "0"],
    ]
    assert chain.paid_for() == {}
    plan = json.loads(run("refresh", "moods", "--dry-run", "--json")[1])
    assert (plan["calls"], plan["is_exact"], len(plan["tables"])) == (3, True, 1)
    assert [row[:3] for row in rows(run("refresh", "moods")[1])] == [["moods/base", "made", "3"]]
    assert [row[:3] for row in rows(run("refresh")[1])] == [["sums/base", "made", "3"]]
    assert run("refresh")[:2] == (0, "")


def test_code_is_accepted_at_the_prompt(chain, run):
    chain.edit("return len(text)", "return int(len(text))")
    assert run("refresh", "--accept-code", "yes")[0] == 0
    assert chain.paid_for() == {}


def test_a_failure_names_the_tables_and_the_commands_to_go_on(chain, run):
    chain.edit("return len(text)", "return len(None)")
    code, out, err = run("--author", "Bo", "refresh")
    assert (code, out) == (1, "")
    assert err.startswith("TableVault error: 1 of 2 tables failed:\n  moods/base failed: TypeError")
    assert "\n  sums/base left: it reads moods/base\n" in err
    assert "call `tablevault --author Bo refresh` again" in err
    assert "`tablevault --author Bo execute-instance moods --version base`" in err
    assert "Traceback" not in err


def test_a_budget_at_the_prompt(chain, run):
    chain.edit("return len(text)", "return len(text) + 1")
    code, _, err = run("refresh", "--max-calls", "2")
    assert (code, chain.paid_for()) == (1, {"judge": 2})
    assert "moods/base failed: Builder" in err
    code, _, err = run("refresh", "--max-calls", "-1")
    assert (code, "--max-calls is -1" in err) == (1, True)


def test_an_interrupt_leaves_nothing_that_others_wait_for(chain, run):
    chain.edit('pay("judge")', "raise KeyboardInterrupt")
    code, _, err = run("refresh", "moods")
    assert code == 130
    assert "Finished tables and calls are kept." in err
    assert "`tablevault --quiet refresh moods`" in err
    assert chain.vault.get_active_processes() == {}


def test_several_tables_are_completed(chain, run):
    for words in (["refresh", ""], ["refresh", "moods", ""], ["refresh", "moods", "texts", ""]):
        assert run("__complete", *words)[1].split() == ["texts", "moods", "sums"]
