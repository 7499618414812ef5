"""What this machine knows of processes without opening a record: which ended.

`state` is the folder ``.git/tablevault``.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path


def records_folder(state: Path) -> Path:
    """Name the folder with a record of each process that has not ended."""
    return state / "processes"


def history_file(state: Path) -> Path:
    """Name the file of what ended."""
    return state / "history.jsonl"


def read_past(state: Path) -> Iterator[dict[str, object]]:
    """Read the local history, oldest first; a line cut off by a crash is passed over."""
    try:
        lines = history_file(state).read_text("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict):
                yield entry
