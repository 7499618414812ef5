"""Ask a process to stop between two steps of its work."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tablevault.errors import TVProcessError
from tablevault.names import ProcessId
from tablevault.wording import Parameter, Wording

STOPPED = "User Stopped"
"""What the record of a process says that was stopped."""


class Cancel:
    """Whether a process was asked to stop, and who takes back what it did."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._deciding = threading.Lock()
        self._is_left_to_asker = False
        self._is_decided = False

    @property
    def is_asked(self) -> bool:
        """Return whether the process was asked to stop."""
        return self._asked.is_set()

    def ask(self) -> None:
        """Ask the process to stop; the asker waits, and ends it."""
        self._is_left_to_asker = True
        self._asked.set()

    def withdraw(self) -> bool:
        """Leave the end of the process to itself; False when it has left that to the asker."""
        with self._deciding:
            self._is_left_to_asker = self._is_left_to_asker and self._is_decided
            return not self._is_left_to_asker

    def decide(self) -> bool:
        """Decide, for good, whether whoever asked ends the process; else it ends itself."""
        with self._deciding:
            self._is_decided = True
            return self._is_left_to_asker

    def check(self, process_id: ProcessId) -> None:
        """Raise TVProcessError when the process was asked to stop."""
        if self._asked.is_set():
            raise TVProcessError(
                f'Process "{process_id}" was stopped.',
                Wording(
                    "Run the operation again, with another ",
                    Parameter("execute_instance", "process_id"),
                    ".",
                ),
                process=process_id,
            )


_here: dict[tuple[str, ProcessId], Cancel] = {}
"""What runs in this interpreter, by the folder of its vault and its id: whoever wants to stop it
may have opened the vault for itself, and shares nothing else with it."""


@contextmanager
def cancellable(state: Path, process_id: ProcessId) -> Iterator[Cancel]:
    """Let a process be found and asked to stop, as long as this lasts."""
    key = (str(state), process_id)
    cancel = _here[key] = Cancel()
    try:
        yield cancel
    finally:
        # When its record is gone, a thread may have begun another process under its id.
        if _here.get(key) is cancel:
            del _here[key]


def cancel_of(state: Path, process_id: ProcessId) -> Cancel | None:
    """Find a process that runs in this interpreter; None when it runs elsewhere, or not at all."""
    return _here.get((str(state), process_id))
