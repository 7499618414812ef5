"""A plan tells the calls of the next execution, and changes nothing."""

from __future__ import annotations

import pickle

import pytest
import yaml

from tablevault.errors import TVArgumentError, TVBuilderError, TVFileError, TVProcessError
from tests.looking import calls_kept, state_of
from tests.operations.bench import ASK, DOUBLE, IDS, Bench

CHAIN = """
def ask(id):
    pay(f"ask {id}")
    return f"answer {id}"

def judge(text):
    pay(f"judge {text}")
    return len(text)

def whole(ids):
    pay("whole")
    return pd.DataFrame({"w": ids["id"]})
"""
JUDGE = {**ASK, "changed_columns": ["y"], "python_function": "judge"}
JUDGE["arguments"] = {"text": "<<self.x[index]>>"}
WHOLE = {**ASK, "changed_columns": ["w"], "python_function": "whole", "return_type": "dataframe"}
WHOLE["arguments"] = {"ids": "<<self.{id}>>"}


@pytest.fixture
def bench(vault, vault_path, tmp_path):
    return Bench(vault, vault_path, tmp_path / "paid")


def chain(bench, **more):
    """Prepare a table whose second builder reads what the first one makes."""
    bench.code(CHAIN)
    bench.prepare()
    for name, builder in {"judge": JUDGE, **more}.items():
        bench.vault.create_builder_file("t", name, text=yaml.safe_dump(builder))


def planned(bench, **options):
    """Plan, see that nothing changed, and return the builders by name."""
    before = state_of(bench.path), calls_kept(bench.path), bench.calls()
    plan = bench.vault.plan("t", **options)
    assert (state_of(bench.path), calls_kept(bench.path), bench.calls()) == before
    return {each.name: each for each in plan.builders}


def test_without_rows_nothing_is_known_of_row_wise_builders(bench):
    chain(bench, whole=WHOLE)
    plan = bench.vault.plan("t")
    assert plan.calls is None
    assert [each.calls for each in plan.builders] == [1, None, None, 1]
    assert not plan.is_exact
    assert "not known before the index builder" in str(plan)


def test_with_the_index_builder_a_first_run_is_exact_but_for_what_follows(bench):
    chain(bench)
    found = planned(bench, run_index=True)
    assert (found["ask"].calls, found["ask"].is_exact, found["ask"].reason) == (
        12,
        True,
        "first run",
    )
    assert (found["judge"].calls, found["judge"].is_exact) == (12, False)
    assert "at most 12" in str(found["judge"])


def test_an_unchanged_table_needs_the_index_builder_only(bench):
    chain(bench)
    bench.vault.execute_instance("t")
    _, made = bench.vault.get_dataframe("t")
    bench.vault.create_instance("t", copy=True)
    plan = bench.vault.plan("t")
    assert plan.rows_from == made
    assert made in plan.note
    assert [each.calls for each in plan.builders] == [1, 0, 0]
    assert [each.reused for each in plan.builders] == [0, 12, 12]
    assert {each.reason for each in plan.builders[1:]} == {"unchanged"}
    assert (plan.seconds is not None, plan.cost) == (True, 0.0)


def test_behind_a_builder_that_runs_only_its_rows_are_open(bench):
    chain(bench)
    bench.vault.execute_instance("t")
    index = {"id": list(range(14))}
    bench.prepare(index)
    bench.vault.create_builder_file("t", "judge", text=yaml.safe_dump(JUDGE))
    found = planned(bench, run_index=True)
    assert (found["ask"].calls, found["ask"].reason) == (2, "2 new rows")
    assert (found["judge"].calls, found["judge"].is_exact) == (2, False)


@pytest.mark.parametrize(
    ("edit", "calls", "reason"),
    [
        ({"arguments": {"id": "<<self.id[index]>>", "more": 1}}, 12, "argument `more` was added"),
        ({"dtypes": {"x": "Float64"}}, 0, "unchanged"),
        ({"n_threads": 3}, 0, "unchanged"),
    ],
)
def test_reasons_are_those_of_the_execution(bench, edit, calls, reason):
    bench.code("def ask(id, more=0):\n    pay(id)\n    return 2 * id\n")
    bench.run()
    bench.prepare(**edit)
    found = planned(bench, run_index=True)["ask"]
    before = bench.calls()
    bench.vault.execute_instance("t")
    assert (found.calls, bench.calls() - before) == (calls, calls)
    if calls:
        assert found.reason == bench.told()["reason"]


def test_a_changed_helper_is_named(bench):
    text = "def ask(id):\n    pay(id)\n    return clean(id)\n\ndef clean(id):\n    return id{}\n"
    bench.code(text.format(""))
    bench.run()
    bench.repair(text.format(" + 1"))  # by hand: no commit has it
    bench.prepare()
    found = planned(bench)["ask"]
    assert (found.calls, found.reason) == (12, "`ask` calls `clean`, which changed")


def test_after_a_failure_the_missing_rows_are_planned(bench):
    bench.fail_at_8()
    found = planned(bench)["ask"]
    assert (found.calls, found.reused) == (4, 8)
    assert found.reason == "first run; 1 row failed before"


def test_the_paused_process_that_holds_the_instance_is_planned(bench):
    bench.fail_at_8(process_id="p")
    plan = bench.vault.plan("t")
    assert (plan.process_id, plan.rows_from, plan.is_exact) == ("p", "index builder", True)
    assert [each.calls for each in plan.builders] == [0, 4]
    assert planned(bench, process_id="p", run_index=True)["ask"].calls == 4


