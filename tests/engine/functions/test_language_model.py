from __future__ import annotations

import asyncio
import subprocess
import sys

import openai
import pytest

from examples.model_server import Faults, ModelServer
from tablevault.engine.calls.usage import Usage, charging
from tablevault.engine.functions.language_model import complete

SCORED = {
    "type": "object",
    "properties": {"answer": {"type": "string"}, "score": {"type": "number"}},
    "required": ["answer", "score"],
    "additionalProperties": False,
}
PROMPT = "Which metal is liquid? Iron is a solid metal. Mercury is a liquid metal."


@pytest.fixture
def serve():
    """Start a server; it ends with the test."""
    servers = []

    def start(**faults):
        servers.append(ModelServer(Faults(**faults)))
        return servers[-1]

    yield start
    for each in servers:
        each.close()


def ask(server, prompt=PROMPT, **arguments):
    """Ask as a builder with one column does."""
    arguments = {"changed_columns": ["answer"], "api_key": "any", **arguments}
    return asyncio.run(complete(prompt, "small-1", base_url=server.url, **arguments))


def test_the_answer_is_the_value_of_a_column(serve):
    assert ask(serve()) == "Mercury is a liquid metal."


def test_tokens_are_reported(serve):
    usage = Usage("b")
    server = serve()
    with charging(usage):
        ask(server)
    used = usage.close()
    assert used.model == "small-1"
    assert used.input_tokens + used.output_tokens == server.counts()["tokens"] > 0


def test_each_column_gets_the_property_of_its_name(serve):
    columns = ["score", "answer"]
    assert ask(serve(), schema=SCORED, changed_columns=columns) == [
        0.67,
        "Mercury is a liquid metal.",
    ]
    assert ask(serve(), schema=SCORED, changed_columns=["score"]) == 0.67


def test_one_column_gets_an_answer_that_has_no_property_of_its_name(serve):
    found = ask(serve(), schema=SCORED, changed_columns=["all"])
    assert found == {"score": 0.67, "answer": "Mercury is a liquid metal."}


def test_a_schema_without_a_column_is_refused_before_anything_is_asked(serve):
    server = serve()
    with pytest.raises(TypeError, match='no property "other"'):
        ask(server, schema=SCORED, changed_columns=["answer", "other"])
    with pytest.raises(TypeError, match="no JSON schema"):
        ask(server, schema={"type": "text"})
    assert server.counts()["requests"] == 0


def test_an_answer_that_is_no_json_is_an_error_that_shows_its_beginning(serve):
    usage = Usage("b")
    with charging(usage), pytest.raises(ValueError, match="no JSON: Sure! Here is"):
        ask(serve(nonsense=1.0), schema=SCORED)
    assert usage.close().output_tokens > 0


def test_an_answer_that_does_not_fit_the_schema_is_an_error(serve):
    schema = {"type": "object", "properties": {"answer": {"type": "string", "maxLength": 3}}}
    with pytest.raises(ValueError, match=r"\$.answer: .*too long: {\"answer\": \"Merc"):
        ask(serve(), schema=schema)


def test_a_refused_request_is_an_error_of_the_client_and_is_sent_once(serve):
    server = serve(refuse=1.0)
    with pytest.raises(openai.RateLimitError) as caught:
        ask(server)
    assert caught.value.response.headers["retry-after"] == "1"
    assert server.counts()["requests"] == 1


@pytest.mark.parametrize("prompt", [None, ["of", "a batch"]])
def test_what_is_no_text_is_not_sent(serve, prompt):
    server = serve()
    with pytest.raises(TypeError, match="has to be text"):
        ask(server, prompt)
    assert server.counts()["requests"] == 0


def test_the_request_has_what_the_builder_says(serve):
    server = serve()
    ask(server, 7, system="Be brief.", temperature=0, max_tokens=5, options={"seed": 3})
    assert server.last_request() == {
        "model": "small-1",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "7"},
        ],
        "temperature": 0,
        "max_tokens": 5,
        "seed": 3,
    }
    ask(server)
    assert server.last_request().keys() == {"model", "messages"}


@pytest.mark.parametrize("is_closed", [True, False])
def test_only_a_schema_that_leaves_nothing_open_is_strict(serve, is_closed):
    server = serve()
    ask(server, schema={**SCORED, "required": ["answer", "score"] if is_closed else ["answer"]})
    form = server.last_request()["response_format"]["json_schema"]
    assert (form["strict"], form["schema"]["properties"]) == (is_closed, SCORED["properties"])


def test_the_key_of_the_environment_is_the_default(serve, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "of-the-environment")
    server = serve()
    assert ask(server, api_key=None) == "Mercury is a liquid metal."
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(openai.OpenAIError, match="OPENAI_API_KEY"):
        ask(server, api_key=None)


def test_calls_share_connections_until_the_event_loop_ends(serve):
    server = serve()

    async def several():
        for number in range(3):
            await complete(f"{number}?", "small-1", base_url=server.url, api_key="any")

    for _ in range(2):
        asyncio.run(several())
    assert (server.counts()["requests"], server.connections()) == (6, 2)


def test_the_missing_extra_is_named():
    program = (
        "import sys; sys.modules['openai'] = None\n"
        "from tablevault.engine.code import Code\n"
        "Code({}).load_function('language_model', 'complete', is_custom=False)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stderr.splitlines()[-1] == (
        'tablevault.errors.TVFileError: Module "language_model" needs the package "openai", which '
        "is not installed. Install it: pip install 'tablevault[openai]'."
    )
