"""The model server of the examples obeys its settings in every request."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from examples.model_server import Faults, ModelServer

SERVER = Path(__file__).parents[2] / "examples" / "model_server.py"
PROMPTS = [f"What is {number}?" for number in range(40)]


def send(url, prompt, **fields):
    """Send a prompt; return the status, and the answer or the headers."""
    message = {"model": "small-1", "messages": [{"role": "user", "content": prompt}], **fields}
    request = urllib.request.Request(f"{url}/chat/completions", json.dumps(message).encode())
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, json.load(response)["choices"][0]["message"]["content"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers)


def outcomes(prompts, times=3, **faults):
    """Send prompts to a new server."""
    with ModelServer(Faults(**faults)) as server:
        return {each: [send(server.url, each)[0] for _ in range(times)] for each in prompts}


def test_what_goes_wrong_is_decided_by_prompt_and_attempt():
    found = outcomes(PROMPTS, refuse=0.5)
    backwards = outcomes(PROMPTS[::-1], refuse=0.5)
    assert found == backwards
    assert {status for statuses in found.values() for status in statuses} == {200, 429}


def test_poison_fails_always():
    assert outcomes(["What is 7?", "What is 8?"], poison="7") == {
        "What is 7?": [400, 400, 400],
        "What is 8?": [200, 200, 200],
    }


def test_a_long_prompt_is_refused():
    short, long = "a" * 12, "a" * 13
    assert outcomes([short, long], times=1, longest=3) == {short: [200], long: [400]}


def test_a_refusal_says_when_to_come_back():
    with ModelServer(Faults(refuse=1.0, retry_after=1.5)) as server:
        _, headers = send(server.url, "?")
    assert (headers["retry-after"], headers["retry-after-ms"]) == ("2", "1500")
    assert headers["x-ratelimit-reset-requests"] == "1500ms"


def test_tokens_beyond_the_rate_are_refused():
    prompt = "x" * 400
    with ModelServer(Faults(tokens_per_minute=150)) as server:
        assert [send(server.url, prompt)[0] for _ in range(2)][1] == 429
        assert server.counts()["answers"] <= 1


def test_requests_and_answers_are_counted_by_prompt():
    with ModelServer(Faults(poison="7")) as server:
        for prompt in ("7?", "8?", "8?"):
            send(server.url, prompt)
        with urllib.request.urlopen(server.url.replace("/v1", "/counts")) as response:
            counts = json.load(response)
    assert counts == server.counts()
    assert (counts["requests"], counts["answers"]) == (3, 2)
    assert counts["by_prompt"] == {
        "7?": {"requests": 1, "answers": 0, "nonsense": 0},
        "8?": {"requests": 2, "answers": 2, "nonsense": 0},
    }


@pytest.mark.parametrize("fault", ["poison", "longest"])
def test_a_program_can_start_it(fault):
    command = [sys.executable, str(SERVER), f"--{fault}", "3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = server.stdout.readline().strip()
            assert [send(url, each)[0] for each in ("1 2", "1 2 3 4 5 6 7")] == [200, 400]
        finally:
            server.terminate()
