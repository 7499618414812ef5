"""How far long work is: for a person who watches, and for nobody else."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import threading
import types
from pathlib import Path

import pytest

from tablevault import progress, render
from tablevault.progress import Bars, Progress, Task, counted_within
from tests.counted_progress import CountedProgress

CODE = """\
import os
import sys
import threading
import time
import pandas as pd


def make(rows):
    print("made by stdout", rows)
    return pd.DataFrame({"n": range(rows)})


def slow(n):
    time.sleep(0.03)
    if n % 10 == 0:
        print("row", n)
        print("half", end="")
        print(" a line", file=sys.stderr)
    return n


def close(n):
    sys.stderr.close()
    return n


def nested(n, path):
    from tablevault import TableVault

    vault = TableVault(path, "within")
    vault.create_instance("inner", copy=True, builders=None)
    vault.execute_instance("inner")
    return n


def fork(n):
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        print("in the child", n)
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(child, 0)
    return n
"""
INDEX = """\
builder_type: IndexBuilder
changed_columns: [n]
python_function: make
code_module: work
is_custom: true
arguments: {rows: ROWS}
"""
COLUMN = """\
builder_type: ColumnBuilder
changed_columns: [m]
python_function: FUNCTION
code_module: work
is_custom: true
return_type: row-wise
n_threads: THREADS
arguments: {n: "<<self.n[index]>>" MORE}
"""
SCRIPT = """\
import sys
from pathlib import Path
from tablevault import TableVault
path, function, threads, rows = sys.argv[1:5]
index, column, code = (Path(f"{path}.{each}").read_text() for each in ("index", "column", "code"))
vault = TableVault(path, "Ana", create=True)
vault.create_code_module("work", text=code)
if function == "nested":
    vault.create_table("inner")
    vault.create_instance("inner", builders={"inner_index": index.replace("ROWS", "2")})
    vault.execute_instance("inner")
