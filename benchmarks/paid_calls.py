"""Count the calls that are paid for, here and with other tools.

``python benchmarks/paid_calls.py [--only NAME] [--rows N] [--json] [--envs FOLDER]`` prints a
Markdown table: a line for each scenario, a column for each tool, beside them the ideal. A cell is
the number of calls of the user's function. Where the first run makes the table, these are the calls
after it; where the first run fails, all calls. ``(stale)`` says that a run ended well with values
that are not those of its code and inputs, ``(fails)`` that a run failed that should have ended
well.

The functions append a line to a file when they are called, so a killed run is counted, too. Each
run is an interpreter of its own. The tools and their jobs are in `paid_calls_jobs`.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import types
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parent))

from paid_calls_jobs import MODULE, TOOLS, WORDS, Tool

ENVIRONMENTS = Path(tempfile.gettempdir()) / "tablevault-paid-calls"
TIMEOUT_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a run finds: rows, code and settings."""

    rows: tuple[tuple[str, str], ...]
    module: str = MODULE
    words: str = WORDS
    prompt: str = "How friendly is this?"
    columns: tuple[str, ...] = ("answer",)
    type: str = "int"
    outage: str = ""

    def edited(self, old: str, new: str) -> Inputs:
        """Return these inputs with an edit of the module."""
        assert self.module.count(old) == 1, old
        return replace(self, module=self.module.replace(old, new))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What happens to a table: one run for each of `runs`.

    Attributes
    ----------
    name : str
        What a user does.
    ideal : int
        Calls that have to be made; of the first run, too, when it fails.
    runs : tuple of Inputs
        What each run finds.
    stops_at : int, default 0
        Calls that the first run has to make before it fails; 0 where it makes the table.
    """

    name: str
    ideal: int
    runs: tuple[Inputs, ...]
    stops_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What a tool did in a scenario; `calls` is None where it could not be run."""

    calls: int | None
    remark: str = ""
    reason: str = ""

    def __str__(self) -> str:
        count = "-" if self.calls is None else str(self.calls)
        return f"{count} ({self.remark})" if self.remark else count


def scenarios(count: int) -> list[Scenario]:
    """Return the scenarios for a table of so many rows."""
    rows = tuple((f"key {n}", f"text {n}") for n in range(count))
    first = Inputs(rows=rows)
    done = count * 7 // 10
    last = f'"text {count - 1}"'

    def after(name: str, ideal: int, *runs: Inputs) -> Scenario:
        return Scenario(name=name, ideal=ideal, runs=(first, *runs))

    def failing(name: str, stops_at: int, ideal: int, *runs: Inputs) -> Scenario:
        return Scenario(name=name, ideal=ideal, runs=runs, stops_at=stops_at)

    result = "    return len(prompt) * 1000"
    return [
        after("same again", 0, first),
        after("row added", 1, replace(first, rows=(*rows, ("key new", "text new")))),
        after("rows shuffled", 0, replace(first, rows=rows[1::2] + rows[::2])),
        after("one input cell changed", 1, replace(first, rows=(("key 0", "other"), *rows[1:]))),
        after("output column added", count, replace(first, columns=("answer", "judgement"))),
        failing(
            "killed at 70%, run again",
            done,
            count,
            replace(first, outage=f"kill {done} 0.3"),
            first,
        ),
        failing(
            "exception at 70%, run again",
            done,
            count,
            replace(first, outage=f"raise {done} 0"),
            first,
        ),
        failing(
            "exception at 70%, function repaired",
            done,
            count,
            first.edited('    pay("ask")', f'    assert text != "text {done}"\n    pay("ask")'),
            first,
        ),
        failing(
            "bad value in the last row, function repaired",
            count,
            count + 1,
            first.edited(result, f'    if text == {last}:\n        return "n/a"\n{result}'),
            first,
        ),
        failing(
            "bad value in the last row, column's type corrected",
            count,
            count,
            half := first.edited(result, f"    if text == {last}:\n        return 2.5\n{result}"),
            replace(half, type="float"),
        ),
        after("comment added in the module", 0, first.edited("def tidy", "# Blanks.\ndef tidy")),
        after("comment added in the function", 0, first.edited(result, f"    # a score\n{result}")),
        after("unrelated function changed", 0, first.edited("text.upper()", "text.lower()")),
        after("function changed", count, first.edited(result, f"{result} + 1")),
        after("helper function changed", count, first.edited("text.strip()", 'text.strip() + "!"')),
        after(
            "helper in another module changed",
            count,
            replace(first, words=WORDS.replace('"s"', '"0"')),
        ),
        after("prompt A, then B, then A", count, replace(first, prompt="Is it friendly?"), first),
    ]


