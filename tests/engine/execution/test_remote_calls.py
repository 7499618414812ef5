"""Functions of builders in the workers of a real Dask scheduler, and what a kill costs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tablevault.engine.execution import remote_calls
from tablevault.engine.execution.file_transfer import VaultHome
from tablevault.errors import TVBuilderError, TVExecutorError
from tests.engine.execution.test_executors import LIVE, PIDS, Bench, come, whole
from tests.operations.building import row_builders

__all__ = ["come"]


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
    """Yield a cluster that waits for workers that start again, however long that takes."""
    import dask

    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1h"}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
        ) as cluster,
    ):
        yield cluster


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Let executions wait for such workers, too."""
    monkeypatch.setattr(remote_calls, "_RESTART_S", 3600)


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


@pytest.fixture
def separate(tmp_path):
    """Yield a client of a scheduler of its own with one worker, and the scheduler."""
    with started(tmp_path, "127.0.0.1", []) as (scheduler, client):
        yield scheduler, client


def paused_by(bench, client, code, match):
    """Let an execution end in a pause, and continue it without the cluster."""
    with pytest.raises(TVExecutorError, match=match):
        bench.run(client.get_executor(), code, options={"process_id": "p"})
    assert not bench.vault.get_active_processes()["p"].is_running
    bench.vault.execute_instance("t", process_id="p")
    assert bench.x() == list(range(6))


KILLING = """
def f(id):
    pay(id)
    if id == 3 and PAID.read_text().split().count("3") == 1:
        os.kill({pid}, 9)
    return id
"""


@pytest.mark.sweep
def test_a_scheduler_that_is_killed_pauses_the_process(bench, separate):
    scheduler, client = separate
    paused_by(bench, client, KILLING.format(pid=scheduler.pid), "in flight")


@pytest.mark.sweep
def test_the_only_worker_that_is_killed_pauses_the_process(bench, separate, monkeypatch):
    monkeypatch.setattr(remote_calls, "_LOOKS", 1)
    monkeypatch.setattr(remote_calls, "_RESTART_S", 0)
    paused_by(bench, separate[1], KILLING.format(pid="os.getpid()"), "no worker was left")


LEAKING = """
import time
KEPT = []
def f(id):
    pay(id)
    if os.getpid() != {pid}:
        from distributed import get_worker
        KEPT.append(bytes([1]) * get_worker().memory_manager.memory_limit)
        while get_worker().status.name != "paused":
            time.sleep(0.01)
    return id
"""


@pytest.mark.sweep
def test_workers_that_have_paused_for_want_of_memory_pause_the_process(
    bench, tmp_path, monkeypatch
):
    monkeypatch.setattr(remote_calls, "_LOOKS", 1)
    monkeypatch.setattr(remote_calls, "_RESTART_S", 0)
    with started(tmp_path, "127.0.0.1", [], "--memory-limit", "300MB") as (_, client):
        code = LEAKING.format(pid=os.getpid())
        paused_by(bench, client, code, "its workers have paused, their memory is full")


HEAVY = """
def f(id, folder):
    pay(id)
    path = Path(folder, f"{id}.bin")
    path.write_bytes(bytes([id]) * (9 << 20))
    return path.name
"""
"""Writes artifacts of more than one piece."""


