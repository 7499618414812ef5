"""Progress of long work: a protocol, and a line for each task in a terminal or a notebook."""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TextIO

from tablevault import render

_TERMINAL_S, _NOTEBOOK_S = 0.1, 0.5
_MOST_LINES = 20  # of a notebook's output
_SETTLED_S = 1.0  # a speed means little before
_FAST = 10.0  # units a second
_CENTS = 0.1  # from here on two decimals tell enough
_FEW = 10  # the rate of fewer units is that of luck
_STEP_S = 1.0
_MINUTE_S, _HOUR_S = 60, 3600
_COUNTED = frozenset({"errors", "cost", "waiting", "retrying"})
_screen = threading.Lock()
"""Held while a task is drawn: one line at a time can be redrawn. A task that begins within another
one, or beside it in another thread, is not shown."""


class Progress:
    """Receives the progress of long work; this one shows nothing."""

    def start(self, task: str, total: int | None, unit: str = "rows") -> None:
        """Begin `task` with `total` units of work, None when unknown."""

    def advance(self, task: str, units: int = 1) -> None:
        """Count `units` more of `task` as done."""

    def skip(self, task: str, units: int = 1) -> None:
        """Count `units` more of `task` that need not be done, because there is a result."""

    def finish(self, task: str) -> None:
        """End `task`."""

    def count(self, name: str, amount: float = 1) -> None:
        """Add to a counter of the task that began last.

        An execution counts ``calls``, ``errors`` (rows that failed), and ``cost``. Calls that wait
        for a rate limit, ``waiting``, and those that will be made again, ``retrying``, are taken
        off when they go on.
        """


@contextmanager
def counted_within(progress: Progress, name: str) -> Iterator[None]:
    """Count one more of `name` as long as the body runs."""
    progress.count(name)
    try:
        yield
    finally:
        progress.count(name, -1)


@dataclass(slots=True, kw_only=True)
class Task:
    """What is known of one task.

    Attributes
    ----------
    name, unit : str
        What it is called, and what it makes.
    total : int or None
        Units of it; None when that is not known.
    began_s : float
        When it began.
    done, skipped : int
        Units that are done, and those of them that had not to be made.
    counts : dict of str to float
        What was counted while it went on.
    """

    name: str
    total: int | None
    unit: str
    began_s: float
    done: int = 0
    skipped: int = 0
    counts: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_COUNTED, 0))
    _past: deque[tuple[float, int]] = field(default_factory=deque)
    """When so many units were made: the first one is what the rate is measured from."""

    @property
    def fraction(self) -> float | None:
        """Part that is done, None when the total is not known."""
        if self.total is None:
            return None
        return min(1.0, self.done / self.total) if self.total else 1.0

    @property
    def made(self) -> int:
        """Units that are done and were not there before."""
        return self.done - self.skipped

    def skip(self, units: int, now_s: float) -> None:
        """Count units that need not be made; to find the first of them is not the work."""
        if not self.made:
            self._past.clear()
            self._past.append((now_s, 0))
        self.done += units
        self.skipped += units

    def look(self, now_s: float) -> None:
        """Note how much is made by now: the rate is that of the last minute, or of some units."""
        past = self._past
        if not past:
            past.append((self.began_s, 0))
        then_s, made = past[-1]
        if self.made > made and now_s - then_s >= _STEP_S:
            past.append((now_s, self.made))
        while len(past) > 1 and now_s - past[1][0] >= _MINUTE_S and self.made - past[1][1] >= _FEW:
            past.popleft()

    def rate(self, now_s: float) -> float | None:
        """Return how many units a second are made; None as long as that means little."""
        then_s, made = self._past[0] if self._past else (self.began_s, 0)
        elapsed_s = now_s - then_s
        return (self.made - made) / elapsed_s if self.made and elapsed_s > _SETTLED_S else None

    def status_text(self, now_s: float) -> str:
        """Return how far it is, how fast, and when it will have ended."""
        waiting, retrying = self.counts["waiting"], self.counts["retrying"]
        parts = [*self._outcomes(self._share())] if self.total is not None or self.done else []
        if retrying:
            parts.append(f"{retrying:,.0f} retrying")
        rate = self.rate(now_s)
        if rate is not None:
            parts.append(_speed(rate, self.unit) + (" (rate limit)" if waiting else ""))
        elif waiting:
            parts.append("waiting for the rate limit")
        parts += self._cost()
        if rate and self.total is not None and self.total > self.done:
            parts.append(f"{_clock((self.total - self.done) / rate)} left")
        return ", ".join(parts)

    def ended(self, now_s: float) -> str:
        """Return what was done, what it cost, and how long it took."""
        outcomes = self._outcomes(self._amount())
        return ", ".join([*outcomes, *self._cost(), _clock(now_s - self.began_s)])

    def _outcomes(self, done: str) -> Iterator[str]:
        """Yield how many units are done, were there before, and failed."""
        yield done
        for amount, what in ((self.skipped, "reused"), (self.counts["errors"], "failed")):
            if amount:
                yield f"{_number(amount, self.unit)} {what}"

    def _cost(self) -> Iterator[str]:
        """Yield what it has cost so far, if anything is known of that."""
        cost = self.counts["cost"]
        if cost:
            yield f"cost {cost:,.2f}" if cost >= _CENTS else f"cost {cost:.2g}"

    def _share(self) -> str:
        """Return how many units are done of all, as short as can be."""
        if self.total is None:
            return self._amount()
        return f"{_number(self.done, self.unit)}/{_number(self.total, self.unit)}"

    def _amount(self) -> str:
        """Return how many units are done, and of how many if some are not."""
        done = _number(self.done, self.unit)
        of = ""
        if self.total is not None and self.total != self.done:
            of = f" of {_number(self.total, self.unit)}"
        return f"{done}{of}" if self.unit == "bytes" else f"{done}{of} {self.unit}"


