"""What this machine knows of processes without opening a record: is there any, which ended.

`state` is the folder ``.git/tablevault``.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path


def records_folder(state: Path) -> Path:
    """Name the folder with a record of each process that has not ended."""
    return state / "processes"


def is_at_rest(state: Path) -> bool:
    """Tell whether there is no process, neither alive nor dead."""
    try:
        return not os.listdir(records_folder(state))  # noqa: PTH208 - pathlib has no quicker way
    except FileNotFoundError:
        return True


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
