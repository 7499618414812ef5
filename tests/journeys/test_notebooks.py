"""The notebooks run from top to bottom, and show what they show in the repository."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.notebooks import NOTEBOOKS
from tests.test_docs import plain

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
CLOCK = re.compile(r"\b\d+:\d\d\b")


def cells(notebook: Path) -> list[dict]:
    found = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == "code"]


def shown(cell: dict) -> list[tuple]:
    """Return what a cell shows, by kind and as text, without what may change from run to run."""
    found = []
    for output in cell["outputs"]:
        kinds = sorted(output.get("data", ()))
        text = "".join(output.get("text") or output["data"]["text/plain"])
        text = CLOCK.sub("<clock>", ESCAPES.sub("", text))
        found.append((output["output_type"], kinds, plain(text)))
    return found


def run(notebook: Path, copy: Path) -> list[dict]:
    """Run a notebook in a kernel of its own, and give its cells."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.notebooks", str(notebook), str(copy)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    return cells(copy)


@pytest.mark.sweep
@pytest.mark.parametrize("name", ["long_job", "quickstart"])
def test_a_notebook_shows_what_it_showed(name, tmp_path):
    (notebook,) = (each for each in NOTEBOOKS if each.stem == name)
    then, now = cells(notebook), run(notebook, tmp_path / "copy.ipynb")
    assert [cell["source"] for cell in now] == [cell["source"] for cell in then]
    for before, after in zip(then, now, strict=True):
        assert shown(after) == shown(before), "".join(before["source"])
    progress = [
        sum(output["output_type"] == "display_data" for output in cell["outputs"]) for cell in now
    ]
    assert set(progress) == {0, 1}  # however many builders a cell executes
    pages = [
        "".join(output["data"]["text/html"])
        for cell in now
        for output in cell["outputs"]
        if output["output_type"] == "execute_result" and "text/html" in output["data"]
    ]
    assert sum(page.startswith("<svg ") for page in pages) == 1
    assert sum(page.startswith("<table><caption>/home/ana/") for page in pages) == 1
    assert sum(page.startswith("<pre ") and "<span" in page for page in pages) == 1


def test_all_notebooks_are_run():
    assert [notebook.stem for notebook in NOTEBOOKS] == ["long_job", "quickstart"]
