"""What whoever opens a vault hands in: objects are brought when they are first read."""

from __future__ import annotations

from pathlib import Path

TYPE_CHECKING = False  # as typing has it: this is loaded with every vault
if TYPE_CHECKING:
    from tablevault.objects.pointer import Pointer
    from tablevault.objects.store import ObjectStore
    from tablevault.progress import Progress


def bring(folder: Path, store: ObjectStore, pointer: Pointer, progress: Progress) -> None:
    """Bring one object from a remote; see :func:`tablevault.remotes.fetch.bring`."""
    from tablevault.remotes import fetch

    fetch.bring(folder, store, pointer, progress)
