"""Names of executors, as builders and the command line have them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["threads", "processes", "dask"]

FORMS: Final = "threads, threads:8, processes, processes:8 or dask://host:port"
_LOCAL: Final = re.compile(r"(threads|processes)(?::([1-9]\d{0,3}))?", re.ASCII)
_DASK: Final = re.compile(r"dask://([^\s/:]+|\[[0-9a-fA-F:.]+\]):(\d{1,5})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorName:
    """An executor that this package makes.

    Attributes
    ----------
    kind : {"threads", "processes", "dask"}
        Threads of this process, processes of this machine, or the workers of a Dask scheduler.
    workers : int
        How many threads or processes; 0 for Dask.
    address : str
        Host and port of the scheduler, "" for the others.
    """

    kind: Kind
    workers: int = 0
    address: str = ""


def parse_executor(text: str) -> ExecutorName:
    """Read the name of an executor.

    Without a number there are as many workers as this machine has processors.

    Raises
    ------
    ValueError
        It is none of `FORMS`.
    """
    if (local := _LOCAL.fullmatch(text)) is not None:
        workers = int(local[2]) if local[2] else os.cpu_count() or 1
        return ExecutorName(kind=local[1], workers=workers)  # type: ignore[arg-type]  # of the two
    if (dask := _DASK.fullmatch(text)) is not None:
        return ExecutorName(kind="dask", address=f"{dask[1]}:{dask[2]}")
    raise ValueError(text)