class Screen(Protocol):
    """Where a line is drawn over and over, until it is done and stays."""

    every_s: float
    """Seconds between two drawings at least."""

    def draw(self, task: Task, now_s: float) -> None:
        """Draw the line of a task that goes on."""

    def end(self, task: Task, now_s: float) -> None:
        """Draw the line for the last time, leave it there, and leave the screen."""

    def leave(self) -> None:
        """Leave the screen as it is."""


class Bars(Progress):
    """Listen to long work, and show it when a person watches; else do nothing.

    A person watches when stderr is a terminal, or in a notebook. That is looked up whenever a
    task begins. Drawing never fails the work: what cannot be drawn is not.

    Parameters
    ----------
    clock : callable, optional
        Returns the seconds that have passed since some moment.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pid = os.getpid()
        self._tasks: dict[str, Task] = {}
        self._shown: Task | None = None
        self._on: Screen | None = None
        self._notebook: Notebook | None = None
        self._drawn_s = 0.0
        self._lock = threading.RLock()

    def start(self, task: str, total: int | None, unit: str = "rows") -> None:
        """Begin `task`, on the screen if there is a free one."""
        with self._lock:
            began = Task(name=task, total=total, unit=unit, began_s=self._clock())
            self._tasks[task] = began
            if self._shown is None and _screen.acquire(blocking=False):
                self._shown, self._on = began, self._watched()
                self._draw(began, force=True)

    def advance(self, task: str, units: int = 1) -> None:
        """Count `units` of `task` as done."""
        with self._lock:
            known = self._tasks[task]
            known.done += units
            if known is self._shown:
                self._draw(known)

    def skip(self, task: str, units: int = 1) -> None:
        """Count `units` of `task` that need not be done."""
        with self._lock:
            known = self._tasks[task]
            known.skip(units, self._clock())
            if known is self._shown:
                self._draw(known)

    def count(self, name: str, amount: float = 1) -> None:
        """Add to a counter, if its line shows that; it is drawn when the line is drawn next."""
        if self._on is None or name not in _COUNTED:  # for each row: without the lock
            return
        with self._lock:
            if self._tasks:
                counts = self._tasks[next(reversed(self._tasks))].counts
                counts[name] += amount

    def finish(self, task: str) -> None:
        """End `task`; its line stays. Where a function has forked, it is the parent's to end."""
        with self._lock:
            known = self._tasks.pop(task)
            if known is not self._shown or os.getpid() != self._pid:
                return
            screen, self._on, self._shown = self._on, None, None
            try:
                if screen is not None:
                    screen.end(known, self._clock())
            except (OSError, ValueError):
                return
            finally:
                _screen.release()

    def _watched(self) -> Screen | None:
        """Find the screen; in a notebook that of the task before, so that they are one output."""
        screen = _watched()
        if isinstance(screen, Notebook):
            screen = self._notebook = self._notebook or screen
        return screen

    def _draw(self, task: Task, *, force: bool = False) -> None:
        """Draw the line, if the one before has stood long enough."""
        if self._on is None or os.getpid() != self._pid:
            return
        now_s = self._clock()
        if not (force or now_s - self._drawn_s >= self._on.every_s):
            return
        self._drawn_s = now_s
        task.look(now_s)
        try:
            self._on.draw(task, now_s)
        except (OSError, ValueError):
            # The terminal is gone, or a function has closed stderr.
            self._on.leave()
            self._on = None


