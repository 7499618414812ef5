"""Executions by the row: calls, references, what is done again, and memory."""

from __future__ import annotations

import sys
from pathlib import Path

from original import make_environment, python_of_original, run
from pairs import Row, from_times

SCRIPT = Path(__file__).with_name("engine_script.py")
FEW, SOME, MANY = 2_000, 20_000, 100_000
MOST = 1_000_000
THEIRS = 1_000
NAMES = {
    "rowwise": "row-wise",
    "generator": "generator",
    "unchanged": "nothing changed",
    "new rows": "100 new rows",
}
AIMS = {"rowwise": "60 ms", "generator": "60 ms"}

Found = dict[str, tuple[float, int]]


def against(folder: Path, pairs: int) -> list[Row]:
    """Run both interpreters by turns, each with a fresh vault."""
    make_environment()
    rounds = range(max(2, pairs // 13))
    theirs: list[Found] = []
    ours: dict[int, list[Found]] = {FEW: [], SOME: [], MANY: []}
    lookups: list[tuple[Found, Found]] = []
    for number in rounds:
        for rows, found in ours.items():
            found.append(_ours(folder / f"ours-{number}-{rows}", "rows", rows))
        theirs.append(_theirs(folder / f"theirs-{number}", "rows", THEIRS))
        lookups.append(
            (
                _ours(folder / f"our-lookup-{number}", "lookup", MANY, MANY),
                _theirs(folder / f"their-lookup-{number}", "lookup", THEIRS // 5, MANY),
            )
        )
    found = [
        _row(step, rows, ours[rows], theirs)
        for step, sizes in {
            "rowwise": (FEW, SOME),
            "generator": (FEW, SOME),
            "unchanged": (MANY,),
            "new rows": (MANY,),
        }.items()
        for rows in sizes
    ]
    return [
        *found,
        from_times(
            f"lookups in {MANY:,} rows, {MANY:,}",
            [mine["lookup"][0] / MANY * 1000 for mine, _ in lookups],
            [other["lookup"][0] / (THEIRS // 5) * 1000 for _, other in lookups],
            aim="60 ms",
        ),
    ]


def calls(folder: Path, pairs: int) -> list[Row]:
    """Measure what a builder adds to an execution by 1,000 rows: made, found by key, unchanged."""
    rounds = [
        _ours(folder / f"prompts-{number}", "prompts", MANY) for number in range(max(2, pairs // 8))
    ]
    steps = {
        "new, prompt A": ("A", "40 ms"),
        "new, prompt B": ("B", "40 ms"),
        "found, prompt A again": ("A again", "10 ms"),
        "found, prompt B, without calls.sqlite": ("B, cache lost", "10 ms"),
        "unchanged, the whole execution": ("unchanged", "15 ms"),
    }
    bare = [found["bare"][0] / MANY * 1000 for found in rounds]
    return [
        from_times(
            f"{name} [{rounds[0][step][1]:,}]",
            [
                found[step][0] / MANY * 1000 - (0 if step == "unchanged" else each)
                for found, each in zip(rounds, bare, strict=True)
            ],
            bare,
            aim=aim,
        )
        for name, (step, aim) in steps.items()
    ]


def memory(folder: Path, pairs: int) -> list[Row]:
    """Measure the peak of an execution that makes four columns, one of them row by row.

    All memory counts by which the process grew: also what the index function takes for itself,
    SQLite for its cache and Arrow for its buffers.
    """
    rows = MOST if pairs > 5 else MOST // 10
    found = []
    for how, from_file, aim in (("read from a file", 1, "3"), ("made of Python objects", 0, "")):
        here = folder / f"{from_file}"
        most, frame = _ours(here / "memory", "memory", rows, from_file)["memory"]
        alone, _ = _ours(here / "function", "function", rows, from_file)["function"]
        size = float(frame)
        found += [
            from_times(f"{rows:,} rows x 4, {how}", [most], [size], aim=aim, unit="MB"),
            from_times("its index function alone", [alone], [size], aim="", unit="MB"),
        ]
    return found


def _row(step: str, rows: int, ours: list[Found], theirs: list[Found]) -> Row:
    """Pair what one step cost, by 1,000 rows."""
    calls = f"{ours[0][step][1]:,} / {theirs[0][step][1]:,}"
    return from_times(
        f"{NAMES[step]}, {rows:,} [{calls}]",
        [found[step][0] / rows * 1000 for found in ours],
        [found[step][0] / THEIRS * 1000 for found in theirs],
        aim=AIMS.get(step, "below 1"),
    )


def _ours(*arguments: object) -> Found:
    """Run the script with this interpreter."""
    return run(Path(sys.executable), SCRIPT, *arguments)


def _theirs(*arguments: object) -> Found:
    """Run the script with the original."""
    return run(python_of_original(), SCRIPT, *arguments)