vault.create_table("words")
more = f", path: {path}" if function == "nested" else ""
column = column.replace("FUNCTION", function).replace("THREADS", threads).replace("MORE", more)
builders = {"words_index": index.replace("ROWS", rows), "many": column}
vault.create_instance("words", builders=builders)
vault.execute_instance("words")
assert len(vault.get_dataframe("words")[0]) == int(rows)
print("rich" if "rich" in sys.modules else "no rich", type(sys.stdout).__name__)
"""


@pytest.fixture
def run(vault_path: Path):
    """Return the command that executes a table with a function of the code above."""

    def command(function: str, *, threads: int = 1, rows: int = 40) -> list[str]:
        vault_path.parent.mkdir(parents=True, exist_ok=True)
        for name, text in (("code", CODE), ("index", INDEX), ("column", COLUMN)):
            Path(f"{vault_path}.{name}").write_text(text)
        arguments = [str(vault_path), function, str(threads), str(rows)]
        return [sys.executable, "-W", "error", "-c", SCRIPT, *arguments]

    return command


def in_terminal(command: list[str], *, stdout: int | None = None, term: str = "xterm") -> str:
    """Run a command on a terminal of its own, and give what was written to that."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": term, "COLUMNS": "100"}
    with subprocess.Popen(
        command, stdin=theirs, stdout=stdout or theirs, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        written = b""
        while True:
            try:
                data = os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
            if not data:
                break
            written += data
        os.close(ours)
    assert process.returncode == 0, written.decode()
    return written.decode()


def seen(written: str) -> list[str]:
    """Return the lines that are left on a terminal in the end."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", written).replace("\r\n", "\n")
    lines = text.split("\n")
    return [line.rsplit("\r\x1b[2K", 1)[-1].rstrip() for line in lines if line]


@pytest.mark.parametrize("threads", [1, 4])
def test_a_terminal_shows_a_line_for_each_builder(run, threads: int) -> None:
    written = in_terminal(run("slow", threads=threads))
    lines = seen(written)
    assert [line.split()[0] for line in lines if "━" in line] == ["words_index", "many"]
    assert re.search(r"40 rows, \d+:\d\d", lines[-2])
    assert re.search(r"\d+/40", written)
    assert "made by stdout 40" in lines
    for n in (0, 10, 20, 30):
        assert f"row {n}" in lines
    if threads == 1:
        assert lines.count("half a line") == 4
    assert lines[-1] == "rich TextIOWrapper"
    assert "\x1b[?25l" not in written  # the cursor stays: who is killed cannot bring it back


def test_what_functions_print_still_goes_to_a_file(run, tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        written = in_terminal(run("slow", rows=20), stdout=out.fileno())
    printed = (tmp_path / "out").read_text().splitlines()
    assert printed == ["made by stdout 20", "row 0", "halfrow 10", "halfrich TextIOWrapper"]
    assert "row 10" not in written
    assert " a line" in seen(written)


def test_nothing_is_drawn_where_nobody_watches(run) -> None:
    done = subprocess.run(run("slow"), capture_output=True, text=True, check=True)
    assert done.stderr == " a line\n" * 4
    assert done.stdout.splitlines()[-1].endswith("no rich TextIOWrapper")


def test_nothing_is_drawn_on_a_terminal_that_cannot(run) -> None:
    written = in_terminal(run("slow"), term="dumb")
    assert "━" not in written
    assert seen(written)[-1] == "no rich TextIOWrapper"


@pytest.mark.sweep
@pytest.mark.parametrize("function", ["close", "fork"])
def test_a_function_that_does_odd_things_with_streams_is_no_obstacle(run, function: str) -> None:
    lines = seen(in_terminal(run(function, rows=3)))
    assert lines[-1].endswith("rich TextIOWrapper")
    if function == "fork":
        assert [line for line in lines if "child" in line] == [
            line for line in lines if line.endswith(("child 0", "child 1", "child 2"))
        ]


def test_what_runs_within_a_function_is_not_shown(run) -> None:
    written = in_terminal(run("nested", rows=3))
    names = [line.split()[0] for line in seen(written) if "━" in line]
    assert names == ["inner_index", "words_index", "many"]


# -- a notebook -----------------------------------------------------------------------------------


class Shell:
    """What stands for a notebook: it keeps what it was told to display."""

    kernel = object()

    def __init__(self) -> None:
        self.displays: list[list[dict[str, str]]] = []

    def display(self, shown: dict[str, str], *, raw: bool, display_id: bool) -> Shell.Handle:
        assert raw
        assert display_id
        self.displays.append([shown])
        return Shell.Handle(self.displays[-1])

    class Handle:
        def __init__(self, shown: list[dict[str, str]]) -> None:
            self._shown = shown

        def update(self, shown: dict[str, str], *, raw: bool) -> None:
            assert raw
            self._shown.append(shown)


def in_notebook(monkeypatch: pytest.MonkeyPatch) -> Shell:
    shell = Shell()
    module = types.ModuleType("IPython")
    module.get_ipython = lambda: shell  # type: ignore[attr-defined]
    shown = types.ModuleType("IPython.display")
    shown.display = shell.display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", shown)
    monkeypatch.setattr(progress.Notebook, "every_s", 0.0)
    return shell


def test_a_notebook_shows_one_output_with_a_line_for_each_builder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shell = in_notebook(monkeypatch)
    listener = Bars(lambda: 5.0)
    for name, total in (("q1", 3), ("q2", None)):
        listener.start(name, total)
        for _ in range(3):
            listener.advance(name)
        listener.finish(name)
    (display,) = shell.displays
    assert len(display) == 10
    assert "q2" not in display[4]["text/plain"]
    last = display[-1]
    assert last["text/html"].startswith("<pre")
    lines = last["text/plain"].splitlines()
    assert [line.split()[0] for line in lines] == ["q1", "q2"]
    assert all("3 rows, 0:00" in line for line in lines)
    another = Bars()
    another.start("q1", 1)
    another.finish("q1")
    assert len(shell.displays) == 2


def test_a_notebook_shows_the_latest_of_many_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = in_notebook(monkeypatch)
    listener = Bars(lambda: 5.0)
    for number in range(300):
        listener.start(f"q{number}", 1)
        listener.finish(f"q{number}")
    (display,) = shell.displays
    lines = display[-1]["text/plain"].splitlines()
    assert [lines[0].split()[0], lines[-1].split()[0], len(lines)] == ["q280", "q299", 20]


# -- what a line says -----------------------------------------------------------------------------


def task(**given: object) -> Task:
    fields: dict[str, object] = {"name": "q", "total": None, "unit": "rows", "began_s": 0.0}
    return Task(**{**fields, **given})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "now", "told"),
    [
        ({}, 5, ""),
        ({"total": 1234}, 5, "0/1,234"),
        (
            {"total": 1234, "done": 812, "skipped": 300},
            10,
            "812/1,234, 300 reused, 51.2/s, 0:08 left",
        ),
        ({"total": 10, "done": 10, "skipped": 10}, 10, "10/10, 10 reused"),
        ({"done": 57}, 19, "57 rows, 180/min"),
        ({"total": 100, "done": 1}, 200, "1/100, 0.3/min, 5:30:00 left"),
        ({"total": 100, "done": 1}, 0.5, "1/100"),
        ({"total": 0}, 1, "0/0"),
        (
            {"total": 5_000_000, "done": 2_500_000, "unit": "bytes"},
            2,
            "2.5 MB/5.0 MB, 1.2 MB/s, 0:02 left",
        ),
    ],
)
def test_a_line_tells_rows_reuse_rate_and_time_left(
    given: dict[str, object], now: float, told: str
) -> None:
    assert task(**given).status_text(now) == told


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({"errors": 3}, "60/100, 3 failed, 60/min, 0:40 left"),
        ({"retrying": 2}, "60/100, 2 retrying, 60/min, 0:40 left"),
        ({"waiting": 1}, "60/100, 60/min (rate limit), 0:40 left"),
        ({"cost": 1234.5}, "60/100, 60/min, cost 1,234.50, 0:40 left"),
        ({"cost": 0.4}, "60/100, 60/min, cost 0.40, 0:40 left"),
        ({"cost": 0.00123}, "60/100, 60/min, cost 0.0012, 0:40 left"),
    ],
)
def test_a_line_tells_errors_waits_and_cost(counts: dict[str, float], told: str) -> None:
    known = task(total=100, done=60)
    known.counts |= counts
    assert known.status_text(60) == told


def test_a_line_tells_what_the_first_row_waits_for() -> None:
    known = task(total=100)
    known.counts["waiting"] = 1
    assert known.status_text(60) == "0/100, waiting for the rate limit"


def test_the_rate_is_that_of_the_last_minute() -> None:
    known = task(total=1000)
    for second in range(1, 201):
        known.done += 1 if second <= 100 else 4
        known.look(second)
    assert known.status_text(200) == "500/1,000, 240/min, 2:05 left"


def test_the_rate_of_slow_rows_is_that_of_ten_at_least() -> None:
    known = task(total=100)
    for minute in range(0, 200, 5):
        known.done += 1
        known.look(60.0 * minute + 60)
    assert known.status_text(60.0 * 196) == "40/100, 0.2/min, 5:00:00 left"


def test_a_rate_sinks_while_nothing_is_made() -> None:
    known = task(total=1000)
    for second in range(1, 61):
        known.done += 1
        known.look(second)
    for second in range(61, 181):
        known.look(second)
    assert known.status_text(180) == "60/1,000, 4.6/min, 3:23:40 left"


def test_the_rate_begins_when_results_that_were_there_are_found() -> None:
    known = task(total=100)
    known.skip(40, 30.0)
    known.done += 10
    known.look(40.0)
    assert known.status_text(40.0) == "50/100, 40 reused, 60/min, 0:50 left"


@pytest.mark.parametrize(
    ("given", "now", "told"),
    [
        ({"total": 1234, "done": 1234, "skipped": 300}, 100, "1,234 rows, 300 reused, 1:40"),
        ({"total": 1234, "done": 12}, 3601, "12 of 1,234 rows, 1:00:01"),
        ({"done": 999, "unit": "bytes"}, 1, "999 bytes, 0:01"),
        ({"done": 3 * 10**15, "unit": "bytes"}, 1, "3,000.0 TB, 0:01"),
    ],
)
def test_the_last_line_tells_what_was_done(given: dict[str, object], now: float, told: str) -> None:
    assert task(**given).ended(now) == told


def test_the_last_line_tells_errors_and_cost() -> None:
    known = task(total=10, done=10, skipped=4)
    known.counts |= {"errors": 2, "cost": 0.5, "retrying": 0}
    assert known.ended(60) == "10 rows, 4 reused, 2 failed, cost 0.50, 1:00"


def test_parts_are_never_more_than_all() -> None:
    assert task().fraction is None
    assert task(total=0).fraction == 1.0
    assert task(total=2, done=3).fraction == 1.0
    assert task(total=4, done=1).fraction == 0.25


# -- listeners ------------------------------------------------------------------------------------


@pytest.mark.parametrize("listener", [Progress(), CountedProgress(), Bars()])
def test_every_listener_hears_everything(listener: Progress) -> None:
    listener.start("task", 3)
    listener.start("other", None, "bytes")
    listener.skip("task", 1)
    listener.advance("task")
    listener.count("calls")
    listener.finish("other")
    listener.finish("task")


def test_one_line_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []

    class Screen:
        every_s = 0.0

        def draw(self, task: Task, now_s: float) -> None:
            drawn.append(task.name)

        def end(self, task: Task, now_s: float) -> None:
            drawn.append(f"{task.name} ended")

        def leave(self) -> None:
            drawn.append("left")

    monkeypatch.setattr(progress, "_watched", Screen)
    outer, inner = Bars(), Bars()
    outer.start("outer", 2)
    thread = threading.Thread(target=lambda: (inner.start("inner", 1), inner.advance("inner")))
    thread.start()
    thread.join()
    inner.finish("inner")
    outer.advance("outer")
    outer.finish("outer")
    assert drawn == ["outer", "outer", "outer ended"]
    inner.start("inner", 1)
    inner.finish("inner")
    assert drawn[3:] == ["inner", "inner ended"]


class Lines:
    """A screen that keeps what it was told to draw."""

    every_s = 10.0

    def __init__(self) -> None:
        self.drawn: list[str] = []

    def draw(self, task: Task, now_s: float) -> None:
        self.drawn.append(task.status_text(now_s))

    def end(self, task: Task, now_s: float) -> None:
        self.drawn.append(task.ended(now_s))

    def leave(self) -> None:
        self.drawn.append("left")


def test_a_line_shows_what_was_counted_since_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Lines()
    monkeypatch.setattr(progress, "_watched", lambda: screen)
    listener = Bars(iter([0.0, 0.0, 30.0, 60.0]).__next__)
    listener.count("cost", 100.0)
    listener.start("q", 60)
    listener.count("calls")
    listener.count("cost", 0.5)
    listener.count("errors", 2)
    listener.advance("q", 30)
    listener.count("cost", 0.25)
    listener.finish("q")
    assert screen.drawn == [
        "0/60",
        "30/60, 2 failed, 60/min, cost 0.50, 0:30 left",
        "30 of 60 rows, 2 failed, cost 0.75, 1:00",
    ]


def test_a_line_that_waits_is_drawn_as_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Lines()
    monkeypatch.setattr(progress, "_watched", lambda: screen)
    listener = Bars(iter([0.0, 0.0, 5.0, 20.0, 25.0]).__next__)
    listener.start("q", 60)
    with counted_within(listener, "waiting"):
        listener.advance("q", 0)
        listener.advance("q", 0)
    listener.advance("q", 0)
    assert screen.drawn == ["0/60", "0/60, waiting for the rate limit"]
    monkeypatch.setattr(listener, "_clock", lambda: 30.0)
    listener.finish("q")


@pytest.mark.parametrize(("columns", "bar"), [(60, 24), (50, 12), (40, 0)])
def test_the_bar_leaves_the_text_its_width(
    monkeypatch: pytest.MonkeyPatch, columns: int, bar: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    told = "412/700, 96/min, 2:59 left"
    line = re.sub(r"\x1b\[[0-9;]*m", "", render.progress_line(io.StringIO(), "answer", 1.0, told))
    assert line.startswith("answer")
    assert line.endswith(told)
    assert line.count("━") == bar


def test_a_terminal_that_is_gone_ends_the_drawing_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def isatty(self) -> bool:
            return True

        def write(self, text: str) -> int:
            raise OSError("hung up")

    monkeypatch.setenv("TERM", "xterm")
    gone = Gone()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", gone)
        listener = Bars()
        listener.start("q", 2)
        listener.advance("q")
        listener.finish("q")
        assert sys.stderr is gone
    listener.start("q", 1)
    listener.finish("q")