class Terminal:
    """The last line of a terminal; what functions print goes above it, as it is.

    Parameters
    ----------
    stream : text stream
        The terminal.
    """

    every_s = _TERMINAL_S

    def __init__(self, stream: TextIO) -> None:
        self.pid = os.getpid()
        self._stream = stream
        self._lock = threading.RLock()
        self._is_drawn = False
        self._is_free = True
        self._above: dict[str, _Above] = {}
        for name in ("stdout", "stderr"):
            current = getattr(sys, name)
            if _is_terminal(current):
                self._above[name] = _Above(current, self)
                setattr(sys, name, self._above[name])

    def draw(self, task: Task, now_s: float) -> None:
        """Draw over the line drawn before, unless something else was printed on it."""
        with self._lock:
            if self._is_free:
                self._write(task.name, task.fraction, task.status_text(now_s))
                self._is_drawn = True

    def leave(self) -> None:
        """Restore the streams, unless they were replaced meanwhile."""
        for name, above in self._above.items():
            if getattr(sys, name) is above:
                setattr(sys, name, above.stream)

    def end(self, task: Task, now_s: float) -> None:
        """Draw once more, go to the next line, and give the streams back."""
        with self._lock:
            self.leave()
            if not self._is_free:
                self._stream.write("\n")
            part = 1.0 if task.total is None else task.fraction
            self._write(task.name, part, task.ended(now_s))
            self._stream.write("\n")
            self._stream.flush()

    def _write(self, name: str, fraction: float | None, text: str) -> None:
        """Write a line over the one before."""
        line = render.progress_line(self._stream, name, fraction, text)
        self._stream.write(f"\r\x1b[2K{line}")
        self._stream.flush()

    def write_above(self, stream: TextIO, text: str) -> int:
        """Write what a function prints, where the line was; it is drawn again below."""
        with self._lock:
            if self._is_drawn:
                self._is_drawn = False
                self._stream.write("\r\x1b[2K")
                self._stream.flush()
            count = stream.write(text)
            stream.flush()
            self._is_free = text.endswith("\n") if text else self._is_free
            return count


class _Above:
    """Standard output or error as functions see it while a line is drawn below."""

    def __init__(self, stream: TextIO, terminal: Terminal) -> None:
        self.stream = stream
        self._terminal = terminal

    def write(self, text: str) -> int:
        """Write above the line, which is not for a process that was forked meanwhile to draw."""
        if os.getpid() != self._terminal.pid:
            return self.stream.write(text)
        return self._terminal.write_above(self.stream, text)

    def writelines(self, lines: list[str]) -> None:
        """Write above the line."""
        self.write("".join(lines))

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a stream has
        """Be the stream in all else."""
        return getattr(self.stream, name)


class Notebook:
    """One output below the cell of a notebook: a line that moves, those that ended above it."""

    every_s = _NOTEBOOK_S

    def __init__(self) -> None:
        self._handle: Any = None
        self._ended: list[render.ProgressLine] = []

    def draw(self, task: Task, now_s: float) -> None:
        """Show the line, in the place of the one before."""
        self._show([*self._ended, (task.name, task.fraction, task.status_text(now_s))])

    def end(self, task: Task, now_s: float) -> None:
        """Show it for the last time."""
        part = 1.0 if task.total is None else task.fraction
        self._ended.append((task.name, part, task.ended(now_s)))
        self._show(self._ended)

    def leave(self) -> None:
        """Leave the line as it is."""

    def _show(self, lines: list[render.ProgressLine]) -> None:
        """Show the latest lines in the place of those before."""
        shown = render.progress_bundle(lines[-_MOST_LINES:])
        if self._handle is None:
            display = importlib.import_module("IPython.display").display
            self._handle = display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)


def _watched() -> Screen | None:
    """Return the terminal or notebook that shows progress, if there is one."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if getattr(shell, "kernel", None) is not None:
        return Notebook()
    if _is_terminal(sys.stderr) and os.environ.get("TERM", "") not in ("", "dumb", "unknown"):
        return Terminal(sys.stderr)
    return None


def _is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal; a function may have closed or replaced it."""
    try:
        return stream is not None and stream.isatty()
    except (ValueError, AttributeError):
        return False


def _number(amount: float, unit: str) -> str:
    """Format an amount of a unit."""
    if unit == "bytes":
        return render.size(amount)
    return f"{amount:,.0f}" if amount >= 100 or amount == int(amount) else f"{amount:.1f}"  # noqa: PLR2004 - three digits tell enough


def _speed(rate: float, unit: str) -> str:
    """Return units a second, or a minute where that is easier to grasp."""
    if rate < _FAST and unit != "bytes":
        return f"{_number(_MINUTE_S * rate, unit)}/min"
    return f"{_number(rate, unit)}/s"


def _clock(seconds: float) -> str:
    """Format a time as minutes and seconds, hours before them if there are any."""
    whole = round(seconds)
    hours, rest = divmod(whole, _HOUR_S)
    minutes, rest = divmod(rest, _MINUTE_S)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
