"""A refresh makes anew what is stale, in order, and pays for what has changed only."""

from __future__ import annotations

import pickle

import pandas as pd
import pytest
import yaml

from tablevault.errors import TVArgumentError, TVBudgetError, TVRefreshError, TVTableError
from tests.looking import calls_kept, check_clean, state_of
from tests.operations.staleness import builders

REFRESH = """
import sys
from tablevault import TableVault
sys.stdin.readline()
print(TableVault(sys.argv[1], sys.argv[2], lock_timeout=100).refresh().note)
"""


def places(report, state="made"):
    return [each.place for each in report.tables if each.state == state]


def fail_at_2(chain):
    """Let the function that makes the texts fail in the second row."""
    chain.edit('pay("write")', 'if id == 2: raise ConnectionError("down")\n    pay("write")')


def test_where_nothing_is_stale_nothing_is_made(chain):
    report = chain.vault.refresh()
    assert (report.tables, report.calls, str(report)) == ((), 0, "Nothing is stale.")
    assert chain.count("texts") == 1


def test_what_reads_a_newer_instance_is_made_anew_in_order_and_only_new_rows_are_paid(chain):
    chain.run("texts", (1, 2, 3, 4))
    chain.paid_for()
    report = chain.vault.refresh()
    assert places(report) == ["moods/base", "sums/base"]
    assert [(each.calls, each.reused) for each in report.tables] == [(1, 3), (1, 3)]
    assert chain.paid_for() == {"judge": 1, "sum_up": 1}
    assert report.tables[0].reason == "texts/base is newer"
    assert report.tables[0].instance_id == chain.vault.get_dataframe("moods")[1]
    assert chain.vault.get_dataframe("sums")[0]["id"].tolist() == [1, 2, 3, 4]
    assert chain.vault.refresh().tables == ()
    check_clean(chain.path)


def test_behind_a_table_that_comes_out_the_same_nothing_runs(chain):
    chain.edit("return len(text)", "return len(text) * 1")
    assert chain.states()["sums"] == "behind"
    report = chain.vault.refresh()
    assert places(report) == ["moods/base"]
    assert (chain.paid_for(), chain.count("sums")) == ({"judge": 3}, 1)
    assert chain.states()["sums"] == "current"


def test_a_table_that_is_named_is_made_with_what_it_reads_and_nothing_else(chain):
    chain.edit('f"text {id}"', 'f"texts {id}"')
    chain.edit("return score + 1", "return score + 2")
    assert places(chain.vault.refresh("moods")) == ["texts/base", "moods/base"]
    assert (chain.count("sums"), chain.states()["sums"]) == (1, "stale")


def test_one_version_of_a_table_can_be_named(chain):
    chain.run("texts", (7,), version="v2")
    chain.edit('f"text {id}"', 'f"texts {id}"')
    assert places(chain.vault.refresh(["texts/v2"])) == ["texts/v2"]
    assert places(chain.vault.refresh(["texts"])) == ["texts/base"]


def test_versions_keep_their_age(chain):
    chain.run("texts", (7,), version="a")
    chain.edit('f"text {id}"', 'f"texts {id}"')
    assert places(chain.vault.refresh("texts")) == ["texts/base", "texts/a"]
    assert chain.vault.get_dataframe("texts", version="")[0]["id"].tolist() == [7]


def test_unknown_names_are_refused_before_anything_is_made(chain):
    chain.edit('f"text {id}"', 'f"texts {id}"')
    for names, message in (
        (["texts", "text"], 'There is no table "text"'),
        (["texts", 3], "Argument tables of refresh holds 3 .int."),
    ):
        with pytest.raises(TVArgumentError, match=message):
            chain.vault.refresh(names)
    chain.vault.create_table("drafts")
    for name in ("texts/v9", "drafts"):
        with pytest.raises(TVTableError, match="has no materialised instance"):
            chain.vault.refresh(["texts", name])
    assert chain.count("texts") == 1


