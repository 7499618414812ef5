"""Calls under a budget, noted in a file when they begin: a kill takes no payment back."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping
from pathlib import Path

from tablevault.engine.calls.spending import Spent


class Begun:
    """Counts calls when they begin and when they end, by builder; for several threads.

    There is one file for each version of a table. Its first line says for which process; each
    other one has a builder, calls that began, calls that ended, and what these cost. Lines are not
    synced: they outlive the process, and a power cut leaves only what has a record.

    Parameters
    ----------
    folder : Path
        Where the files are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: int | None = None

    def start(self, version: str, process: str, recorded: Mapping[str, Spent]) -> dict[str, Spent]:
        """Go on counting.

        Parameters
        ----------
        version : str
            Names the version of a table.
        process : str
            Id of the process.
        recorded : mapping of str to Spent
            What its earlier attempts spent, as far as there are records, by builder.

        Returns
        -------
        dict of str to Spent
            The same with calls that have no record. Those that did not end cost what others did.
        """
        path = self._folder / _digest(version)
        head = _digest(process)
        spent = dict(recorded)
        for builder, found in _read(path, head).items():
            known = spent.get(builder, Spent())
            if found.calls > known.calls:
                spent[builder] = known._replace(calls=found.calls, cost=found.cost)
        self._folder.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".tmp")
        lines = (_line(name, each.calls, each.calls, each.cost) for name, each in spent.items())
        beside.write_text(f"{head}\n{''.join(lines)}", encoding="utf-8")
        beside.replace(path)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        return spent

    def add(self, builder: str) -> None:
        """Count a call that begins."""
        self._write(_line(builder, 1, 0, 0.0))

    def end(self, builder: str, cost: float) -> None:
        """Count a call that has ended, and cost so much."""
        self._write(_line(builder, 0, 1, cost))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write(self, line: str) -> None:
        """Append a line, at once."""
        if self._file is not None:
            os.write(self._file, line.encode())


def _line(builder: str, begun: int, ended: int, cost: float | None) -> str:
    """Return a line of the file."""
    return f"{builder}\t{begun}\t{ended}\t{cost or 0.0!r}\n"


def _read(path: Path, head: str) -> dict[str, Spent]:
    """Return what a file says of a process, by builder; nothing if it is about another one."""
    try:
        first, *lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except (FileNotFoundError, ValueError):
        return {}
    sums: dict[str, list[float]] = {}
    for line in lines if first == head else ():
        builder, *texts = line.split("\t")
        try:
            begun, ended, cost = map(float, texts)
        except ValueError:
            continue  # a power cut may have left half a line
        if math.isfinite(begun + ended + cost):
            total = sums.setdefault(builder, [0.0, 0.0, 0.0])
            sums[builder] = [total[0] + begun, total[1] + ended, total[2] + cost]
    return {
        builder: Spent(calls=int(begun), cost=cost * begun / ended if ended else None)
        for builder, (begun, ended, cost) in sums.items()
    }


def _digest(text: str) -> str:
    """Return a name of fixed length."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
