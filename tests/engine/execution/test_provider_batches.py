"""Rows whose requests a provider answers in a batch: real vaults, a real server, real processes."""

from __future__ import annotations

import pytest

from examples.model_server import Faults, ModelServer
from tablevault import TableVault
from tablevault.errors import TVBudgetError, TVBuilderError, TVPendingError

INDEX = """\
builder_type: IndexBuilder
changed_columns: [k]
primary_key: [k]
python_function: create_data_table_from_list
code_module: table_generation
arguments: {vals: [1, 2, 3]}
"""
ANSWER = """\
builder_type: ColumnBuilder
changed_columns: [answer, score]
python_function: complete
code_module: language_model
mode: provider-batch
arguments: {prompt: "What is {k}?", model: small-1}
dtypes: {score: Int64}
"""


@pytest.fixture
def serve(monkeypatch):
    """Start a server that the client of this process finds; it ends with the test."""
    servers = []

    def start(**faults):
        server = ModelServer(Faults(**faults))
        servers.append(server)
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "any")
        return server

    yield start
    for each in servers:
        each.close()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "v"


@pytest.fixture
def vault(folder):
    vault = TableVault(folder, "Ana", create=True)
    vault.create_table("t")
    return prepare(vault, ANSWER)


def prepare(vault, answer, index=INDEX):
    vault.create_instance("t", builders={"t_index": index, "answer": answer})
    return vault


def execute(vault, process_id="p", **how):
    return vault.execute_instance("t", process_id=process_id, **how)


def batches(folder):
    return sorted((folder / ".git" / "tablevault" / "batches").glob("*"))


def state(server):
    counts = server.counts()
    return counts["batches"], counts["requests"], counts["answers"]


def answers(vault):
    return vault.get_dataframe("t")[0]["answer"].tolist()


def test_an_execution_sends_and_the_same_one_collects(serve, vault, folder):
    server = serve(polls=2)
    with pytest.raises(TVPendingError, match=r"batch_1 is in_progress with 0 of 3 requests"):
        execute(vault)
    assert "p" in vault.get_active_processes()
    with pytest.raises(TVPendingError, match="batch_1"):
        execute(vault)
    assert state(server) == (1, 3, 3)
    execute(vault)
    assert answers(vault) == ["What is 1?", "What is 2?", "What is 3?"]
    assert state(server) == (1, 3, 3)
    assert batches(folder) == []


def test_another_process_collects_without_an_id(serve, vault, folder, python, finish):
    server = serve(polls=1)
    with pytest.raises(TVPendingError):
        vault.execute_instance("t")
    program = "import sys; from tablevault import TableVault\n"
    program += "TableVault(sys.argv[1], 'Bo').execute_instance('t')"
    finish(python(program, folder))
    assert answers(vault)[0] == "What is 1?"
    assert state(server) == (1, 3, 3)


def test_answers_are_calls_like_others(serve, vault):
    server = serve()
    with pytest.raises(TVPendingError):
        execute(vault)
    execute(vault)
    calls = vault.get_calls("t")
    calls = calls[calls["builder"] == "answer"]
    used = calls["gen_ai.usage.input_tokens"] + calls["gen_ai.usage.output_tokens"]
    assert used.sum() == server.counts()["tokens"]
    vault.create_instance("t", copy=True)
    vault.create_builder_file("t", "answer", text=ANSWER.replace("mode: provider-batch\n", ""))
    vault.execute_instance("t")
    assert state(server) == (1, 3, 3)


def test_tokens_of_a_batch_cost_its_share_of_the_price(serve, vault):
    serve()
    vault.set_config("prices.small-1", {"input": 3, "output": 5, "batch": 0.5})
    with pytest.raises(TVPendingError):
        execute(vault)
    execute(vault)
    calls = vault.get_calls("t")
    calls = calls[calls["builder"] == "answer"]
    sent, received = calls["gen_ai.usage.input_tokens"], calls["gen_ai.usage.output_tokens"]
    assert calls["cost"].tolist() == pytest.approx(((3 * sent + 5 * received) / 2e6).tolist())


def test_a_row_that_is_new_is_sent_in_a_batch_of_its_own(serve, vault, folder):
    server = serve()
    with pytest.raises(TVPendingError):
        execute(vault)
    more = INDEX.replace("3]", "3, 4]")
    (folder / "temp/t/base/builders/t_index.yaml").write_text(more)
    with pytest.raises(TVPendingError, match=r"batch_2 is .* of 1 request "):
        execute(vault)
    execute(vault)
    assert answers(vault) == [f"What is {k}?" for k in (1, 2, 3, 4)]
    assert state(server) == (2, 4, 4)


@pytest.mark.parametrize(
    ("faults", "problem"),
    [
        ({"poison": "2"}, "failed with status 400: The model cannot answer"),
        ({"lost": "2"}, "failed: Batch batch_1 is completed"),
    ],
)
def test_a_failed_request_ends_the_execution_and_is_sent_again(serve, vault, faults, problem):
    server = serve(**faults)
    with pytest.raises(TVPendingError):
        execute(vault)
    with pytest.raises(ValueError, match=problem):
        execute(vault)
    with pytest.raises(TVPendingError, match=r"batch_2 is .* of 1 request "):
        execute(vault)
    assert server.counts()["answers"] == 2