# -- dry runs -----------------------------------------------------------------------------------


def test_a_dry_run_tells_exact_and_greatest_numbers_and_changes_nothing(chain):
    chain.run("texts", (1, 2, 3, 4))
    chain.edit("return score + 1", "return score + 2")
    chain.paid_for()
    before = state_of(chain.path), calls_kept(chain.path)
    report = chain.vault.refresh(dry_run=True)
    assert (state_of(chain.path), calls_kept(chain.path), chain.paid_for()) == (*before, {})
    moods, sums = report.tables
    assert (moods.state, moods.calls, moods.is_exact, moods.reused) == ("planned", 1, True, 3)
    assert (sums.calls, sums.is_exact) == (4, False)  # rows of moods, not those of today
    assert sums.reason == "sum_up: `sum_up` changed; after moods/base"
    assert (report.calls, report.is_exact, report.dry_run) == (5, False, True)
    assert "2 instances would be made anew: calls at most 5" in str(report)
    chain.vault.refresh()
    assert chain.paid_for() == {"judge": 1, "sum_up": 4}


def test_builders_that_read_nothing_that_changes_are_planned_exactly(chain):
    judge = yaml.safe_load(builders("moods")["judge"]) | {"arguments": {"text": "<<texts.text>>"}}
    files = {name.replace("texts", "labels"): text for name, text in builders("texts").items()}
    chain.vault.create_table("labels")
    chain.vault.create_instance("labels", builders={**files, "judge": yaml.safe_dump(judge)})
    chain.vault.execute_instance("labels")
    chain.vault.create_instance("texts", copy=True)
    index = builders("texts", (1, 2, 3, 4))["texts_index"]
    chain.vault.create_builder_file("texts", "texts_index", text=index)
    planned = {each.name: each for each in chain.vault.refresh(dry_run=True).tables}["labels"]
    assert (planned.calls, planned.reused, planned.is_exact) == (3, 3, False)
    chain.vault.execute_instance("texts")
    planned = {each.name: each for each in chain.vault.refresh(dry_run=True).tables}["labels"]
    assert (planned.calls, planned.reused, planned.is_exact) == (3, 3, True)


def test_what_a_table_will_hold_is_known_to_the_plan_of_those_that_read_it(chain):
    chain.vault.create_table("labels")
    index = yaml.safe_load(builders("moods")["moods_index"]) | {"changed_columns": ["id"]}
    index["arguments"] = {"df": "<<texts.{id}>>"}
    label = yaml.safe_load(builders("sums")["sum_up"])
    label["arguments"] = {"score": "<<self.id[index]>>"}
    files = {"labels_index": yaml.safe_dump(index), "label": yaml.safe_dump(label)}
    chain.vault.create_instance("labels", builders=files)
    chain.vault.execute_instance("labels")
    chain.paid_for()
    chain.vault.create_instance("texts", copy=True)
    new = builders("texts", (1, 2, 3, 4, 5))["texts_index"]
    chain.vault.create_builder_file("texts", "texts_index", text=new)
    report = chain.vault.refresh("labels", dry_run=True)
    assert [(each.name, each.calls) for each in report.tables] == [("texts", 2), ("labels", 2)]
    assert (report.is_exact, chain.paid_for()) == (True, {})
    chain.vault.refresh("labels")
    assert chain.paid_for() == {"write": 2, "sum_up": 2}


def test_calls_that_two_tables_share_are_planned_once(chain):
    chain.vault.create_table("labels")
    files = {name.replace("texts", "labels"): text for name, text in builders("texts").items()}
    chain.vault.create_instance("labels", builders=files)
    chain.vault.execute_instance("labels")
    chain.edit('f"text {id}"', 'f"texts {id}"')
    report = chain.vault.refresh(["texts", "labels"], dry_run=True)
    assert [(each.name, each.calls) for each in report.tables] == [("texts", 3), ("labels", 0)]
    chain.paid_for()
    chain.vault.refresh(["texts", "labels"])
    assert chain.paid_for() == {"write": 3}


