"""Artifacts of the calls of a builder: recorded with the calls that name them, and copied back."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

import pandas as pd

from tablevault.engine import results
from tablevault.engine.builders.reads import reads_of
from tablevault.engine.builders.resolve_fields import ResolvedBuilder
from tablevault.engine.calls.ledger import Ledger
from tablevault.engine.calls.records import NO_ROW, CallRecord, KeptFile, decode_files, encode_files
from tablevault.engine.matching import Mask
from tablevault.engine.references.view import is_null
from tablevault.engine.row_values import Values
from tablevault.engine.tables import TableDraft
from tablevault.errors import TVTableError
from tablevault.frames.artifact_string import NAME as ARTIFACT
from tablevault.frames.artifact_string import artifact_values
from tablevault.frames.casting import cast
from tablevault.names import SELF
from tablevault.render import counted

_log = logging.getLogger("tablevault")


class ArtifactFiles(Protocol):
    """The artifact folder of an execution, and the object store behind it."""

    def kept(self, names: Collection[str]) -> AbstractContextManager[Mapping[str, KeptFile] | None]:
        """Store the files of these names, and protect them from ``gc`` while the body runs.

        A record written within the body protects them from then on. The value is None if a file
        does not stop changing.

        Raises
        ------
        TVTableError
            A name is invalid, or its file is missing or cannot be stored.
        """
        ...

    def inherited(self, names: Collection[str]) -> Mapping[str, KeptFile] | None:
        """Return the files of these names in earlier instances; None if some are missing."""
        ...

    def show(self, names: Collection[str]) -> None:
        """Copy missing files from earlier instances into the artifact folder."""
        ...

    def bring(self, files: Mapping[str, KeptFile]) -> Mapping[str, str]:
        """Copy files into the artifact folder; return the reason for each that is unavailable.

        Existing files of the same names are replaced.
        """
        ...


class CallArtifacts:
    """The artifacts of the calls of one builder.

    Parameters
    ----------
    builder : ResolvedBuilder
        The builder.
    files : ArtifactFiles
        The files.
    """

    def __init__(self, builder: ResolvedBuilder, files: ArtifactFiles) -> None:
        self._builder = builder
        self._files = files
        self._columns = [
            (position, name)
            for position, name in enumerate(builder.changed_columns)
            if builder.dtypes.get(name) == ARTIFACT
        ]

    def names(self, values: Values) -> list[str]:
        """Return the names of artifacts among the values of a row, each once."""
        found: dict[str, None] = {}
        for position, column in self._columns:
            value = values[position]
            if not isinstance(value, str):
                cell = cast(pd.Series([value], dtype=object, name=column), ARTIFACT).iloc[0]
                value = "" if is_null(cell) else str(cell)
            if value:
                found[value] = None
        return list(found)

    def names_in(self, columns: Mapping[str, pd.Series]) -> list[str]:
        """Return the names of artifacts in columns; none if such a column does not fit."""
        named = {
            name: series
            for name, series in columns.items()
            if self._builder.dtypes.get(name, str(series.dtype)) == ARTIFACT
        }
        try:
            frame = {name: results.typed(each, name, self._builder) for name, each in named.items()}
        except TVTableError:
            return []
        return artifact_values(pd.DataFrame(frame))

    # -- files are stored -----------------------------------------------------------------------

    def record(
        self, ledger: Ledger, call: CallRecord, names: Collection[str], *, calls: int = 0
    ) -> CallRecord:
        """Record a call with the files that it names, and return the record.

        `calls` is how often a function was called for it.

        If it crashes before the record is written, no record names the files: ``gc`` removes them.

        Raises
        ------
        TVTableError
            A name is invalid, or its file is missing. Nothing was recorded.
        """
        try:
            with self._files.kept(names) as kept:
                call = call._replace(files=None if kept is None else encode_files(kept))
                ledger.add(call, calls=calls)
                ledger.flush()
        except TVTableError as error:
            raise self._located(error, call.row) from error
        return call

    def completed(self, ledger: Ledger, call: CallRecord, values: Values) -> CallRecord:
        """Return an earlier call of the same execution with the files that its values name.

        The record lacks them if the dtype of the column has changed, or the files were missing.
        """
        return self._completed(ledger, call, self.names(values))

    def _completed(self, ledger: Ledger, call: CallRecord, names: list[str]) -> CallRecord:
        """Return a call with files of these names; record them if it lacks them and they exist."""
        if decode_files(call.files).keys() >= set(names):
            return call
        try:
            return self.record(ledger, call._replace(outcome="ok", error=None), names)
        except TVTableError:
            return call

    def record_frame(
        self, ledger: Ledger, call: CallRecord, columns: Mapping[str, pd.Series]
    ) -> None:
        """Record a call that returned a dataframe, with the files that this names.

        Raises
        ------
        TVTableError
            A column cannot be stored; or a name is invalid, or its file is missing: then the call
            is recorded without files, and its result is used once they exist.
        """
        names = self.names_in(columns)
        if not names:
            ledger.add_frame(call, columns)
            return
        try:
            with self._files.kept(names) as kept:
                files = None if kept is None else encode_files(kept)
                ledger.add_frame(call._replace(files=files), columns)
        except TVTableError as error:
            ledger.add_frame(call, columns)
            raise self._located(error, None) from error

    def inherited(self, values: Values) -> str | None:
        """Return the encoded files of a row of an earlier instance."""
        names = self.names(values)
        files = self._files.inherited(names) if names else None
        return None if files is None else encode_files(files)

    def _located(self, error: TVTableError, row: int | None) -> TVTableError:
        """Add builder and row to an error about a file."""
        where = "" if row is None else f", row {row}"
        text = f'Builder "{self._builder.name}"{where}: {error.message}'
        return error.with_facts(text, builder=self._builder.name, row=row)

    # -- files are copied back ------------------------------------------------------------------

    def bring(self, found: Mapping[int, tuple[CallRecord, Values]]) -> set[int]:
        """Copy the files of recorded calls into the artifact folder.

        Parameters
        ----------
        found : mapping of int to (CallRecord, tuple)
            By row the call and its values. If several calls name one file, the file of the latest
            is copied.

        Returns
        -------
        set of int
            Rows whose files are unavailable: their calls have to be made again.
        """
        named = {row: (call, self.names(values)) for row, (call, values) in found.items()}
        return self._bring({row: each for row, each in named.items() if each[1]})

    def bring_frame(
        self, ledger: Ledger, call: CallRecord, frame: pd.DataFrame, *, is_own: bool
    ) -> bool:
        """Copy the files that a recorded dataframe names; return whether all are available.

        Parameters
        ----------
        ledger : Ledger
            The records.
        call : CallRecord
            The call that returned `frame`.
        frame : DataFrame
            Its columns are those of the builder.
        is_own : bool
            Whether an earlier attempt of this execution made the call.
        """
        names = self.names_in({str(name): series for name, series in frame.items()})
        if names and is_own:
            call = self._completed(ledger, call, names)
        return not names or not self._bring({NO_ROW: (call, names)})

    def _bring(self, named: Mapping[int, tuple[CallRecord, list[str]]]) -> set[int]:
        """Copy the files of calls, and return the rows whose files are unavailable."""
        lost = set()
        latest: dict[str, tuple[int, KeptFile]] = {}
        for row, (call, names) in named.items():
            files = decode_files(call.files)
            if not files.keys() >= set(names):
                lost.add(row)
                continue
            for name in names:
                if name not in latest or latest[name][0] < call.id:
                    latest[name] = call.id, files[name]
        missing = self._files.bring({name: file for name, (_, file) in latest.items()})
        without = {row for row in named if not missing.keys().isdisjoint(named[row][1])} - lost
        if without:
            name, why = next(iter(missing.items()))
            _log.warning(
                'Builder "%s": %s made again, whose artifacts cannot be had: "%s": %s',
                self._builder.name,
                f"{counted(len(without), 'call')} {'is' if len(without) == 1 else 'are'}",
                name,
                why,
            )
        return lost | without


def show_inherited(
    builder: ResolvedBuilder, draft: TableDraft, is_new: Mask, files: ArtifactFiles
) -> None:
    """Copy the artifacts of earlier instances that a builder reads into the artifact folder.

    Parameters
    ----------
    builder : ResolvedBuilder
        The builder that is about to run.
    draft : TableDraft
        The table under construction.
    is_new : array of bool
        For each row whether its call may be made.
    files : ArtifactFiles
        The files.
    """
    others = [name for name in draft.names if name not in builder.changed_columns]
    columns = {name: draft.stored(name) for name in others}
    named = {name: each for name, each in columns.items() if str(each.dtype) == ARTIFACT}
    if not named or not is_new.any():
        return
    wanted: dict[str, None] = {}
    for read in reads_of(builder.arguments, draft.names):
        own = [each for each in read.wholes if each.table == SELF]
        is_any = not read.is_known or any(each.columns is None for each in own)
        whole = {name for each in own for name in each.columns or ()}
        for name, series in named.items():
            if is_any or name in whole:
                wanted.update(dict.fromkeys(series.dropna().tolist()))
            elif name in read.cells:
                wanted.update(dict.fromkeys(series[is_new].dropna().tolist()))
    files.show([name for name in wanted if name])


def artifacts_of(builder: ResolvedBuilder, files: ArtifactFiles | None) -> CallArtifacts | None:
    """Return the artifacts of a builder; None if it makes none."""
    declares = ARTIFACT in builder.dtypes.values()
    # A returned dataframe may have columns of that dtype.
    if files is None or not (declares or builder.return_type == "dataframe"):
        return None
    return CallArtifacts(builder, files)
