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
import hashlib
import json
import math
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

BAD, NOT_FOUND, TOO_MANY = 400, 404, 429  # statuses of HTTP


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
        Seconds after which a refused client is told to come back.
    """

    latency: float = 0.0
    refuse: float = 0.0
    nonsense: float = 0.0
    poison: str = ""
    longest: int = 100_000
    tokens_per_minute: float = math.inf
    retry_after: float = 0.05


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
        model = Model(faults or Faults())
        self._server = _Server(("127.0.0.1", port), type("Handler", (_Handler,), {"model": model}))
        self._model = model
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.daemon = True
        self._thread.start()

    def counts(self) -> dict[str, Any]:
        """Return what was asked so far, as ``GET /counts`` does."""
        return self._model.counts()

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
        self._faults = faults
        self._lock = threading.Lock()
        self._requests: Counter[str] = Counter()
        self._answers: Counter[str] = Counter()
        self._tokens = 0
        self.last_request: dict[str, Any] = {}
        self._saved = faults.tokens_per_minute
        self._saved_at = time.monotonic()

    def counts(self) -> dict[str, Any]:
        """Return the number of requests and of answers, of all prompts and of each, and tokens."""
        with self._lock:
            return {
                "requests": self._requests.total(),
                "answers": self._answers.total(),
                "tokens": self._tokens,
                "by_prompt": {
                    prompt: {"requests": times, "answers": self._answers[prompt]}
                    for prompt, times in self._requests.items()
                },
            }

    def complete(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to ``POST /chat/completions``.

        Raises
        ------
        RefusedError
            The request is not answered, and costs nothing.
        """
        faults = self._faults
        prompt = "\n".join(
            each["content"] for each in request["messages"] if each["role"] != "system"
        )
        with self._lock:
            self.last_request = dict(request)
            self._requests[prompt] += 1
            attempt = self._requests[prompt]
        sent = sum(_tokens(each["content"]) for each in request["messages"])
        if sent > faults.longest:
            raise RefusedError(
                BAD, "context_length_exceeded", f"{sent} tokens; the model reads {faults.longest}."
            )
        if faults.poison and faults.poison in prompt:
            raise RefusedError(BAD, "invalid_prompt", "The model cannot answer this prompt.")
        if _fate("refuse", prompt, attempt) < faults.refuse:
            raise _too_many("The server is busy.", faults.retry_after)
        answer = self._answer(request, prompt, attempt)
        received = _tokens(answer)
        self._spend(prompt, sent + received)
        time.sleep(faults.latency)
        return {
            "id": f"chatcmpl-{_hash(prompt, attempt):016x}",
            "object": "chat.completion",
            "created": 0,
            "model": request["model"],
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": answer, "refusal": None},
                    "finish_reason": "stop",
                    "logprobs": None,
                }
            ],
            "usage": {
                "prompt_tokens": sent,
                "completion_tokens": received,
                "total_tokens": sent + received,
            },
        }

    def _answer(self, request: Mapping[str, Any], prompt: str, attempt: int) -> str:
        """Return the text of an answer: JSON where a schema was sent."""
        sentence, fit = _best_sentence(prompt)
        form = request.get("response_format") or {}
        if form.get("type") != "json_schema":
            return sentence or f"{request['model']} on {prompt!r}"
        if _fate("nonsense", prompt, attempt) < self._faults.nonsense:
            return "Sure! Here is the JSON that you asked for:"
        schema = form["json_schema"]["schema"]
        return json.dumps(_fill(schema, sentence or prompt, fit, _hash(prompt, 0)))

    def _spend(self, prompt: str, tokens: int) -> None:
        """Count an answer, unless it is beyond the rate."""
        rate = self._faults.tokens_per_minute
        with self._lock:
            if rate < math.inf:
                now = time.monotonic()
                self._saved = min(rate, self._saved + (now - self._saved_at) * rate / 60)
                self._saved_at = now
                if tokens > self._saved:
                    raise _too_many(
                        f"{rate:.0f} tokens per minute.", (tokens - self._saved) * 60 / rate
                    )
                self._saved -= tokens
            self._answers[prompt] += 1
            self._tokens += tokens


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
    """Count the tokens of a text: its words and signs."""
    return len(re.findall(r"\w+|[^\w\s]", text))


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


class _Handler(BaseHTTPRequestHandler):
    """Reads requests, and writes what the model returns."""

    model: Model
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body in one packet

    def do_GET(self) -> None:
        """Answer what is only read."""
        if self.path == "/counts":
            self._reply(self.model.counts)
        else:
            self._reply(self._unknown)

    def do_POST(self) -> None:
        """Answer what has a body."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/v1/chat/completions":
            self._reply(lambda: self.model.complete(json.loads(body)))
        else:
            self._reply(self._unknown)

    def _unknown(self) -> dict[str, Any]:
        raise RefusedError(NOT_FOUND, "not_found", f"There is nothing at {self.path}.")

    def _reply(self, make: Callable[[], dict[str, Any]]) -> None:
        """Write what `make` returns or raises."""
        status, headers = 200, dict[str, str]()
        try:
            found = make()
        except RefusedError as error:
            status, headers, found = error.status, error.headers, error.body
        data = json.dumps(found).encode()
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
