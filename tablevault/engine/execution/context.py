"""What all builders of one execution share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import pandas as pd

from tablevault.engine.builders.builder import Builder
from tablevault.engine.calls.artifacts import ArtifactFiles
from tablevault.engine.calls.keys import FileText, same_text
from tablevault.engine.calls.ledger import Ledger
from tablevault.engine.code import ModuleSet
from tablevault.engine.execution.budgets import RunLimits
from tablevault.engine.execution.concurrency import CallExecutor
from tablevault.engine.execution.executors import Executors
from tablevault.engine.execution.file_transfer import VaultHome
from tablevault.engine.execution.limiting import Limiting
from tablevault.engine.fingerprints.fingerprint import Fingerprint
from tablevault.engine.tables import Inputs, RunTables
from tablevault.progress import Progress

FingerprintOf: TypeAlias = Callable[[str, str, bool], Fingerprint | None]
"""Module, function, and whether it is one of the vault's, to the fingerprint of its code; None
where that cannot be known any more."""


class Control(Protocol):
    """Watches a run, and may stop it between two calls. Called by one thread at a time."""

    def begin(self) -> None:
        """Note that all is checked, and that the first function is called next."""

    def calling(self) -> None:
        """Note that a function is called now; by any thread, and before each call."""

    def check(self) -> None:
        """Raise when the run is to stop."""

    def ended(self, builder: str) -> None:
        """Note that a builder has ended; raise when the run is to stop."""


class NoControl(Control):
    """Watches nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """The instance that an execution starts from.

    Attributes
    ----------
    frame : DataFrame
        As it is stored: artifact columns hold names.
    builders : mapping of str to Builder
        As they were then.
    fingerprint : callable
        Returns the fingerprint of a function then, see `FingerprintOf`.
    inputs : Inputs
        The tables as they were read then.
    is_complete : bool
        False for what a stopped execution left.
    with_errors : frozenset of str
        Builders of which calls failed, whose rows stayed null.
    content : callable
        Gives an id of what is in the file that an artifact column names.
    """

    frame: pd.DataFrame
    builders: Mapping[str, Builder]
    fingerprint: FingerprintOf
    inputs: Inputs
    is_complete: bool
    with_errors: frozenset[str] = frozenset()
    content: Callable[[str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What an execution may take over, where it keeps calls, and what watches and limits it.

    Attributes
    ----------
    earlier : Earlier, optional
        The instance to start from; None computes everything.
    why_not : str
        Reason to give when there is none.
    fingerprint, content : callable
        As those of `Earlier`, of now.
    ledger : Ledger
        Calls that were made, and where new ones are recorded.
    file_text : callable
        See `tablevault.engine.calls.keys.FileText`.
    files : ArtifactFiles, optional
        Where the artifacts of calls are; without it, they are in their folder only.
    control : Control
        Watches the execution, and may stop it.
    limits : RunLimits
        What limits its calls.
    batches : Path, optional
        Folder with what was sent to providers and is not collected yet.
    executors : Executors, optional
        Where functions are called; in this process by default.
    home : VaultHome, optional
        The vault, whose files functions may be given; None where workers find them as they are.
    modules : callable
        Returns the modules that a function was found in, None for one of this package.
    """

    fingerprint: FingerprintOf
    content: Callable[[str], str]
    ledger: Ledger
    earlier: Earlier | None = None
    why_not: str = "first run"
    file_text: FileText = same_text
    files: ArtifactFiles | None = None
    control: Control = field(default_factory=NoControl)
    limits: RunLimits = field(default_factory=RunLimits)
    batches: Path | None = None
    executors: Executors | None = None
    home: VaultHome | None = None
    modules: Callable[[Callable[..., Any]], ModuleSet | None] = lambda _: None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """What all builders of a run share.

    Attributes
    ----------
    options : RunOptions
        What it was given.
    tables : RunTables
        What builders read, and the draft that they fill.
    key_columns : tuple of str
        The primary key.
    progress : Progress
        Shows builders and rows.
    executor : CallExecutor
        Calls their functions.
    limiting : Limiting
        Lets calls begin.
    """

    options: RunOptions
    tables: RunTables
    key_columns: tuple[str, ...]
    progress: Progress
    executor: CallExecutor
    limiting: Limiting

    @property
    def earlier(self) -> pd.DataFrame | None:
        """The instance that the run starts from."""
        return None if self.options.earlier is None else self.options.earlier.frame
