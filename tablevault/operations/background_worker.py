"""What an interpreter does that was started to run a process in the background."""

from __future__ import annotations

import os
import sys
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import cast

from tablevault.operations.execute import perform_handed
from tablevault.secrets import redact
from tablevault.transactions.background import Handed, accept
from tablevault.vault import Vault


def main() -> None:
    """Go on with the process that was handed over; what is printed is kept in its log.

    What a function raises is printed with its traceback, as in any program, and before the
    process ends or is paused: who sees that finds it there. Keys are taken out of that.
    """
    handed = accept()
    told = _Told()
    try:
        _say(f"process {handed.process_id} runs in operating system process {os.getpid()}")
        perform_handed(_vault(handed), handed, told)
    except BaseException as error:
        handed.failed(error)
        if not told.is_told:
            raise
        sys.exit(1)


class _Told:
    """Tells in the log how the work ended."""

    is_told = False

    def __enter__(self) -> None:
        """Begin; that was told already."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Tell that the work is done, or what ended it."""
        if error is not None:
            sys.stderr.write(redact("".join(traceback.format_exception(error))))
        _say("ended" if error is None else "failed")
        self.is_told = True


def _vault(handed: Handed) -> Vault:
    """Open the vault as the caller had opened it."""
    order = handed.order
    return Vault(
        path=Path(cast("str", order["path"])),
        author=cast("str", order["author"]),
        lock_timeout_s=cast("float", order["lock_timeout_s"]),
    )


def _say(text: str) -> None:
    """Print a line that tells what happens, and when."""
    sys.stdout.write(f"-- {time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
    sys.stdout.flush()
