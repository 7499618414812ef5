"""The Batch API of Git LFS: encode requests, decode responses (git-lfs docs/api/batch.md)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from tablevault.errors import TVTransferError
from tablevault.lfs.pointer import Pointer

Operation = Literal["upload", "download"]

MEDIA_TYPE = "application/vnd.git-lfs+json"
_SOON_S = 5.0
_LONGEST_MESSAGE = 500
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_WEB = re.compile(r"https?://[^\s/?#]", re.IGNORECASE)
_ACTIONS = ("upload", "download", "verify")


class AnswerError(ValueError):
    """A response that the Batch API does not allow; the text is for users, without secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """The URL to which to send an object, or from which to fetch it.

    URL and headers often contain credentials: neither is ever shown.
    """

    href: str = field(repr=False)
    header: Mapping[str, str] = field(repr=False, default_factory=dict)
    good_until: float = math.inf

    def is_good(self, now: float) -> bool:
        """Return whether the action is still valid shortly after `now` (``time.monotonic``)."""
        return now + _SOON_S < self.good_until


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why the server does not transfer an object: a status of HTTP, and a message."""

    code: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """The answer of the other side for one object.

    Attributes
    ----------
    pointer : Pointer
        The object.
    is_wanted : bool
        It must be transferred. False if the other side has what would be uploaded, and with a
        refusal.
    refusal : Refusal, optional
        Why it cannot be transferred.
    actions : mapping
        By name, ``upload`` or ``download``, and ``verify``; none without a server.
    is_authenticated : bool
        The actions contain all credentials that they need.
    """

    pointer: Pointer
    is_wanted: bool
    refusal: Refusal | None = None
    actions: Mapping[str, Action] = field(default_factory=dict)
    is_authenticated: bool = False

    def is_good(self, now: float) -> bool:
        """Return whether all actions are valid at `now` (``time.monotonic``)."""
        return all(action.is_good(now) for action in self.actions.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Now, on the monotonic clock and on the clock of the wall."""

    monotonic: float
    wall: float


def encode_batch(operation: Operation, pointers: Sequence[Pointer], ref: str = "") -> bytes:
    """Return the body of a batch request; `ref` is a full ref name, which some servers check."""
    request: dict[str, object] = {
        "operation": operation,
        "transfers": ["basic"],
        "objects": [_object(pointer) for pointer in pointers],
        "hash_algo": "sha256",
    }
    if ref:
        request["ref"] = {"name": ref}
    return json.dumps(request).encode("ascii")


def encode_verify(pointer: Pointer) -> bytes:
    """Return the body of a verify request."""
    return json.dumps(_object(pointer)).encode("ascii")


def _object(pointer: Pointer) -> dict[str, object]:
    """Return one object as the API names it."""
    return {"oid": pointer.oid, "size": pointer.size}


def decode_batch(
    body: bytes, operation: Operation, pointers: Sequence[Pointer], now: Moment
) -> list[Offer]:
    """Return the offers in the response to a batch request, in the order of `pointers`.

    Raises
    ------
    AnswerError
        It is not a response to this request.
    """
    answer = decode_json(body)
    if answer.get("transfer", "basic") not in ("basic", "", None):
        raise AnswerError("it names a transfer that was not offered")
    if answer.get("hash_algo", "sha256") not in ("sha256", "", None):
        raise AnswerError("it names a hash other than sha256")
    objects = answer.get("objects")
    if not isinstance(objects, list):
        raise AnswerError('it has no list of "objects"')
    items = [item for item in objects if isinstance(item, dict)]
    found = {oid: item for item in items if isinstance(oid := item.get("oid"), str)}
    return [_offer(found.get(pointer.oid), operation, pointer, now) for pointer in pointers]


