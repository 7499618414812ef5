"""Tables of answers of a language model, from builders alone."""

from __future__ import annotations

import asyncio

import pytest

from examples.model_server import Faults, ModelServer
from tablevault import TableVault
from tablevault.errors import TableReferenceError

INDEX = """\
builder_type: IndexBuilder
changed_columns: [k, name]
primary_key: [k]
python_function: rows
code_module: rows
is_custom: true
arguments: {}
"""
ROWS = """
import pandas as pd


def rows():
    return pd.DataFrame({"k": [1, 2, 3], "name": ["Ana", "Bo", "Cid"]})
"""
ANSWER = """\
builder_type: ColumnBuilder
changed_columns: [answer]
python_function: complete
code_module: language_model
arguments:
  prompt: "Who is {name}?"
  model: small-1
  api_key: ~ENV:MODEL_KEY~
"""


@pytest.fixture
def server(monkeypatch):
    with ModelServer(Faults(nonsense=0.5)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("MODEL_KEY", "the-first-one")
        yield server


@pytest.fixture
def vault(tmp_path):
    vault = TableVault(tmp_path / "v", "Ana", create=True)
    vault.create_code_module("rows", text=ROWS)
    vault.create_table("t")
    vault.create_instance("t", builders={"t_index": INDEX, "answer": ANSWER})
    return vault


def again(vault, answer=ANSWER, rows=ROWS):
    vault.create_code_module("rows", text=rows)
    vault.create_instance("t", copy=True)
    vault.create_builder_file("t", "answer", text=answer)
    vault.execute_instance("t")


def answers(vault):
    return vault.get_dataframe("t")[0]["answer"].tolist()


def prompts(server):
    return {prompt: each["requests"] for prompt, each in server.counts()["by_prompt"].items()}


def test_each_row_has_the_answer_to_its_prompt(server, vault):
    vault.execute_instance("t")
    assert answers(vault) == [f"small-1 on 'Who is {name}?'" for name in ("Ana", "Bo", "Cid")]


def test_only_rows_whose_prompt_changed_are_asked_again(server, vault):
    vault.execute_instance("t")
    again(vault, rows=ROWS.replace("Bo", "Eva"))
    asked = {"Who is Ana?": 1, "Who is Bo?": 1, "Who is Cid?": 1}
    assert prompts(server) == {**asked, "Who is Eva?": 1}
    again(vault)
    assert prompts(server) == {**asked, "Who is Eva?": 1}


def test_nothing_is_asked_again_with_another_key_or_a_longer_spelling(server, vault, monkeypatch):
    vault.execute_instance("t")
    monkeypatch.setenv("MODEL_KEY", "the-second-one")
    again(vault, ANSWER.replace("{name}", "<<self.name[index]>>") + "n_threads: 2\n")
    assert set(prompts(server).values()) == {1}


def test_a_dtype_of_text_is_no_other_question(server, vault):
    vault.execute_instance("t")
    again(vault, f"{ANSWER}dtypes: {{answer: category}}\n")
    assert str(vault.get_dataframe("t")[0]["answer"].dtype) == "category"
    assert set(prompts(server).values()) == {1}


def test_nonsense_is_asked_again(server, vault):
    text = ANSWER.replace("[answer]", "[answer, score]")
    text += "dtypes: {score: Int64}\nretry: {times: 20, wait_s: 0}\n"
    vault.create_builder_file("t", "answer", text=text)
    vault.execute_instance("t")
    counts = server.counts()
    assert counts["answers"] - counts["nonsense"] == 3
    assert counts["nonsense"] > 0
    assert str(vault.get_dataframe("t")[0]["score"].dtype) == "Int64"


def test_a_column_that_is_not_there_is_named_before_anything_is_asked(server, vault):
    vault.create_builder_file("t", "answer", text=ANSWER.replace("{name}", "{nmae}"))
    with pytest.raises(TableReferenceError, match=r'no column "nmae".*"name"') as caught:
        vault.execute_instance("t")
    assert caught.value.text[caught.value.start : caught.value.end] == "{nmae}"
    assert prompts(server) == {}


def test_a_program_with_an_event_loop_may_execute(server, vault):
    async def execute():
        vault.execute_instance("t")

    asyncio.run(execute())
    assert len(answers(vault)) == 3


def test_another_server_is_asked_by_the_next_execution(server, vault, monkeypatch):
    vault.execute_instance("t")
    with ModelServer() as other:
        monkeypatch.setenv("OPENAI_BASE_URL", other.url)
        again(vault, ANSWER.replace("Who", "What"))
        assert other.counts()["answers"] == 3
    assert server.counts()["answers"] == 3
