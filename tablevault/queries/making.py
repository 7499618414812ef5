"""How one instance was made: builders, code, columns, first rows, and what it changed."""

from __future__ import annotations

from dataclasses import dataclass, field

from tablevault.errors import TableVaultError
from tablevault.history.documents import SPENT, InstanceDocument
from tablevault.history.index import IndexedInstance
from tablevault.names import BlobId, index_builder
from tablevault.queries.calls import CallSummary, FailedCall, failures, summaries
from tablevault.queries.change import Allowance, Change, change, frame_pointer
from tablevault.queries.diff import shown
from tablevault.queries.read import frame_file, instance_document
from tablevault.vault import Vault

_MOST_LINES = 1_500
_MOST_COLUMNS = 200
_MOST_FAILURES = 50
_HEAD_ROWS, _HEAD_COLUMNS = 5, 30
_HEAD_BYTES = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceText:
    """The text of a builder or of a code module, which many instances may share."""

    id: str
    """Git id of the blob."""
    kind: str
    """``builder`` or ``code``."""
    name: str
    lines: tuple[str, ...]
    more: int
    """Lines that are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderRun:
    """What a builder did for an instance; None where that was not noted."""

    name: str
    is_index: bool
    """It says which rows there are, and always runs."""
    text_id: str
    """Of its `SourceText`, "" when there is none."""
    computed: int | None
    reused: int | None
    reason: str
    calls: int | None = None
    """How often its function was called since the version had its last instance."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None
    expected_cost: float | None = None
    errors: int | None = None
    """Rows that stayed null because their calls failed."""
    duration_s: float | None = None
    """How long the calls that the instance holds took together; None where they are not here, or
    none took a millisecond."""
    reused_from: tuple[tuple[str, int], ...] = ()
    """Instances in which calls were made that it holds, and how many; the most first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The first rows of a dataframe."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]
    """Cells as text, None for a null."""
    more_rows: int
    more_columns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """How an instance was made."""

    description: str
    external_edit: bool
    process: str
    author: str
    rows: int
    primary_key: tuple[str, ...]
    dtypes: tuple[tuple[str, str], ...]
    more_columns: int
    builders: tuple[BuilderRun, ...]
    code: tuple[tuple[str, str], ...]
    """Module, and id of its `SourceText`."""
    shipped: tuple[str, ...]
    """Modules that came with the package."""
    failures: tuple[FailedCall, ...]
    """Calls that failed, whose rows stayed null; the first of them."""
    more_failures: int
    change: Change | None
    """None when there is no instance before it."""
    head: Head | None
    """None when it was not asked for, or is not in this vault."""

    @property
    def results(self) -> tuple[int, int] | None:
        """How many results column builders computed and reused, one a row; None when not known.

        An index builder finds the rows there are and always runs, so it does not count.
        """
        runs = [each for each in self.builders if not each.is_index and each.computed is not None]
        if not runs:
            return None
        return sum(each.computed or 0 for each in runs), sum(each.reused or 0 for each in runs)


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads how instances were made; each text once, comparisons as far as they are allowed."""

    vault: Vault
    """One that brings nothing from elsewhere."""
    allowance: Allowance
    texts: dict[str, SourceText] = field(default_factory=dict)
    """What was read, by id."""

    def making(
        self, instance: IndexedInstance, before: IndexedInstance | None, *, with_head: bool
    ) -> Making | None:
        """Read how an instance was made; None when its document is broken."""
        try:
            document = instance_document(self.vault, instance)
        except TableVaultError:
            return None
        failed = failures(self.vault, instance) if document.errors else []
        return Making(
            failures=tuple(failed[:_MOST_FAILURES]),
            more_failures=max(0, document.errors - _MOST_FAILURES),
            description=document.description,
            external_edit=document.external_edit,
            process=document.process,
            author=document.author,
            rows=document.rows,
            primary_key=document.primary_key,
            dtypes=tuple(document.dtypes.items())[:_MOST_COLUMNS],
            more_columns=max(0, len(document.dtypes) - _MOST_COLUMNS),
            builders=tuple(self._builders(instance, document)),
            code=tuple(
                (name, self._text("code", name, blob)) for name, blob in document.code.items()
            ),
            shipped=tuple(document.shipped),
            change=None if before is None else self._change(before, instance, document),
            head=self._head(instance, document) if with_head else None,
        )

    def _builders(self, instance: IndexedInstance, document: InstanceDocument) -> list[BuilderRun]:
        """Return what each builder did, in the order in which they ran."""
        names = [
            *document.execution,
            *(n for n in document.builders if n not in document.execution),
        ]
        calls = summaries(self.vault, instance) if document.execution else {}
        found = []
        for name in names:
            run = document.execution.get(name)
            blob = document.builders.get(name, "")
            found.append(
                BuilderRun(
                    name=name,
                    is_index=name == index_builder(instance.table_name),
                    text_id=self._text("builder", name, blob) if blob else "",
                    computed=None if run is None else run.computed,
                    reused=None if run is None else run.reused,
                    reason="" if run is None else run.reason,
                    **{key: None if run is None else getattr(run, key) for key in SPENT},
                    duration_s=None if name not in calls else calls[name].duration_s,
                    reused_from=() if name not in calls else _most_first(calls[name]),
                )
            )
        return found

    def _text(self, kind: str, name: str, blob: str) -> str:
        """Read a text, and give the id under which it is kept; "" when it is gone."""
        if blob not in self.texts:
            try:
                content = self.vault.journal.repository.read_blob(BlobId(blob))
            except (KeyError, ValueError):
                return ""
            lines = content.decode("utf-8-sig", "replace").splitlines()
            self.texts[blob] = SourceText(
                id=blob,
                kind=kind,
                name=name,
                lines=tuple(lines[:_MOST_LINES]),
                more=max(0, len(lines) - _MOST_LINES),
            )
        return blob

    def _change(
        self, before: IndexedInstance, instance: IndexedInstance, document: InstanceDocument
    ) -> Change | None:
        """Compare with the instance before; None when that one's document is broken."""
        try:
            old = instance_document(self.vault, before)
        except TableVaultError:
            return None
        return change(self.vault, before, old, instance, document, self.allowance)

    def _head(self, instance: IndexedInstance, document: InstanceDocument) -> Head | None:
        """Read the first rows, if they are here."""
        pointer = frame_pointer(self.vault, instance)
        if pointer is None or pointer.size > _HEAD_BYTES or not document.dtypes:
            return None
        from tablevault.frames.parquet import read_frame

        names = list(document.dtypes)[:_HEAD_COLUMNS]
        try:
            path = frame_file(self.vault, instance)
            frame = read_frame(path, columns=names, rows=_HEAD_ROWS)
        except TableVaultError:
            return None
        return Head(
            columns=tuple(names),
            rows=tuple(
                tuple(map(shown, row, nulls))
                for row, nulls in zip(
                    frame.itertuples(index=False, name=None),
                    frame.isna().to_numpy().tolist(),
                    strict=True,
                )
            ),
            more_rows=max(0, document.rows - len(frame)),
            more_columns=len(document.dtypes) - len(names),
        )


def _most_first(calls: CallSummary) -> tuple[tuple[str, int], ...]:
    """Return the instances in which calls were made."""
    return tuple(sorted(calls.reused_from.items(), key=lambda each: (-each[1], each[0])))
