"""The artifacts of calls: kept with the record, and put in place when the record is found again."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

import pandas as pd

from tablevault.engine import results
from tablevault.engine.builders.reads import reads_of
from tablevault.engine.builders.resolve_fields import Job
from tablevault.engine.calls.call_record import WHOLE, CallRecord
from tablevault.engine.calls.kept_files import KeptFile, decode_files, encode_files
from tablevault.engine.calls.ledger import Ledger
from tablevault.engine.matching import Mask
from tablevault.engine.row_values import Values
from tablevault.engine.tables import TableDraft
from tablevault.errors import TVTableError
from tablevault.frames.artifacts import NAME as ARTIFACT
from tablevault.frames.artifacts import artifact_values
from tablevault.frames.casting import cast
from tablevault.names import SELF
from tablevault.render import counted

_log = logging.getLogger("tablevault")


class ArtifactFiles(Protocol):
    """The artifact folder of an execution, and the place where files outlive it."""

    def kept(self, names: Collection[str]) -> AbstractContextManager[Mapping[str, KeptFile] | None]:
        """Keep the files that go by these names; they stay at least as long as the body runs.

        Whoever writes within the body that they are needed has them for good. The value is None
        where a file does not stop changing.

        Raises
        ------
        TVTableError
            A name cannot be used, or its file is nowhere or cannot be kept.
        """
        ...

    def inherited(self, names: Collection[str]) -> Mapping[str, KeptFile] | None:
        """Return the files that earlier instances have by these names; None if some are missing."""
        ...

    def show(self, names: Collection[str]) -> None:
        """Put the files of earlier instances into the artifact folder that are not there."""
        ...

    def bring(self, files: Mapping[str, KeptFile]) -> Mapping[str, str]:
        """Put files into the artifact folder, and return of those that cannot be had why not.

        What lies there by the same name is replaced, unless it is the same.
        """
        ...


class CallArtifacts:
    """The artifacts of the calls of one builder.

    Parameters
    ----------
    job : Job
        The builder.
    files : ArtifactFiles
        Where they are.
    """

    def __init__(self, job: Job, files: ArtifactFiles) -> None:
        self._job = job
        self._files = files
        self._columns = [
            (position, name)
            for position, name in enumerate(job.changed_columns)
            if job.dtypes.get(name) == ARTIFACT
        ]

    def names(self, values: Values) -> list[str]:
        """Return the names of artifacts among the values of a row, each once."""
        found: dict[str, None] = {}
        for position, column in self._columns:
            value = values[position]
            if not isinstance(value, str):
                cell = cast(pd.Series([value], dtype=object, name=column), ARTIFACT).iloc[0]
                value = "" if results.is_null(cell) else str(cell)
            if value:
                found[value] = None
        return list(found)

    def names_in(self, columns: Mapping[str, pd.Series]) -> list[str]:
        """Return the names of artifacts in the columns of a whole table; none if they misfit."""
        try:
            frame = {name: results.typed(each, name, self._job) for name, each in columns.items()}
        except TVTableError:
            return []
        return artifact_values(pd.DataFrame(frame))

    # -- kept -----------------------------------------------------------------------------------

    def record(
        self, ledger: Ledger, call: CallRecord, names: Collection[str], *, calls: int = 0
    ) -> CallRecord:
        """Record a call together with the files that it names, and return what was recorded.

        `calls` is how often a function was called for it.

        Crashes before the record is written: nobody needs the files, and ``gc`` removes them.

        Raises
        ------
        TVTableError
            A name cannot be used, or its file is nowhere. Nothing was recorded.
        """
        try:
            with self._files.kept(names) as kept:
                call = call._replace(files=None if kept is None else encode_files(kept))
                ledger.add(call, calls=calls)
                ledger.flush()
        except TVTableError as error:
            raise self._blamed(error, call.row) from error
        return call

    def completed(self, ledger: Ledger, call: CallRecord, values: Values) -> CallRecord:
        """Return an earlier call of the same execution with the files that its values name.

        They were none of its files as long as its column was of another dtype, or not there yet.
        """
        return self._completed(ledger, call, self.names(values))

    def _completed(self, ledger: Ledger, call: CallRecord, names: list[str]) -> CallRecord:
        """Return a call with files of these names, if it lacks them and they are there."""
        if decode_files(call.files).keys() >= set(names):
            return call
        try:
            return self.record(ledger, call._replace(outcome="ok", error=None), names)
        except TVTableError:
            return call

    def record_frame(
        self, ledger: Ledger, call: CallRecord, columns: Mapping[str, pd.Series]
    ) -> None:
        """Record a call that returned a dataframe, together with the files that this names.

        Raises
        ------
        TVTableError
            A column cannot be stored; or a name cannot be used, or its file is nowhere: then the
            call is recorded without files, and what it returned counts once they are there.
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
            raise self._blamed(error, None) from error

    def inherited(self, values: Values) -> str | None:
        """Return the files of a row of an earlier instance, as a record has them."""
        names = self.names(values)
        files = self._files.inherited(names) if names else None
        return None if files is None else encode_files(files)

    def _blamed(self, error: TVTableError, row: int | None) -> TVTableError:
        """Add builder and row to an error about a file."""
        where = "" if row is None else f", row {row}"
        facts = {**error.facts, "builder": self._job.name, "row": row}
        text = f'Builder "{self._job.name}"{where}: {error.message}'
        return TVTableError(text, error.hint, **facts)

    # -- brought --------------------------------------------------------------------------------

    def bring(self, found: Mapping[int, tuple[CallRecord, Values]]) -> set[int]:
        """Put the files of recorded calls into the artifact folder.

        Parameters
        ----------
        found : mapping of int to (CallRecord, tuple)
            By row the call and its values. Where several calls name one file, it is that of the
            latest.

        Returns
        -------
        set of int
            Rows whose files cannot be had, whose calls have to be made again.
        """
        named = {row: (call, self.names(values)) for row, (call, values) in found.items()}
        return self._bring({row: each for row, each in named.items() if each[1]})

    def bring_frame(
        self, ledger: Ledger, call: CallRecord, frame: pd.DataFrame, *, is_own: bool
    ) -> bool:
        """Put the files that a recorded dataframe names into place, and return whether they are.

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
        return not names or not self._bring({WHOLE: (call, names)})

    def _bring(self, named: Mapping[int, tuple[CallRecord, list[str]]]) -> set[int]:
        """Bring the files of calls, and return the rows whose files cannot be had."""
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
                self._job.name,
                f"{counted(len(without), 'call')} {'is' if len(without) == 1 else 'are'}",
                name,
                why,
            )
        return lost | without


def show_inherited(job: Job, draft: TableDraft, is_new: Mask, files: ArtifactFiles) -> None:
    """Put the artifacts that a builder reads into the folder, also those of earlier instances.

    Parameters
    ----------
    job : Job
        The builder that is about to run.
    draft : TableDraft
        The table under construction.
    is_new : array of bool
        For each row whether it may be called.
    files : ArtifactFiles
        Where the files are.
    """
    others = [name for name in draft.names if name not in job.changed_columns]
    columns = {name: draft.stored(name) for name in others}
    named = {name: each for name, each in columns.items() if str(each.dtype) == ARTIFACT}
    if not named or not is_new.any():
        return
    wanted: dict[str, None] = {}
    for read in reads_of(job.arguments, draft.names):
        own = [each for each in read.wholes if each.table == SELF]
        is_any = not read.is_known or any(each.columns is None for each in own)
        whole = {name for each in own for name in each.columns or ()}
        for name, series in named.items():
            if is_any or name in whole:
                wanted.update(dict.fromkeys(series.dropna().tolist()))
            elif name in read.cells:
                wanted.update(dict.fromkeys(series[is_new].dropna().tolist()))
    files.show([name for name in wanted if name])


def artifacts_of(job: Job, files: ArtifactFiles | None) -> CallArtifacts | None:
    """Return what keeps the artifacts of a builder; None for one that makes none."""
    declares = ARTIFACT in job.dtypes.values()
    # A dataframe may bring the dtype with it.
    if files is None or not (declares or job.return_type == "dataframe"):
        return None
    return CallArtifacts(job, files)
