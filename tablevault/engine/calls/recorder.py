"""The record of one call: begun when the call begins, finished by what comes of it."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from tablevault.engine import results
from tablevault.engine.calls.artifacts import CallArtifacts
from tablevault.engine.calls.keys import ARGUMENTS_BYTES, ROW_BYTES, Inputs
from tablevault.engine.calls.ledger import Ledger
from tablevault.engine.calls.store import CallRecord, Outcome
from tablevault.engine.row_values import Values, are_plain, decode_values, encode_values
from tablevault.engine.settle import Job
from tablevault.errors import TVTableError, said
from tablevault.frames.tagged_json import UnstorableValueError


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
        self._job = job
        self._artifacts = artifacts
        self._ledger = ledger
        self._code = code
        self._row = row
        self._inputs = inputs
        self._is_recorded = False
        self._began_at = time.time()
        self._began = time.perf_counter()

    def failed(self, error: Exception) -> None:
        """Record what the function raised, unless what it returned is recorded already."""
        if self._ledger is not None and not self._is_recorded:
            text = f"{type(error).__name__}: {said(error)}"
            self._ledger.add(self.call(None, outcome="error", error=text))

    def returned(self, values: Values) -> Made:
        """Check values, and return them with their record.

        Raises
        ------
        TVTableError
            A value cannot be kept, or does not fit its dtype, or the file that it names is not
            there. The call is recorded: when the dtype is corrected, what it returned counts.
        """
        if self._ledger is None:
            results.check_fit(values, self._job, self._row)
            return Made(values, None)
        try:
            text = encode_values(values)
        except UnstorableValueError:
            values = results.with_texts(values, self._job, self._row)
            text = encode_values(values)
        if not are_plain(values):
            values = decode_values(text)  # what an interrupted execution would go on with
        try:
            results.check_fit(values, self._job, self._row)
            call = self.call(text)
            if self._artifacts is not None and (names := self._artifacts.names(values)):
                self._artifacts.record(self._ledger, call, names)
                return Made(values, None)
        except TVTableError as error:
            self._ledger.add(self.call(text, outcome="rejected", error=said(error)))
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
        )
