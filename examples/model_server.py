"""A language model on your own machine, for examples and tests: it speaks the protocol of OpenAI.

    python examples/model_server.py --port 8080 --refuse 0.05 --nonsense 0.01

It prints its address, the ``base_url`` of a client, and serves until it is interrupted. In Python:

    with ModelServer(Faults(refuse=0.05)) as server:
        client = openai.OpenAI(base_url=server.url, api_key="any")

The model only finds things: its answer is the sentence of the prompt that has most words in common
with the first one. Equal prompts have equal answers, and what goes wrong is decided by the prompt
and by how often it was sent, never by chance or by the clock. ``GET /counts`` tells what was asked.
"""

from __future__ import annotations

import argparse
import email
import hashlib
import json
import math
import re
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

NONSENSE = "Sure! Here is the JSON that you asked for:"
OK, BAD, NOT_FOUND, TOO_MANY = 200, 400, 404, 429  # statuses of HTTP


@dataclass(frozen=True, kw_only=True)
class Faults:
    """What the server does wrong.

    Attributes
    ----------
    latency : float
        Seconds that each answer takes.
    refuse : float
        Share of requests that get status 429, from 0 to 1; sent again, each has another fate.
    nonsense : float
        Share of answers that are no JSON, where JSON was asked for.
    poison : str
        Prompts with this text get status 400, always; "" for none.
    longest : int
        Tokens of the longest prompt; longer ones get status 400, too.
    tokens_per_minute : float
        Requests beyond get status 429. An idle server saves up those of one minute.
    retry_after : float
        Seconds that a refused client is asked to wait.
    lost : str
        Prompts with this text have no line in what came of a batch; "" for none.
    polls : int
        Number of times that a batch is reported as in progress. Its requests are not refused for
        being too many.
    """

    latency: float = 0.0
    refuse: float = 0.0
    nonsense: float = 0.0
    poison: str = ""
    longest: int = 100_000
    tokens_per_minute: float = math.inf
    retry_after: float = 0.05
    lost: str = ""
    polls: int = 0


class ModelServer:
    """Serves until it is closed; all clients and threads share its counts.

    Parameters
    ----------
    faults : Faults
        What it does wrong.
    port : int
        0 takes a free one.

    Attributes
    ----------
    url : str
        The ``base_url`` for clients.
    """

    def __init__(self, faults: Faults | None = None, port: int = 0) -> None:
        self._model = Model(faults or Faults())
        self._batches = Batches(self._model)
        parts = {"model": self._model, "batches": self._batches, "counts": self.counts}
        self._server = _Server(("127.0.0.1", port), type("Handler", (_Handler,), parts))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.daemon = True
        self._thread.start()

    def counts(self) -> dict[str, Any]:
        """Return what was asked so far, as ``GET /counts`` does."""
        return {"batches": self._batches.count(), **self._model.counts()}

    def last_request(self) -> dict[str, Any]:
        """Return the body of the latest request for an answer."""
        return self._model.last_request

    def connections(self) -> int:
        """Return how many connections clients have opened."""
        return self._server.connections

    def wait(self) -> None:
        """Serve until the program is interrupted."""
        self._thread.join()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        """Return the server itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop serving."""
        self.close()


class RefusedError(Exception):
    """A request without an answer: status, error of the protocol, and headers."""

    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        kind = "rate_limit_error" if status == TOO_MANY else "invalid_request_error"
        self.body = {"error": {"message": message, "type": kind, "code": code, "param": None}}


