"""What the engine may ask of the vault: which instance is meant, and its values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import pandas as pd

from tablevault.names import InstanceId


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One materialised instance that was fixed before any builder ran."""

    table: str
    instance_id: InstanceId


class Inputs(Protocol):
    """The tables that builders may read, as they were when the execution began.

    The engine calls these from several threads when a builder has ``n_threads`` above 1, but
    never two at once.
    """

    def resolve(self, table: str, selector: str) -> Source:
        """Find the instance that a reference means.

        Parameters
        ----------
        table : str
            Name of a table. Never ``self``; the table that is being built comes by its name
            when its last materialised instance is meant.
        selector : str
            Empty for the latest active instance, a version, or an instance id.

        Raises
        ------
        TableReferenceError
            There is no such table or instance.
        """
        ...

    def columns(self, source: Source) -> tuple[str, ...]:
        """Return the names of all columns, in order."""
        ...

    def frame(self, source: Source, columns: Sequence[str] | None) -> pd.DataFrame:
        """Return the named columns, all when None; artifact columns hold full paths.

        The engine keeps what it is given and never changes it.
        """
        ...

    def contents(self, source: Source, columns: Sequence[str]) -> pd.DataFrame:
        """Return the named columns to be compared with those of another instance.

        Artifact columns hold text that is the same only for a file of the same name with the
        same bytes, wherever it is.
        """
        ...