def test_new_rows_count_in_all_tables_behind(chain):
    chain.vault.create_instance("texts", copy=True)
    new = builders("texts", (1, 2, 3, 4, 5))["texts_index"]
    chain.vault.create_builder_file("texts", "texts_index", text=new)
    report = chain.vault.refresh(dry_run=True)
    numbers = [each.shown_calls for each in report.tables]
    assert numbers == ["2", "at most 5", "at most 5"]


def test_calls_that_a_table_before_may_make_are_not_counted_exactly(chain):
    chain.vault.create_table("labels")
    index = yaml.safe_load(builders("texts")["texts_index"])
    label = yaml.safe_load(builders("sums")["sum_up"])
    label["arguments"] = {"score": "<<self.id[index]>>"}
    files = {"labels_index": yaml.safe_dump(index), "label": yaml.safe_dump(label)}
    chain.vault.create_instance("labels", builders=files)
    chain.vault.execute_instance("labels")
    chain.edit("return len(text)", "return int(text[-1])")
    chain.edit("return score + 1", "return score + 2")
    planned = {each.name: each for each in chain.vault.refresh(dry_run=True).tables}
    assert (planned["labels"].calls, planned["labels"].is_exact) == (3, False)
    chain.paid_for()
    chain.vault.refresh()
    assert chain.paid_for() == {"judge": 3, "sum_up": 3}


def test_a_plan_ends_at_a_table_that_will_come_out_the_same(chain):
    chain.edit('return pd.DataFrame({"id": ids})', 'return pd.DataFrame({"id": list(ids)})')
    report = chain.vault.refresh(dry_run=True)
    assert [(each.place, each.calls) for each in report.tables] == [("texts/base", 0)]
    assert places(chain.vault.refresh()) == ["texts/base"]


def test_what_stands_in_the_way_of_a_table_is_part_of_the_plan(chain):
    chain.vault.delete_code_module("work")
    report = chain.vault.refresh(dry_run=True)
    assert [each.state for each in report.tables] == ["failed", "left", "left"]
    assert "work" in report.tables[0].reason


def test_a_dry_run_calls_no_function_of_a_table_with_side_effects(chain):
    chain.vault.create_table("mails", has_side_effects=True)
    files = {name.replace("texts", "mails"): text for name, text in builders("texts").items()}
    chain.vault.create_instance("mails", builders=files)
    chain.vault.execute_instance("mails")
    chain.edit("def rows(ids):", "def rows(ids):\n    pay('rows')")
    chain.edit('f"text {id}"', 'f"texts {id}"')
    chain.paid_for()
    (planned,) = chain.vault.refresh("mails", dry_run=True).tables
    assert (planned.calls, planned.is_exact, chain.paid_for()) == (3, False, {})


# -- what fails ---------------------------------------------------------------------------------


def test_a_table_that_fails_stops_those_that_read_it_and_no_others(chain):
    chain.vault.create_table("labels")
    files = {name.replace("texts", "labels"): text for name, text in builders("texts").items()}
    files["write"] = yaml.safe_dump(
        yaml.safe_load(files["write"]) | {"python_function": "rate", "arguments": {"text": "ab"}}
    )
    chain.vault.create_instance("labels", builders=files)
    chain.vault.execute_instance("labels")
    fail_at_2(chain)
    chain.edit("    return len(text)", "    return len(text) + 1")
    chain.paid_for()
    with pytest.raises(TVRefreshError) as caught:
        chain.vault.refresh()
    error = caught.value
    assert (error.failed, error.left, error.made) == (
        "texts/base",
        "moods/base, sums/base",
        "labels/base",
    )
    assert isinstance(error.__cause__, ConnectionError)
    text = str(error)
    assert "1 of 4 tables failed:\n  texts/base failed: ConnectionError: down." in text
    assert 'In builder "write", function "write" of module "work", row 1 (id 2 (int)).' in text
    assert "\n  moods/base left: it reads texts/base\n" in text
    assert "execute_instance('texts', version='base')" in text
    assert chain.paid_for() == {"write": 1}
    assert str(pickle.loads(pickle.dumps(error))) == text
    check_clean(chain.path)


