"""Answers of a language model, from any server that speaks the protocol of OpenAI."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, TypeAlias

from tablevault.errors import TVFileError

try:
    import openai

    from tablevault.engine.functions.questions import Question
except ModuleNotFoundError as missing:
    raise TVFileError(
        f'Module "language_model" needs the package "{missing.name}", which is not installed.',
        "Install it: pip install 'tablevault[openai]'.",
    ) from missing

_Clients: TypeAlias = dict[tuple[str | None, str | None], openai.AsyncOpenAI]


async def complete(  # noqa: PLR0913 - a builder names them all
    prompt: object,
    model: str,
    *,
    system: str | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    schema: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
    changed_columns: Sequence[str] = (),
) -> object:
    """Ask a model one question; the answer fills the columns of one row.

    Parameters
    ----------
    prompt : str
        The question. In a builder ``{column}`` stands for the value of a column in the row,
        ``{{`` and ``}}`` for braces.
    model : str
        Name of the model.
    system : str, optional
        Instructions for the model, before the question.
    temperature : float, optional
        By default that of the server.
    max_tokens : int, optional
        Longest answer.
    schema : mapping, optional
        JSON schema of the answer. A builder without one has one made of the names and dtypes
        of its columns, unless it fills a single column of text: then the answer is that text.
    options : mapping, optional
        Further fields of the request, such as ``{seed: 1, top_p: 0.9}``.
    base_url : str, optional
        Address of the server, by default that of the client: ``OPENAI_BASE_URL``, else OpenAI's.
    api_key : str, optional
        By default that of the client: ``OPENAI_API_KEY``.
    changed_columns : sequence of str, optional
        The field of the builder. Where the schema has a property for each of them, they get the
        properties of their names; else there has to be one column, which gets the whole answer.

    Returns
    -------
    object
        The value of the column, or a list with one for each of several.

    Raises
    ------
    ValueError
        There is no answer, it is no JSON, or it does not fit the schema. Tokens are reported.
    openai.OpenAIError
        What the client raises. It does not try again; the field ``retry`` of a builder does.
    TypeError
        The prompt is no text, or the schema is none, or says nothing of a column. Nothing is asked.
    """
    question = Question(
        prompt=prompt,
        model=model,
        system=system,
        temperature=temperature,
        max_tokens=max_tokens,
        schema=schema,
    )
    fields = question.fields(changed_columns)
    client = await _client(base_url, api_key)
    response: Any = await client.chat.completions.create(**fields, extra_body=options)
    return question.values(response.to_dict(), changed_columns)


_running: dict[asyncio.AbstractEventLoop, tuple[AsyncGenerator[_Clients], _Clients]] = {}
"""The clients of each event loop, to which their connections belong, and what closes them."""


async def _client(base_url: str | None, api_key: str | None) -> openai.AsyncOpenAI:
    """Return the client for a server and a key, one in each event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _running:
        closing = _closing(loop)
        _running[loop] = closing, await anext(closing)
    clients = _running[loop][1]
    server = base_url or os.environ.get("OPENAI_BASE_URL")
    key = api_key or os.environ.get("OPENAI_API_KEY")
    if (server, key) not in clients:
        clients[server, key] = openai.AsyncOpenAI(base_url=server, api_key=key, max_retries=0)
    return clients[server, key]


async def _closing(loop: asyncio.AbstractEventLoop) -> AsyncGenerator[_Clients]:
    """Yield a place for clients, and close them as the event loop ends its generators."""
    clients: _Clients = {}
    try:
        yield clients
    finally:
        del _running[loop]
        for each in clients.values():
            await each.close()
