"""The ledger of one execution: finds earlier calls, and records new ones."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, field, replace
from typing import IO, Any, Final, Self

import numpy as np
import pandas as pd

from tablevault.engine.calls.call_file import (
    Builders,
    CallSource,
    CallSources,
    write_calls,
)
from tablevault.engine.calls.instance_calls import InstanceCalls, KeptRows, held_calls
from tablevault.engine.calls.keys import RowInputs
from tablevault.engine.calls.records import ARGUMENTS_BYTES, NO_ROW, CallRecord
from tablevault.engine.calls.spending import Account, Spent
from tablevault.engine.calls.store import CallStore
from tablevault.engine.calls.summaries import Expected, expected
from tablevault.engine.calls.writer import CallWriter
from tablevault.engine.fingerprints.fingerprint import Fingerprint
from tablevault.engine.matching import Rows
from tablevault.engine.row_values import RowResults

_MANY: Final = 1000
"""From so many results on, they are kept as rows of instances: reading an instance takes some
milliseconds, and a row a tenth of the time of a record. Fewer are recorded one by one."""
_NO_SOURCES = CallSources()
_TRIAL_ENDED: Final = ""
"""Among the names of builders that have ended: the trial that called them has, too."""
_LATEST: Final = (
    "SELECT (SELECT max(id) FROM calls) WHERE EXISTS"
    " (SELECT 1 FROM calls WHERE execution = ? AND builder = ? AND value IS NOT NULL)"
)
_COUNT: Final = (
    "SELECT count(*) FROM calls WHERE execution = ? AND builder = ? AND value IS NOT NULL"
)
_WHOLE: Final = (
    "SELECT 1 FROM calls WHERE execution = ? AND builder = ? AND value IS NOT NULL AND row = ?"
)
_CODES: Final = (
    "SELECT k.digest, count(*) FROM calls c JOIN codes k ON k.id = c.code WHERE c.id IN"
    " (SELECT max(id) FROM calls WHERE execution = ? AND builder = ? AND value IS NOT NULL"
    " GROUP BY inputs) GROUP BY k.digest ORDER BY min(c.id)"
)
_OWN: Final = " AND +c.execution = ? AND c.builder = ? AND c.id <= ?"
"""The plus sign keeps SQLite from reading all calls of the execution to find some."""
_BY_ARGUMENTS: Final = (
    "SELECT 1 FROM calls WHERE length(inputs) = ? AND builder NOT LIKE '@%' LIMIT 1"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCalls:
    """The results of a builder that an execution had recorded at one moment.

    Attributes
    ----------
    store : CallStore
        The records.
    execution : int
        Number of the execution.
    builder : str
        Name of the builder.
    latest : int
        Number of the latest call of the store at that moment; 0 if the builder had none.
    """

    store: CallStore
    execution: int
    builder: str
    latest: int

    @classmethod
    def recorded(cls, store: CallStore, execution: int, builder: str) -> OwnCalls:
        """Return the results that are recorded now."""
        found = store.read(_LATEST, (execution, builder))
        latest = next((number for (number,) in found if number), 0)
        return cls(store=store, execution=execution, builder=builder, latest=latest)

    def find(self, inputs: Iterable[bytes]) -> dict[bytes, CallRecord]:
        """Find calls by inputs; of several with the same inputs the latest."""
        if not self.latest:
            return {}
        return self.store.find_where(inputs, _OWN, (self.execution, self.builder, self.latest))

    def count(self) -> int:
        """Return the number of calls."""
        ((count,),) = self._read(_COUNT) if self.latest else [(0,)]
        return int(count)

    def has_whole(self) -> bool:
        """Return whether the call for the whole table is among them."""
        return bool(self._read(_WHOLE, NO_ROW))

    def codes(self) -> dict[bytes, int]:
        """Return the number of calls by the digest of the code that made them."""
        return dict(self._read(_CODES))

    def _read(self, sql: str, *more: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return self.store.read(sql, (self.execution, self.builder, *more))


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderColumns:
    """A builder of an execution: its name, its columns in order, and their declarations."""

    name: str
    columns: tuple[str, ...]
    dtypes: Mapping[str, str] = field(default_factory=dict)
    primary_key: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReusePolicy:
    """Which earlier calls an execution may reuse.

    Attributes
    ----------
    forced : bool
        Only calls of its own earlier attempts under the same process id.
    private : bool
        Only calls of its own earlier attempts: the side effects of functions have to happen again.
    accept_code : bool, optional
        Whether calls made by other code are reused: None, only those of its own earlier attempts;
        True, all; False, none.
    """

    forced: bool = False
    private: bool = False
    accept_code: bool | None = None


class Ledger:
    """Finds and records the calls of one execution.

    Parameters
    ----------
    store : CallStore
        The records of the vault.
    temp : str
        Identifies the temporary instance.
    process : str
        Id of the process.
    policy : ReusePolicy
        Which earlier calls may be reused.
    sources : CallSources
        Instances whose calls may be reused.
    """

    def __init__(
        self,
        store: CallStore,
        *,
        temp: str,
        process: str,
        policy: ReusePolicy,
        sources: CallSources = _NO_SOURCES,
    ) -> None:
        self.policy = policy
        self.account = Account()
        """The account that the execution is charged to; `begin` opens it."""
        self._store = store
        self.process = process
        """Id of the process."""
        self._temp = temp
        self.is_resumed = False
        """Whether an earlier attempt was made by the same process."""
        self._ended_before: frozenset[str] = frozenset()
        self._follows_trial = False
        self._execution = 0
        self._writer: CallWriter | None = None
        self._origin = origin = sources.origin
        self._known = None if origin is None else self._known_of(origin)
        self._sources = InstanceCalls(store, sources)
        self._made: dict[str, Any] = {}
        self._kept: dict[str, list[KeptRows]] = {}
        self._new_codes: set[bytes] = set()

    def _known_of(self, origin: CallSource) -> Builders | None:
        """Return the builders of the origin, with their code; None if they are not known."""
        known = self._store.builders_of(origin.instance)
        if known is None and (calls := origin.calls()) is not None:
            return calls.builders
        return known

    def __enter__(self) -> Self:
        """Return the ledger."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write pending records; after an error, index them for the next attempt."""
        if self._writer is not None:
            self._writer.close()
            if kind is not None:
                with contextlib.suppress(OSError):  # a full disk must not hide the error
                    self._store.index()

    def begin(self, parts: Sequence[BuilderColumns], codes: Iterable[Fingerprint] = ()) -> None:
        """Begin or continue the execution; record its builders, in the order in which they run."""
        self._find_attempt()
        self._execution = self._store.begin(self._temp, self.process, forget=self.policy.forced)
        codes = tuple(codes)
        if self._follows_trial:
            self._store.release(self._execution, [code.digest for code in codes])
        self._store.open_account(self._execution, self.account)
        self._writer = CallWriter(self._store, self._execution)
        for code in codes:
            if not self._store.knows_code(code.digest):
                self._new_codes.add(code.digest)
            self.note_code(code)
        self._store.note_builders(self._execution, json.dumps([asdict(part) for part in parts]))

    def note_code(self, code: Fingerprint) -> None:
        """Record a fingerprint, so that its digest can be explained later."""
        self._store.note_code(code.digest, json.dumps(code.record()))

    def _find_attempt(self) -> int:
        """Find the attempt before; return its number, 0 if there is none to continue."""
        before = self._store.execution_of(self._temp)
        self.is_resumed = before is not None and before[1] == self.process
        if before is not None and self.is_resumed:
            self._ended_before = frozenset(self._store.ended(before[0]))
        if before is not None and self.policy.accept_code is None:
            self._follows_trial = _TRIAL_ENDED in self._store.ended(before[0])
            if self._follows_trial:  # nothing failed, so a change of code repairs nothing
                self.policy = replace(self.policy, accept_code=False)
        return before[0] if before and (self.is_resumed or not self.policy.forced) else 0

    @property
    def knows_origin(self) -> bool:
        """Whether the calls that made the origin were recorded here."""
        return self._known is not None

    def code_of_origin(self, builder: str) -> Fingerprint | None:
        """Return the fingerprint of the code that made the origin; None when it is not known."""
        note = (self._known or {}).get(builder)
        return self._fingerprint(bytes.fromhex(note["code"])) if isinstance(note, dict) else None

    def own_codes(self, builder: str) -> list[tuple[Fingerprint, int]]:
        """Return the code that made rows in earlier attempts, with the number of rows."""
        counts = self.own(builder).codes()
        found = [(self._fingerprint(code), rows) for code, rows in counts.items()]
        return [(code, rows) for code, rows in found if code is not None]

    def _fingerprint(self, digest: bytes) -> Fingerprint | None:
        """Return the recorded fingerprint with this digest."""
        record = self._store.code_record(digest)
        return None if record is None else Fingerprint.from_record(json.loads(record))

    def made_origin(self, builder: str, code: bytes) -> bool:
        """Return whether this code returned exactly what the origin holds of a builder."""
        note = (self._known or {}).get(builder)
        return isinstance(note, Mapping) and note.get("code") == code.hex() and note["is_exact"]

    def place_again(self, builder: str) -> None:
        """Forget to which rows the results of earlier attempts belong, if there were any.

        Inputs may have changed since: a result that is not found again belongs to no row.
        """
        if self.is_resumed:
            self._store.place_again(self._execution, builder)

    def had_ended(self, builder: str) -> bool:
        """Return whether a builder had ended when the same process stopped."""
        return builder in self._ended_before

    def own(self, builder: str) -> OwnCalls:
        """Return the calls of a builder that this execution has recorded by now."""
        return OwnCalls.recorded(self._store, self._execution, builder)

    def failed(self, builder: str) -> frozenset[bytes]:
        """Return the inputs of calls that failed in earlier attempts at this execution."""
        sql = "SELECT inputs FROM calls WHERE execution = ? AND builder = ? AND outcome <> 'ok'"
        return frozenset(inputs for (inputs,) in self._store.read(sql, (self._execution, builder)))

    def find(self, inputs: Iterable[bytes], code: bytes) -> dict[bytes, CallRecord]:
        """Find calls that other executions made."""
        if not self._reuses_others():
            return {}
        wanted = list(dict.fromkeys(inputs))
        of_code = None if self.policy.accept_code else code
        found = {} if self._is_new(code) else self._store.find(wanted, of_code)
        if len(found) < len(wanted):
            more = self._sources.find([each for each in wanted if each not in found], of_code)
            if more:  # `_sources` has recorded them
                self._new_codes.discard(code)
            found |= more
        return found

    def keep_found(self, builder: str, inputs: RowInputs, results: RowResults, code: bytes) -> int:
        """Keep rows whose calls instances hold, where there are many; no call is recorded.

        Parameters
        ----------
        builder : str
            Name of the builder.
        inputs : RowInputs
            Of the rows that may be kept.
        results : RowResults
            Receives the results of the calls; null is None.
        code : bytes
            Digest of the code.

        Returns
        -------
        int
            Number of rows that are kept.
        """
        if np.count_nonzero(inputs.known) < _MANY or not self._reuses_others():
            return 0
        before = len(results)
        of_code = None if self.policy.accept_code else code
        self._note_kept(builder, list(self._sources.keep(builder, inputs, results, of_code)))
        return len(results) - before

    def has_by_arguments(self) -> bool:
        """Return whether there may be calls without a row in their key, of `deduplicate: true`."""
        recorded = self._store.read(_BY_ARGUMENTS, (ARGUMENTS_BYTES,))
        return bool(recorded) or self._sources.has_unrecorded()

    def find_alike(self, arguments: bytes, code: bytes) -> CallRecord | None:
        """Find a call with these arguments, for any row."""
        if not self._reuses_others() or self._is_new(code):
            return None
        return self._store.find_alike(arguments, None if self.policy.accept_code else code)

    def _reuses_others(self) -> bool:
        """Return whether calls of other executions may be reused."""
        return not (self.policy.forced or self.policy.private)

    def _is_new(self, code: bytes) -> bool:
        """Return whether this code has made no recorded call."""
        return code in self._new_codes and not self.policy.accept_code

    def add(self, call: CallRecord, *, calls: int = 0, builder: str = "") -> None:
        """Record a call, and charge its builder.

        Parameters
        ----------
        call : CallRecord
            The call; a copy of a recorded one costs nothing.
        calls : int
            How often a function was called for it; 0 for an item of a generator.
        builder : str
            The builder to charge, if it is not the one of the record: for a cached function.
        """
        assert self._writer is not None, "begin first"
        self._writer.add(call, calls=calls, builder=builder)

    def flush(self) -> None:
        """Write all that was added."""
        assert self._writer is not None, "begin first"
        self._writer.flush()

    def add_frame(self, call: CallRecord, columns: Mapping[str, pd.Series]) -> None:
        """Record a call that returned a dataframe.

        Raises
        ------
        TVTableError
            A column cannot be stored.
        """
        if columns:
            frame = pd.DataFrame(dict(columns), copy=False)
            spent = {call.builder: Spent().plus(call, 1)}
            self._store.write_frame(self._execution, call, frame, spent)
        else:
            self.add(call, calls=1)

    def frame_of(self, call: CallRecord) -> pd.DataFrame | None:
        """Return the dataframe that a call returned; None if it is lost."""
        return self._store.frame_of(call)

    def take(self, builder: str, found: Sequence[tuple[int, int]]) -> None:
        """Record rows whose calls were found: pairs of row and number of the call."""
        if found:
            self._store.take(self._execution, builder, found)

    def keep(self, builder: str, rows: Rows) -> None:
        """Record which rows of the origin a builder keeps: by row, the row of the origin or -1."""
        if self._origin is not None:
            self._note_kept(builder, [KeptRows(source=self._origin, rows=rows)])

    def _note_kept(self, builder: str, kept: Sequence[KeptRows]) -> None:
        """Record rows of instances that a builder keeps, before its function is called."""
        if kept:
            self._kept.setdefault(builder, []).extend(kept)
            noted = [(each.source.instance, each.rows) for each in kept]
            self._store.keep(self._execution, builder, noted)

    def take_from(self, builder: str, rows: Mapping[int, int]) -> None:
        """Record rows that share the call of another row: by row, the other row."""
        if rows and self._writer is not None:
            self._writer.flush()
            self._store.take_from(self._execution, builder, rows)

    def finish(self, builder: str, code: bytes, columns: Sequence[str], *, is_exact: bool) -> None:
        """Record that a builder has ended.

        Parameters
        ----------
        builder : str
            Its name.
        code : bytes
            Digest of its code.
        columns : sequence of str
            The columns that it fills.
        is_exact : bool
            Whether its columns hold exactly the values that were returned.
        """
        assert self._writer is not None, "begin first"
        self._writer.flush()
        self._made[builder] = {"code": code.hex(), "is_exact": is_exact, "columns": list(columns)}
        self._store.note_ended(self._execution, self._made)

    def end_trial(self) -> None:
        """Record that a trial has made its rows: code that changes from now on is another code."""
        self._store.note_ended(self._execution, [*self._made, _TRIAL_ENDED])
        self._store.index()

    def note_cast(self, columns: AbstractSet[str]) -> None:
        """Record that columns were cast: they may differ from the values that were returned."""
        for note in self._made.values():
            note["is_exact"] &= columns.isdisjoint(note["columns"])

    def write_calls(self, sink: IO[bytes], digest: str, rows: range) -> bool:
        """Write the calls that the instance will hold; return False if there are none.

        Parameters
        ----------
        sink : binary file
            Receives the bytes of the file.
        digest : str
            Logical digest of the dataframe.
        rows : range
            Positions in the dataframe of the rows that were made.
        """
        self._store.place_failures(self._execution)
        tables = held_calls(self._store, self._execution, self._made, rows, self._kept)
        return write_calls(tables, sink, digest, self._made, rows.start)

    def spent(self) -> Mapping[str, Spent]:
        """Return the cost charged to the version since its last instance, by builder."""
        if self._writer is not None:
            self._writer.flush()
        return self._store.spent(self.account.version)

    def expected(self, code: Fingerprint, *, whole: bool) -> Expected:
        """Return the expected time and cost of a call, see `summaries.expected`."""
        return expected(self._store, code, whole=whole)

    def spent_before(self) -> Mapping[str, Spent]:
        """Return the cost of earlier attempts of the same process, by builder."""
        return self._store.spent(self.account.version, self.process)

    def assign(self, instance: str) -> None:
        """Assign the results to the instance that was made, and end the execution."""
        self._store.assign(self._execution, instance, self._made)