def test_after_a_repair_the_same_call_goes_on_with_what_is_missing(chain):
    fail_at_2(chain)
    with pytest.raises(TVRefreshError):
        chain.vault.refresh()
    assert chain.vault.get_table_instances("texts", include_temp=True)[-1] == "TEMP_base"
    assert chain.paid_for() == {"write": 1}
    chain.edit("if id == 2: raise", "if id == 0: raise")
    report = chain.vault.refresh()
    assert chain.paid_for() == {"write": 2}
    assert [(each.place, each.calls) for each in report.tables] == [("texts/base", 2)]
    check_clean(chain.path)


def test_several_failures_are_told_together(chain):
    chain.edit('f"text {id}"', "1 / 0")
    chain.vault.create_table("labels")
    chain.vault.create_instance("labels", external_edit=True)
    chain.vault.write_instance(pd.DataFrame({"id": [1], "text": ["a"]}), "labels")
    text = builders("moods")["moods_index"].replace("<<texts.", "<<labels.")
    chain.vault.create_instance("moods", builders={**builders("moods"), "moods_index": text})
    chain.vault.execute_instance("moods")
    chain.edit("return len(text)", "return len(None)")
    with pytest.raises(TVRefreshError) as caught:
        chain.vault.refresh()
    assert caught.value.failed == "texts/base, moods/base"
    kinds = {type(each) for each in caught.value.__cause__.exceptions}
    assert kinds == {ZeroDivisionError, TypeError}


def test_a_paused_process_is_named_with_the_way_to_go_on(chain):
    fail_at_2(chain)
    chain.vault.create_instance("texts", copy=True)
    with pytest.raises(ConnectionError):
        chain.vault.execute_instance("texts", process_id="night")
    with pytest.raises(TVRefreshError, match='held by paused process "night"') as caught:
        chain.vault.refresh()
    assert "execute_instance('texts', version='base', process_id='night')" in str(caught.value)
    chain.edit("if id == 2: raise", "if id == 0: raise")
    chain.vault.execute_instance("texts", process_id="night")
    assert chain.vault.refresh().tables == ()


def test_an_interrupt_passes_and_costs_no_finished_call(chain):
    chain.edit('pay("write")', 'if id == 2: raise KeyboardInterrupt\n    pay("write")')
    with pytest.raises(KeyboardInterrupt):
        chain.vault.refresh()
    chain.edit("if id == 2: raise", "if id == 0: raise")
    chain.vault.refresh()
    assert chain.paid_for() == {"write": 3}
    check_clean(chain.path)


# -- budgets ------------------------------------------------------------------------------------


def test_a_budget_holds_for_all_tables_together(chain):
    chain.edit('f"text {id}"', 'f"texts {id}"')
    chain.edit("return len(text)", "return len(text) + 1")
    with pytest.raises(TVRefreshError) as caught:
        chain.vault.refresh(max_calls=4)
    assert (caught.value.made, caught.value.failed, caught.value.left) == (
        "texts/base",
        "moods/base",
        "sums/base",
    )
    assert isinstance(caught.value.__cause__, TVBudgetError)
    assert chain.paid_for() == {"write": 3, "judge": 1}
    report = chain.vault.refresh(max_calls=5)
    assert [each.calls for each in report.tables] == [2, 3]
    assert chain.paid_for() == {"judge": 2, "sum_up": 3}


def test_a_budget_that_just_suffices_makes_all(chain):
    chain.edit('f"text {id}"', 'f"texts {id}"')
    assert chain.vault.refresh(max_calls=9).calls == 9
    assert chain.paid_for() == {"write": 3, "judge": 3, "sum_up": 3}


