"""Questions to a language model: the request that is sent, and the values in the answer."""

from __future__ import annotations

import functools
import json
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jsonschema

from tablevault.engine.calls.usage import report_usage

_SHOWN: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a model is asked; the attributes are parameters of ``language_model.complete``."""

    prompt: object
    model: str
    system: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    schema: Mapping[str, Any] | None = None

    def fields(self, columns: Sequence[str]) -> dict[str, Any]:
        """Return the fields of the request.

        Raises
        ------
        TypeError
            The prompt is no text, or the schema is none, or says nothing of a column.
        """
        messages = [{"role": "user", "content": _text(self.prompt)}]
        if self.system is not None:
            messages.insert(0, {"role": "system", "content": self.system})
        fields: dict[str, Any] = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        if self.schema is not None:
            fields["response_format"] = _Form(self.schema, columns).request
        known = {name: value for name, value in fields.items() if value is not None}
        return {"model": self.model, "messages": messages, **known}

    def values(self, response: Mapping[str, Any], columns: Sequence[str]) -> object:
        """Return the values of columns from a response of the server, and report its tokens.

        Raises
        ------
        ValueError
            There is no answer, it is no JSON, or it does not fit the schema.
        """
        usage = response.get("usage") or {}
        report_usage(self.model, usage.get("prompt_tokens"), usage.get("completion_tokens"))
        answer = _answer(response)
        return answer if self.schema is None else _Form(self.schema, columns).values(answer)


class _Form:
    """What an answer has to look like."""

    def __init__(self, schema: Mapping[str, Any], columns: Sequence[str]) -> None:
        self._columns = columns
        self._validator = _validator(json.dumps(schema, sort_keys=True))
        properties = schema.get("properties", {})
        self._by_name = all(name in properties for name in columns)
        if not self._by_name and len(columns) != 1:
            missing = next(name for name in columns if name not in properties)
            raise TypeError(
                f'The schema has no property "{missing}", which is among changed_columns.'
            )
        # OpenAI holds a model to a schema that is closed and leaves nothing out.
        is_strict = schema.get("additionalProperties") is False and (
            set(schema.get("required", ())) == set(properties)
        )
        self.request = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": schema, "strict": is_strict},
        }

    def values(self, answer: str) -> object:
        """Return the values of the columns.

        Raises
        ------
        ValueError
            The answer is no JSON, or does not fit the schema.
        """
        try:
            found = json.loads(answer)
        except ValueError as error:
            raise ValueError(f"The answer is no JSON: {_beginning(answer)}") from error
        problem = jsonschema.exceptions.best_match(self._validator.iter_errors(found))
        if problem is not None:
            raise ValueError(
                f"The answer does not fit the schema, {problem.json_path}: "
                f"{problem.message:.{_SHOWN}}: {_beginning(answer)}"
            )
        if not self._by_name:
            return found
        values = [found.get(name) for name in self._columns]
        return values[0] if len(values) == 1 else values


@functools.lru_cache
def _validator(schema: str) -> Any:  # noqa: ANN401 - jsonschema has no name for the type
    """Return what checks answers."""
    read = json.loads(schema)
    kind = jsonschema.validators.validator_for(read, jsonschema.Draft202012Validator)
    try:
        kind.check_schema(read)
    except jsonschema.SchemaError as error:
        raise TypeError(
            f"The schema is no JSON schema, {error.json_path}: {error.message}"
        ) from error
    return kind(read)


def _text(prompt: object) -> str:
    """Return the text of a prompt; one that is a single place may bring another value."""
    if not isinstance(prompt, str | int | float):
        raise TypeError(f"The prompt has to be text, it is {reprlib.repr(prompt)}.")
    return str(prompt)


def _answer(response: Mapping[str, Any]) -> str:
    """Return the text of an answer."""
    choices = response.get("choices") or [{}]
    message = choices[0].get("message") or {}
    if message.get("refusal"):
        raise ValueError(f"The model refuses to answer: {_beginning(message['refusal'])}")
    if message.get("content") is None:
        raise ValueError(
            f'There is no answer; finish_reason is "{choices[0].get("finish_reason")}".'
        )
    return str(message["content"])


def _beginning(answer: str) -> str:
    """Return how an answer begins."""
    return answer if len(answer) <= _SHOWN else f"{answer[:_SHOWN]}..."
