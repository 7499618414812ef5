"""Jobs of paid calls: what is paid, how fast, and what a kill costs, here and with other tools.

``python benchmarks/jobs.py [--rows N] [--only NAME] [--part NAME] [--envs FOLDER]`` prints a
Markdown table: a line for each measure, a column for each tool, beside them the aim. The model is
``examples/model_server.py``, in this process; it counts requests, answers and tokens. Each job is
an interpreter of its own, and is killed with SIGKILL. The jobs are in `jobs_scripts`.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).resolve().parents[1])]

import openai
from jobs_scripts import TOOLS
from paid_calls import ENVIRONMENTS, last_line, make_environment, version_of
from paid_calls_jobs import Tool

from examples.model_server import Faults, ModelServer

POISON = "POISON"
PRICE = 10 / 1_000_000  # of a token, as the job sets it
LOOK_S = 0.25
LONGEST_S = 1800
AT_ONCE = 64
WAITING = 200
FEW = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a job finds in its folder.

    Attributes
    ----------
    rows : mapping of str to str
        Texts by id.
    prompts : mapping of str to str
        What is asked about each row, by column.
    name : str
        Process id of the execution.
    limits : mapping
        Rates and budgets.
    at_once : int
        Calls at the same time.
    is_waiting : bool
        Whether calls only sleep for 100 ms.
    """

    rows: Mapping[str, str]
    prompts: Mapping[str, str] = field(default_factory=lambda: {"answer": "What does it say?"})
    name: str = "first"
    limits: Mapping[str, float] = field(default_factory=dict)
    at_once: int = AT_ONCE
    is_waiting: bool = False

    def requests(self) -> list[str]:
        """Return what the model has to be asked, and can answer."""
        return [
            f"{prompt} {text}"
            for prompt in self.prompts.values()
            for text in self.rows.values()
            if POISON not in text
        ]

    def write(self, folder: Path) -> None:
        """Write rows and settings."""
        with (folder / "rows.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("id", "text"), *self.rows.items()])
        settings = {name: getattr(self, name) for name in ("name", "limits", "at_once")}
        settings |= {"prompts": dict(self.prompts), "is_waiting": self.is_waiting}
        (folder / "settings.json").write_text(json.dumps(settings))


@dataclass(slots=True, kw_only=True)
class Ran:
    """What a run of a job came to.

    Attributes
    ----------
    first_s, last_s : float
        When the first request was seen, and when the number of answers last grew.
    stopped_s : float
        How long no process made requests, from each kill to the first request after it.
    seconds, rows_s : float
        What the last process took, by its own clock, without its start, and what it had taken for
        the rows alone.
    answers : int
        What it had in the end; 0 where a budget was used up.
    error : str
        Why it failed, if it did.
    """

    first_s: float = 0.0
    last_s: float = 0.0
    stopped_s: float = 0.0
    seconds: float = 0.0
    rows_s: float = 0.0
    answers: int = 0
    error: str = ""


class Bench:
    """A tool in a folder of its own, and the server that it asks."""

    def __init__(self, tool: Tool, python: Path, server: ModelServer, folder: Path) -> None:
        self.tool = tool
        self.server = server
        self._python = python
        self._folder = folder
        (folder / "home").mkdir()
        (folder / "job.py").write_text(tool.job)
        for name, text in tool.files:
            (folder / name).write_text(text)

    def run(self, job: Job, kills: Sequence[int] = ()) -> Ran:
        """Run a job to its end; it is killed when the server has given so many answers."""
        job.write(self._folder)
        ran = Ran()
        for answers in kills:
            process = self._start()
            if not self._watch(process, ran, answers):
                ran.error = "it ended before it was killed"
                return ran
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            ran.stopped_s -= time.monotonic()
        process = self._start()
        self._watch(process, ran, sys.maxsize)
        self._take(process, ran)
        return ran

    def _start(self) -> subprocess.Popen[bytes]:
        """Start the job in an interpreter."""
        environment = {
            "PATH": f"{self._python.parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self._folder / "home"),
            "OPENAI_BASE_URL": self.server.url,
            "OPENAI_API_KEY": "any",
            "HF_HUB_OFFLINE": "1",
            "TELEMETRY_ENABLED": "false",
            "CURATOR_DISABLE_RICH_DISPLAY": "1",
        }
        with (self._folder / "out").open("wb") as out, (self._folder / "err").open("wb") as err:
            return subprocess.Popen(
                [str(self._python), "job.py"],
                cwd=self._folder,
                env=environment,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def _watch(self, process: subprocess.Popen[bytes], ran: Ran, answers: int) -> bool:
        """Look at the counts until there are so many answers; return False if it ended before."""
        end = time.monotonic() + LONGEST_S
        asked, found = self._counts()
        is_asking = False
        while process.poll() is None:
            if time.monotonic() > end:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            requests, now_found = self._counts()
            now = time.monotonic()
            if not is_asking and requests > asked:
                is_asking = True
                if ran.stopped_s < 0:
                    ran.stopped_s += now
                ran.first_s = ran.first_s or now
            if now_found > found:
                found, ran.last_s = now_found, now
            if found >= answers:
                return True
            time.sleep(LOOK_S if is_asking else LOOK_S / 5)
        return False

    def _counts(self) -> tuple[int, int]:
        """Return how many requests and answers there are."""
        counts = self.server.counts()
        return counts["requests"], counts["answers"]

    def _take(self, process: subprocess.Popen[bytes], ran: Ran) -> None:
        """Read what a process wrote at its end."""
        out, err = ((self._folder / name).read_text() for name in ("out", "err"))
        if process.returncode:
            done = subprocess.CompletedProcess([], process.returncode, out, err)
            ran.error = last_line(done)
        elif (line := out.splitlines()[-1]).startswith("["):
            ran.seconds, ran.answers, ran.rows_s = json.loads(line)


Bencher = Callable[[Faults], Any]
Lines = dict[str, str]
"""Cells of one tool, by measure."""


# -- the parts ---------------------------------------------------------------------------------


def large(bench: Bencher, rows: int, minutes: float) -> Lines:
    """A job with errors, poison, a limit of tokens, and three kills."""
    texts = make_rows(rows, poison=max(1, rows // 100))
    job = Job(rows=texts)
    rate = round(sum(map(tokens_of, job.requests())) / minutes)
    faults = Faults(latency=0.5, refuse=0.05, poison=POISON, longest=10**9, tokens_per_minute=rate)
    with bench(faults) as tool:
        use_up(tool.server, rate)
        before = tool.server.counts()
        answers = before["answers"]
        kills = [answers + rows * part // 4 for part in (1, 2, 3)]
        ran = tool.run(replace(job, limits={"tokens_per_minute": rate}), kills)
        after = tool.server.counts()
    if ran.error:
        return {"good rows answered": f"- ({ran.error})"}
    wanted = job.requests()
    counts = [after["by_prompt"].get(each, {"answers": 0})["answers"] for each in wanted]
    found = sum(map(bool, counts))
    useful = sum(tokens_of(each) for each, count in zip(wanted, counts, strict=True) if count)
    minutes_all = (ran.last_s - ran.first_s) / 60
    minutes_running = minutes_all - ran.stopped_s / 60
    requests = after["requests"] - before["requests"]
    over = after["over_limit"] - before["over_limit"]
    return {
        "good rows answered": f"{found:,} of {len(wanted):,}, {ran.answers:,} in the table",
        "answered twice, after three kills": f"{sum(counts) - found:,}",
        "goodput, share of the limit": f"{useful / minutes_all / rate:.1%}",
        "the same without restarts": f"{useful / minutes_running / rate:.1%}",
        "requests refused because of the limit": f"{over / requests:.2%} ({over:,})",
        "minutes": f"{minutes_all:.1f}",
    }


def budgets(bench: Bencher, rows: int) -> Lines:
    """Budgets of calls and of cost, each with a kill in the middle."""
    job = Job(rows=make_rows(rows))
    lines = {}
    calls = rows // 2
    with bench(Faults(latency=0.1)) as tool:
        tool.run(replace(job, limits={"calls": calls}), [calls // 2])
        made = tool.server.counts()["answers"]
        lines["calls over a budget of calls"] = f"{max(0, made - calls)} of {calls} ({made} made)"
    prices = [tokens_of(each) * PRICE for each in job.requests()]
    cost = round(sum(prices) / 2, 4)
    with bench(Faults(latency=0.1)) as tool:
        tool.run(replace(job, limits={"cost": cost}), [calls // 2])
        spent = tool.server.counts()["tokens"] * PRICE
        over = math.ceil(max(0.0, spent - cost) / max(prices))
        lines["calls over a budget of cost"] = f"{over} of {calls} ({spent / cost:.1%} spent)"
    return lines


def waiting(bench: Bencher, rows: int) -> Lines:
    """Coroutines that only wait, many at once."""
    ideal = rows / WAITING * 0.1
    with bench(Faults()) as tool:
        ran = tool.run(Job(rows=make_rows(rows), at_once=WAITING, is_waiting=True))
    if ran.error:
        return {WAITING_LINE: f"- ({ran.error})"}
    calls = (ran.seconds - ran.rows_s) / ideal
    return {WAITING_LINE: f"{calls:.2f}; with making and keeping rows {ran.seconds / ideal:.2f}"}


WAITING_LINE = f"waiting calls, {WAITING} at once: time / ideal"


def bill(bench: Bencher, rows: int) -> Lines:
    """Five prompts; one is changed, and some rows, and the second run is killed twice."""
    prompts = {f"answer_{n}": f"What does it say about matter {n}?" for n in range(5)}
    first = Job(rows=make_rows(rows), prompts=prompts)
    texts = {**first.rows, **make_rows(rows // 100, begin=rows)}
    for number in range(rows // 100):
        texts[f"row {number * 97:06}"] += " Corrected."
    second = replace(
        first, rows=texts, name="second", prompts={**prompts, "answer_2": "What is left unsaid?"}
    )
    first, second = replace(first, at_once=FEW), replace(second, at_once=FEW)
    ideal = len(set(second.requests()) - set(first.requests()))
    with bench(Faults(latency=0.1)) as tool:
        ran = tool.run(first)
        before = tool.server.counts()["answers"]
        if not ran.error:
            ran = tool.run(second, [before + ideal // 3, before + ideal * 2 // 3])
        made = tool.server.counts()["answers"] - before
    wrong = len(second.requests()) - ran.answers
    remark = f" ({ran.error or f'{wrong} answers missing'})" if ran.error or wrong else ""
    measure = f"second run, killed twice with {FEW} calls under way: calls, ideal {ideal:,}"
    return {measure: f"{made:,}{remark}"}


# -- what they share ---------------------------------------------------------------------------


def make_rows(rows: int, *, begin: int = 0, poison: int = 0) -> dict[str, str]:
    """Return texts by id, of different lengths; `poison` of them have no answer."""
    texts = {}
    for number in range(begin, begin + rows):
        words = "word " * (number * 7919 % 40)
        texts[f"row {number:06}"] = f"Text {number:06} has {words}words."
    for number in range(poison):
        texts[f"row {begin + number * rows // poison:06}"] += f" {POISON}"
    return texts


def tokens_of(request: str) -> int:
    """Return what the server counts for a request and its answer, the second sentence."""
    answer = request.partition("? ")[2].partition(". ")[0]
    return -(-len(request) // 4) - (-len(answer) // 4)


def use_up(server: ModelServer, rate: int) -> None:
    """Use up the tokens that the server has saved up in a minute: nobody begins with a gift."""
    client = openai.OpenAI(base_url=server.url, api_key="any", max_retries=10)
    content = "x" * (rate * 4 * 49 // 100)  # the answer repeats it
    client.chat.completions.create(model="small-1", messages=[{"role": "user", "content": content}])


PARTS: dict[str, Callable[[Bencher, argparse.Namespace], Lines]] = {
    "large": lambda bench, given: large(bench, given.rows, given.minutes),
    "budgets": lambda bench, given: budgets(bench, min(given.rows, 400)),
    "waiting": lambda bench, given: waiting(bench, given.waiting),
    "bill": lambda bench, given: bill(bench, given.bill_rows),
}
AIMS = {
    "good rows answered": "all",
    "answered twice, after three kills": f"at most {3 * AT_ONCE}, those under way",
    "goodput, share of the limit": "97%",
    "requests refused because of the limit": "at most 1%",
    "calls over a budget of calls": "at most 1",
    "calls over a budget of cost": "at most 1",
    WAITING_LINE: "1.3",
}
UNFIT = {("script", "budgets"), ("curator", "budgets"), ("curator", "waiting")}
"""What tools have no means for, or what is no job for them."""


def column_of(name: str, given: argparse.Namespace) -> tuple[str, Lines]:
    """Return the heading of a tool, and its cells."""
    tool = TOOLS[name]
    python, problem = make_environment(given.envs.absolute(), tool)
    if problem:
        return tool.title.format("?"), {"good rows answered": f"- ({problem})"}

    @contextmanager
    def bench(faults: Faults) -> Iterator[Bench]:
        """Make the folder and the server of a part."""
        folder = Path(tempfile.mkdtemp(prefix="jobs-"))
        try:
            with ModelServer(faults) as server:
                yield Bench(tool, python, server, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    lines: Lines = {}
    for part, measure in PARTS.items():
        if given.part in part and (name, part) not in UNFIT:
            print(f"{name}: {part}", file=sys.stderr)
            lines |= measure(bench, given)
    return tool.title.format(version_of(python, tool.package)), lines


def as_markdown(columns: Mapping[str, Lines]) -> str:
    """Return the table."""
    measures = dict.fromkeys(name for lines in columns.values() for name in lines)
    table = [["", "aim", *columns], ["---"] * (len(columns) + 2)]
    for name in measures:
        cells = (lines.get(name, "-") for lines in columns.values())
        table.append([name, AIMS.get(name, ""), *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in table)


def main() -> None:
    """Run the tools and parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2000, help="of the large job (2000)")
    parser.add_argument("--minutes", type=float, default=2, help="it takes at its limit (2)")
    parser.add_argument("--waiting", type=int, default=10_000, help="waiting calls (10000)")
    parser.add_argument("--bill-rows", type=int, default=2000, help="rows of five prompts (2000)")
    parser.add_argument("--only", default="", metavar="NAME", help="tools whose name holds this")
    parser.add_argument("--part", default="", metavar="NAME", help=f"{', '.join(PARTS)}")
    parser.add_argument(
        "--envs", type=Path, default=ENVIRONMENTS, metavar="FOLDER", help="virtual environments"
    )
    given = parser.parse_args()
    print(as_markdown(dict(column_of(name, given) for name in TOOLS if given.only in name)))


if __name__ == "__main__":
    main()
