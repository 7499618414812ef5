"""The same script on tablevault 0.1.1, in a virtual environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

from pairs import Row, from_times

ENVIRONMENT = Path(os.environ.get("TABLEVAULT_ORIGINAL", Path.home() / ".cache/tablevault-0.1.1"))
SCRIPT = Path(__file__).with_name("original_script.py")


def against(folder: Path, pairs: int) -> list[Row]:
    """Run both interpreters by turns, each with a fresh vault, and pair the medians."""
    make_environment()
    rounds = max(3, pairs // 8)
    ours: dict[str, list[float]] = {}
    theirs: dict[str, list[float]] = {}
    for number in range(rounds):
        for python, times in ((Path(sys.executable), ours), (python_of_original(), theirs)):
            target = folder / f"{'ours' if times is ours else 'theirs'}-{number}"
            for name, seconds in run(python, SCRIPT, target).items():
                times.setdefault(name, []).append(seconds)
            times.setdefault("import and open, in a new interpreter", []).append(
                seconds_to_open(python, target)
            )
    return [from_times(name, ours[name], theirs[name], aim="below 1") for name in ours]


def seconds_to_open(python: Path, vault: Path) -> float:
    """Time what every script begins with, once the interpreter itself has started."""
    text = (
        "import time; start = time.perf_counter(); from tablevault.core import TableVault; "
        "import sys; TableVault(sys.argv[1], 'ana'); print(time.perf_counter() - start)"
    )
    script = vault.parent / "open.py"
    script.write_text(text, "ascii")
    run(python, script, vault)  # compiled, and read from disk, by now
    return float(run(python, script, vault))


def run(python: Path, script: Path, *arguments: object) -> Any:
    """Run a script and read the JSON that it prints last."""
    command = [str(python), str(script), *map(str, arguments)]
    # PYTHONPATH may name this checkout: the original must not find ours.
    hidden = {} if python == python_of_original() else {"PYTHONPATH"}
    environment = {
        key: value for key, value in os.environ.items() if key in hidden or key != "PYTHONPATH"
    }
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def python_of_original() -> Path:
    """Interpreter of the environment with the original."""
    return ENVIRONMENT / "bin" / "python"


def make_environment() -> None:
    """Install the original, once."""
    if not python_of_original().exists():
        venv.create(ENVIRONMENT, with_pip=True)
    probe = [str(python_of_original()), "-c", "import tablevault.core, pandas"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        command = [
            str(python_of_original()),
            "-m",
            "pip",
            "install",
            "-q",
            "tablevault==0.1.1",
            "pandas<3",
        ]
        subprocess.run(command, check=True)