def decode_json(body: bytes) -> dict[str, object]:
    """Parse a JSON object.

    Raises
    ------
    AnswerError
        It is not one.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise AnswerError("it is not JSON") from None
    if not isinstance(value, dict):
        raise AnswerError("it is not a JSON object")
    return value


def decode_message(body: bytes) -> str:
    """Return the message of an error response; "" if it is not one of Git LFS."""
    try:
        return _shown(decode_json(body).get("message"))
    except AnswerError:
        return ""


def decode_login(body: bytes, now: Moment) -> Action:
    """Parse what ``git-lfs-authenticate`` prints; ``href`` may be empty.

    Raises
    ------
    AnswerError
        It is not the output of that program.
    """
    answer = decode_json(body)
    return _action({"href": "", **answer}, now, may_be_empty=True)


def offer_by_presence(operation: Operation, pointer: Pointer, *, is_there: bool) -> Offer:
    """Return the offer of a remote without a server, which has an object or lacks it."""
    if operation == "upload":
        return Offer(pointer=pointer, is_wanted=not is_there)
    refusal = None if is_there else Refusal(code=404, message="")
    return Offer(pointer=pointer, is_wanted=is_there, refusal=refusal)


def refusal_error(refusal: Refusal, pointer: Pointer, where: str) -> TVTransferError:
    """Return the error of an object that is refused."""
    which = f"object {pointer.oid} ({pointer.size:,} bytes)"
    known = {
        403: (f"{where} denies the transfer of {which}", "Ask its owner for permission."),
        404: (f"{where} does not have {which}", "Push it from a vault that has it."),
        409: (f"{where} does not use sha256, and cannot store {which}", ""),
        410: (f"{where} has removed {which}", "Push it again from a vault that has it."),
        413: (f"{where} does not accept the size of {which}", "Ask its owner for a higher limit."),
        422: (
            f"{where} finds {which} invalid",
            "Check it with `git lfs fsck`. If it is sound here, ask its owner about the one there.",
        ),
        507: (f"{where} has no space for {which}", "Ask its owner for more space."),
        509: (f"{where} has no transfers left for {which}", "Try again later."),
    }
    text, hint = known.get(refusal.code, (f"{where} did not transfer {which}", ""))
    said = f'{refusal.code}, "{refusal.message}"' if refusal.message else f"{refusal.code}"
    return TVTransferError(f"{text} ({said}).", hint, oid=pointer.oid, code=refusal.code)


def _offer(item: object, operation: Operation, pointer: Pointer, now: Moment) -> Offer:
    """Return the offer for one object."""
    if not isinstance(item, dict):
        return _refused(pointer, 500, "the server did not mention it")
    if error := item.get("error"):
        code = error.get("code") if isinstance(error, dict) else None
        message = error.get("message") if isinstance(error, dict) else None
        return _refused(pointer, code if isinstance(code, int) else 500, _shown(message))
    listed = item.get("actions") or {}
    if not isinstance(listed, dict):
        raise AnswerError('its "actions" are no object')
    actions = {
        name: _action(listed[name], now) for name in _ACTIONS if listed.get(name) is not None
    }
    is_final = operation == "download" or operation not in actions
    if is_final and item.get("size", pointer.size) != pointer.size:
        return _refused(pointer, 422, "its size there is different")
    if operation == "download" and "download" not in actions:
        return _refused(pointer, 404, "the server named no URL for it")
    return Offer(
        pointer=pointer,
        is_wanted=operation in actions,
        actions=actions,
        is_authenticated=item.get("authenticated") is True,
    )


def _refused(pointer: Pointer, code: int, message: str) -> Offer:
    """Return the offer of an object that is refused."""
    return Offer(pointer=pointer, is_wanted=False, refusal=Refusal(code=code, message=message))


def _action(value: object, now: Moment, *, may_be_empty: bool = False) -> Action:
    """Parse an action: URL, headers, expiry."""
    if not isinstance(value, dict):
        raise AnswerError("an action is no object")
    href, header = value.get("href"), value.get("header") or {}
    if not isinstance(href, str) or not isinstance(header, dict):
        raise AnswerError("an action has no address")
    if not (_WEB.match(href) or (may_be_empty and not href)) or _CONTROL.search(href):
        raise AnswerError("an action has an address that is not one of http or https")
    for name, text in header.items():
        if not (isinstance(text, str) and _TOKEN.fullmatch(name)) or _CONTROL.search(text):
            raise AnswerError("an action has a header that cannot be sent")
    return Action(href=href, header=dict(header), good_until=_good_until(value, now))


def _good_until(value: Mapping[str, object], now: Moment) -> float:
    """Parse ``expires_in`` (seconds, preferred) or ``expires_at`` (RFC 3339); 0 means never."""
    seconds, text = value.get("expires_in"), value.get("expires_at")
    if isinstance(seconds, int | float) and seconds:
        return now.monotonic + seconds
    if not isinstance(text, str) or not text:
        return math.inf
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return math.inf
    if moment.year == 1:  # Go's zero time
        return math.inf
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return now.monotonic + moment.timestamp() - now.wall


def _shown(message: object) -> str:
    """Return a message of a server as one short line of printable text."""
    text = message if isinstance(message, str) else ""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}..."
