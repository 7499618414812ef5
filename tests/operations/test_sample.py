"""A trial makes the first rows; the whole execution finds its calls."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from tablevault.errors import TVArgumentError
from tests.looking import check_clean, until
from tests.operations.bench import ASK, DOUBLE, IDS, Bench
from tests.operations.test_plan import JUDGE, WHOLE, chain

TEMP = "TEMP_base"


@pytest.fixture
def bench(vault, vault_path, tmp_path):
    return Bench(vault, vault_path, tmp_path / "paid")


def paid(bench):
    """Return what was paid for."""
    return bench.paid.read_text().splitlines() if bench.paid.exists() else []


def trial(bench, columns=None):
    return bench.vault.get_dataframe("t", instance_id=TEMP, columns=columns)[0]


def test_a_trial_makes_the_first_rows_and_nothing_is_paid_twice(bench):
    chain(bench, whole=WHOLE)
    process = bench.vault.execute_instance("t", sample=3)
    assert sorted(paid(bench)) == sorted(
        [f"ask {n}" for n in range(3)] + [f"judge answer {n}" for n in range(3)]
    )
    frame = trial(bench)
    assert len(frame) == 12
    assert frame["x"].notna().tolist() == [True] * 3 + [False] * 9
    assert frame["y"].tolist()[:3] == [8, 8, 8]
    assert frame["w"].isna().all()
    assert bench.vault.get_process_completion(process)
    assert bench.vault.get_table_instances("t") == []
    assert bench.vault.get_active_processes() == {}
    bench.vault.execute_instance("t")
    assert len(paid(bench)) == len(set(paid(bench))) == 25
    check_clean(bench.path)


def test_a_larger_trial_goes_on_from_a_smaller_one(bench):
    bench.code(DOUBLE)
    bench.prepare(n_threads=3)
    for rows in (2, 5, np.int64(5), 100):
        bench.vault.execute_instance("t", sample=rows)
        assert bench.calls() == min(rows, 12)
    bench.vault.execute_instance("t")
    assert bench.calls() == 12


EDITS = {
    "a function": ("2 * id", "3 * id"),
    "a prompt": ("2 * id", "f'in one word, please: {id}'"),
}


@pytest.mark.parametrize(("old", "new"), EDITS.values(), ids=EDITS)
@pytest.mark.parametrize("builder", [{}, {"return_type": "row-wise", "n_threads": 3}])
def test_code_that_is_edited_after_a_trial_is_called_for_its_rows_again(bench, old, new, builder):
    bench.code(DOUBLE)
    bench.prepare(**builder)
    bench.vault.execute_instance("t", sample=5)
    before = trial(bench)["x"].tolist()[:5]
    bench.repair(DOUBLE.replace(old, new))
    plan = bench.vault.plan("t")
    assert plan.builders[-1].calls == 12
    bench.vault.execute_instance("t", sample=5)
    assert bench.calls() == 10
    assert trial(bench)["x"].tolist()[:5] != before
    bench.repair(DOUBLE)
    bench.vault.execute_instance("t", sample=5)
    assert bench.calls() == 10
    assert trial(bench)["x"].tolist()[:5] == before
    bench.repair(DOUBLE.replace(old, new))
    bench.vault.execute_instance("t")
    assert bench.calls() == 17
    assert bench.x() == [eval(new, {"id": n}) for n in range(12)]


def test_rows_of_a_trial_are_kept_when_the_code_that_was_edited_is_accepted(bench):
    bench.code(DOUBLE)
    bench.prepare()
    bench.vault.execute_instance("t", sample=5)
    bench.repair(DOUBLE.replace("2 * id", "id + id"))
    bench.vault.execute_instance("t", accept_code=True)
    assert bench.calls() == 12


def test_an_execution_that_failed_after_a_trial_keeps_none_of_its_rows(bench, tmp_path):
    """Not even rows that the failed execution has not reached."""
    down = tmp_path / "down"
    bench.code(DOUBLE)
    bench.prepare()
    bench.vault.execute_instance("t", sample=5)
    down.touch()
    bench.repair(
        DOUBLE.replace(
            "    pay(id)",
            f"    if id == 2 and os.path.exists({str(down)!r}):\n"
            "        raise ConnectionError\n    pay(id)",
        ).replace("2 * id", "3 * id")
    )
    with pytest.raises(ConnectionError):
        bench.vault.execute_instance("t")
    down.unlink()
    bench.vault.execute_instance("t")
    assert bench.calls() == 17
    assert bench.x() == [3 * n for n in range(12)]


def test_a_trial_after_an_edit_shows_what_is_unchanged(bench):
    bench.code(DOUBLE)
    bench.run()
    bench.prepare({"id": [*range(20)]})
    bench.vault.execute_instance("t", sample=14)
    assert bench.calls() == 14
    assert trial(bench)["x"].tolist()[:14] == [2 * n for n in range(14)]
    assert trial(bench)["x"].isna().sum() == 6


def test_a_trial_keeps_what_only_an_instance_knows(bench):
    bench.code(DOUBLE)
    bench.run()
    for file in (bench.path / ".git/tablevault").glob("calls.sqlite*"):
        file.unlink()
    vault = type(bench.vault)(bench.path, "Ana")
    bench.vault = vault
    bench.prepare({"id": [*range(13)]})
    vault.execute_instance("t", sample=1)
    assert bench.calls() == 12
    assert trial(bench)["x"].notna().sum() == 12


def test_rows_with_equal_arguments_are_shown(bench):
    bench.code("def ask(id):\n    pay(id)\n    return id\n")
    bench.prepare({"id": list(range(6))}, deduplicate=True, arguments={"id": "same"})
    bench.vault.execute_instance("t", sample=3)
    assert bench.calls() == 1
    assert trial(bench)["x"].tolist()[:3] == ["same"] * 3


def test_a_row_that_needs_a_whole_column_waits(bench):
    reads = {**JUDGE, "arguments": {"text": "<<self.w[index]>>"}}
    chain(bench, judge=reads, whole=WHOLE)
    bench.vault.execute_instance("t", sample=2)
    assert sorted(paid(bench)) == ["ask 0", "ask 1"]


@pytest.mark.parametrize("sample", [0, -1, True, False, 1.5, "2", np.True_])
def test_a_number_of_rows_that_is_none_is_refused_and_changes_nothing(bench, sample):
    bench.code(DOUBLE)
    bench.prepare()
    with pytest.raises(TVArgumentError, match="sample"):
        bench.vault.execute_instance("t", sample=sample, process_id="p")
    bench.vault.execute_instance("t", process_id="p")
    assert bench.calls() == 12


def test_an_error_in_a_trial_pauses_it_and_either_may_follow(bench):
    for number, later in enumerate([{"sample": 10}, {}]):
        bench.prepare(version=f"v{number}", arguments={"id": "<<self.id[index]>>", "n": number})
        down = bench.paid.with_name("down")
        down.touch()
        bench.code(
            f"def ask(id, n):\n    if id == 8 and os.path.exists({str(down)!r}):\n"
            '        raise ConnectionError("no answer")\n    pay(id)\n    return id\n'
        )
        before = bench.calls()
        with pytest.raises(ConnectionError):
            bench.vault.execute_instance("t", f"v{number}", sample=10, process_id=f"p{number}")
        assert list(bench.vault.get_active_processes()) == [f"p{number}"]
        down.unlink()
        bench.vault.execute_instance("t", f"v{number}", process_id=f"p{number}", **later)
        assert bench.calls() - before == (10 if later else 12)
        assert len(bench.vault.get_table_instances("t", f"v{number}")) == (0 if later else 1)


def test_a_trial_of_a_paused_execution_of_all_rows_is_refused(bench):
    bench.fail_at_8(process_id="p")
    with pytest.raises(TVArgumentError, match="paused execution of all rows") as caught:
        bench.vault.execute_instance("t", sample=2, process_id="p")
    assert "execute_instance('t', version='base', process_id='p')" in str(caught.value)
    assert bench.calls() == 8
    assert list(bench.vault.get_active_processes()) == ["p"]


def test_a_trial_works_in_the_background(bench):
    bench.code(DOUBLE)
    bench.prepare()
    process = bench.vault.execute_instance("t", sample=4, background=True)
    until(lambda: bench.vault.get_process_completion(process))
    assert bench.calls() == 4
    assert trial(bench, ["x"])["x"].tolist()[:4] == [0, 2, 4, 6]
    bench.vault.execute_instance("t")
    assert bench.calls() == 12


def test_the_log_tells_a_trial(bench):
    bench.code(DOUBLE)
    bench.prepare(IDS)
    bench.vault.execute_instance("t", sample=1)
    assert bench.vault.log("t")["subject"][0] == "t/base: execute instance, trial of 1 row"


def test_a_builder_that_was_edited_by_hand_stays_edited(bench):
    bench.code(DOUBLE)
    bench.prepare()
    file = bench.path / "temp/t/base/builders/ask.yaml"
    text = yaml.safe_dump({**ASK, "n_threads": 2})
    file.write_text(text)
    bench.vault.execute_instance("t", sample=1)
    assert file.read_text() == text
