from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tablevault import TableVault
from tablevault.cli.command import ASK
from tablevault.cli.main import main

ROOT = Path(__file__).parents[2]
AUTHOR = "Ana Lund <ana@example.org>"


@pytest.fixture
def enter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., TableVault]:
    """Stand in a vault that a function makes at a path."""

    def enter(make: Callable[[Path], TableVault]) -> TableVault:
        for name in ("TABLEVAULT_DIR", "TABLEVAULT_AUTHOR"):
            monkeypatch.delenv(name, raising=False)
        made = make(tmp_path / "v")
        monkeypatch.chdir(tmp_path / "v")
        return made

    return enter


@pytest.fixture
def vault(enter: Callable[..., TableVault]) -> TableVault:
    """Return an empty vault, and stand in it."""
    return enter(lambda path: TableVault(path, AUTHOR, create=True))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this interpreter, without its log: exit code, output, errors."""

    def call(*words: str) -> tuple[int, str, str]:
        try:
            code = main(words if words[:1] == (ASK,) else ["--quiet", *words])
        except SystemExit as end:
            code = end.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def apart() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command in an interpreter of its own."""

    def call(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tablevault", *words],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            **options,
        )

    return call