def test_what_is_stale_when_a_budget_ends_is_left(chain):
    chain.vault.create_table("labels")
    files = {name.replace("texts", "labels"): text for name, text in builders("texts").items()}
    files["write"] = yaml.safe_dump(yaml.safe_load(files["write"]) | {"changed_columns": ["label"]})
    chain.vault.create_instance("labels", builders=files)
    chain.vault.execute_instance("labels")
    chain.edit('f"text {id}"', 'f"texts {id}"')
    with pytest.raises(TVRefreshError, match="labels/base left: the budget is used up"):
        chain.vault.refresh(max_calls=1)
    assert chain.vault.get_table_instances("labels", include_temp=True)[-1] != "TEMP_base"


def test_costs_are_taken_off_a_budget(chain):
    chain.edit("import pandas as pd", "import pandas as pd\nfrom tablevault import report_usage")
    chain.edit('pay("write")', 'pay("write")\n    report_usage(cost=0.5)')
    chain.edit('pay("judge")', 'pay("judge")\n    report_usage(cost=0.5)')
    chain.edit('f"text {id}"', 'f"texts {id}"')
    with pytest.raises(TVRefreshError) as caught:
        chain.vault.refresh(max_cost=2.0)
    assert caught.value.failed == "moods/base"
    assert chain.paid_for() == {"write": 3, "judge": 1}


@pytest.mark.parametrize("budget", [{"max_calls": -1}, {"max_cost": -0.5}])
def test_a_budget_below_nothing_is_refused(chain, budget):
    with pytest.raises(TVArgumentError, match="has to be 0 or more"):
        chain.vault.refresh(**budget)


def test_rows_with_errors_are_asked_again(chain, tmp_path):
    down = tmp_path / "down"
    down.touch()
    fails = f"import os\n    if id == 2 and os.path.exists({str(down)!r}): raise ConnectionError"
    chain.edit('pay("write")', f'{fails}\n    pay("write")')
    chain.run("texts", on_error="keep")
    status = {each.name: each for each in chain.vault.status().tables}["texts"]
    assert (status.errors, status.reasons) == (1, ("1 row with errors",))
    (planned,) = chain.vault.refresh("texts", dry_run=True).tables
    assert (planned.calls, planned.retries) == (1, 1)
    assert str(planned) == (
        "texts/base: 1 call (1 failed row again), 2 results there: 1 row with errors"
    )
    (made,) = chain.vault.refresh("texts").tables
    assert (made.errors, ", 1 row with errors: " in str(made)) == (1, True)
    down.unlink()
    chain.paid_for()
    chain.vault.refresh("texts")
    assert chain.paid_for() == {"write": 1}
    assert chain.states()["texts"] == "current"


# -- what is there already ----------------------------------------------------------------------


def test_a_temporary_instance_that_is_there_is_executed_as_it_is(chain):
    chain.vault.create_instance("texts", copy=True)
    index = builders("texts", (1, 2))["texts_index"]
    chain.vault.create_builder_file("texts", "texts_index", text=index)
    report = chain.vault.refresh(dry_run=True)
    assert [each.shown_calls for each in report.tables] == ["0", "0", "0"]
    report = chain.vault.refresh()
    assert places(report) == ["texts/base", "moods/base", "sums/base"]
    assert chain.paid_for() == {}
    assert chain.vault.get_dataframe("sums")[0]["id"].tolist() == [1, 2]


def test_the_order_follows_what_waiting_builders_read(chain):
    text = builders("texts")
    index = yaml.safe_load(text["texts_index"]) | {
        "python_function": "take",
        "arguments": {"df": "<<words.{id}>>"},
    }
    chain.vault.create_table("words")
    files = {name.replace("texts", "words"): each for name, each in text.items()}
    chain.vault.create_instance("words", builders=files)
    chain.vault.execute_instance("words")
    new = {**text, "texts_index": yaml.safe_dump(index)}
    chain.vault.create_instance("texts", builders=new)
    chain.edit('f"text {id}"', 'f"texts {id}"')
    assert places(chain.vault.refresh("texts")) == ["words/base", "texts/base"]