class Model:
    """Answers prompts, and counts them; for several threads."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self._lock = threading.Lock()
        self._requests: Counter[str] = Counter()
        self._answers: Counter[str] = Counter()
        self._nonsense: Counter[str] = Counter()
        self._tokens = 0
        self._over_limit = 0
        self.last_request: dict[str, Any] = {}
        self._saved = faults.tokens_per_minute
        self._saved_at = time.monotonic()

    def counts(self) -> dict[str, Any]:
        """Return what was asked and answered, in all and by prompt; nonsense is an answer, too.

        ``over_limit`` counts requests that were refused because of ``tokens_per_minute``.
        """
        with self._lock:
            counted = {
                "requests": self._requests,
                "answers": self._answers,
                "nonsense": self._nonsense,
            }
            return {
                **{name: counter.total() for name, counter in counted.items()},
                "tokens": self._tokens,
                "over_limit": self._over_limit,
                "by_prompt": {
                    prompt: {name: counter[prompt] for name, counter in counted.items()}
                    for prompt in self._requests
                },
            }

    def complete(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to ``POST /chat/completions``.

        Raises
        ------
        RefusedError
            The request is not answered, and costs nothing.
        """
        prompt, sent, attempt = self._received(request)
        if _fate("refuse", prompt, attempt) < self.faults.refuse:
            raise _too_many("The server is busy.", self.faults.retry_after)
        answer = self._answer(request, prompt, attempt)
        self._pay(sent + _tokens(answer))
        self._count(prompt, answer, sent)
        time.sleep(self.faults.latency)
        return _completion(request, answer, sent)

    def complete_in_batch(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to a request of a batch; raises RefusedError for a wrong one."""
        prompt, sent, attempt = self._received(request)
        answer = self._answer(request, prompt, attempt)
        self._count(prompt, answer, sent)
        return _completion(request, answer, sent)

    def _received(self, request: Mapping[str, Any]) -> tuple[str, int, int]:
        """Count a request, and return its prompt, its tokens, and how often it was sent."""
        prompt = "\n".join(
            each["content"] for each in request["messages"] if each["role"] != "system"
        )
        with self._lock:
            self.last_request = dict(request)
            self._requests[prompt] += 1
            attempt = self._requests[prompt]
        sent = sum(_tokens(each["content"]) for each in request["messages"])
        longest = self.faults.longest
        if sent > longest:
            message = f"{sent} tokens; the model reads {longest}."
            raise RefusedError(BAD, "context_length_exceeded", message)
        if self.faults.poison and self.faults.poison in prompt:
            raise RefusedError(BAD, "invalid_prompt", "The model cannot answer this prompt.")
        return prompt, sent, attempt

    def _answer(self, request: Mapping[str, Any], prompt: str, attempt: int) -> str:
        """Return the text of an answer: JSON where a schema was sent."""
        sentence, fit = _best_sentence(prompt)
        form = request.get("response_format") or {}
        if form.get("type") != "json_schema":
            return sentence or f"{request['model']} on {prompt!r}"
        if _fate("nonsense", prompt, attempt) < self.faults.nonsense:
            return NONSENSE
        schema = form["json_schema"]["schema"]
        return json.dumps(_fill(schema, sentence or prompt, fit, _hash(prompt, 0)))

    def _pay(self, tokens: int) -> None:
        """Take tokens from those that are saved up, if there are so many."""
        rate = self.faults.tokens_per_minute
        if rate == math.inf:
            return
        with self._lock:
            now = time.monotonic()
            self._saved = min(rate, self._saved + (now - self._saved_at) * rate / 60)
            self._saved_at = now
            if tokens > self._saved:
                self._over_limit += 1
                wait_s = (tokens - self._saved) * 60 / rate
                raise _too_many(f"{rate:.0f} tokens per minute.", wait_s)
            self._saved -= tokens

    def _count(self, prompt: str, answer: str, sent: int) -> None:
        """Count an answer."""
        with self._lock:
            self._answers[prompt] += 1
            self._nonsense[prompt] += answer == NONSENSE
            self._tokens += sent + _tokens(answer)


class Batches:
    """Files of requests, and what became of them; for several threads."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._files: dict[str, bytes] = {}
        self._batches: dict[str, dict[str, Any]] = {}
        self._polls: Counter[str] = Counter()

    def upload(self, data: bytes) -> dict[str, Any]:
        """Keep a file, and return what ``POST /files`` does."""
        name = f"file-{len(self._files) + 1}"
        self._files[name] = data
        return {
            "id": name,
            "object": "file",
            "bytes": len(data),
            "created_at": 0,
            "filename": name,
            "purpose": "batch",
            "status": "processed",
        }

    def content(self, name: str) -> bytes:
        """Return a file."""
        return self._files[name]

    def create(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer all requests of a file, and return what ``POST /batches`` does."""
        name = f"batch_{len(self._batches) + 1}"
        lines: dict[bool, list[bytes]] = {True: [], False: []}
        for line in map(json.loads, self._files[request["input_file_id"]].splitlines()):
            if self._is_lost(line["body"]):
                continue
            try:
                status, body = OK, self._model.complete_in_batch(line["body"])
            except RefusedError as error:
                status, body = error.status, error.body
            response = {"status_code": status, "request_id": "", "body": body}
            found = {"id": "", "custom_id": line["custom_id"], "response": response, "error": None}
            lines[status == OK].append(json.dumps(found).encode() + b"\n")
        outcomes = {
            f"{kind}_file_id": self.upload(b"".join(lines[is_good]))["id"]
            for kind, is_good in (("output", True), ("error", False))
            if lines[is_good]
        }
        self._batches[name] = {
            "id": name,
            "object": "batch",
            "created_at": 0,
            **{key: request[key] for key in ("endpoint", "input_file_id", "completion_window")},
            "metadata": request.get("metadata"),
            "request_counts": {
                "total": sum(map(len, lines.values())),
                "completed": len(lines[True]),
                "failed": len(lines[False]),
            },
            **outcomes,
        }
        return self._state(name)

    def count(self) -> int:
        """Return how many batches there are."""
        return len(self._batches)

    def _is_lost(self, request: Mapping[str, Any]) -> bool:
        """Return whether a request is not answered at all."""
        lost = self._model.faults.lost
        return bool(lost) and lost in request["messages"][-1]["content"]

    def look(self, name: str) -> dict[str, Any]:
        """Return what ``GET /batches/ID`` does."""
        self._polls[name] += 1
        return self._state(name)

    def all(self) -> dict[str, Any]:
        """Return what ``GET /batches`` does."""
        data = [self._state(name) for name in reversed(self._batches)]
        return {"object": "list", "data": data, "has_more": False}

    def _state(self, name: str) -> dict[str, Any]:
        """Return the state of a batch, with counts when it is completed."""
        found = self._batches[name]
        if self._polls[name] > self._model.faults.polls:
            return {**found, "status": "completed"}
        hidden = ("output_file_id", "error_file_id", "request_counts")
        known = {key: value for key, value in found.items() if key not in hidden}
        counts = {"total": found["request_counts"]["total"], "completed": 0, "failed": 0}
        return {**known, "status": "in_progress", "request_counts": counts}


def _completion(request: Mapping[str, Any], answer: str, sent: int) -> dict[str, Any]:
    """Return an answer as the protocol has it."""
    received = _tokens(answer)
    message = {"role": "assistant", "content": answer, "refusal": None}
    return {
        "id": f"chatcmpl-{_hash(request):016x}",
        "object": "chat.completion",
        "created": 0,
        "model": request["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": {
            "prompt_tokens": sent,
            "completion_tokens": received,
            "total_tokens": sent + received,
        },
    }


def _too_many(message: str, wait_s: float) -> RefusedError:
    """Return the refusal of a request that may be sent again after a while."""
    headers = {
        "retry-after": str(math.ceil(wait_s)),
        "retry-after-ms": str(math.ceil(wait_s * 1000)),
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": f"{math.ceil(wait_s * 1000)}ms",
    }
    return RefusedError(TOO_MANY, "rate_limit_exceeded", message, **headers)


def _tokens(text: str) -> int:
    """Count the tokens of a text: about four letters are one."""
    return math.ceil(len(text) / 4)


def _hash(*parts: object) -> int:
    """Return a number that is the same for equal parts, on every machine."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big")


def _fate(kind: str, prompt: str, attempt: int) -> float:
    """Return a number from 0 to 1 that decides what becomes of a request."""
    return _hash(kind, prompt, attempt) / 2**64


def _best_sentence(prompt: str) -> tuple[str, float]:
    """Return the sentence that fits the first one best, and the share of words that they share."""
    first, *others = re.split(r"(?<=[.!?])\s+", " ".join(prompt.split()))
    asked = _words(first)
    fits = [(len(asked & _words(each)) / (len(asked) or 1), each) for each in others]
    fit, best = max(fits, key=lambda found: found[0], default=(0.0, ""))
    return best, round(fit, 2)


def _words(text: str) -> set[str]:
    """Return the words of a text, without their endings."""
    return {word[:6] for word in re.findall(r"[a-z]{3,}", text.lower())}


def _fill(schema: Mapping[str, Any], text: str, fit: float, number: int) -> object:
    """Return a value that a schema allows: `text` for texts, `fit` for numbers."""
    if "enum" in schema:
        return schema["enum"][number % len(schema["enum"])]
    kind = schema.get("type", "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        properties = schema.get("properties", {})
        return {
            name: _fill(each, text, fit, _hash(number, name)) for name, each in properties.items()
        }
    if kind == "array":
        return [_fill(schema.get("items", {}), text, fit, number)]
    plain = {"integer": number % 10, "number": fit, "boolean": number % 2 == 0, "null": None}
    return plain.get(kind, text)


class _Server(ThreadingHTTPServer):
    """Takes many connections at once."""

    request_queue_size = 1024
    daemon_threads = True
    connections = 0

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection, and count it."""
        self.connections += 1
        return super().get_request()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Write nothing of clients that go away in the middle, as killed ones do."""
        if not isinstance(sys.exception(), ConnectionError | ValueError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Reads requests, and writes what the model returns."""

    model: Model
    batches: Batches
    counts: Callable[[], dict[str, Any]]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body in one packet

    def do_GET(self) -> None:
        """Answer what is only read."""
        self._reply(self._read)

    def do_POST(self) -> None:
        """Answer what has a body."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._reply(lambda: self._post(body))

    def _read(self) -> dict[str, Any] | bytes:
        """Return what is at a path."""
        match self.path.partition("?")[0].split("/")[1:]:
            case ["counts"]:
                return type(self).counts()
            case ["v1", "batches"]:
                return self.batches.all()
            case ["v1", "batches", name]:
                return self.batches.look(name)
            case ["v1", "files", name, "content"]:
                return self.batches.content(name)
        raise KeyError(self.path)

    def _post(self, body: bytes) -> dict[str, Any]:
        """Return the answer to a body."""
        match self.path:
            case "/v1/chat/completions":
                return self.model.complete(json.loads(body))
            case "/v1/files":
                kind = self.headers["Content-Type"].encode()
                form = email.message_from_bytes(b"Content-Type: " + kind + b"\r\n\r\n" + body)
                (file,) = (part for part in form.walk() if part.get_filename())
                return self.batches.upload(file.get_payload(decode=True))
            case "/v1/batches":
                return self.batches.create(json.loads(body))
        raise KeyError(self.path)

    def _reply(self, make: Callable[[], dict[str, Any] | bytes]) -> None:
        """Write what `make` returns or raises."""
        status, headers = OK, dict[str, str]()
        try:
            found = make()
        except RefusedError as error:
            status, headers, found = error.status, error.headers, error.body
        except KeyError:
            status, found = NOT_FOUND, {"error": {"message": f"There is no {self.path}."}}
        data = found if isinstance(found, bytes) else json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Write no log."""


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    for name, default in vars(Faults()).items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=type(default),
            default=default,
            help=f"see Faults.{name}; default {default!r}",
        )
    options = vars(parser.parse_args())
    port = options.pop("port")
    with ModelServer(Faults(**options), port) as server:
        print(server.url, flush=True)
        try:
            server.wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