@pytest.fixture
def unseen(monkeypatch):
    """Let workers not recognise the vault, as if they were elsewhere."""
    of = VaultHome.of
    monkeypatch.setattr(VaultHome, "of", lambda *args: of(*args)._replace(stamp=(0, 0, 0)))


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("request_of", "nth", "paid"),
    [("receive", 2, 2), ("read_parts", 2, 3), ("remove_folder", 1, 2)],
)
@pytest.mark.usefixtures("unseen")
def test_a_worker_that_dies_during_a_transfer_costs_what_was_not_fetched(
    bench, client, cluster, monkeypatch, git, request_of, nth, paid
):
    client.wait_for_workers(len(cluster.workers))
    (bench.path / "code" / "big.bin").write_bytes(bytes(9 << 20))
    run_at, requests = remote_calls.run_at, Counter[str]()

    def run_or_kill(executor, address, function, *args):
        requests[function.__name__] += 1
        if function.__name__ == request_of and requests[request_of] == nth:
            function, args = signal.raise_signal, (signal.SIGKILL,)
        return run_at(executor, address, function, *args)

    monkeypatch.setattr(remote_calls, "run_at", run_or_kill)
    arguments = {"id": "<<self.id[index]>>", "folder": "~ARTIFACT_FOLDER~"}
    fields = {"arguments": arguments, "dtypes": {"x": "artifact_string"}}
    bench.run(client.get_executor(), HEAVY, n=2, n_threads=1, **fields)
    assert bench.count() == paid
    frame = bench.vault.get_dataframe("t", full_artifact_path=True)[0]
    assert [Path(path).read_bytes() for path in frame["x"]] == [
        bytes([row]) * (9 << 20) for row in range(2)
    ]
    assert bench.vault.verify() == []
    for check in (["fsck", "--full"], ["lfs", "fsck"]):
        git(bench.path, *check)


QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
SCHEDULER = [
    sys.executable,
    "-m",
    "distributed.cli.dask_scheduler",
    "--dashboard-address",
    "127.0.0.1:0",
]
WORKER = [
    sys.executable,
    "-m",
    "distributed.cli.dask_worker",
    "--dashboard-address",
    "127.0.0.1:0",
    "--no-nanny",
]


@contextlib.contextmanager
def started(folder, host, before, *options):
    """Yield a scheduler and a client of it, with a worker that a command begins."""
    from distributed import Client

    file = folder / "scheduler.json"
    with contextlib.ExitStack() as stack:
        command = [*SCHEDULER, "--host", host, "--port", "0", "--scheduler-file", file]
        scheduler = stack.enter_context(subprocess.Popen(command, **QUIET))
        stack.callback(scheduler.kill)
        client = stack.enter_context(Client(scheduler_file=str(file), set_as_default=False))
        command = [*before, *WORKER, client.scheduler.address, "--nthreads", "1", *options]
        command += ["--local-directory", folder]
        worker = stack.enter_context(subprocess.Popen(command, **QUIET))
        stack.callback(worker.kill)
        client.wait_for_workers(1, timeout=120)
        yield scheduler, client


@pytest.mark.sweep
def test_items_that_came_before_the_worker_of_a_generator_died_are_kept(bench, client, come):
    bench.vault.create_code_module("work", text=LIVE.format(come=come, end="os._exit(1)"))
    bench.vault.create_instance("t", builders=whole("generator"))
    with pytest.raises(TVBuilderError, match="died"):
        bench.vault.execute_instance("t", executor=client.get_executor(), process_id="p")
    frame = bench.vault.get_dataframe("t", "TEMP_base")[0]
    assert frame["id"].tolist() == [0, 1, 2]


def test_items_of_a_generator_come_with_their_reports_and_an_error_after_them(bench, client):
    code = """
from tablevault import report_usage

def rows():
    for n in range(3):
        report_usage("m", input_tokens=n)
        yield n
    raise OSError("gone")
"""
    bench.vault.create_code_module("work", text=code)
    bench.vault.create_instance("t", builders=whole("generator"))
    with pytest.raises(OSError, match="gone"):
        bench.vault.execute_instance("t", executor=client.get_executor(), process_id="p")
    calls = bench.vault.get_calls("t", "TEMP_base")
    assert calls["gen_ai.usage.input_tokens"].tolist()[:3] == [0, 1, 2]


class Link(NamedTuple):
    """A network of two hosts: the address of this one, and the command that runs on the other."""

    here: str
    there: list[str]