def test_what_is_written_by_hand_or_inactive_is_left_alone(chain):
    chain.vault.create_table("labels")
    chain.vault.create_instance("labels", external_edit=True)
    chain.vault.write_instance(pd.DataFrame({"id": [1]}), "labels", dependencies=[("texts", None)])
    chain.run("texts", (1, 2))
    assert chain.vault.refresh("labels").tables == ()
    assert "labels/base" not in places(chain.vault.refresh())


def test_tables_that_read_each_other_are_made_once_each(chain):
    index = yaml.safe_load(builders("texts")["texts_index"]) | {"dependencies": ["sums.sum"]}
    chain.vault.create_instance(
        "texts", builders={**builders("texts"), "texts_index": yaml.safe_dump(index)}
    )
    chain.vault.execute_instance("texts")
    chain.edit("return score + 1", "return score + 2")
    assert places(chain.vault.refresh()) == ["sums/base", "texts/base"]


def test_descriptions_are_taken_over(chain):
    chain.vault.create_instance("texts", builders=builders("texts"), description="first words")
    chain.vault.execute_instance("texts")
    chain.edit('f"text {id}"', 'f"texts {id}"')
    (made,) = chain.vault.refresh("texts").tables
    assert chain.vault.get_descriptions(made.instance_id, "texts")["summary"] == "first words"


def test_a_renamed_table_is_refreshed_under_its_new_name(chain):
    chain.vault.rename_table("totals", "sums")
    chain.edit("return score + 1", "return score + 2")
    assert places(chain.vault.refresh()) == ["totals/base"]
    assert chain.vault.get_dataframe("totals")[0]["sum"].tolist() == [8, 8, 8]


def test_code_can_be_accepted_without_a_call(chain):
    chain.edit("return len(text)", "return int(len(text))")
    (planned,) = (
        each
        for each in chain.vault.refresh(dry_run=True, accept_code=True).tables
        if each.name == "moods"
    )
    assert planned.calls == 0
    report = chain.vault.refresh(accept_code=True)
    assert (places(report), chain.paid_for()) == (["moods/base"], {})
    assert chain.states()["moods"] == "current"


def test_a_stopped_execution_is_completed(chain):
    fail_at_2(chain)
    chain.vault.create_instance("texts", copy=True)
    with pytest.raises(ConnectionError):
        chain.vault.execute_instance("texts", process_id="night")
    chain.vault.stop_process("night", materialize=True)
    chain.edit("if id == 2: raise", "if id == 0: raise")
    chain.vault.refresh("texts", accept_code=True)
    assert chain.vault.get_dataframe("texts")[0]["text"].tolist() == ["text 1", "text 2", "text 3"]
    assert chain.states()["texts"] == "current"


def test_two_programs_that_refresh_at_once_pay_once(chain, python, finish):
    chain.edit('f"text {id}"', 'f"texts {id}"')
    both = [python(REFRESH, chain.path, name) for name in ("Bo", "Cy")]
    for process in both:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in both:
        finish(process)
    assert chain.paid_for() == {"write": 3, "judge": 3, "sum_up": 3}
    assert set(chain.states().values()) == {"current"}
    check_clean(chain.path)


def test_a_killed_refresh_is_taken_up_by_the_next(chain, python):
    waits = 'print("asked", flush=True)\n    input()\n    '
    chain.edit('pay("judge")', f'{waits}pay("judge")')
    chain.edit('f"text {id}"', 'f"texts {id}"')
    process = python(REFRESH, chain.path, "Bo")
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "asked\n"
    process.kill()
    process.wait()
    chain.edit(waits, "")
    assert places(chain.vault.refresh()) == ["moods/base", "sums/base"]
    assert chain.paid_for() == {"write": 3, "judge": 3, "sum_up": 3}
    check_clean(chain.path)