def test_what_an_execution_refuses_before_its_first_call_a_plan_refuses(bench):
    with pytest.raises(TVArgumentError, match="no temporary instance"):
        bench.vault.plan("t")
    bench.code(DOUBLE)
    bench.run(options={"process_id": "used"})
    bench.prepare()
    with pytest.raises(TVProcessError, match="cannot be used again"):
        bench.vault.plan("t", process_id="used")
    bench.repair("def other(id):\n    return id\n")
    with pytest.raises(TVFileError, match="ask"):
        bench.vault.plan("t")


def test_a_changed_prompt_asks_what_is_meant(bench):
    code = 'def ask(id):\n    pay("{} the whole question")\n    return 1 / (id - 8)\n'
    bench.code(code.format("ask"))
    bench.prepare()
    with pytest.raises(ZeroDivisionError):
        bench.vault.execute_instance("t", process_id="p")
    bench.repair(code.format("tell"))
    with pytest.raises(TVBuilderError, match="changed after 8 rows"):
        bench.vault.plan("t")
    assert planned(bench, accept_code=True)["ask"].calls == 4
    assert planned(bench, accept_code=False)["ask"].calls == 12


def test_forced_calls_are_counted_by_the_rows_of_the_origin(bench):
    bench.code(DOUBLE)
    bench.run()
    bench.prepare()
    plan = bench.vault.plan("t", force_execute=True)
    assert [each.calls for each in plan.builders] == [1, 12]
    assert plan.builders[1].reason == "forced"


def test_an_index_builder_that_writes_files_leaves_none(bench):
    bench.code(
        "def rows(folder):\n"
        "    open(folder + '/a.txt', 'w').close()\n"
        "    pay('rows')\n"
        "    return pd.DataFrame({'id': [1]})\n" + DOUBLE
    )
    bench.prepare({"id": [1]})
    index = yaml.safe_load(bench.vault.get_builder_str("t", "t_index"))
    index["arguments"] = {"folder": "~ARTIFACT_FOLDER~"}
    bench.vault.create_builder_file("t", "t_index", text=yaml.safe_dump(index))
    before = state_of(bench.path)
    assert bench.vault.plan("t", run_index=True).calls == 2
    assert state_of(bench.path) == before
    assert bench.calls() == 1


def test_time_and_cost_are_unknown_before_the_first_call_and_told_after(bench):
    bench.code(DOUBLE)
    bench.prepare()
    first = planned(bench, run_index=True)["ask"]
    assert (first.seconds, first.cost) == (None, None)
    bench.vault.execute_instance("t")
    bench.prepare({"id": [*IDS["id"], 99]})
    again = planned(bench, run_index=True)["ask"]
    assert again.calls == 1
    assert again.seconds > 0
    assert again.cost is None


def test_a_table_without_rows_takes_a_new_builder(bench):
    bench.code(CHAIN)
    bench.run({"id": []})
    bench.prepare({"id": []})
    bench.vault.create_builder_file("t", "judge", text=yaml.safe_dump(JUDGE))
    assert planned(bench, run_index=True)["judge"].calls == 0
    bench.vault.execute_instance("t")
    assert list(bench.vault.get_dataframe("t")[0]) == ["id", "x", "y"]


def test_a_plan_is_a_value(bench):
    bench.code(DOUBLE)
    bench.prepare()
    plan = bench.vault.plan("t", run_index=True)
    assert pickle.loads(pickle.dumps(plan)) == plan
    with pytest.raises(AttributeError):
        plan.version = "other"


def test_calls_that_only_instances_hold_are_found_and_not_recorded(bench):
    bench.code("def ask(id, prompt):\n    pay(id)\n    return prompt\n")
    one, two = ({"id": "<<self.id[index]>>", "prompt": text} for text in "AB")
    assert [bench.run(arguments=given) for given in (one, two)] == [12, 12]
    for file in (bench.path / ".git/tablevault").glob("calls.sqlite*"):
        file.unlink()
    bench.vault = type(bench.vault)(bench.path, "Ana")
    bench.prepare(arguments=one)
    found = planned(bench)["ask"]
    bench.vault.execute_instance("t")
    assert found.calls == bench.calls() - 24


def test_an_index_builder_that_need_not_always_run_is_planned_like_others(bench):
    bench.code(
        "def rows(n):\n    pay('rows')\n    return pd.DataFrame({'id': range(n)})\n" + DOUBLE
    )

    def prepare(n):
        bench.prepare()
        index = yaml.safe_load(bench.vault.get_builder_str("t", "t_index"))
        index |= {"always_run": False, "arguments": {"n": n}}
        bench.vault.create_builder_file("t", "t_index", text=yaml.safe_dump(index))

    prepare(4)
    assert planned(bench)["t_index"].calls == 1
    bench.vault.execute_instance("t")
    prepare(4)
    plan = bench.vault.plan("t")
    assert [(each.calls, each.reason) for each in plan.builders] == [(0, "unchanged")] * 2
    assert plan.is_exact
    before = bench.calls()
    bench.vault.execute_instance("t", sample=2)
    frame = bench.vault.get_dataframe("t", instance_id="TEMP_base")[0]
    assert frame["x"].tolist() == [0, 2, 4, 6]
    bench.vault.execute_instance("t")
    assert bench.calls() == before
    prepare(5)
    found = planned(bench)["t_index"]
    assert (found.calls, found.reason) == (1, "argument `n` changed")