@contextlib.contextmanager
def other_host() -> Iterator[Link]:
    """Yield a link to another network namespace, or to this one where nobody may make them."""
    name, number = f"tv{os.getpid()}", os.getpid()
    net = f"198.18.{number >> 6 & 255}"
    here, there = (f"{net}.{(number << 2 & 255) + each}" for each in (1, 2))
    commands = f"""
        ip netns add {name}
        ip link add {name} type veth peer name eth0 netns {name}
        ip addr add {here}/30 dev {name}
        ip link set {name} up
        ip -n {name} addr add {there}/30 dev eth0
        ip -n {name} link set eth0 up
        ip -n {name} link set lo up
    """
    made = subprocess.run(["sh", "-ec", commands], **QUIET, check=False)
    try:
        if made.returncode:
            yield Link("127.0.0.1", [])
        else:
            yield Link(here, ["ip", "netns", "exec", name])
    finally:
        subprocess.run(["ip", "netns", "del", name], **QUIET, check=False)


@pytest.fixture(scope="module")
def far(tmp_path_factory, own_mounts):
    """Yield an executor whose worker has another network and does not see a folder, and that."""
    hidden, scratch = tmp_path_factory.mktemp("hidden"), tmp_path_factory.mktemp("scratch")
    blind = [*own_mounts, "sh", "-c", 'mount -t tmpfs t "$0" && exec "$@"', hidden]
    with other_host() as link, started(scratch, link.here, [*link.there, *blind]) as (_, client):
        yield client.get_executor(), hidden


def test_files_travel_to_a_worker_that_does_not_see_the_vault_and_artifacts_come_back(far):
    executor, hidden = far
    bench = Bench(hidden / "files")
    assert not executor._client.submit(os.path.exists, str(bench.path)).result()
    (bench.path / "code" / "word.txt").write_text("hello")
    (bench.path / "code" / "big.bin").write_bytes(bytes(9 << 20))  # more than one piece
    code = """
def f(id, folder):
    beside = Path(__file__).parent
    path = Path(folder, "sub", f"{id}.txt")
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{(beside / 'word.txt').read_text()} {(beside / 'big.bin').stat().st_size}")
    return f"sub/{id}.txt"
"""
    arguments = {"id": "<<self.id[index]>>", "folder": "~ARTIFACT_FOLDER~"}
    bench.run(executor, code, n=3, arguments=arguments, dtypes={"x": "artifact_string"})
    frame = bench.vault.get_dataframe("t", full_artifact_path=True)[0]
    assert [Path(path).read_text() for path in frame["x"]] == [f"hello {9 << 20}"] * 3


def test_artifacts_in_arguments_are_sent_alone_in_dataframes_and_in_texts(far):
    executor, hidden = far
    bench = Bench(hidden / "arguments")
    code = """
def f(id, folder):
    Path(folder, f"{id}.txt").write_text(f"row {id}")
    return f"{id}.txt"

def g(path, text, folder, table):
    assert not Path(table["x"][0]).is_relative_to(folder)
    with open(path, "a") as file:
        file.write("!")
    read = [each.read_text() for each in (Path(path), Path(text[5:]), Path(table["x"][0]))]
    return "; ".join(read), Path(path).name
"""
    artifact = {"dtypes": {"x": "artifact_string"}}
    arguments = {"id": "<<self.id[index]>>", "folder": "~ARTIFACT_FOLDER~"}
    bench.run("threads", code, n=1, arguments=arguments, **artifact)
    bench.vault.create_table("u")
    builders = row_builders(1, arguments=arguments, **artifact)
    second = yaml.safe_load(builders["f"]) | {
        "python_function": "g",
        "changed_columns": ["y", "z"],
        "dtypes": {"z": "artifact_string"},
        "arguments": {
            "path": "<<self.x[index]>>",
            "text": "file:<<self.x[index]>>",
            "folder": "~ARTIFACT_FOLDER~",
            "table": "<<t.x>>",
        },
    }
    index = yaml.safe_load(builders["t_index"])
    builders = {"u_index": yaml.safe_dump(index), "f": builders["f"], "g": yaml.safe_dump(second)}
    bench.vault.create_instance("u", builders=builders)
    bench.vault.execute_instance("u", executor=executor)
    frame = bench.vault.get_dataframe("u", full_artifact_path=True)[0]
    assert frame["y"].tolist() == ["row 0!; row 0!; row 0"]
    assert Path(frame["z"][0]).read_text() == "row 0!"
