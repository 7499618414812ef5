"""The batches that were sent to providers and are not collected yet, as files of the vault."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SentBatch:
    """A batch.

    Attributes
    ----------
    label : str
        What the provider knows it by besides its own id.
    batch_id : str
        The id; "" as long as nobody knows whether the provider has it.
    requests : tuple of str
        Ids of its requests: the keys of calls.
    """

    label: str
    batch_id: str
    requests: tuple[str, ...]


class SentBatches:
    """The batches of a vault.

    Parameters
    ----------
    folder : Path
        Where the files are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self) -> Iterator[SentBatch]:
        """Yield all batches, the earliest first."""
        for path in sorted(self._folder.glob("*.json"), key=lambda each: each.stat().st_mtime_ns):
            fields = json.loads(path.read_text(encoding="utf-8"))
            yield SentBatch(**{**fields, "requests": tuple(fields["requests"])})

    def write(self, batch: SentBatch) -> None:
        """Write a batch so that it outlives a crash."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self.path(batch)
        beside = path.with_suffix(".tmp")
        with beside.open("w", encoding="utf-8") as file:
            json.dump(asdict(batch), file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def remove(self, batch: SentBatch) -> None:
        """Forget a batch."""
        with contextlib.suppress(FileNotFoundError):
            self.path(batch).unlink()

    def path(self, batch: SentBatch) -> Path:
        """Return the file of a batch."""
        return self._folder / f"{batch.label}.json"


def new_batch(requests: Sequence[str]) -> SentBatch:
    """Return a batch that is about to be sent, with a label of its own."""
    label = hashlib.blake2b(os.urandom(16), digest_size=16).hexdigest()
    return SentBatch(label=label, batch_id="", requests=tuple(requests))
