"""Questions to a language model, and the values in its answers."""

from __future__ import annotations

import pytest

from tablevault.engine.calls.usage import Usage, UsageReport, charging
from tablevault.engine.functions.questions import Question

QUESTION = Question(prompt="Who?", model="small-1")


@pytest.mark.parametrize(
    ("response", "problem"),
    [
        ({"choices": [{"message": {"refusal": "I will not."}}]}, "refuses to answer: I will not"),
        (
            {"choices": [{"message": {"content": None}, "finish_reason": "content_filter"}]},
            'no answer; finish_reason is "content_filter"',
        ),
        ({"choices": []}, "no answer"),
        ({}, "no answer"),
    ],
)
def test_a_response_without_an_answer_is_an_error(response, problem):
    with pytest.raises(ValueError, match=problem):
        QUESTION.values(response, ["a"])


def test_a_server_may_count_no_tokens():
    usage = Usage("b")
    with charging(usage):
        answered = {"choices": [{"message": {"content": "Ana"}}]}
        assert QUESTION.values({**answered, "usage": None}, ["a"]) == "Ana"
        assert QUESTION.values({**answered, "usage": {"prompt_tokens": 3}}, ["a"]) == "Ana"
    assert usage.close() == UsageReport("small-1", 3, None, None)


def test_a_long_answer_is_shown_by_its_beginning():
    schema = {"type": "object", "properties": {"a": {}}}
    question = Question(prompt="Who?", model="small-1", schema=schema)
    with pytest.raises(ValueError, match=r"no JSON: x{200}\.\.\.$"):
        question.values({"choices": [{"message": {"content": "x" * 300}}]}, ["a"])
