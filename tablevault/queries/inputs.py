"""What builders read: instances that are fixed when they are first asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from tablevault.errors import TableReferenceError, TVArgumentError
from tablevault.history.commits.documents import InstanceDocument
from tablevault.model.instance import Instance
from tablevault.model.view import Table, VaultView
from tablevault.names import InstanceId, is_instance_id
from tablevault.queries.dataframe import fixed_folder_of

if TYPE_CHECKING:
    import pandas as pd

    from tablevault.engine.execution.preview import ExpectedTable
    from tablevault.engine.tables import FixedInstance


class Place(NamedTuple):
    """A table and a version: where one instance is the current one."""

    table: str
    version: str

    def __str__(self) -> str:
        """Name it as commits do."""
        return f"{self.table}/{self.version}"


class VaultInputs:
    """The tables of a vault.

    Implements :class:`tablevault.engine.tables.Inputs`.

    Parameters
    ----------
    view : VaultView
        The tables.
    own_table : str
        The table that is executed: references to it by name mean inactive instances, too.
    """

    def __init__(self, view: VaultView, own_table: str) -> None:
        self._view = view
        self._own_table = own_table
        self._resolved: dict[tuple[str, str], FixedInstance] = {}
        self._instances: dict[InstanceId, Instance] = {}

    def resolve(self, table: str, selector: str) -> FixedInstance:
        """Fix the instance that a reference means."""
        key = (table, selector)
        if key not in self._resolved:
            try:
                self._resolved[key] = self._find(table, selector)
            except TVArgumentError as error:
                raise TableReferenceError(error.message, error.hint, **error.facts) from error
        return self._resolved[key]

    @property
    def fixed(self) -> list[tuple[str, str, str]]:
        """Table, selector and instance id of what was resolved so far."""
        return [
            (table, selector, source.instance_id)
            for (table, selector), source in self._resolved.items()
        ]

    def hold_on_to(self, fixed: Iterable[tuple[str, str, str]]) -> None:
        """Let references mean what they meant before, although there may be later instances."""
        for table, selector, instance_id in fixed:
            found = self._view.table(table).instance(instance_id)
            self._resolved[table, selector] = self._fixed(table, found)

    def _fixed(self, table: str, instance: Instance) -> FixedInstance:
        """Fix an instance."""
        from tablevault.engine.tables import FixedInstance

        self._instances[instance.instance_id] = instance
        return FixedInstance(table=table, instance_id=instance.instance_id)

    def columns(self, source: FixedInstance) -> tuple[str, ...]:
        """Return the columns of an instance, in order."""
        return tuple(self._instances[source.instance_id].document.dtypes)

    def frame(self, source: FixedInstance, columns: Sequence[str] | None) -> pd.DataFrame:
        """Read columns of an instance; artifacts as full paths to files that never change."""
        from tablevault.frames.artifact_string import with_paths
        from tablevault.frames.parquet import read_frame

        instance = self._instances[source.instance_id]
        frame = read_frame(instance.frame_file(), columns=columns)
        if not instance.document.has_artifacts:
            return frame
        return with_paths(frame, fixed_folder_of(self._view.table(source.table), instance))

    def contents(self, source: FixedInstance, columns: Sequence[str]) -> pd.DataFrame:
        """Read columns of an instance; artifacts as what is in them."""
        from tablevault.engine.matching import is_artifact, with_contents
        from tablevault.frames.parquet import read_frame

        instance = self._instances[source.instance_id]
        frame = read_frame(instance.frame_file(), columns=columns)
        files = [name for name in frame.columns if is_artifact(frame[name])]
        if not files:
            return frame
        ids = instance.artifacts()
        made = {name: with_contents(frame[name], lambda file: ids.get(file, "")) for name in files}
        return frame.assign(**made)

    def _find(self, table: str, selector: str) -> FixedInstance:
        """Find the instance; references to the own table by name see inactive ones, too."""
        known = self._view.table(table)
        found = (
            known.instance(selector) if is_instance_id(selector) else self._latest(known, selector)
        )
        if found is None:
            version = f' of version "{selector}"' if selector else ""
            versions = {each.version for each in known.instances()} if selector else ()
            names = ", ".join(f'"{name}"' for name in sorted(versions))
            raise TableReferenceError(
                f'Table "{table}" has no instance{version} to read.',
                f"It has: {names}." if names else "Materialise one first.",
                table=table,
            )
        return self._fixed(table, found)

    def _latest(self, table: Table, version: str) -> Instance | None:
        """Prefer the latest successful instance, else take a partial one."""
        is_active = table.name != self._own_table
        complete = table.latest_or_none(version, active=is_active, successful=True)
        return complete or table.latest_or_none(version, active=is_active)


class ExpectedInputs(VaultInputs):
    """The tables of a vault, some of which are to be refreshed before they are read.

    Implements :class:`tablevault.engine.tables.Inputs`. Columns of which cells are still to be made
    hold what they hold today: a plan does not read them.

    Parameters
    ----------
    view : VaultView
        The tables.
    own_table : str
        The table that is executed.
    expected : mapping of Place to ExpectedTable
        What is to be made, in that order.
    """

    def __init__(
        self, view: VaultView, own_table: str, expected: Mapping[Place, ExpectedTable]
    ) -> None:
        super().__init__(view, own_table)
        self.expected = expected
        self._by_id: dict[InstanceId, ExpectedTable] = {}

    def expected_for(self, table: str, selector: str) -> ExpectedTable | None:
        """Return what a reference will mean that is to be made before; None for what is there."""
        if is_instance_id(selector):
            return None
        made = [place for place in self.expected if place.table == table]
        found = [place for place in made if selector in ("", place.version)]
        return self.expected[found[-1]] if found else None

    def columns(self, source: FixedInstance) -> tuple[str, ...]:
        """Columns of an instance, in order."""
        found = self._by_id.get(source.instance_id)
        return super().columns(source) if found is None else found.columns

    def frame(self, source: FixedInstance, columns: Sequence[str] | None) -> pd.DataFrame:
        """Read columns of an instance."""
        found = self._by_id.get(source.instance_id)
        if found is None or not found.knows(columns):
            return super().frame(source, columns)
        return found.frame(found.columns if columns is None else columns)

    def contents(self, source: FixedInstance, columns: Sequence[str]) -> pd.DataFrame:
        """Read columns of an instance; artifacts as what is in them."""
        found = self._by_id.get(source.instance_id)
        if found is None or not found.knows(columns):
            return super().contents(source, columns)
        return found.frame(columns)

    def _find(self, table: str, selector: str) -> FixedInstance:
        """Find the instance; one that is to be made has an id of its own."""
        expected = self.expected_for(table, selector)
        source = super()._find(table, selector)
        if expected is None:
            return source
        new = InstanceId(f"next {source.instance_id}")
        self._by_id[new] = expected
        self._instances[new] = self._instances[source.instance_id]
        return replace(source, instance_id=new)


class EarlierInputs(VaultInputs):
    """Tables as an instance read them: what it depends on.

    Implements :class:`tablevault.engine.tables.Inputs`.
    """

    def __init__(self, view: VaultView, document: InstanceDocument) -> None:
        super().__init__(view, "")
        self._read = document.dependencies

    def _find(self, table: str, selector: str) -> FixedInstance:
        """Find the instance that a reference meant then."""
        ids = [instance_id for name, instance_id in self._read if name == table]
        found = self._view.catalog.instances_with_ids(ids)
        if is_instance_id(selector):
            found = [each for each in found if each.instance_id == selector]
        elif selector:
            found = [each for each in found if each.version == selector]
        if not found:
            raise TableReferenceError(
                f'Table "{table}" was not read then.', "Run the builder again.", table=table
            )
        latest = found[-1]  # they are in the order in which they were made
        return self._fixed(table, self._view.table(table).instance(latest.instance_id))