def expected(inputs: Inputs) -> list[list[object]]:
    """Return what the functions answer without any tool, by row."""
    words = types.ModuleType("words")
    exec(inputs.words, words.__dict__)
    work = types.ModuleType("work")
    with patch.dict(sys.modules, words=words):
        exec(inputs.module, work.__dict__)
    work.pay = work.outage = lambda *_: None
    functions = {"answer": work.ask, "judgement": work.judge}
    return sorted(
        [key, text, *(functions[name](text, inputs.prompt) for name in inputs.columns)]
        for key, text in inputs.rows
    )


def write(folder: Path, tool: Tool, inputs: Inputs) -> None:
    """Write what a run finds into its folder."""
    texts = {
        "words.py": inputs.words,
        "job.py": tool.job if tool.is_apart else f"{inputs.module}\n{tool.job}",
        "settings.json": json.dumps(
            {"prompt": inputs.prompt, "columns": inputs.columns, "type": inputs.type}
        ),
        **dict(tool.files),
    }
    if tool.is_apart:
        texts["work.py"] = inputs.module
    if inputs.outage:
        texts["outage"] = inputs.outage
    else:
        (folder / "outage").unlink(missing_ok=True)
    rows = io.StringIO()
    csv.writer(rows).writerows([("id", "text"), *inputs.rows])
    texts["rows.csv"] = rows.getvalue()
    for name, text in texts.items():
        path = folder / name
        # A file that nobody edits keeps its time: there are tools that look at it.
        if not path.exists() or path.read_bytes() != text.encode():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
    (folder / "result.json").unlink(missing_ok=True)


def run(folder: Path, tool: Tool, python: Path) -> subprocess.CompletedProcess[str]:
    """Run the job once, in an interpreter of its own."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    environment = {
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "DATACHAIN_NO_ANALYTICS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",  # an edit within the same second is seen
    }
    command = [str(python.parent / tool.command[0]), *tool.command[1:]]
    try:
        return subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def paid(folder: Path) -> int:
    """Return how many calls were made so far."""
    return len((folder / "paid.txt").read_text().splitlines())


def found(folder: Path, inputs: Inputs) -> list[list[object]] | None:
    """Return what a run has written, None if it has written nothing."""
    file = folder / "result.json"
    if not file.exists():
        return None
    return sorted(
        [row.get(name) for name in ("id", "text", *inputs.columns)]
        for row in json.loads(file.read_text())
    )


def play(scenario: Scenario, tool: Tool, python: Path, folder: Path) -> Cell:
    """Play a scenario with a tool in an empty folder."""
    (folder / "paid.txt").touch()
    before, remark, reason = 0, "", ""
    for number, inputs in enumerate(scenario.runs):
        write(folder, tool, inputs)
        done = run(folder, tool, python)
        values = found(folder, inputs)
        if number == 0 and scenario.stops_at:
            if paid(folder) < scenario.stops_at:
                return Cell(calls=None, reason=f"the first run stopped early: {last_line(done)}")
            continue
        if done.returncode or values is None:
            remark, reason = "fails", last_line(done)
        elif values != expected(inputs):
            remark, reason = "stale", ""
        if number == 0:
            before = paid(folder)
            if remark or before != len(inputs.rows):
                return Cell(calls=None, reason=reason or f"the first run made {before} calls")
    return Cell(calls=paid(folder) - before, remark=remark, reason=reason)


def make_environment(folder: Path, tool: Tool) -> tuple[Path, str]:
    """Make the virtual environment of a tool unless it is there, made from the same packages.

    Returns
    -------
    tuple of Path and str
        Its interpreter, and why it could not be made, empty if it could.
    """
    home = folder / tool.package
    python = home / "bin" / "python"
    complete = home / "installed.txt"
    if complete.exists() and complete.read_text() == "\n".join(tool.install):
        return python, ""
    print(f"installing {tool.package} into {home}", file=sys.stderr)
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(home)],
        [str(python), "-m", "pip", "install", "--quiet", *tool.install],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return python, f"not installed: {last_line(done)}"
    complete.write_text("\n".join(tool.install))
    return python, ""


def version_of(python: Path, package: str) -> str:
    """Return the version of a package in another environment."""
    text = f"import importlib.metadata; print(importlib.metadata.version({package!r}))"
    command = [str(python), "-c", text]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last thing that a program said, as a rule its error."""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return lines[-1] if lines else f"exit status {done.returncode}"


