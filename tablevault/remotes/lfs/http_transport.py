"""Transfers objects to and from an LFS server, by the Batch API and basic transfers."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path

from tablevault.errors import TVCredentialsError, TVRemoteError, TVTransferError
from tablevault.lfs.drafts import Partial
from tablevault.lfs.pointer import Pointer
from tablevault.remotes.http.credentials import origin_of, split_login
from tablevault.remotes.http.retry import PassingError, TransferLimits
from tablevault.remotes.http.session import Body, HttpRequest, Reply
from tablevault.remotes.lfs.batch_api import (
    MEDIA_TYPE,
    Action,
    AnswerError,
    Moment,
    Offer,
    Operation,
    Refusal,
    decode_batch,
    decode_message,
    encode_batch,
    encode_verify,
    refusal_error,
)
from tablevault.remotes.lfs.server import Server, authorizes
from tablevault.remotes.lfs.transport import StoredObject, TransferMeter, counted_blocks, opened

_LONGEST_ANSWER = 1 << 26
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_JSON = {"Accept": MEDIA_TYPE, "Content-Type": MEDIA_TYPE}
_RANGE = re.compile(r"bytes ([0-9]+)-[0-9]+/([0-9]+|\*)")


class HttpTransport:
    """Transfers objects to or from an LFS server; threads may share it."""

    def __init__(
        self, server: Server, operation: Operation, limits: TransferLimits, *, ref: str = ""
    ) -> None:
        self.operation: Operation = operation
        self.limits = limits
        self._server = server
        self._ref = ref

    @property
    def where(self) -> str:
        """The server, without secrets."""
        return self._server.where

    # -- as of Transport ----------------------------------------------------------------------

    def ask(self, pointers: Sequence[Pointer]) -> list[Offer]:
        """Ask the server about objects, in smaller requests if one is too large for it.

        Raises
        ------
        TVRemoteError
            It is no LFS server, or refuses.
        PassingError
            It did not answer.
        """
        request_body = Body.of(encode_batch(self.operation, pointers, self._ref))
        url = f"{self._server.url.rstrip('/')}/objects/batch"
        request = HttpRequest(method="POST", url=url, headers=_JSON, body=request_body)
        with contextlib.closing(self._server.send(request, may_ask=True)) as reply:
            now = Moment(monotonic=time.monotonic(), wall=time.time())
            if reply.status == HTTPStatus.OK:
                return self._offers(reply, pointers, now)
            body = reply.read_error()
        if reply.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and len(pointers) > 1:
            half = len(pointers) // 2
            return self.ask(pointers[:half]) + self.ask(pointers[half:])
        message = self._server.hide(decode_message(body))
        self._raise_if_passing(reply, message)
        if self.operation == "download" and message and reply.status in (404, 410, 422):
            # Some servers answer so when they have none of the objects (giftless 0.6).
            refusal = Refusal(code=reply.status, message=message)
            return [Offer(pointer=each, is_wanted=False, refusal=refusal) for each in pointers]
        raise self._no_batch(reply.status, message)

    def put(self, offer: Offer, source: Path, meter: TransferMeter) -> None:
        """Send an object, and ask the server to verify that it has it."""
        meter.start(0)
        with opened(source, offer.pointer) as file:
            body = Body(offer.pointer.size, lambda: counted_blocks(file, offer.pointer, meter))
            action = offer.actions["upload"]
            headers = {"Content-Type": "application/octet-stream"}
            request = HttpRequest(method="PUT", url=action.href, headers=headers, body=body)
            self._carry_out(request, action, offer)
        if verify := offer.actions.get("verify"):
            body = Body.of(encode_verify(offer.pointer))
            request = HttpRequest(method="POST", url=verify.href, headers=_JSON, body=body)
            self._carry_out(request, verify, offer)

    def get(self, offer: Offer, partial: Partial, meter: TransferMeter) -> None:
        """Receive an object, or the rest of it."""
        size = offer.pointer.size
        while partial.size < size:
            with contextlib.closing(self._fetch(offer, partial.size)) as reply:
                if not self._accepts(reply, offer.pointer, partial):
                    # The server does not send the rest: all of it, in the next round.
                    partial.restart()
                    continue
                meter.start(partial.size)
                for block in reply.blocks():
                    if partial.size + len(block) > size:
                        raise self._wrong_size(offer.pointer)
                    partial.write(block)
                    meter.add(len(block))
            if partial.size < size:
                raise PassingError(f"{reply.origin} sent too few bytes")

    def damaged(self, pointer: Pointer) -> str:
        """Return "": a server checks its objects itself."""
        return ""

    def every(self) -> Iterator[StoredObject]:
        """Raise TVRemoteError: the protocol has no such request."""
        raise TVRemoteError(
            f"{self.where} does not list its objects; Git LFS has no request for that.",
            "Ask who runs the server to remove objects that nothing needs.",
        )

    def delete(self, stored: StoredObject) -> None:
        """Raise TVRemoteError: the protocol has no such request."""
        raise TVRemoteError(f"{self.where} does not delete objects.", oid=stored.oid)

    def close(self) -> None:
        """Cut all connections, also those in use."""
        self._server.close()

    # -- requests -----------------------------------------------------------------------------

    def _fetch(self, offer: Offer, start: int) -> Reply:
        """Ask for an object from byte `start` on."""
        action = offer.actions["download"]
        headers = {"Accept": "*/*"}
        if start:
            headers["Range"] = f"bytes={start}-{offer.pointer.size - 1}"
        request = HttpRequest(method="GET", url=action.href, headers=headers)
        return self._act(request, action, offer)

    def _accepts(self, reply: Reply, pointer: Pointer, partial: Partial) -> bool:
        """Return whether a response has the rest of an object, or all of it, which starts anew."""
        if reply.status == HTTPStatus.PARTIAL_CONTENT:
            found = _RANGE.fullmatch(reply.headers.get("Content-Range", ""))
            if not found or int(found[1]) != partial.size:
                if not partial.size:
                    raise PassingError(f"{reply.origin} sent another range than requested")
                return False
            if found[2] not in ("*", str(pointer.size)):
                raise self._wrong_size(pointer)
            return True
        if reply.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and partial.size:
            return False
        if reply.status != HTTPStatus.OK:
            self._raise_refused(reply, pointer)
        if partial.size:
            partial.restart()
        length = reply.headers.get("Content-Length", "")
        if length.isdecimal() and int(length) != pointer.size:
            raise self._wrong_size(pointer)
        return True

    def _carry_out(self, request: HttpRequest, action: Action, offer: Offer) -> None:
        """Send a request of an action whose response has no content."""
        with contextlib.closing(self._act(request, action, offer)) as reply:
            if not 200 <= reply.status < 300:  # noqa: PLR2004 - Successful
                # A gateway that lost the server does not know the outcome.
                self._raise_refused(reply, offer.pointer, unanswered=reply.status in (502, 504))
            reply.read_error()

    def _act(self, request: HttpRequest, action: Action, offer: Offer) -> Reply:
        """Send a request of an action, with the credentials of the action.

        It has them in its headers, or needs none. Ours go to the origin of the LFS server only:
        otherwise the server could make us act in our name at another one.
        """
        url, login = split_login(action.href)
        if origin_of(url).scheme == "http" and self._server.origin.scheme == "https":
            raise TVRemoteError(
                f"{self.where} names {origin_of(url)} for objects, which is not encrypted.",
                "Ask its owner: it may not know that it is reached by https.",
            )
        secrets = dict(action.header)
        if login.password:
            secrets["Authorization"] = login.basic
        may_ask = (
            not (authorizes(secrets) or offer.is_authenticated)
            and origin_of(url) == self._server.origin
        )
        return self._server.send(replace(request, url=url, secrets=secrets), may_ask=may_ask)

    # -- answers ------------------------------------------------------------------------------

    def _offers(self, reply: Reply, pointers: Sequence[Pointer], now: Moment) -> list[Offer]:
        """Read the response to a batch request."""
        body = reply.read(_LONGEST_ANSWER)
        try:
            return decode_batch(body, self.operation, pointers, now)
        except AnswerError as error:
            if "html" in reply.headers.get("Content-Type", "") or body.lstrip()[:1] == b"<":
                raise self._no_lfs("it answered with an HTML page") from None
            raise TVRemoteError(f"{self.where} gave an invalid answer: {error}.") from None

    def _no_batch(self, status: int, message: str) -> TVRemoteError:
        """Return the error of a refused batch request."""
        said = f'{status}, "{message}"' if message else f"{status}"
        if status == HTTPStatus.FORBIDDEN:
            return TVCredentialsError(
                f"{self.where} denies the {self.operation} ({said}).",
                "Ask its owner for permission, or give git other credentials.",
            )
        if what := {507: "has no space left", 509: "has no transfers left"}.get(status):
            return TVRemoteError(f"{self.where} {what} ({said}).", "Ask its owner for more.")
        if status in (404, 405, 410, 501) and not message:
            return self._no_lfs(f"it answered {status}")
        return TVRemoteError(
            f"{self.where} refuses ({said}).",
            "Check the URL of the remote; many servers also answer so without permission.",
        )

    def _no_lfs(self, why: str) -> TVRemoteError:
        """Return the error of a server without Git LFS."""
        return TVRemoteError(
            f"There is no Git LFS server at {self._server.url}: {why}.",
            "Enable Git LFS for the repository, or set the URL of its server: `git config"
            " remote.<name>.lfsurl <url>`.",
        )

    def _raise_refused(self, reply: Reply, pointer: Pointer, *, unanswered: bool = False) -> None:
        """Raise the error of a refused action."""
        message = self._server.hide(decode_message(reply.read_error()))
        self._raise_if_passing(reply, message, unanswered=unanswered)
        if reply.status in (401, 403):
            # Most often the credentials of the action have expired.
            raise PassingError(f"{reply.origin} denies access ({reply.status})", most=2)
        raise refusal_error(Refusal(code=reply.status, message=message), pointer, self.where)

    def _raise_if_passing(self, reply: Reply, message: str, *, unanswered: bool = False) -> None:
        """Raise PassingError if another attempt may succeed."""
        if reply.status in _PASSING:
            said = f'{reply.status}, "{message}"' if message else f"{reply.status}"
            after_s = _after_s(reply.headers.get("Retry-After", ""))
            text = f"{reply.origin} answered {said}"
            raise PassingError(text, after_s=after_s, unanswered=unanswered)

    def _wrong_size(self, pointer: Pointer) -> TVTransferError:
        """Return the error of an object that has another size on the server."""
        return TVTransferError(
            f"{self.where} has another size for object {pointer.oid} ({pointer.size:,} bytes).",
            "Push it again from a vault that has it.",
            oid=pointer.oid,
        )


def _after_s(text: str) -> float | None:
    """Parse ``Retry-After``: seconds, or a date (RFC 9110, 10.2.3)."""
    if text.isdecimal():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
