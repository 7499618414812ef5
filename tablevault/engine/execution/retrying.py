"""Which errors are worth another call, and when: by the error, and by what a server answered."""

from __future__ import annotations

import builtins
import importlib
import re
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import tenacity

from tablevault.engine.builders.resolve_fields import ResolvedBuilder
from tablevault.errors import TVBuilderError

_MISTAKES: Final = (
    TypeError,
    NameError,
    SyntaxError,
    AttributeError,
    ImportError,
    NotImplementedError,
)
"""Errors of programs: the same call fails again."""
_PASSING: Final = frozenset({408, 409, 425, 429})
"""Answers from 400 to 499 that may be others later."""
_FIRST_ERROR: Final = 400
_FIRST_SERVER_ERROR: Final = 500
_CONTENT: Final = frozenset({400, 413, 422})
"""Answers about the content of a request, not about the client or the time."""
LONGEST_WAIT_S: Final = 3600.0
"""A server that wants more has nothing to give today."""
_NUMBER: Final = r"(\d+(?:\.\d*)?|\.\d+)"
_DURATION: Final = re.compile(
    rf"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:{_NUMBER}s)?(?:{_NUMBER}ms)?", re.ASCII
)


class RetryRules:
    """Decides after an error whether a call of one builder is made again, and when.

    Waits grow exponentially with jitter; a server that says how long to wait is obeyed.

    Parameters
    ----------
    builder : ResolvedBuilder
        The builder.
    function : callable
        Its function; exception classes without a module are looked up where it was written.

    Raises
    ------
    TVBuilderError
        A class that ``retry`` names does not exist.
    """

    def __init__(self, builder: ResolvedBuilder, function: Callable[..., Any]) -> None:
        self._retry = builder.retry
        scope = getattr(function, "__globals__", {})
        self._on = tuple(_class_of(name, scope, builder.name) for name in builder.retry.on)
        self._grow = tenacity.wait_exponential(
            multiplier=builder.retry.wait_s, max=builder.retry.max_wait_s
        ) + tenacity.wait_random(0, builder.retry.wait_s)

    def calling(
        self, sleep: Callable[[float], None], is_ours: Callable[[BaseException], bool]
    ) -> tenacity.Retrying:
        """Return what makes calls, again and again if need be; the last error passes as it is.

        Parameters
        ----------
        sleep : callable
            Waits so many seconds.
        is_ours : callable
            Returns whether an error is about no call.
        """
        return tenacity.Retrying(
            sleep=sleep,
            stop=tenacity.stop_after_attempt(self._retry.times + 1),
            wait=self._wait,
            retry=tenacity.retry_if_exception(
                lambda error: not is_ours(error) and self.is_passing(error)
            ),
            reraise=True,
        )

    def is_passing(self, error: BaseException) -> bool:
        """Return whether the same call may succeed later."""
        if not isinstance(error, Exception) or (asked_wait(error) or 0.0) > LONGEST_WAIT_S:
            return False
        if self._on:
            return isinstance(error, self._on)
        status = status_of(error)
        if status is not None and _FIRST_ERROR <= status < _FIRST_SERVER_ERROR:
            return status in _PASSING
        return not isinstance(error, _MISTAKES)

    def _wait(self, state: tenacity.RetryCallState) -> float:
        """Return the seconds to wait after a failure."""
        error = None if state.outcome is None else state.outcome.exception()
        return max(self._grow(state), (asked_wait(error) if error else None) or 0.0)


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status that an exception is about; None if it is about none.

    The exceptions of openai, anthropic, httpx, requests and aiohttp have one of these attributes.
    """
    response = _attribute(error, "response")
    for found in (
        _attribute(error, "status_code"),
        _attribute(response, "status_code"),
        _attribute(error, "status"),
        _attribute(response, "status"),
    ):
        if isinstance(found, int) and not isinstance(found, bool):
            return found
    return None


def is_about_content(error: BaseException) -> bool:
    """Return whether another content may have had another outcome."""
    status = status_of(error)
    return status is None or status < _FIRST_ERROR or status in _CONTENT


def asked_wait(error: BaseException) -> float | None:
    """Return the seconds that a server asked to wait, in the response of an exception.

    ``Retry-After`` is read by RFC 9110, section 10.2.3, in seconds or as a date, and
    ``retry-after-ms`` as OpenAI writes it. Without them, ``x-ratelimit-reset-requests`` and
    ``-tokens`` count where nothing remains.
    """
    headers = headers_of(error)
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name)
        if text is not None and (found := _seconds_of(text, unit_s)) is not None:
            return found
    waits = [
        _duration(reset)
        for kind in ("requests", "tokens")
        if (headers.get(f"x-ratelimit-remaining-{kind}") or "").strip() == "0"
        and (reset := headers.get(f"x-ratelimit-reset-{kind}")) is not None
    ]
    known = [wait for wait in waits if wait is not None]
    return max(known, default=None)


def headers_of(error: BaseException) -> Mapping[str, str]:
    """Return the headers of the response of an exception, by names in small letters."""
    headers = _attribute(_attribute(error, "response"), "headers")
    if headers is None:
        headers = _attribute(error, "headers")
    try:
        return {str(name).lower(): str(value) for name, value in headers.items()}
    except Exception:  # noqa: BLE001 - it is no mapping
        return {}


def _attribute(thing: object, name: str) -> Any:  # noqa: ANN401 - attributes are anything
    """Return an attribute; None where there is none, or where it cannot be read."""
    try:
        return getattr(thing, name, None)
    except Exception:  # noqa: BLE001 - a property may raise what it likes
        return None


def _seconds_of(text: str, unit_s: float) -> float | None:
    """Read a number of seconds, or a date, from now on."""
    try:
        found = float(text) * unit_s
    except ValueError:
        try:
            date = parsedate_to_datetime(text)
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
        if date.tzinfo is None:  # the form of asctime, which is in UTC, too
            date = date.replace(tzinfo=UTC)
        found = (date - datetime.now(UTC)).total_seconds()
    return max(0.0, found) if found == found else None  # noqa: PLR0124 - NaN


def _duration(text: str) -> float | None:
    """Read a duration such as ``6m0s`` or ``120ms``, or a number of seconds."""
    found = _DURATION.fullmatch(text.strip())
    if found is None or not any(found.groups()):
        return _seconds_of(text, 1.0)
    days, hours, minutes, seconds, thousandths = (float(each or 0) for each in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds + thousandths / 1000


def _class_of(name: str, scope: Mapping[str, Any], builder: str) -> type[BaseException]:
    """Find an exception class by its name."""
    module, _, last = name.rpartition(".")
    found: object = None
    try:
        if module:
            found = getattr(sys.modules.get(module) or importlib.import_module(module), last, None)
        else:
            found = scope.get(last, getattr(builtins, last, None))
    except Exception:  # noqa: BLE001 - a module may fail as it likes
        found = None
    if isinstance(found, type) and issubclass(found, Exception):
        return found
    raise TVBuilderError(
        f'Builder "{builder}": field retry.on names "{name}", which is no exception class.',
        "Write it with its module, such as openai.RateLimitError, or as it is named in the code "
        "module.",
        builder=builder,
        field="retry.on",
    )