def column_of(tool: Tool, played: list[Scenario], environments: Path) -> tuple[str, list[Cell]]:
    """Play all scenarios with a tool; return its heading with the version, and its cells."""
    python, problem = make_environment(environments, tool)
    if problem:
        return tool.title.format("?"), [Cell(calls=None, reason=problem)] * len(played)
    cells = []
    for number, scenario in enumerate(played, 1):
        print(f"{tool.package} {number}/{len(played)}: {scenario.name}", file=sys.stderr)
        folder = Path(tempfile.mkdtemp(prefix="paid-calls-"))
        try:
            cells.append(play(scenario, tool, python, folder))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return tool.title.format(version_of(python, tool.package)), cells


def as_markdown(played: list[Scenario], columns: dict[str, list[Cell]]) -> str:
    """Return the table, and below it why cells are empty or failed."""
    lines = [
        ["", "ideal", *columns],
        ["---", *["---:"] * (len(columns) + 1)],
    ]
    notes: list[str] = []
    for number, scenario in enumerate(played):
        line = [scenario.name, str(scenario.ideal)]
        for title, cells in columns.items():
            mark = ""
            if reason := cells[number].reason:
                note = f"{title}: {reason}"
                if note not in notes:
                    notes.append(note)
                mark = f" [{notes.index(note) + 1}]"
            line.append(f"{cells[number]}{mark}")
        lines.append(line)
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    below = "\n".join(f"{number}. {note}" for number, note in enumerate(notes, 1))
    return f"{table}\n\n{below}" if below else table


def as_json(played: list[Scenario], columns: dict[str, list[Cell]]) -> str:
    """Return the same as JSON."""
    return json.dumps(
        [
            {
                "scenario": scenario.name,
                "ideal": scenario.ideal,
                "tools": {title: asdict(cells[number]) for title, cells in columns.items()},
            }
            for number, scenario in enumerate(played)
        ],
        indent=2,
    )


def main() -> None:
    """Run the tools that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", metavar="NAME", help="tools whose name holds this")
    parser.add_argument("--scenario", default="", metavar="TEXT", help="scenarios that hold this")
    parser.add_argument("--rows", type=int, default=60, metavar="N", help="rows of the table (60)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    parser.add_argument(
        "--envs", type=Path, default=ENVIRONMENTS, metavar="FOLDER", help="virtual environments"
    )
    arguments = parser.parse_args()
    if arguments.rows < 10:
        parser.error("--rows: at least 10, so that there is something at 70%")
    played = [each for each in scenarios(arguments.rows) if arguments.scenario in each.name]
    columns = dict(
        column_of(tool, played, arguments.envs.absolute())
        for name, tool in TOOLS.items()
        if arguments.only in name
    )
    print(as_json(played, columns) if arguments.json else as_markdown(played, columns))


if __name__ == "__main__":
    main()
