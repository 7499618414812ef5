"""Finds the results that calls of one builder have returned before."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from tablevault.engine import results
from tablevault.engine.builders.resolve_fields import Job
from tablevault.engine.calls.artifacts import CallArtifacts
from tablevault.engine.calls.call_keys import CallKeys
from tablevault.engine.calls.call_record import WHOLE, CallRecord
from tablevault.engine.calls.keys import ARGUMENTS_BYTES, Inputs, RowInputs, UnhashableArgumentError
from tablevault.engine.calls.ledger import Ledger
from tablevault.engine.calls.recorder import Recorder
from tablevault.engine.row_values import RowResults, Values, decode_all, decode_values, where
from tablevault.errors import TableReferenceError, TVTableError
from tablevault.frames.artifacts import NAME as ARTIFACT

_ROWS_AT_ONCE: Final = 1 << 16
"""For so many rows calls are looked for in one go: each takes a pass over the file of instances."""


class Found(NamedTuple):
    """Results by row, and how many of them other executions have made."""

    values: dict[int, Values]
    from_others: int


class Lookup:
    """The recorded calls of one builder in one execution.

    Parameters
    ----------
    job : Job
        The builder.
    ledger : Ledger
        The records.
    keys : CallKeys
        What its calls are found by.
    code : bytes
        Digest of its code.
    artifacts : CallArtifacts, optional
        Puts the files of recorded calls in place; None where there are none.
    """

    def __init__(
        self,
        job: Job,
        ledger: Ledger,
        keys: CallKeys,
        code: bytes,
        artifacts: CallArtifacts | None = None,
    ) -> None:
        self._job = job
        self._artifacts = artifacts
        self._ledger = ledger
        self._keys = keys
        self._code = code
        self._own = ledger.own(job.name) if self._may_use_own() else {}
        self._left = ledger.left_rows(job.name, job.changed_columns)

    def _may_use_own(self) -> bool:
        """Return whether results of earlier attempts count at all.

        An index builder that always runs reads what nobody can compare. Only the same process goes
        on with what it has made, and only with rows that were found right.
        """
        job, ledger = self._job, self._ledger
        if not job.always_run:
            return True
        if not ledger.is_resumed:
            return False
        return ledger.had_ended(job.name) or not any(
            call.row == WHOLE for call in ledger.own(job.name).values()
        )

    @property
    def follows_rows(self) -> bool:
        """Whether the arguments of a row show what the builder has made of rows before it."""
        return self._keys.depends_on_earlier_rows

    @property
    def are_numbered(self) -> bool:
        """Whether calls of rows with equal arguments are told apart by their order alone."""
        return self._job.return_type == "row-wise" and self._keys.are_numbered

    # -- row by row -----------------------------------------------------------------------------

    def inputs(self, rows: Sequence[int], behind: Collection[int] = ()) -> RowInputs:
        """Return what the calls of rows are found by; see `CallKeys.of_rows`."""
        return self._keys.of_rows(rows, behind)

    def next_input(self, row: int) -> Inputs | None:
        """Return what the call of a row is found by; the one after the row asked for before."""
        try:
            return self._keys.of_row(row, self._keys.arguments(row))
        except (UnhashableArgumentError, TableReferenceError):
            return None  # the call will say what is wrong, when it is this row's turn

    def fill(self, inputs: RowInputs, results: RowResults) -> int:
        """Enter the results of rows that have none, and return how many other executions made."""
        from_others = self._keep(inputs, results)
        rows = where(inputs.known & ~results.there)
        # Of calls that name the same file, that of the latest counts, whichever row it is of.
        size = _ROWS_AT_ONCE if self._artifacts is None else max(1, len(rows))
        for first in range(0, len(rows), size):
            found = self.rows({row: inputs[row] for row in rows[first : first + size]})
            from_others += found.from_others
            for row, values in found.values.items():
                results.put(row, values)
        return from_others

    def _keep(self, inputs: RowInputs, results: RowResults) -> int:
        """Keep rows that instances hold; see `tablevault.engine.calls.ledger.Ledger.keep_found`."""
        if self._is_alone or self._artifacts is not None:
            return 0
        if self._own:
            known = inputs.known.copy()
            for row in where(known):
                known[row] = inputs[row] not in self._own
            inputs = inputs.among(known)
        return self._ledger.keep_found(self._job.name, inputs, results, self._code)

    def rows(self, inputs: Mapping[int, Inputs]) -> Found:
        """Find the results of rows, made by this execution or by others."""
        found: dict[int, Values] = {}
        taken: list[tuple[int, int]] = []
        from_others = 0
        usable = self._usable_calls(inputs)
        for row, key in inputs.items():
            if row not in usable:
                if row in self._left:
                    found[row] = self._adopt_left(row, key, self._left[row])
                continue
            call, values, is_own = usable[row]
            if is_own and call.code != self._code:
                self._ledger.add(call._replace(code=self._code, row=row))
            elif not is_own or call.row != row:
                taken.append((row, call.id))
                from_others += not is_own
            found[row] = values
        self._ledger.take(self._job.name, taken)
        return Found(found, from_others)

    def _usable_calls(
        self, inputs: Mapping[int, Inputs]
    ) -> dict[int, tuple[CallRecord, Values, bool]]:
        """Find the calls of rows, their values, and whether an earlier attempt made them."""
        others = self._elsewhere([key for key in inputs.values() if key not in self._own])
        counting = {row: self._counting_own(key) for row, key in inputs.items()}
        calls = {row: counting[row] or others.get(key) for row, key in inputs.items()}
        decoded = decode_all([call.value for call in calls.values() if call and call.value])
        usable = {}
        for row, call in calls.items():
            if call is not None and call.value:
                is_own = call is counting[row]
                values = self._usable(call, next(decoded), row, is_own=is_own)
                if values is not None:
                    usable[row] = call, values, is_own
        return usable if self._artifacts is None else self._with_files(usable, self._artifacts)

    def _with_files(
        self, usable: dict[int, tuple[CallRecord, Values, bool]], artifacts: CallArtifacts
    ) -> dict[int, tuple[CallRecord, Values, bool]]:
        """Put the files of calls in place, and return the calls whose files are there."""
        whole = {
            row: artifacts.completed(self._ledger, call, values) if is_own else call
            for row, (call, values, is_own) in usable.items()
        }
        lost = artifacts.bring({row: (whole[row], usable[row][1]) for row in usable})
        return {
            row: (whole[row], values, is_own)
            for row, (_, values, is_own) in usable.items()
            if row not in lost
        }

    def failed(self, inputs: Iterable[Inputs | None]) -> int:
        """Count calls that failed in an earlier attempt at this execution."""
        failed = self._ledger.failed(self._job.name)
        return sum(key in failed for key in inputs) if failed else 0

    def followers(self, rows: Iterable[int], inputs: RowInputs) -> dict[int, list[int]]:
        """Return for rows that are called the other rows with equal arguments."""
        if not self._job.deduplicate:
            return {}
        first: dict[Inputs, int] = {}
        followers: dict[int, list[int]] = {}
        for row in rows:
            key = inputs.get(row)
            if key is None:
                continue
            leader = first.setdefault(key, row)
            if leader != row:
                followers.setdefault(leader, []).append(row)
        return followers

    def adopt(self, rows: Mapping[int, Values]) -> None:
        """Record results of rows of an earlier instance, whose calls nobody has recorded."""
        inputs = self.inputs(list(rows))
        for row in where(inputs.known):
            record = Recorder(self._job, self._ledger, self._code, row, inputs[row])
            values, call, *_ = record.returned(rows[row])
            assert call is not None, "there is a ledger"
            call = call._replace(started_at=0.0, duration_s=0.0)  # nobody knows
            if self._artifacts is not None:
                call = call._replace(files=self._artifacts.inherited(values))
            self._ledger.add(call)

    def _adopt_left(self, row: int, key: Inputs, values: Values) -> Values:
        """Record the result of a row that release 0.1 has left."""
        record = Recorder(self._job, self._ledger, self._code, row, key, self._artifacts)
        values, call, *_ = record.returned(values)
        if call is not None:
            self._ledger.add(call._replace(started_at=0.0, duration_s=0.0))  # nobody knows
        return values

    # -- all rows at once -----------------------------------------------------------------------

    def table_inputs(self) -> Inputs | None:
        """Return what the one call for a whole table is found by; None when it cannot be."""
        try:
            return self._keys.of_table()
        except (UnhashableArgumentError, TableReferenceError):
            return None

    def table(self, inputs: Inputs) -> CallRecord | None:
        """Find the call for a whole table; one by other code only where that is accepted."""
        own = self._counting_own(inputs)
        if own is not None and own.code != self._code and not self._ledger.terms.accept_code:
            own = None
        return own or self._elsewhere([inputs]).get(inputs)

    def is_own(self, call: CallRecord) -> bool:
        """Return whether an earlier attempt of this execution made a call."""
        return call.inputs in self._own

    def items(self, inputs: Inputs, rows: int | None) -> dict[int, Values]:
        """Find the items of a generator, from the first on.

        Parameters
        ----------
        inputs : bytes
            What its call is found by.
        rows : int, optional
            Number of rows of the table; None when the generator decides.
        """
        count = self._yielded(inputs) if rows is None else rows
        keys = {row: item_inputs(inputs, row) for row in range(count)}
        others = self._elsewhere(list(keys.values()))
        are_others = len(others) == count
        usable: dict[int, tuple[CallRecord, Values]] = {}
        for row, key in keys.items():
            call = others.get(key) if are_others else self._counting_own(key)
            if call is None or call.value is None:
                break
            values = self._usable(call, decode_values(call.value), row, is_own=True)
            if values is None:
                break
            if self._artifacts is not None and not are_others:
                call = self._artifacts.completed(self._ledger, call, values)
            usable[row] = call, values
        if self._artifacts is not None and (lost := self._artifacts.bring(usable)):
            usable = {row: usable[row] for row in range(min(lost))}
        self._ledger.take(
            self._job.name,
            [(row, call.id) for row, (call, _) in usable.items() if call.row != row or are_others],
        )
        return {row: values for row, (_, values) in usable.items()}

    def _yielded(self, inputs: Inputs) -> int:
        """Return how many items a generator yielded; when it has not ended, at least as many."""
        end = self.table(inputs)
        if end is None or end.value is None:
            return len(self._own)
        (count,) = decode_values(end.value)
        return int(count)

    def ends_after(self, inputs: Inputs, items: int) -> CallRecord | None:
        """Return the call of a generator that yielded so many items; None when it did not."""
        end = self.table(inputs)
        if end is None or end.value is None or decode_values(end.value) != (items,):
            return None
        return end

    # -- which calls count ----------------------------------------------------------------------

    @property
    def _is_alone(self) -> bool:
        """Return whether calls of other executions are not looked for."""
        job = self._job
        return job.always_run or (self._artifacts is None and ARTIFACT in job.dtypes.values())

    def _elsewhere(self, inputs: Iterable[Inputs]) -> dict[Inputs, CallRecord]:
        """Find calls that other executions made."""
        if self._is_alone:
            return {}
        job = self._job
        wanted = list(inputs)
        found = self._ledger.find(wanted, self._code)
        missing = set(wanted) - found.keys()
        if job.deduplicate:
            for key in missing:
                alike = self._ledger.find_alike(key, self._code)
                if alike is not None:
                    found[key] = alike
        elif job.return_type == "row-wise" and missing:
            # Those that were made while the builder said `deduplicate: true`. Asked for what is
            # missing only: what is not recorded is looked for in the files of all instances.
            alone = self._ledger.find({key[:ARGUMENTS_BYTES] for key in missing}, self._code)
            found |= {key: call for key in missing if (call := alone.get(key[:ARGUMENTS_BYTES]))}
        return found

    def _counting_own(self, inputs: Inputs) -> CallRecord | None:
        """Return the call of an earlier attempt, unless its code was another and that counts."""
        own = self._own.get(inputs)
        if own is None or own.code == self._code or self._ledger.terms.accept_code is not False:
            return own
        return None

    def _usable(self, call: CallRecord, values: Values, row: int, *, is_own: bool) -> Values | None:
        """Return the values of a recorded call; None when the call has to be made again."""
        job = self._job
        if call.outcome == "rejected":
            try:
                results.check_fit(values, job, row)
            except TVTableError:
                return None
        if not is_own and job.retry_null and values and all(map(results.is_null, values)):
            return None
        return values


def item_inputs(inputs: Inputs, row: int) -> Inputs:
    """Return what one item of a generator is found by, from what its call is found by."""
    return inputs + row.to_bytes(8, "little")
