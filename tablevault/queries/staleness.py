"""Why an instance would be made differently now: its inputs, its code, rows that are missing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from tablevault.errors import TableReferenceError, TableVaultError, TVFileError
from tablevault.history.commits.documents import InstanceDocument
from tablevault.history.commits.snapshot import decode_text
from tablevault.model.instance import Instance, TempInstance, by_age
from tablevault.model.view import Table, VaultView
from tablevault.names import InstanceId, TempRef, index_builder, is_instance_id
from tablevault.queries.inputs import Place, VaultInputs
from tablevault.queries.origin import (
    code_edits,
    fingerprints_now,
    fingerprints_then,
    module_texts,
    recorded_builders,
)
from tablevault.render import counted
from tablevault.vault import Vault

if TYPE_CHECKING:
    from tablevault.engine.builders.builder import Builder
    from tablevault.engine.builders.reads import Dependency
    from tablevault.engine.execution.context import FingerprintOf
    from tablevault.engine.fingerprints.fingerprint import Fingerprint


_OF_INDEX = ("primary_key", "keep_old")
"""Fields of an index builder that decide which rows are made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Current:
    """The latest materialised instance of a place.

    Attributes
    ----------
    place : Place
        Its table, under the name of today, and its version.
    instance : Instance
        The instance.
    builders : mapping of str to Builder
        What made it, as far as it can be read; empty when it was written by hand.
    """

    place: Place
    instance: Instance
    builders: Mapping[str, Builder]

    @property
    def document(self) -> InstanceDocument:
        """The ``instance.yaml`` of the instance."""
        return self.instance.document

    @property
    def is_by_hand(self) -> bool:
        """Return whether no builder made it."""
        return not self.document.builders

    def texts(self) -> dict[str, str]:
        """Return its builders, the index builder under the name that it has to have today."""
        old, new = index_builder(self.instance.table_name), index_builder(self.place.table)
        return {
            new if name == old else name: decode_text(data, name)
            for name, data in self.instance.builders().items()
        }