def test_a_failed_request_leaves_its_row_empty_if_errors_are_kept(serve, vault):
    serve(poison="2")
    vault.create_builder_file("t", "answer", text=f"{ANSWER}on_error: keep\n")
    with pytest.raises(TVPendingError):
        execute(vault)
    execute(vault)
    assert vault.get_dataframe("t")[0]["answer"].isna().tolist() == [False, True, False]
    assert vault.get_calls("t", outcome="error")["row"].tolist() == [1]


def test_too_many_failed_requests_end_the_execution(serve, vault):
    serve(poison="2")
    vault.create_builder_file("t", "answer", text=f"{ANSWER}on_error: keep\nmax_errors: 0\n")
    with pytest.raises(TVPendingError):
        execute(vault)
    with pytest.raises(ValueError, match="status 400"):
        execute(vault)


def test_nothing_is_sent_beyond_a_budget(serve, vault):
    server = serve()
    with pytest.raises(TVBudgetError, match="2 calls"):
        execute(vault, max_calls=2)
    assert state(server) == (0, 0, 0)
    with pytest.raises(TVPendingError):
        execute(vault, max_calls=3)


@pytest.mark.parametrize(
    "moment", ["before it is sent", "before the id is written", "after the id is written"]
)
def test_a_kill_while_a_batch_is_sent_costs_nothing(serve, vault, folder, moment, python):
    server = serve()
    program = f"""
import os, signal, sys
from tablevault import TableVault
from tablevault.engine.execution.provider_batches import BatchClient
from tablevault.engine.execution.provider_batches import SentBatches

moment = {moment!r}
send, write = BatchClient.send, SentBatches.write


def sending(self, *arguments):
    if moment == "before it is sent":
        os.kill(os.getpid(), signal.SIGKILL)
    return send(self, *arguments)


def writing(self, batch):
    if batch.batch_id and moment == "before the id is written":
        os.kill(os.getpid(), signal.SIGKILL)
    write(self, batch)
    if batch.batch_id and moment == "after the id is written":
        os.kill(os.getpid(), signal.SIGKILL)


BatchClient.send, SentBatches.write = sending, writing
TableVault(sys.argv[1], "Ana").execute_instance("t", process_id="p")
"""
    assert python(program, folder).wait() == -9
    assert len(batches(folder)) == 1
    if moment == "before it is sent":
        with pytest.raises(TVPendingError):
            execute(vault)
    execute(vault)
    assert answers(vault) == ["What is 1?", "What is 2?", "What is 3?"]
    assert state(server) == (1, 3, 3)


def test_a_kill_while_a_batch_is_collected_costs_nothing(serve, vault, folder, python):
    server = serve()
    vault.create_builder_file("t", "answer", text=f"{ANSWER}on_error: keep\n")
    with pytest.raises(TVPendingError):
        execute(vault)
    program = """
import os, signal, sys
from tablevault import TableVault
from tablevault.engine.execution.provider_batches import SentBatches

SentBatches.remove = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
TableVault(sys.argv[1], "Ana").execute_instance("t", process_id="p")
"""
    assert python(program, folder).wait() == -9
    execute(vault)
    assert state(server) == (1, 3, 3)


def test_a_batch_that_the_provider_does_not_know_says_where_it_is_known_from(serve, vault, folder):
    import openai

    serve()
    with pytest.raises(TVPendingError):
        execute(vault)
    serve()
    with pytest.raises(openai.NotFoundError) as caught:
        execute(vault)
    (known,) = batches(folder)
    assert str(known) in "".join(caught.value.__notes__)
    known.unlink()
    with pytest.raises(TVPendingError):
        execute(vault)


def test_a_trial_sends_its_rows_only(serve, vault):
    server = serve()
    with pytest.raises(TVPendingError, match="of 2 requests"):
        vault.execute_instance("t", sample=2)
    assert state(server) == (1, 2, 2)


def test_a_trial_leaves_the_other_answers_of_a_batch_to_be_collected(serve, vault):
    server = serve()
    with pytest.raises(TVPendingError):
        vault.execute_instance("t")
    vault.execute_instance("t", sample=1)
    vault.execute_instance("t")
    assert answers(vault) == ["What is 1?", "What is 2?", "What is 3?"]
    assert state(server) == (1, 3, 3)


def test_one_server_answers_all_rows(serve, vault):
    serve()
    text = ANSWER.replace("small-1}", 'small-1, api_key: "<<self.k[index]>>"}')
    vault.create_builder_file("t", "answer", text=text)
    with pytest.raises(TVBuilderError, match="several servers"):
        execute(vault)


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ("mode:", "return_type: generator\nmode:"),
        ("mode:", "batch_size: 2\nmode:"),
        ("complete\ncode_module: language_model", "f\ncode_module: m\nis_custom: true"),
    ],
)
def test_other_builders_know_no_batches(vault, written, instead):
    vault.create_builder_file("t", "answer", text=ANSWER.replace(written, instead))
    with pytest.raises(TVBuilderError, match="mode is provider-batch, which only"):
        execute(vault)
