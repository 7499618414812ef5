"""Rates that threads and processes share, with clocks that are set and files that are damaged."""

from __future__ import annotations

import os
import threading

import pytest

from tablevault.engine.execution.rates import Rates, seconds_of

NOW = 1_000_000.0
SECOND = {"calls": 0.99}  # what is taken moves the schedule on by one second


@pytest.fixture
def rates(tmp_path):
    made = Rates(tmp_path / "rates.sqlite")
    yield made
    made.close()


def begun(rates, calls, now=NOW, units=SECOND):
    """Return how many of some calls may begin at a time."""
    return sum(rates.take("r", units, now) == 0.0 for _ in range(calls))


def test_a_rate_is_calls_spread_over_time(rates):
    assert begun(rates, 5) == 1
    assert rates.take("r", SECOND, NOW) == pytest.approx(0.75)
    assert begun(rates, 5, NOW + 1) == 1


def test_what_nobody_used_is_lost_but_for_a_moment(rates):
    begun(rates, 1)
    assert begun(rates, 100, NOW + 600, {"calls": 0.099}) == 3


def test_rates_of_other_names_and_kinds_are_others(rates):
    assert rates.take("r", {"calls": 99}, NOW) == 0.0
    assert rates.take("other", {"calls": 99}, NOW) == 0.0
    assert rates.take("r", {"tokens": 99}, NOW) == 0.0


def test_a_call_waits_for_both_kinds_and_takes_none_before(rates):
    rates.take("r", {"tokens": 9.9}, NOW)
    assert rates.take("r", {"calls": 99, "tokens": 1}, NOW) == pytest.approx(9.75)
    assert rates.take("r", {"calls": 99}, NOW) == 0.0


def test_tokens_beside_the_expected_ones_are_made_up_for(rates):
    rates.take("r", {"tokens": 0.0}, NOW)
    rates.correct("r", "tokens", 9.9, NOW)
    assert rates.take("r", {"tokens": 0.0}, NOW) == pytest.approx(9.75)
    rates.correct("r", "tokens", -9.9, NOW)
    assert rates.take("r", {"tokens": 0.0}, NOW) == 0.0


def test_a_held_rate_lets_nobody_begin(rates):
    rates.hold("r", "calls", NOW + 30, NOW)
    rates.hold("r", "calls", NOW + 10, NOW)
    assert rates.take("r", SECOND, NOW) == 30.0
    assert rates.take("r", SECOND, NOW + 30) == 0.0


@pytest.mark.parametrize("per_minute", [1 / 60, 1 / 600])
def test_a_rate_below_one_call_an_hour_is_kept(rates, per_minute):
    units = {"calls": seconds_of(1, per_minute)}
    assert begun(rates, 3, units=units) == 1
    assert begun(rates, 3, NOW + 1 / per_minute * 59, units) == 0
    assert begun(rates, 3, NOW + 1 / per_minute * 61, units) == 1


def test_tokens_for_more_than_an_hour_are_made_up_for(rates):
    rates.take("r", {"tokens": 0.0}, NOW)
    rates.correct("r", "tokens", 7200, NOW)
    assert rates.take("r", {"tokens": 1.0}, NOW) > 7000


@pytest.mark.parametrize("back", [100.0, 86_400.0, 999_999.0])
def test_a_clock_that_is_set_back_changes_no_wait(rates, back):
    begun(rates, 1)
    assert rates.take("r", SECOND, NOW - back) == pytest.approx(0.75)
    assert begun(rates, 5, NOW - back + 1) == 1


def test_a_clock_that_is_set_forward_and_back_stops_nobody(rates):
    begun(rates, 1, NOW + 1e9)
    assert rates.take("r", SECOND, NOW) == pytest.approx(0.75)
    assert begun(rates, 5, NOW + 1) == 1


@pytest.mark.parametrize("is_open", [False, True])
def test_a_damaged_file_is_made_again(rates, tmp_path, is_open):
    if is_open:
        begun(rates, 1)
    (tmp_path / "rates.sqlite").write_bytes(b"no database" * 1000)
    assert begun(rates, 5) == 1
    assert begun(rates, 5) == 0


def test_damage_behind_the_first_page_is_mended_too(rates, tmp_path):
    for number in range(500):
        rates.take(f"r{number}", SECOND, NOW)
    file = tmp_path / "rates.sqlite"
    content = file.read_bytes()
    rates.close()
    file.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    assert begun(rates, 5) == 1


def test_a_folder_that_cannot_be_written_is_the_fault_of_the_disk(tmp_path):
    (tmp_path / "rates.sqlite").mkdir()
    with pytest.raises(OSError, match=r"rates\.sqlite"):
        Rates(tmp_path / "rates.sqlite").take("r", SECOND, NOW)


def test_a_closed_file_is_opened_again(rates):
    begun(rates, 1)
    rates.close()
    rates.close()
    assert begun(rates, 5) == 0


def test_threads_begin_no_call_twice(rates):
    together = threading.Barrier(8, timeout=100)
    counts = []

    def work():
        together.wait()
        counts.append(begun(rates, 20))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert (len(counts), sum(counts)) == (8, 1)


PROCESS = """
import sys
from pathlib import Path
from tablevault.engine.execution.rates import Rates
rates = Rates(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
print(sum(rates.take("r", {"calls": 0.99}, 1e6 + 1.0 * at) == 0.0 for at in range(20)))
rates.close()
"""


def test_processes_share_a_rate(tmp_path, python):
    processes = [python(PROCESS, tmp_path / "rates.sqlite") for _ in range(2)]
    assert [each.stdout.readline() for each in processes] == ["ready\n"] * 2
    for each in processes:
        each.stdin.write("go\n")
        each.stdin.flush()
    counts = [int(each.communicate(timeout=100)[0]) for each in processes]
    assert sum(counts) == 20


def test_a_copy_of_the_process_has_a_connection_of_its_own(rates):
    begun(rates, 1)
    if (child := os.fork()) == 0:
        os._exit(0 if begun(rates, 5, NOW + 1) == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert begun(rates, 5, NOW + 1) == 0
    assert begun(rates, 5, NOW + 2) == 1
