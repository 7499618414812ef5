"""The record of one call: begun when the call begins, finished by what comes of it."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from tablevault.engine import results
from tablevault.engine.calls.artifacts import CallArtifacts
from tablevault.engine.calls.call_record import CallRecord, Outcome
from tablevault.engine.calls.keys import ARGUMENTS_BYTES, ROW_BYTES, Inputs
from tablevault.engine.calls.ledger import Ledger
from tablevault.engine.calls.usage import Usage
from tablevault.engine.leaks import refuse_leak
from tablevault.engine.row_values import Values, are_plain, decode_values, encode_values
from tablevault.engine.settle import Job
from tablevault.errors import TVTableError
from tablevault.frames.tagged_json import UnstorableValueError
from tablevault.secrets import text_to_keep


class Made(NamedTuple):
    """What a call of a row gave, and its record; None where there is none to be written."""

    values: Values
    call: CallRecord | None


class Recorder:
    """Makes the record of one call.

    Parameters
    ----------
    job : Job
        The builder.
    ledger : Ledger, optional
        Where failures are recorded; None records nothing.
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
        How often a function was called for this record: 0 or 1.
    """

    def __init__(
        self,
        job: Job,
        ledger: Ledger | None,
        code: bytes,
        row: int,
        inputs: Inputs | None,
        artifacts: CallArtifacts | None = None,
    ) -> None:
        self.usage = Usage(job.name)
        self.calls = 0
        self._take = self.usage.close
        self._job = job
        self._artifacts = artifacts
        self._ledger = ledger
        self._code = code
        self._row = row
        self._inputs = inputs
        self._is_recorded = False
        self._began_at = time.time()
        self._began = time.perf_counter()

    def share(self, usage: Usage) -> None:
        """Take what the call used from `usage`, of which several records have a part each."""
        self.usage = usage
        self._take = usage.take

    def failed(self, error: BaseException) -> None:
        """Record what the function raised, unless what it returned is recorded already.

        A call that was interrupted is recorded if it has reported what it used.
        """
        is_failure = isinstance(error, Exception) or self.usage.has_any
        if self._ledger is not None and not self._is_recorded and is_failure:
            text = f"{type(error).__name__}: {text_to_keep(error)}"
            call = self.call(None, outcome="error", error=text)
            self._ledger.add(call, calls=self.calls)

    def returned(self, values: Values) -> Made:
        """Check values, and return them with their record.

        Raises
        ------
        TVTableError
            A value cannot be kept, or does not fit its dtype, or the file that it names is not
            there. The call is recorded: when the dtype is corrected, what it returned counts.
            Or it holds a secret that a builder has read: then nothing of it is recorded.
        """
        if self._ledger is None:
            results.check_fit(values, self._job, self._row)
            return Made(values, None)
        try:
            text = encode_values(values)
        except UnstorableValueError:
            values = results.with_texts(values, self._job, self._row)
            text = encode_values(values)
        refuse_leak(text, self._job, self._row)
        if not are_plain(values):
            values = decode_values(text)  # what an interrupted execution would go on with
        call = self.call(text)
        try:
            results.check_fit(values, self._job, self._row)
            if self._artifacts is not None and (names := self._artifacts.names(values)):
                self._artifacts.record(self._ledger, call, names, calls=self.calls)
                return Made(values, None)
        except TVTableError as error:
            call = call._replace(outcome="rejected", error=text_to_keep(error))
            self._ledger.add(call, calls=self.calls)
            self._is_recorded = True
            raise
        return Made(values, call)

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
            time.perf_counter() - self._began,
            error,
            None,
            *self._take(),
        )
