"""Records calls: their results or errors, and what they cost."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from tablevault.engine import results
from tablevault.engine.builders.resolve_fields import ResolvedBuilder
from tablevault.engine.calls.artifacts import CallArtifacts
from tablevault.engine.calls.keys import Inputs
from tablevault.engine.calls.ledger import Ledger
from tablevault.engine.calls.records import (
    ARGUMENTS_BYTES,
    ROW_BYTES,
    CallRecord,
    Outcome,
    error_text,
)
from tablevault.engine.calls.usage import NOTHING, Usage, UsageReport
from tablevault.engine.results import refuse_leak
from tablevault.engine.row_values import Values, decode_values, encode_plain, encode_values
from tablevault.errors import TVBuilderError, TVTableError
from tablevault.frames.tagged_json import UnstorableValueError


class CallResult(NamedTuple):
    """The result of the call of a row.

    Attributes
    ----------
    values : tuple
        One for each column of the builder.
    call : CallRecord, optional
        The record that has to be written; None if there is none.
    calls : int
        How often the function was called for it.
    error : Exception, optional
        Why all values are null; its record is written.
    """

    values: Values
    call: CallRecord | None
    calls: int = 1
    error: Exception | None = None


class RunningCall:
    """Measures and records one call.

    Parameters
    ----------
    builder : ResolvedBuilder
        The builder.
    ledger : Ledger
        The records.
    code : bytes
        Digest of the code.
    row : int
        Row that the call is for.
    inputs : bytes, optional
        Inputs of the call; None for a call that is never reused.
    artifacts : CallArtifacts, optional
        Stores the files that values name; None if they name none.

    Attributes
    ----------
    usage : Usage
        Usage of the call.
    calls : int
        Number of function calls for this record so far.
    """

    __slots__ = (
        *("_artifacts", "_began", "_began_at", "_builder", "_code", "_inputs", "_is_shared"),
        "_ledger",
        *("_rejected", "_row", "_seconds", "_share", "_used", "calls", "usage"),
    )

    def __init__(
        self,
        builder: ResolvedBuilder,
        ledger: Ledger,
        code: bytes,
        row: int,
        inputs: Inputs | None,
        artifacts: CallArtifacts | None = None,
    ) -> None:
        self.usage = Usage(builder.name)
        self.calls = 0
        self._used = NOTHING
        self._share = 1
        self._seconds: float | None = None
        self._builder = builder
        self._artifacts = artifacts
        self._ledger = ledger
        self._code = code
        self._row = row
        self._inputs = inputs
        self._is_shared = False
        self._rejected: tuple[Exception, str] | None = None
        self._began_at = time.time()
        self._began = time.perf_counter()

    def share(self, usage: Usage) -> None:
        """Take the usage of the call from `usage`, which several records share."""
        self.usage = usage
        self._is_shared = True

    def part_of(self, used: UsageReport, parts: int) -> None:
        """Make this the record of one of `parts` rows of a call; `used` is its share."""
        self._used = used
        self._share = parts

    def took(self, seconds: float) -> None:
        """Let this be how long the call took: it was made elsewhere, among others."""
        self._seconds = seconds

    def carry_on(self, other: RunningCall) -> None:
        """Add the failed calls of `other`, and their usage."""
        self.calls += other.calls
        self._used = self._used.plus(other.used())

    def failed(self, error: BaseException) -> None:
        """Record the error of the call, with the value if that was rejected.

        An interrupted call is recorded if it has reported usage.
        """
        is_failure = isinstance(error, Exception) or self.usage.has_any
        if not is_failure:
            return
        self._close()
        if self._rejected is not None and self._rejected[0] is error:
            call = self.call(self._rejected[1], outcome="rejected", error=error_text(error))
        else:
            text = f"{type(error).__name__}: {error_text(error)}"
            call = self.call(None, outcome="error", error=text)
        self._ledger.add(call, calls=self.calls)

    def returned(self, values: Values) -> CallResult:
        """Validate values, and return them with their record.

        Raises
        ------
        TVTableError
            A value cannot be stored, does not fit its dtype, or names a missing file. `failed`
            records it, and the value is used once the dtype is corrected. Or it holds a secret
            that a builder has read: then it is not recorded.
        TVBuilderError
            A value is a collection, and its column is not of objects; recorded likewise.
        """
        text = encode_plain(values)
        if text is None:
            text = self._encoded(values)
            values = decode_values(text)  # as a resumed execution would read them
        refuse_leak(text, self._builder, self._row)
        try:
            results.check_values(values, self._builder, self._row)
            if self._artifacts is not None and (names := self._artifacts.names(values)):
                call = self.call(text)
                self._artifacts.record(self._ledger, call, names, calls=self.calls)
                return CallResult(values, None, self.calls)
        except (TVBuilderError, TVTableError) as error:
            self._rejected = error, text
            raise
        self._close()
        return CallResult(values, self.call(text), self.calls)

    def _encoded(self, values: Values) -> str:
        """Encode values of types beyond JSON, in text columns by their text if need be."""
        try:
            return encode_values(values)
        except UnstorableValueError:
            return encode_values(results.with_texts(values, self._builder, self._row))

    def call(
        self, value: str | None, *, outcome: Outcome = "ok", error: str | None = None
    ) -> CallRecord:
        """Return the record of the call, which ends now."""
        return CallRecord(
            0,
            self._builder.name,
            self._row,
            self._inputs or os.urandom(ARGUMENTS_BYTES + ROW_BYTES),
            self._code,
            outcome,
            value,
            self._began_at,
            self._duration(),
            error,
            None,
            *self.used(),
            None,
            max(1, self.calls),
        )

    def _duration(self) -> float:
        """Return the seconds that the call took."""
        if self._seconds is not None:
            return self._seconds
        return (time.perf_counter() - self._began) / self._share

    def used(self) -> UsageReport:
        """Return the usage of the call so far."""
        self._used = self._used.plus(self.usage.take())
        return self._used

    def _close(self) -> None:
        """Stop taking reports."""
        if not self._is_shared:
            self._used = self._used.plus(self.usage.close())
