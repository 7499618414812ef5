"""Functions of builders in the workers of a real Dask scheduler, and what a kill costs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

from tablevault.errors import TVExecutorError
from tests.operations.test_executors import PIDS, Bench


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path / "bench")


@pytest.fixture(scope="module")
def distributed():
    """Import it where it is used: each process of tests imports all test modules."""
    import distributed

    return distributed


@pytest.fixture(scope="module")
def cluster(sealed, distributed):
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def client(cluster, distributed):
    with distributed.Client(cluster, set_as_default=False) as client:
        yield client


def test_functions_run_in_the_workers_and_reports_come_back(bench, client):
    code = "def f(id):\n    report_usage('m', input_tokens=id)\n    return os.getpid()\n"
    assert os.getpid() not in bench.run(client.get_executor(), code, n=20)
    calls = bench.vault.get_calls("t")
    calls = calls[calls["builder"] == "f"]
    assert calls["gen_ai.usage.input_tokens"].tolist() == list(range(20))


def test_a_scheduler_is_named_by_its_address(bench, cluster):
    name = cluster.scheduler_address.replace("tcp://", "dask://")
    assert os.getpid() not in bench.run(name, PIDS)


def test_a_scheduler_that_does_not_answer_is_named(bench):
    import dask

    with (
        dask.config.set({"distributed.comm.timeouts.connect": "100ms"}),
        pytest.raises(TVExecutorError, match=r'"dask://127\.0\.0\.1:9" cannot be reached'),
    ):
        bench.run("dask://127.0.0.1:9", PIDS)


def test_a_client_that_is_closed_calls_nothing(bench, cluster, distributed):
    with distributed.Client(cluster, set_as_default=False) as client:
        executor = client.get_executor()
    with pytest.raises(TVExecutorError):
        bench.run(executor, "def f(id):\n    pay(id)\n")
    assert bench.count() == 0


@pytest.mark.sweep
def test_the_rows_of_a_worker_that_was_killed_are_called_once_more_and_it_is_told(
    bench, client, caplog
):
    code = """
def f(id):
    pay(id)
    if id == 7 and PAID.read_text().split().count("7") == 1:
        os.kill(os.getpid(), 9)
    return id
"""
    assert bench.run(client.get_executor(), code, n=20) == list(range(20))
    assert max(Counter(bench.paid.read_text().split()).values()) == 2
    assert "a worker died" in caplog.text


@pytest.mark.sweep
def test_a_row_that_kills_each_worker_is_an_error_of_this_row(bench, client):
    code = "def f(id):\n    pay(id)\n    return id if id != 2 else os._exit(1)\n"
    executor = client.get_executor()
    assert bench.run(executor, code, n=4, on_error="keep") == [0, 1, None, 3]
    assert Counter(bench.paid.read_text().split())["2"] == 2


@pytest.mark.sweep
def test_a_scheduler_that_is_killed_pauses_the_process(bench, tmp_path, distributed):
    file = tmp_path / "scheduler.json"
    here = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file)]
    start = [sys.executable, "-m"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with (
        subprocess.Popen(
            [*start, "distributed.cli.dask_scheduler", "--port", "0", *here], **quiet
        ) as scheduler,
        subprocess.Popen(
            [*start, "distributed.cli.dask_worker", "--nthreads", "1", *here], **quiet
        ) as worker,
    ):
        try:
            code = f"""
def f(id):
    pay(id)
    if id == 3 and PAID.read_text().split().count("3") == 1:
        os.kill({scheduler.pid}, 9)
    return id
"""
            with distributed.Client(scheduler_file=str(file), set_as_default=False) as client:
                client.wait_for_workers(1)
                with pytest.raises(TVExecutorError, match="in flight"):
                    bench.run(client.get_executor(), code, options={"process_id": "p"})
        finally:
            worker.terminate()
            scheduler.kill()
    assert not bench.vault.get_active_processes()["p"].is_running
    bench.vault.execute_instance("t", process_id="p")
    assert bench.x() == list(range(6))
