"""Runs notebooks from top to bottom, as a person would who restarts the kernel.

``python -m tests.notebooks`` runs those in ``examples/`` and writes what they show into them.
``python -m tests.notebooks NOTEBOOK COPY`` runs one, leaves it alone, and writes the copy.

A cell that fails is an error. What would be another with each run or place is left out or spelled
the same: times of execution, versions, the folder.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests.ports import free_port

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
_TIMEOUT_S = 250  # of one cell, and of the start
_PLACE = "/home/ana/examples"


def run(notebook: Path, target: Path) -> None:
    """Run a notebook in a folder of its own, and write it with what it shows."""
    import nbformat
    from jupyter_client import AsyncKernelManager
    from nbclient import NotebookClient

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        for file in EXAMPLES.glob("*.py"):
            shutil.copy(file, folder)
        os.environ["PYTHONPATH"] = str(ROOT)
        os.environ["JUPYTER_RUNTIME_DIR"] = str(folder / ".jupyter")
        known = nbformat.read(notebook, 4)
        kinds = ("shell", "iopub", "stdin", "hb", "control")
        ports = {f"{kind}_port": free_port() for kind in kinds}
        client = NotebookClient(
            known,
            km=AsyncKernelManager(kernel_name="python3", cache_ports=False, **ports),
            timeout=_TIMEOUT_S,
            startup_timeout=_TIMEOUT_S,
            kernel_name="python3",
            record_timing=False,
            resources={"metadata": {"path": str(folder)}},
        )
        client.execute()
        known.metadata.language_info = {"name": "python"}
        text = nbformat.writes(known).replace(json.dumps(str(folder))[1:-1], _PLACE)
    target.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run(*map(Path, sys.argv[1:]))
    else:
        for each in NOTEBOOKS:
            run(each, each)