class Staleness:
    """Compares the current instances of a vault with what would be made now.

    Only git, the index and the records of calls are read: no function is called, no module is
    imported, no dataframe is opened.

    Parameters
    ----------
    vault : Vault
        The vault.
    view : VaultView
        Its tables, their instances, and the code.
    """

    def __init__(self, vault: Vault, view: VaultView) -> None:
        self._vault = vault
        self._view = view
        self._tables = self._view.table_names
        self._read: dict[Place, Current] = {}
        self._external_of: dict[Place, tuple[Dependency, ...]] = {}
        self._reads: dict[Place, frozenset[Place]] = {}

    @cached_property
    def instances(self) -> dict[Place, Instance]:
        """The current instance of each place, those first that were made first."""
        return {
            Place(self._tables[each.table_id], each.version): self._view.instance_of(each)
            for each in self._view.catalog.current()
            if each.table_id in self._tables
        }

    def current(self, place: Place) -> Current:
        """Read the current instance of a place.

        Raises
        ------
        TableVaultError
            Its document cannot be read.
        """
        if place not in self._read:
            instance = self.instances[place]
            builders = recorded_builders(instance)
            self._read[place] = Current(place=place, instance=instance, builders=builders)
        return self._read[place]

    def temp(self, place: Place) -> TempInstance | None:
        """Return the temporary instance of a place, if an execution of it makes the next one."""
        found = self._view.temp(TempRef(*place))
        return None if found is None or found.document.external_edit else found

    def reasons(self, place: Place) -> tuple[str, ...]:
        """Return why the current instance is stale; nothing when it is not.

        One that was written by hand cannot be executed again, and one that is inactive is not read.

        Raises
        ------
        TableVaultError
            Its document cannot be read.
        """
        current = self.current(place)
        if current.is_by_hand or not current.instance.active:
            return ()
        found = (
            *self._newer(current),
            *self._changed_code(current),
            *self._edited(current),
            *_incomplete(current),
        )
        return tuple(dict.fromkeys(found))

    def reads(self, place: Place) -> frozenset[Place]:
        """Return the places whose next instance an execution of this one would read."""
        if place not in self._reads:
            try:
                found = frozenset(self._find_reads(self.current(place)))
            except TableVaultError:  # which `reasons` raises
                found = frozenset()
            self._reads[place] = found - {place}
        return self._reads[place]

    def _find_reads(self, current: Current) -> Iterator[Place]:
        """Yield the places that builders read: those of the temporary instance, if there is one."""
        if current.is_by_hand:
            return
        temp = self.temp(current.place)
        needed = self._external(current)
        if temp is not None:
            needed = _external(_parsed(temp.builders(), current.place.table), current)
        for each in needed:
            if not is_instance_id(each.selector):
                yield from (
                    other
                    for other in self.instances
                    if other.table == each.table and each.selector in ("", other.version)
                )
        covered = {then.instance_id for _, then in self._matched(current) if then is not None}
        for instance in () if temp is not None else self._recorded(current).values():
            if instance.instance_id not in covered and instance.table_id in self._tables:
                yield Place(self._tables[instance.table_id], instance.version)

    def behind(self, changing: Iterable[Place]) -> dict[Place, tuple[Place, ...]]:
        """Return the places that read some which are to change, and which of them, on and on."""
        found: dict[Place, tuple[Place, ...]] = {}
        all_changing = {*changing}
        while True:
            more = {
                place: tuple(sorted(self.reads(place) & all_changing))
                for place in self.instances
                if place not in all_changing and self.reads(place) & all_changing
            }
            if not more:
                return found
            found |= more
            all_changing |= more.keys()

    # -- inputs ---------------------------------------------------------------------------------

    def _external(self, current: Current) -> tuple[Dependency, ...]:
        """Return what the builders that made an instance read."""
        if current.place not in self._external_of:
            self._external_of[current.place] = _external(current.builders, current)
        return self._external_of[current.place]

    def _recorded(self, current: Current) -> dict[InstanceId, Instance]:
        """Return the instances that were read, but for those of the own place."""
        own = (current.instance.table_id, current.instance.version)
        found = current.instance.sources()
        return {each.instance_id: each for each in found if (each.table_id, each.version) != own}

    def _matched(self, current: Current) -> Iterator[tuple[Dependency, Instance | None]]:
        """Yield what builders read, and the instance that this meant then."""
        recorded = self._recorded(current)
        for needed in self._external(current):
            found = [
                recorded[instance]
                for table, instance in current.document.dependencies
                if table == needed.table
                and instance in recorded
                and needed.selector in ("", instance, recorded[instance].version)
            ]
            yield needed, max(found, key=by_age, default=None)

    def _newer(self, current: Current) -> Iterator[str]:
        """Yield the inputs that hold something else now."""
        inputs = VaultInputs(self._view, current.place.table)
        covered = set[InstanceId]()
        for needed, then in self._matched(current):
            if then is not None:
                covered.add(then.instance_id)
            try:
                now = inputs.resolve(needed.table, needed.selector).instance_id
            except TableReferenceError as error:
                yield from self._renamed(needed.table, error)
                continue
            if then is not None and now != then.instance_id:
                yield from self._other(then, self._view.instance(now))
        for each in self._recorded(current).values():
            if each.instance_id not in covered:
                yield from self._other(each, self._latest(each))

    def _renamed(self, table: str, error: TableReferenceError) -> Iterator[str]:
        """Yield a reason where a table that is read has another name now.

        One that was deleted is none: what was made from it stays what it is.
        """
        if self._view.catalog.new_name(table):
            yield f"{error.message} {error.hint}"

    def _latest(self, then: Instance) -> Instance | None:
        """Find the latest instance of the table and version of another one."""
        if then.table_id not in self._tables:
            return None
        table = Table(self._view, self._tables[then.table_id])
        complete = table.latest_or_none(then.version, successful=True)
        return complete or table.latest_or_none(then.version)

    def _other(self, then: Instance, now: Instance | None) -> Iterator[str]:
        """Yield a reason where another instance is read now, and holds something else."""
        if now is None or now.instance_id == then.instance_id or self._is_same(then, now):
            return
        place = Place(self._view.name_of(now), now.version)
        is_newer = by_age(now) > by_age(then)
        yield f"{place} is newer" if is_newer else f"{place} is another one"

    def _is_same(self, one: Instance, other: Instance) -> bool:
        """Return whether two instances hold the same values, and the same files."""
        digest = one.document.digest
        if not digest or digest != other.document.digest:
            return False
        return not other.document.has_artifacts or one.artifacts() == other.artifacts()

    # -- builders and code ----------------------------------------------------------------------

    def _edited(self, current: Current) -> Iterator[str]:
        """Yield how builders differ that wait in a temporary instance."""
        temp = self.temp(current.place)
        if temp is None:
            return
        now = {name: data.decode("utf-8", "replace") for name, data in temp.builders().items()}
        for each in edits(current.texts(), now, current.place.table):
            yield f"{each} in {temp.instance_id}"

    @cached_property
    def _now(self) -> FingerprintOf:
        """The code as it is now, edits by hand included."""
        texts = module_texts(self._view.snapshot, code_edits(self._view))
        fingerprints = fingerprints_now(self._vault.path, texts)

        @cache
        def of(module: str, function: str, is_custom: bool) -> Fingerprint | None:
            if is_custom and module.partition(".")[0] not in texts:
                return None
            with contextlib.suppress(TVFileError):
                return fingerprints(module, function, is_custom)
            return None

        return of

    def _changed_code(self, current: Current) -> Iterator[str]:
        """Yield how code differs from that which made the instance, builder by builder."""
        noted = self._noted(current.instance)
        for name, builder in current.builders.items():
            if builder.code_version or builder.module is None or builder.function is None:
                continue  # pinned, or known only when references are evaluated
            now = self._now(builder.module, builder.function, builder.is_custom is True)
            if now is None:
                yield f"{name}: module `{builder.module}` cannot be used any more"
                continue
            note = noted.get(name)
            if isinstance(note, Mapping) and note.get("code") == now.digest.hex():
                continue
            yield from self._sentences(current, builder, now, note)

    def _sentences(
        self, current: Current, builder: Builder, now: Fingerprint, note: object
    ) -> Iterator[str]:
        """Yield how the code of one builder differs, in the words of an execution."""
        from tablevault.engine.fingerprints.fingerprint import reasons

        before = self._before(current, builder, note)
        if before is not None and before.digest == now.digest:
            return
        said = [] if before is None else reasons(before, now)
        yield from (
            f"{builder.name}: {each}"
            for each in said or [f"the code of `{builder.function}` changed"]
        )

    def _noted(self, instance: Instance) -> Mapping[str, Any]:
        """Return the code that made an instance, as the records of calls have it."""
        if not self._vault.calls_path.is_file():
            return {}
        return self._vault.calls.builders_of(instance.instance_id) or {}

    def _before(self, current: Current, builder: Builder, note: object) -> Fingerprint | None:
        """Return the code of then: as it was recorded, else by the texts in history."""
        import json

        from tablevault.engine.fingerprints.fingerprint import Fingerprint

        if isinstance(note, Mapping):
            record = self._vault.calls.code_record(bytes.fromhex(note["code"]))
            return None if record is None else Fingerprint.from_record(json.loads(record))
        assert builder.module is not None
        assert builder.function is not None
        of = fingerprints_then(current.instance)
        return of(builder.module, builder.function, builder.is_custom is True)


