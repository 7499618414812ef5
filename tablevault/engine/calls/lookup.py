"""Looks up the recorded results of the calls of one builder."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from tablevault.engine import results
from tablevault.engine.builders.resolve_fields import ResolvedBuilder
from tablevault.engine.calls.artifacts import CallArtifacts
from tablevault.engine.calls.keys import CallKeys, Inputs, RowInputs, UnhashableArgumentError
from tablevault.engine.calls.ledger import Ledger, OwnCalls
from tablevault.engine.calls.recorder import RunningCall
from tablevault.engine.calls.records import ARGUMENTS_BYTES, CallRecord
from tablevault.engine.matching import Mask
from tablevault.engine.references.view import is_null
from tablevault.engine.row_values import RowResults, Values, decode_all, decode_values, where
from tablevault.errors import TableReferenceError, TVBuilderError, TVTableError
from tablevault.frames.artifact_string import NAME as ARTIFACT

_ROWS_AT_ONCE: Final = 1 << 16
"""Rows of one lookup: each takes a pass over the files of instances."""


class Found(NamedTuple):
    """Results by row, and the number of them that other executions made."""

    values: dict[int, Values]
    from_others: int


class Lookup:
    """The recorded calls of one builder in one execution.

    Parameters
    ----------
    builder : ResolvedBuilder
        The builder.
    ledger : Ledger
        The records.
    keys : CallKeys
        Computes the inputs of its calls.
    code : bytes
        Digest of its code.
    artifacts : CallArtifacts, optional
        Copies the files of recorded calls; None if its calls have no files.
    """

    def __init__(
        self,
        builder: ResolvedBuilder,
        ledger: Ledger,
        keys: CallKeys,
        code: bytes,
        artifacts: CallArtifacts | None = None,
    ) -> None:
        self._builder = builder
        self._artifacts = artifacts
        self._ledger = ledger
        self._keys = keys
        self._code = code
        own = ledger.own(builder.name)
        self._own = own if self._may_use(own) else replace(own, latest=0)
        self._has_by_arguments: bool | None = None

    def _may_use(self, own: OwnCalls) -> bool:
        """Return whether results of earlier attempts may be reused at all.

        An index builder with ``always_run`` may read anything. Only the same process continues with
        its results, and only with rows that were validated.
        """
        builder, ledger = self._builder, self._ledger
        if not builder.always_run:
            return True
        if not ledger.is_resumed:
            return False
        return ledger.had_ended(builder.name) or not own.has_whole()

    @property
    def follows_rows(self) -> bool:
        """Whether the arguments of a row depend on the results of the builder for earlier rows."""
        return self._keys.depends_on_earlier_rows

    @property
    def are_numbered(self) -> bool:
        """Whether only their order distinguishes calls of rows with equal arguments."""
        return self._builder.return_type == "row-wise" and self._keys.are_numbered

    # -- row by row -----------------------------------------------------------------------------

    def inputs(self, rows: Sequence[int], later: Collection[int] = ()) -> RowInputs:
        """Return the inputs of the calls of rows; see `CallKeys.of_rows`."""
        return self._keys.of_rows(rows, later)

    def next_input(self, row: int) -> Inputs | None:
        """Return the inputs of the call of a row; ask for the rows in order."""
        try:
            return self._keys.of_row(row, self._keys.arguments(row))
        except (UnhashableArgumentError, TableReferenceError):
            return None  # the call of this row raises the error

    def fill(self, inputs: RowInputs, results: RowResults) -> int:
        """Fill in known results of missing rows; return the number that other executions made."""
        if self._own.latest and self._artifacts is None:
            inputs = inputs.among(inputs.known & ~self._fill_own(inputs, results))
        from_others = self._keep(inputs, results)
        rows = where(inputs.known & ~results.there)
        # All at once: of calls that name the same file, the file of the latest call is used.
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
        return self._ledger.keep_found(self._builder.name, inputs, results, self._code)

    def _fill_own(self, inputs: RowInputs, results: RowResults) -> Mask:
        """Fill in results of earlier attempts; return the rows whose calls these have made."""
        made = np.zeros(len(inputs.known), dtype=np.bool_)
        rows = where(inputs.known & ~results.there)
        for first in range(0, len(rows), _ROWS_AT_ONCE):
            keys = {row: inputs[row] for row in rows[first : first + _ROWS_AT_ONCE]}
            own = self._own.find(keys.values())
            mine = {row: key for row, key in keys.items() if key in own}
            made[list(mine)] = True
            for row, values in self._rows(mine, own).values.items():
                results.put(row, values)
        return made

    def rows(self, inputs: Mapping[int, Inputs]) -> Found:
        """Find the results of rows, made by this execution or by others."""
        return self._rows(inputs, self._own.find(inputs.values()))

    def _rows(self, inputs: Mapping[int, Inputs], own: Mapping[Inputs, CallRecord]) -> Found:
        """Find the results of rows; `own` are calls of earlier attempts."""
        found: dict[int, Values] = {}
        taken: list[tuple[int, int]] = []
        from_others = 0
        usable = self._usable_calls(inputs, own)
        for row in usable:
            call, values, is_own = usable[row]
            if is_own and call.code != self._code:
                self._ledger.add(call._replace(code=self._code, row=row))
            elif not is_own or call.row != row:
                taken.append((row, call.id))
                from_others += not is_own
            found[row] = values
        self._ledger.take(self._builder.name, taken)
        return Found(found, from_others)

    def _usable_calls(
        self, inputs: Mapping[int, Inputs], own: Mapping[Inputs, CallRecord]
    ) -> dict[int, tuple[CallRecord, Values, bool]]:
        """Find the calls of rows, their values, and whether an earlier attempt made them."""
        accepted = self._accepted(own)
        others = self._elsewhere([key for key in inputs.values() if key not in accepted])
        if not accepted and not others:
            return {}
        found = [
            (row, call, key in accepted)
            for row, key in inputs.items()
            if (call := accepted.get(key) or others.get(key)) is not None and call.value
        ]
        decoded = decode_all([call.value for _, call, _ in found if call.value])
        usable = {}
        for (row, call, is_own), returned in zip(found, decoded, strict=True):
            values = self._usable(call, returned, row, is_own=is_own)
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
        """Return the number of calls that failed in an earlier attempt at this execution."""
        failed = self._ledger.failed(self._builder.name)
        return sum(key in failed for key in inputs) if failed else 0

    def followers(self, rows: Iterable[int], inputs: RowInputs) -> dict[int, list[int]]:
        """Return the rows that share the call of another row, by that row."""
        if not self._builder.deduplicate:
            return {}
        known = np.array([row for row in rows if inputs.known[row]], dtype=np.int64)
        if not known.size:
            return {}
        _, first, group = np.unique(inputs.of(known), return_index=True, return_inverse=True)
        leaders = known[first[group]]
        followers: dict[int, list[int]] = {}
        follows = leaders != known
        for row, leader in zip(known[follows].tolist(), leaders[follows].tolist(), strict=True):
            followers.setdefault(leader, []).append(row)
        return followers

    def adopt(self, rows: Mapping[int, Values]) -> None:
        """Record results of rows of an earlier instance, whose calls are not recorded."""
        inputs = self.inputs(list(rows))
        for row in where(inputs.known):
            record = RunningCall(self._builder, self._ledger, self._code, row, inputs[row])
            values, call, *_ = record.returned(rows[row])
            assert call is not None, "there is a ledger"
            call = call._replace(started_at=0.0, duration_s=0.0)  # not known
            if self._artifacts is not None:
                call = call._replace(files=self._artifacts.inherited(values))
            self._ledger.add(call)

    # -- all rows at once -----------------------------------------------------------------------

    def table_inputs(self) -> Inputs | None:
        """Return the inputs of the one call for a whole table; None if they cannot be hashed."""
        try:
            return self._keys.of_table()
        except (UnhashableArgumentError, TableReferenceError):
            return None

    def table(self, inputs: Inputs) -> CallRecord | None:
        """Find the call for a whole table; by other code only if the policy accepts it."""
        own = self._accepted(self._own.find([inputs])).get(inputs)
        if own is not None and own.code != self._code and not self._ledger.policy.accept_code:
            own = None
        return own or self._elsewhere([inputs]).get(inputs)

    def is_own(self, call: CallRecord) -> bool:
        """Return whether an earlier attempt of this execution made a call."""
        return call.inputs in self._own.find([call.inputs])

    def items(self, inputs: Inputs, rows: int | None) -> dict[int, Values]:
        """Find the items of a generator, from the first on.

        Parameters
        ----------
        inputs : bytes
            Inputs of its call.
        rows : int, optional
            Number of rows of the table; None when the generator decides.
        """
        count = self._yielded(inputs) if rows is None else rows
        keys = {row: item_inputs(inputs, row) for row in range(count)}
        others = self._elsewhere(list(keys.values()))
        are_others = len(others) == count
        calls = others if are_others else self._accepted(self._own.find(keys.values()))
        usable: dict[int, tuple[CallRecord, Values]] = {}
        for row, key in keys.items():
            call = calls.get(key)
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
            self._builder.name,
            [(row, call.id) for row, (call, _) in usable.items() if call.row != row or are_others],
        )
        return {row: values for row, (_, values) in usable.items()}

    def _yielded(self, inputs: Inputs) -> int:
        """Return the number of items that a generator yielded, at most, if it has not ended."""
        end = self.table(inputs)
        if end is None or end.value is None:
            return self._own.count()
        (count,) = decode_values(end.value)
        return int(count)

    def ends_after(self, inputs: Inputs, items: int) -> CallRecord | None:
        """Return the call of a generator if it ended after so many items, else None."""
        end = self.table(inputs)
        if end is None or end.value is None or decode_values(end.value) != (items,):
            return None
        return end

    # -- which calls count ----------------------------------------------------------------------

    @property
    def _is_alone(self) -> bool:
        """Whether calls of other executions are never reused."""
        builder = self._builder
        return builder.always_run or (
            self._artifacts is None and ARTIFACT in builder.dtypes.values()
        )

    def _elsewhere(self, inputs: Iterable[Inputs]) -> dict[Inputs, CallRecord]:
        """Find calls that other executions made."""
        if self._is_alone:
            return {}
        builder = self._builder
        wanted = list(inputs)
        found = self._ledger.find(wanted, self._code)
        missing = set(wanted) - found.keys()
        if builder.deduplicate:
            for key in missing:
                alike = self._ledger.find_alike(key, self._code)
                if alike is not None:
                    found[key] = alike
        elif missing and self._may_be_alone():
            # Only for missing keys: this may search the files of all instances.
            alone = self._ledger.find({key[:ARGUMENTS_BYTES] for key in missing}, self._code)
            found |= {key: call for key in missing if (call := alone.get(key[:ARGUMENTS_BYTES]))}
        return found

    def _may_be_alone(self) -> bool:
        """Return whether calls may have been made under `deduplicate: true`."""
        if self._has_by_arguments is None:
            is_row_wise = self._builder.return_type == "row-wise"
            self._has_by_arguments = is_row_wise and self._ledger.has_by_arguments()
        return self._has_by_arguments

    def _accepted(self, own: Mapping[Inputs, CallRecord]) -> Mapping[Inputs, CallRecord]:
        """Return the calls of earlier attempts that the policy accepts."""
        if self._ledger.policy.accept_code is not False:
            return own
        return {key: call for key, call in own.items() if call.code == self._code}

    def _usable(self, call: CallRecord, values: Values, row: int, *, is_own: bool) -> Values | None:
        """Return the values of a recorded call; None if the call has to be made again."""
        builder = self._builder
        if call.outcome == "rejected":
            try:
                results.check_values(values, builder, row)
            except (TVBuilderError, TVTableError):
                return None
        if not is_own and builder.retry_null and values and all(map(is_null, values)):
            return None
        return values


def item_inputs(inputs: Inputs, row: int) -> Inputs:
    """Return the inputs of one item of a generator, from the inputs of its call."""
    return inputs + row.to_bytes(8, "little")
