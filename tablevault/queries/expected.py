"""What builders would read when tables before theirs have been made anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tablevault.model.view import VaultView
from tablevault.names import InstanceId, is_instance_id
from tablevault.queries.read import VaultInputs
from tablevault.queries.staleness import Place

if TYPE_CHECKING:
    import pandas as pd

    from tablevault.engine.execution.preview import ExpectedTable
    from tablevault.engine.tables import Source


class ExpectedInputs(VaultInputs):
    """The tables of a vault, some of which are to be made anew before anybody reads them.

    Implements :class:`tablevault.engine.tables.Inputs`. Columns of which cells are still to be made
    hold what they hold today: who plans does not ask for them.

    Parameters
    ----------
    view : VaultView
        The tables.
    own_table : str
        The table for which somebody reads.
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

    def columns(self, source: Source) -> tuple[str, ...]:
        """Columns of an instance, in order."""
        found = self._by_id.get(source.instance_id)
        return super().columns(source) if found is None else found.columns

    def frame(self, source: Source, columns: Sequence[str] | None) -> pd.DataFrame:
        """Read columns of an instance."""
        found = self._by_id.get(source.instance_id)
        if found is None or not found.knows(columns):
            return super().frame(source, columns)
        return found.frame(found.columns if columns is None else columns)

    def contents(self, source: Source, columns: Sequence[str]) -> pd.DataFrame:
        """Read columns of an instance; artifacts as what is in them."""
        found = self._by_id.get(source.instance_id)
        if found is None or not found.knows(columns):
            return super().contents(source, columns)
        return found.frame(columns)

    def _find(self, table: str, selector: str) -> Source:
        """Find the instance; one that is to be made has an id of its own."""
        from tablevault.engine.tables import Source

        expected = self.expected_for(table, selector)
        source = super()._find(table, selector)
        if expected is None:
            return source
        new = InstanceId(f"next {source.instance_id}")
        self._by_id[new] = expected
        self._instances[new] = self._instances[source.instance_id]
        return Source(table=table, instance_id=new)
