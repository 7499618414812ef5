"""Batches of requests at a provider: files of requests that are answered within a day."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

_ENDPOINT: Final = "/v1/chat/completions"
_LABEL: Final = "tablevault"
_ENDED: Final = frozenset({"completed", "failed", "expired", "cancelled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchState:
    """What a provider says of a batch.

    Attributes
    ----------
    status : str
        In its words.
    has_ended : bool
        Whether nothing will be answered any more.
    answered, total : int
        Requests.
    problem : str
        Why the whole of it was refused; "" when it was not.
    files : tuple of str
        What came of the requests.
    """

    status: str
    has_ended: bool
    answered: int
    total: int
    problem: str
    files: tuple[str, ...]


class BatchClient:
    """Sends batches to one server, and reads what came of them.

    Parameters
    ----------
    base_url, api_key : str, optional
        By default those of the environment.

    Raises
    ------
    openai.OpenAIError
        From all methods: what the client raises.
    """

    def __init__(self, base_url: str | None, api_key: str | None) -> None:
        import openai

        self._client = openai.OpenAI(base_url=base_url, api_key=api_key)

    def send(self, requests: Mapping[str, Mapping[str, Any]], label: str) -> str:
        """Send requests by their ids, and return the id of the batch.

        Nothing is paid for as long as the batch does not exist, which is the last step.
        """
        lines = (
            {"custom_id": name, "method": "POST", "url": _ENDPOINT, "body": body}
            for name, body in requests.items()
        )
        data = "".join(f"{json.dumps(line)}\n" for line in lines).encode()
        file = self._client.files.create(file=("requests.jsonl", data), purpose="batch")
        batch = self._client.batches.create(
            input_file_id=file.id,
            endpoint=_ENDPOINT,
            completion_window="24h",
            metadata={_LABEL: label},
        )
        return str(batch.id)

    def find(self, label: str) -> str | None:
        """Return the id of the batch that was sent with a label; None when there is none."""
        for batch in self._client.batches.list(limit=100):
            if (batch.metadata or {}).get(_LABEL) == label:
                return str(batch.id)
        return None

    def state(self, batch_id: str) -> BatchState:
        """Ask how far a batch is."""
        batch = self._client.batches.retrieve(batch_id)
        counts = batch.request_counts
        errors = (batch.errors.data if batch.errors else None) or []
        return BatchState(
            status=batch.status,
            has_ended=batch.status in _ENDED,
            answered=counts.completed + counts.failed if counts else 0,
            total=counts.total if counts else 0,
            problem="; ".join(str(each.message) for each in errors),
            files=tuple(each for each in (batch.output_file_id, batch.error_file_id) if each),
        )

    def lines(self, state: BatchState) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield what came of each request, by its id."""
        for file in state.files:
            for text in self._client.files.content(file).read().splitlines():
                line = json.loads(text)
                yield line["custom_id"], line

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
