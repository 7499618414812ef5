"""The rows of a builder whose requests a provider answers in a batch, hours later, for less money.

An execution collects what was answered, sends requests for the rest, and ends; the next
one goes on. A request is known by the key of its call, so whichever execution collects it enters
the answer into the row that it belongs to, and into no other.

A batch is written down before it is sent, without an id, and again when it has one. After a crash
in between, the provider is asked for a batch with its label: it has it, or nothing was paid.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from tablevault.engine.builders.field_values import Retry
from tablevault.engine.calls.keys import Inputs
from tablevault.engine.execution.budgets import RunLimits
from tablevault.engine.execution.caller import Caller
from tablevault.engine.execution.finder import FoundRows
from tablevault.engine.execution.limiting import Limiting
from tablevault.engine.execution.row_wise import RowCalls, RowWork
from tablevault.engine.row_values import RowResults
from tablevault.errors import TVBuilderError, TVPendingError
from tablevault.limits_and_prices import Limits
from tablevault.render import counted

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


@dataclass(frozen=True, slots=True, kw_only=True)
class SentBatch:
    """A batch.

    Attributes
    ----------
    label : str
        What the provider knows it by besides its own id.
    batch_id : str
        The id; "" as long as it is open whether the provider has the batch.
    requests : tuple of str
        Ids of its requests: the keys of calls.
    """

    label: str
    batch_id: str
    requests: tuple[str, ...]


class SentBatches:
    """The batches of a vault.

    Parameters
    ----------
    folder : Path
        Where the files are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self) -> Iterator[SentBatch]:
        """Yield all batches, the earliest first."""
        for path in sorted(self._folder.glob("*.json"), key=lambda each: each.stat().st_mtime_ns):
            fields = json.loads(path.read_text(encoding="utf-8"))
            yield SentBatch(**{**fields, "requests": tuple(fields["requests"])})

    def write(self, batch: SentBatch) -> None:
        """Write a batch so that it outlives a crash."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self.path(batch)
        beside = path.with_suffix(".tmp")
        with beside.open("w", encoding="utf-8") as file:
            json.dump(asdict(batch), file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def remove(self, batch: SentBatch) -> None:
        """Forget a batch."""
        with contextlib.suppress(FileNotFoundError):
            self.path(batch).unlink()

    def path(self, batch: SentBatch) -> Path:
        """Return the file of a batch."""
        return self._folder / f"{batch.label}.json"


def new_batch(requests: Sequence[str]) -> SentBatch:
    """Return a batch that is about to be sent, with a label of its own."""
    label = hashlib.blake2b(os.urandom(16), digest_size=16).hexdigest()
    return SentBatch(label=label, batch_id="", requests=tuple(requests))


_REQUEST_BYTES: Final = 16
_MOST_REQUESTS: Final = 50_000
"""Of one batch, as OpenAI has it."""
_OK: Final = 200
_OF_THE_CLIENT: Final = ("base_url", "api_key", "options")
Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _CollectedBatch:
    """What became of the requests of the waiting rows: those without a line are answered later."""

    lines: Mapping[str, Line]
    ended: Sequence[SentBatch]
    pending: Sequence[tuple[SentBatch, BatchState]]


class BatchCalls:
    """Makes the rows of one builder; the counterpart of `RowCalls`.

    Parameters
    ----------
    work : RowWork
        What is asked; its caller counts the answers that are collected as calls.

    Attributes
    ----------
    failed : set of int
        Rows whose requests failed, and that stay null.
    """

    def __init__(self, work: RowWork) -> None:
        self.failed: set[int] = set()
        self._error: Exception | None = None
        self._work = work
        self._builder = work.builder
        self._caller = work.caller
        self._arguments = work.arguments
        self._context = context = work.context
        if context.options.batches is None:
            raise self._wrong("needs a vault", "Execute an instance of one.")
        self._sent = SentBatches(context.options.batches)

    def run(self, found: FoundRows, skip: Callable[[int, bool], None]) -> RowResults:
        """Collect the rows whose results are not there.

        Raises
        ------
        TVPendingError
            Requests are not answered yet. What was answered is recorded.
        Exception
            A request failed, and the builder does not keep errors; the client failed.
        """
        waiting = found.waiting
        requests = {row: self._request(found.inputs.get(row)) for row in waiting}
        client = self._client(waiting)
        if client is None:
            return self._read(found, {}, skip)
        with contextlib.closing(client):
            collected = self._collect(set(requests.values()), client)
            lines = {
                row: collected.lines[name]
                for row, name in requests.items()
                if name in collected.lines
            }
            values = self._read(found, lines, skip)
            self._forget(collected.ended, set(requests.values()))
            self._check_errors()
            known = {name for batch, _ in collected.pending for name in batch.requests}
            unasked = [row for row in waiting if row not in lines and requests[row] not in known]
            pending = [*collected.pending]
            if unasked:
                pending += self._send({row: requests[row] for row in unasked}, client)
        if pending:
            raise self._unanswered(pending)
        return values

    # -- what is there --------------------------------------------------------------------------

    def _collect(self, wanted: set[str], client: BatchClient) -> _CollectedBatch:
        """Ask for the batches that have requests of the waiting rows."""
        lines: dict[str, Line] = {}
        ended, pending = [], []
        for batch in [each for each in self._sent.read() if wanted.intersection(each.requests)]:
            known = batch if batch.batch_id else self._found(batch, client)
            if known is None:
                continue
            state = self._state(known, client)
            if not state.has_ended:
                pending.append((known, state))
                continue
            ended.append(known)
            reason = f"Batch {known.batch_id} is {state.status}. {state.problem}".strip()
            awaited = wanted.intersection(known.requests)
            lines |= {name: {"error": {"message": reason}} for name in awaited}
            lines |= {name: line for name, line in client.lines(state) if name in awaited}
        return _CollectedBatch(lines=lines, ended=ended, pending=pending)

    def _state(self, batch: SentBatch, client: BatchClient) -> BatchState:
        """Ask how far a batch is; an error says where it is known from."""
        try:
            return client.state(batch.batch_id)
        except Exception as error:
            error.add_note(
                f'Batch "{batch.batch_id}" is known from {self._sent.path(batch)}. Delete that '
                "file to give its answers up, and to ask again."
            )
            raise

    def _found(self, batch: SentBatch, client: BatchClient) -> SentBatch | None:
        """Return a batch that may have been sent, with its id; None when it was not."""
        batch_id = client.find(batch.label)
        if batch_id is None:
            self._sent.remove(batch)
            return None
        known = replace(batch, batch_id=batch_id)
        self._sent.write(known)
        return known

    def _forget(self, batches: Sequence[SentBatch], collected: set[str]) -> None:
        """Forget requests once what came of them outlives this process.

        Others in the same batch belong to rows that this execution does not make.
        """
        if batches:
            self._context.options.ledger.flush()
        for batch in batches:
            others = tuple(name for name in batch.requests if name not in collected)
            if others:
                self._sent.write(replace(batch, requests=others))
            else:
                self._sent.remove(batch)

    def _read(
        self,
        found: FoundRows,
        lines: Mapping[int, Line],
        skip: Callable[[int, bool], None],
    ) -> RowResults:
        """Enter answers as if they came from calls: all of them, whatever fails."""
        builder = replace(
            self._builder,
            n_threads=1,
            retry=Retry(),
            timeout_s=None,
            limits=Limits(),
            on_error="keep",
            max_errors=None,
        )
        # Nothing is called: there are prices, but no rates and no budgets.
        prices = self._context.limiting.prices
        limits = RunLimits(prices={model: price.in_batch() for model, price in prices.items()})
        with contextlib.closing(Limiting(limits, self._context.progress)) as limiting:
            context = replace(self._context, limiting=limiting)
            caller = Caller(builder, _values_of, self._caller.code, context)

            def arguments(row: int | None) -> dict[str, Any]:
                """Return the arguments of the function that reads the answer for a row."""
                assert row is not None
                return {"line": lines[row], "given": self._arguments(row)}

            work = replace(
                self._work, builder=builder, caller=caller, arguments=arguments, context=context
            )
            calls = RowCalls(work)
            values = calls.run(replace(found, waiting=sorted(lines)), skip)
        self.failed, self._error = calls.failed, calls.error
        self._caller.calls += caller.calls
        return values

    def _check_errors(self) -> None:
        """Raise the first error of a request, unless the builder keeps so many."""
        builder = self._builder
        most = builder.max_errors
        is_kept = builder.on_error == "keep" and (
            most is None or most.allows(len(self.failed), self._context.tables.draft.rows)
        )
        if self._error is not None and not is_kept:
            raise self._error

    # -- what is sent ---------------------------------------------------------------------------

    def _send(
        self, rows: Mapping[int, str], client: BatchClient
    ) -> Iterator[tuple[SentBatch, BatchState]]:
        """Send the requests of rows, in as many batches as they need."""
        self._context.limiting.gate(self._builder).check(len(rows))
        bodies = {name: self._body(row) for row, name in rows.items()}
        names = list(bodies)
        for first in range(0, len(names), _MOST_REQUESTS):
            batch = new_batch(names[first : first + _MOST_REQUESTS])
            self._sent.write(batch)
            sent = {name: bodies[name] for name in batch.requests}
            batch = replace(batch, batch_id=client.send(sent, batch.label))
            self._sent.write(batch)
            yield batch, client.state(batch.batch_id)

    def _body(self, row: int) -> dict[str, Any]:
        """Return the request of a row."""
        from tablevault.engine.functions.questions import Question

        given = self._arguments(row)
        asked = {key: given[key] for key in given if key not in _OF_THE_CLIENT}
        fields = Question(**asked).fields(self._builder.changed_columns)
        return fields | (given.get("options") or {})

    def _client(self, rows: Sequence[int]) -> BatchClient | None:
        """Return the client for the rows; None when there are none."""
        servers = {tuple(map(self._arguments(row).get, _OF_THE_CLIENT[:2])) for row in rows}
        if len(servers) > 1:
            raise self._wrong(
                "asks several servers", "Let base_url and api_key be the same in all rows."
            )
        return BatchClient(*servers.pop()) if servers else None

    def _request(self, inputs: Inputs | None) -> str:
        """Return the id of the request of a row."""
        if inputs is None:
            raise self._wrong(
                "has rows whose calls cannot be told apart beforehand",
                "Let its arguments read no columns of its own.",
            )
        return hashlib.blake2b(self._caller.code + inputs, digest_size=_REQUEST_BYTES).hexdigest()

    def _unanswered(self, pending: Sequence[tuple[SentBatch, BatchState]]) -> TVPendingError:
        """Return the error that says what is not answered yet."""
        shown = ", ".join(
            f"{batch.batch_id} is {state.status} with {state.answered} of "
            f"{counted(len(batch.requests), 'request')} answered"
            for batch, state in pending
        )
        return TVPendingError(
            f'Builder "{self._builder.name}": batch {shown}.',
            "Execute again later: that collects the answers.",
            builder=self._builder.name,
        )

    def _wrong(self, problem: str, hint: str) -> TVBuilderError:
        """Return the error that says why a batch is impossible."""
        return TVBuilderError(
            f'Builder "{self._builder.name}": mode is provider-batch, but it {problem}.',
            hint,
            builder=self._builder.name,
            field="mode",
        )


def _values_of(line: Line, given: Mapping[str, Any], changed_columns: Sequence[str]) -> object:
    """Return the values of a row from a line of a batch.

    Raises
    ------
    ValueError
        The request failed, or the answer does not fit.
    """
    from tablevault.engine.functions.questions import Question

    response = line.get("response") or {}
    if response.get("status_code") != _OK:
        body = response.get("body") or {}
        error = line.get("error") or body.get("error") or {}
        status = f" with status {response['status_code']}" if response else ""
        raise ValueError(f"The request failed{status}: {error.get('message', '')}")
    asked = {key: given[key] for key in given if key not in _OF_THE_CLIENT}
    return Question(**asked).values(response["body"], changed_columns)
