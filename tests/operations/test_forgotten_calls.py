"""A deletion says which calls are forgotten with it: those that no other instance holds."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest

from tests.looking import check_clean
from tests.operations.bench import DOUBLE, Bench

MORE = {"id": [*range(12), 99]}
PRICED = """
from tablevault import report_usage

def ask(id):
    pay(id)
    report_usage("m", cost=0.25)
    return 2 * id
"""


@pytest.fixture
def bench(vault, vault_path, tmp_path) -> Bench:
    made = Bench(vault, vault_path, tmp_path / "paid")
    made.code(DOUBLE)
    made.run()
    return made


@pytest.fixture
def said(vault_path, git):
    """Read the body of the newest commit without its trailers."""

    def read() -> str:
        return git(vault_path, "log", "-1", "--format=%b").partition("Vault-")[0].strip()

    return read


def forgets(number: str) -> str:
    return f"Forgets {number} that no other instance holds."


def test_calls_of_the_only_instance_are_forgotten_and_made_again(bench, said):
    bench.vault.delete_instance(*bench.vault.get_table_instances("t"), "t")
    assert said() == forgets("12 calls")
    assert bench.run() == 12
    check_clean(bench.path)


def test_calls_that_another_instance_holds_are_not_forgotten(bench, said):
    bench.run(MORE)
    first, _ = bench.vault.get_table_instances("t")
    bench.vault.delete_instance(first, "t")
    assert said() == ""
    assert bench.run(MORE) == 0


def test_only_calls_that_an_instance_holds_alone_are_counted(bench, said):
    bench.run(MORE)
    _, second = bench.vault.get_table_instances("t")
    bench.vault.delete_instance(second, "t")
    assert said() == forgets("1 call")
    assert bench.run(MORE) == 1


def test_calls_of_another_code_are_other_calls(bench, said):
    bench.code(DOUBLE.replace("2 *", "3 *"))
    bench.run()
    _, second = bench.vault.get_table_instances("t")
    bench.vault.delete_instance(second, "t")
    assert said() == forgets("12 calls")


def test_a_table_counts_each_call_once(bench, said):
    bench.run(MORE)
    bench.vault.delete_table("t")
    assert said() == forgets("13 calls")


def test_an_undone_instance_goes_with_its_table(bench, said, vault):
    made = vault.log("t")
    vault.undo(made[made["operation"] == "execute_instance"]["process_id"].iloc[0])
    vault.delete_table("t")
    assert said() == forgets("12 calls")


def test_a_copy_in_another_table_holds_the_calls(bench, said, vault):
    (first,) = vault.get_table_instances("t")
    vault.create_table("copy")
    vault.create_instance("copy", origin_id=first, origin_table="t")
    vault.execute_instance("copy")
    assert bench.calls() == 12
    vault.delete_table("t")
    assert said() == ""


def test_a_cost_that_was_reported_is_named(bench, said):
    bench.code(PRICED)
    bench.run({"id": [1, 2, 3]})
    _, second = bench.vault.get_table_instances("t")
    bench.vault.delete_instance(second, "t")
    assert said() == "Forgets 3 calls that no other instance holds, cost 0.75."


def test_an_instance_without_calls_says_nothing(vault, said):
    vault.create_table("w")
    vault.create_instance("w", external_edit=True)
    vault.write_instance(pd.DataFrame({"a": [1]}), "w")
    vault.delete_instance(*vault.get_table_instances("w"), "w")
    assert said() == ""


def test_a_file_that_is_not_here_is_not_counted(bench, said):
    bench.run(MORE)
    _, second = bench.vault.get_table_instances("t")
    objects = bench.path / ".git/lfs/objects"
    for path in objects.glob("??/??/*"):
        if b"tablevault.calls" in path.read_bytes():
            path.unlink()
    bench.vault.delete_instance(second, "t")
    assert said() == "The calls of 1 instance were not counted."


@pytest.mark.parametrize("option", ["", "--quiet"])
def test_the_command_prints_it_unless_it_is_to_be_quiet(bench, option):
    (instance,) = bench.vault.get_table_instances("t")
    words = ["--db-dir", str(bench.path), "--author", "A", "delete-instance", "t", instance]
    done = subprocess.run(
        [sys.executable, "-m", "tablevault", *filter(None, [option]), *words],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (forgets("12 calls") in done.stderr) == (not option)
    assert len(done.stdout.splitlines()) == 1
