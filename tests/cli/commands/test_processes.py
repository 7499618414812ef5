"""Commands that execute, plan, refresh, stop and undo."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import pytest

from tests.cli.commands.conftest import CODE, ids
from tests.looking import check_clean, git
from tests.operations.staleness import Chain


def test_what_is_printed_is_the_process(made, run):
    process_id = run("create-table", "u", "--process-id", "mine")[1].strip()
    assert process_id == "mine"
    assert run("get-process-completion", "mine")[:2] == (0, "True\n")
    assert run("get-process-completion", "other")[:2] == (0, "False\n")
    assert "Vault-Process: mine" in git(Path.cwd(), "log", "-1", "--format=%B")


def test_a_paused_process_is_listed_resumed_or_stopped(made, run):
    Path("code/m.py").write_text(CODE.replace("2 * n", "2 // n"), encoding="utf-8")
    run("create-instance", "t", "--copy")
    code, out, err = run("execute-instance", "t", "--process-id", "p 1")
    assert (code, out) == (1, "")
    assert "ZeroDivisionError" in err
    assert "Traceback" not in err
    assert "m.py, line 9" in err
    assert run("get-active-processes")[1].split("\t")[:2] == ["p 1", "execute-instance"]
    nested = json.loads(run("get-active-processes", "--json")[1])
    assert nested["p 1"]["data"]["table_name"] == "t"
    process = made.get_active_processes()["p 1"]
    for name in ("start_time", "log_time", "step_times"):
        assert nested["p 1"][name] == process[name]
    assert run("get-active-processes")[1].endswith("\tt_index 3, double 0 (1 failed)\n")
    assert run("stop-process", "p 1")[0] == 0
    assert run("get-active-processes")[1] == ""
    check_clean(Path.cwd())


def test_everything_paused_is_run_by_restart(made, run):
    Path("code/m.py").write_text(CODE.replace("2 * n", "2 // n"), encoding="utf-8")
    run("create-instance", "t", "--copy")
    run("execute-instance", "t", "--process-id", "p")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        code, _, err = run("restart")
    assert (code, err.count("\n")) == (1, 2)
    assert err.startswith("Warning: 1 process could not be restarted: execute_instance p: ZeroDiv")
    assert err.endswith(
        'could not be restarted: "p". See them: `tablevault get-active-processes`.\n'
    )
    Path("code/m.py").write_text(CODE.replace("2 * n", "3 * n"), encoding="utf-8")
    assert run("restart")[0] == 0
    assert made.get_dataframe("t")[0]["twice"].tolist() == [0, 3, 6]


def test_an_undo_names_what_is_in_the_way_as_commands_do(vault, run):
    process_id = run("create-table", "t")[1].strip()
    run("delete-table", "t")
    err = run("undo", process_id)[2]
    assert err.startswith(f'TableVault error: create-table "{process_id}" cannot be undone: ')
    assert 'by delete-table "' in err


def test_a_plan_and_a_trial_at_the_prompt(made, run):
    assert run("create-instance", "t", "--copy")[0] == 0
    code, out, _ = run("plan", "t", "--run-index")
    assert code == 0
    rows = [line.split("\t") for line in out.splitlines()]
    assert [row[:3] for row in rows] == [
        ["t_index", "1", "0"],
        ["double", "0", "3"],
        ["total", "1", ""],
    ]
    assert rows[1][-1] == "unchanged"
    plan = json.loads(run("plan", "t", "--force", "--json")[1])
    assert (plan["calls"], plan["rows_from"], plan["is_exact"]) == (4, ids(made)[0], False)
    assert plan["builders"][1]["reason"] == "forced"
    code, _, err = run("execute-instance", "t", "--sample", "0")
    assert (code, "--sample is 0" in err) == (1, True)
    assert run("execute-instance", "t", "--sample", "2")[0] == 0
    assert len(ids(made)) == 1
    assert made.get_dataframe("t", instance_id="TEMP_base")[0]["twice"].tolist() == [0, 2, 4]


@pytest.fixture
def chain(chain_once, enter):
    def copy(path):
        shutil.copytree(chain_once.path, path, symlinks=True)
        return Chain.opened(path, chain_once.paid)

    made = enter(copy)
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
    assert [each["table_name"] for each in found] == ["moods", "sums", "texts"]
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
    assert (plan["calls"], plan["is_exact"]) == (3, True)
    assert [each["table_name"] for each in plan["tables"]] == ["moods"]
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
