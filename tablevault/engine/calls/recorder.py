"""The record of one call: begun when the call begins, finished by what comes of it."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from tablevault.engine import results
from tablevault.engine.builders.resolve_fields import Job
from tablevault.engine.calls.artifacts import CallArtifacts
from tablevault.engine.calls.call_record import CallRecord, Outcome, error_text
from tablevault.engine.calls.keys import ARGUMENTS_BYTES, ROW_BYTES, Inputs
from tablevault.engine.calls.ledger import Ledger
from tablevault.engine.calls.usage import NOTHING, Usage, Used, together
from tablevault.engine.results import refuse_leak
from tablevault.engine.row_values import Values, decode_values, encode_plain, encode_values
from tablevault.errors import TVTableError
from tablevault.frames.tagged_json import UnstorableValueError


class Made(NamedTuple):
    """What came of the call of a row.

    Attributes
    ----------
    values : tuple
        One for each column of the builder.
    call : CallRecord, optional
        The record that is to be written; None where there is none.
    calls : int
        How often the function was called for it.
    error : Exception, optional
        Why there are no values but null; its record is written.
    """

    values: Values
    call: CallRecord | None
    calls: int = 1
    error: Exception | None = None


class Recorder:
    """Makes the record of one call.

    Parameters
    ----------
    job : Job
        The builder.
    ledger : Ledger
        Where failures are recorded.
    code : bytes
        Digest of the code.
    row : int
        Row that the call is for.
    inputs : bytes, optional
        What the call is found by; None for one that nobody will find.
    artifacts : CallArtifacts, optional
        Keeps the files that values name; None where they name none.

    Attributes
    ----------
    usage : Usage
        What the call is charged with.
    calls : int
        How often a function was called for this record, so far.
    """

    __slots__ = (
        *("_artifacts", "_began", "_began_at", "_code", "_inputs", "_is_shared", "_job", "_ledger"),
        *("_rejected", "_row", "_share", "_used", "calls", "usage"),
    )

    def __init__(
        self,
        job: Job,
        ledger: Ledger,
        code: bytes,
        row: int,
        inputs: Inputs | None,
        artifacts: CallArtifacts | None = None,
    ) -> None:
        self.usage = Usage(job.name)
        self.calls = 0
        self._used = NOTHING
        self._share = 1
        self._job = job
        self._artifacts = artifacts
        self._ledger = ledger
        self._code = code
        self._row = row
        self._inputs = inputs
        self._is_shared = False
        self._rejected: tuple[TVTableError, str] | None = None
        self._began_at = time.time()
        self._began = time.perf_counter()

    def share(self, usage: Usage) -> None:
        """Take what the call used from `usage`, of which several records have a part each."""
        self.usage = usage
        self._is_shared = True

    def part_of(self, used: Used, parts: int) -> None:
        """Let this be one of so many rows of one call; `used` is the part of its usage."""
        self._used = used
        self._share = parts

    def carry_on(self, other: Recorder) -> None:
        """Take the calls of `other`, which came to nothing, and what they used, upon this one."""
        self.calls += other.calls
        self._used = together(self._used, other.used())

    def failed(self, error: BaseException) -> None:
        """Record why there is no value, and what was returned that does not fit.

        A call that was interrupted is recorded if it has reported what it used.
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

    def returned(self, values: Values) -> Made:
        """Check values, and return them with their record.

        Raises
        ------
        TVTableError
            A value cannot be kept, or does not fit its dtype, or the file that it names is not
            there. `failed` records it: when the dtype is corrected, what it returned counts.
            Or it holds a secret that a builder has read: then nothing of it is recorded.
        """
        text = encode_plain(values)
        if text is None:
            text = self._encoded(values)
            values = decode_values(text)  # what an interrupted execution would go on with
        refuse_leak(text, self._job, self._row)
        try:
            results.check_fit(values, self._job, self._row)
            if self._artifacts is not None and (names := self._artifacts.names(values)):
                call = self.call(text)
                self._artifacts.record(self._ledger, call, names, calls=self.calls)
                return Made(values, None, self.calls)
        except TVTableError as error:
            self._rejected = error, text
            raise
        self._close()
        return Made(values, self.call(text), self.calls)

    def _encoded(self, values: Values) -> str:
        """Encode values that JSON lacks, some of them perhaps by their text."""
        try:
            return encode_values(values)
        except UnstorableValueError:
            return encode_values(results.with_texts(values, self._job, self._row))

    def call(
        self, value: str | None, *, outcome: Outcome = "ok", error: str | None = None
    ) -> CallRecord:
        """Return the record of a call that ends now."""
        return CallRecord(
            0,
            self._job.name,
            self._row,
            self._inputs or os.urandom(ARGUMENTS_BYTES + ROW_BYTES),
            self._code,
            outcome,
            value,
            self._began_at,
            (time.perf_counter() - self._began) / self._share,
            error,
            None,
            *self.used(),
            None,
            max(1, self.calls),
        )

    def used(self) -> Used:
        """Return what the call has used so far."""
        self._used = together(self._used, self.usage.take())
        return self._used

    def _close(self) -> None:
        """Take no report any more."""
        if not self._is_shared:
            self._used = together(self._used, self.usage.close())