def _external(builders: Mapping[str, Builder], current: Current) -> tuple[Dependency, ...]:
    """Return what builders read, but for earlier instances of their own."""
    from tablevault.engine.builders.order import make_plan

    place, then = current.place, current.instance.table_name
    own = {place.table, then}
    for name in own:
        with contextlib.suppress(TableVaultError):
            plan = make_plan(tuple(builders.values()), table=name)
            return tuple(
                each
                for each in plan.external
                if not (each.table in own and each.selector in ("", place.version))
            )
    return ()  # another release could run what this one does not


def _parsed(texts: Mapping[str, bytes], table: str) -> dict[str, Builder]:
    """Read builders; those that cannot be read yet are left out."""
    from tablevault.engine.builders.builder import parse_builder

    found = {}
    for name, data in texts.items():
        with contextlib.suppress(TableVaultError, UnicodeDecodeError):
            found[name] = parse_builder(name, data.decode(), table=table)
    return found


def _incomplete(current: Current) -> Iterator[str]:
    """Yield why rows of an instance are to be asked for again."""
    if errors := current.document.errors:
        yield f"{counted(errors, 'row')} with errors"
    elif not current.document.success:
        yield "it was stopped before all rows were made"


def edits(before: Mapping[str, str], now: Mapping[str, str], table: str) -> Iterator[str]:
    """Yield what an execution would see of edits; comments and the order of keys are none.

    Parameters
    ----------
    before, now : mapping of str to str
        Builder files by name.
    table : str
        The table that they belong to.
    """
    for name in sorted({*before, *now}):
        if name not in now:
            yield f"{name}: builder removed"
        elif name not in before:
            yield f"{name}: builder added"
        elif changes := _changes(name, before[name], now[name], table):
            yield f"{name}: {changes}"


def _changes(name: str, before: str, now: str, table: str) -> str:
    """Return what an edit of one builder changes; "" when nothing."""
    from tablevault.engine.builders.builder import changed_fields, parse_builder, parse_recorded

    if before == now:
        return ""
    try:
        old, new = parse_recorded(name, before, table=table), parse_builder(name, now, table=table)
    except TableVaultError:  # it is being written
        return "edited"
    changes = changed_fields(old, new)
    changes += [
        f"field {each} changed" for each in _OF_INDEX if getattr(old, each) != getattr(new, each)
    ]
    return " and ".join(changes)
