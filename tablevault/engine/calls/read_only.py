"""A ledger that only reads: it finds what an execution would find, and records nothing."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import pandas as pd

from tablevault.engine import results
from tablevault.engine.builders.resolve_fields import ResolvedBuilder
from tablevault.engine.calls.call_file import CallSources
from tablevault.engine.calls.instance_calls import InstanceCalls, KeptRows
from tablevault.engine.calls.keys import Inputs
from tablevault.engine.calls.ledger import BuilderColumns, Ledger, ReusePolicy
from tablevault.engine.calls.records import NO_ROW, CallRecord, KeptFile
from tablevault.engine.calls.store import CallStore
from tablevault.engine.fingerprints.fingerprint import Fingerprint
from tablevault.engine.row_values import decode_values

_SOME_FILE: Final = KeptFile("0" * 64, 0)


class ReadOnlyCalls(InstanceCalls):
    """Calls that instances hold; those that are found stay in memory only.

    Attributes
    ----------
    frames : dict of (bytes, bytes) to DataFrame
        Dataframes that calls returned, by inputs and code.
    """

    def __init__(self, store: CallStore, sources: CallSources) -> None:
        super().__init__(store, sources)
        self.frames: dict[tuple[Inputs, bytes], pd.DataFrame] = {}

    def _take(
        self,
        instance: str,
        calls: Sequence[CallRecord],
        frames: Mapping[Inputs, pd.DataFrame],
        code: bytes | None,
    ) -> dict[bytes, CallRecord]:
        """Return calls of an instance."""
        del instance, code
        for call in calls:
            if call.inputs in frames:
                self.frames[call.inputs, call.code] = frames[call.inputs]
        return {call.inputs: call for call in calls}


class ReadOnlyLedger(Ledger):
    """Finds what an execution would find; records nothing.

    Parameters
    ----------
    store, temp, process, policy, sources
        As those of `Ledger`.
    """

    def __init__(
        self,
        store: CallStore,
        *,
        temp: str,
        process: str,
        policy: ReusePolicy,
        sources: CallSources,
    ) -> None:
        super().__init__(store, temp=temp, process=process, policy=policy, sources=sources)
        self._instances = ReadOnlyCalls(store, sources)
        self._sources = self._instances

    def begin(self, parts: Sequence[BuilderColumns], codes: Iterable[Fingerprint] = ()) -> None:
        """Find the attempt that the execution would continue."""
        del parts, codes
        self._execution = self._find_attempt()

    def place_again(self, builder: str) -> None:
        """Note nothing."""

    def add(self, call: CallRecord, *, calls: int = 0, builder: str = "") -> None:
        """Record nothing."""

    def flush(self) -> None:
        """Write nothing."""

    def add_frame(self, call: CallRecord, columns: Mapping[str, pd.Series]) -> None:
        """Record nothing."""

    def take(self, builder: str, found: Sequence[tuple[int, int]]) -> None:
        """Note nothing."""

    def take_from(self, builder: str, rows: Mapping[int, int]) -> None:
        """Note nothing."""

    def _note_kept(self, builder: str, kept: Sequence[KeptRows]) -> None:
        """Note nothing."""

    def finish(self, builder: str, code: bytes, columns: Sequence[str], *, is_exact: bool) -> None:
        """Note nothing."""

    def frame_of(self, call: CallRecord) -> pd.DataFrame | None:
        """Return the dataframe that a call returned; None if it is lost."""
        found = self._instances.frames.get((call.inputs, call.code))
        return super().frame_of(call) if found is None else found

    def columns_before(self, builder: ResolvedBuilder) -> pd.DataFrame | None:
        """Return what a builder made in the last attempt; None unless it ended, or had others."""
        before = self._store.execution_of(self._temp)
        if before is None or builder.name not in self._store.ended(before[0]):
            return None
        noted = {part["name"]: part["columns"] for part in json.loads(before[2])}
        if noted.get(builder.name) != list(builder.changed_columns):
            return None
        found = self._store.rows(before[0], builder.name)
        if NO_ROW in found and (frame := self._store.frame_of(found[NO_ROW])) is not None:
            return frame
        calls = [found[row] for row in sorted(found) if row != NO_ROW]
        if [call.row for call in calls] != list(range(len(calls))):
            return None
        rows = [decode_values(call.value) for call in calls if call.value is not None]
        return pd.DataFrame(results.row_columns(rows, builder))


class ReadOnlyFiles:
    """Artifacts for plans: all count as present, none is copied.

    Implements `tablevault.engine.calls.artifacts.ArtifactFiles`.
    """

    @contextmanager
    def kept(self, names: Collection[str]) -> Iterator[Mapping[str, KeptFile]]:
        """Yield a file for each name, as if it had been kept."""
        yield dict.fromkeys(names, _SOME_FILE)

    def inherited(self, names: Collection[str]) -> None:
        """Find nothing."""

    def show(self, names: Collection[str]) -> None:
        """Put nothing into the artifact folder."""

    def bring(self, files: Mapping[str, KeptFile]) -> Mapping[str, str]:
        """Copy nothing."""
        del files
        return {}
