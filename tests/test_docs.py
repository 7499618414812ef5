"""The pages tell the truth: what they show is run, and prints what they say.

Each page has a folder of its own, in which its blocks are run from top to bottom:

- ``python``: all blocks of a page share their variables. What a block prints stands in the
  ``text`` block right after it; a block without one prints nothing.
- ``console``: lines that begin with ``$ `` are given to bash, the lines after each are what it
  prints, errors included.
- ``<!-- file: NAME -->`` on the line before a block makes it the content of that file.
- ``<!-- from: COMMAND -->`` on the line before a block makes it part of what that command prints,
  see `test_the_readme_shows_the_example`.
- ``<!-- given: ARCHIVE -->`` on the line before a block unpacks that file of this checkout first.
- ``sh``: given to bash in that folder, and has to succeed; what it prints is not shown.
- ``<!-- not run: WHY -->`` on the line before a block: shown only, as are ``text`` blocks.

Ids, times and hashes may differ, and a line ``...`` in an output stands for any lines.

``python -m tests.test_docs [PAGE ...]`` writes what is printed into the pages.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import inspect
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import pytest

import tablevault
from tablevault import TableVault, errors
from tablevault.engine.functions import language_model, random_string, table_generation

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

TEXT = ("md", "rst")

BLOCK = re.compile(
    r"(?:^<!-- (?P<note>[^\n]*?) -->\n)?^```(?P<kind>\w*)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
CHANGING = (
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<uuid>"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| [+-]\d{4})?", "<time>"),
    (r"\b\d{4}-\d\d-\d\d\b", "<date>"),
    (r"(?<=_)\d{10}(?=_<uuid>)", "<time>"),
    (r"\b[0-9a-f]{64}\b", "<sha256>"),
    (r"\b[0-9a-f]{40}\b", "<id>"),
    (r"\b[0-9a-f]{7,12}\b", "<id>"),
    (r"^([-+ ]?)size \d+$", r"\1size <n>"),
    (r"\([\d,]+ bytes\)", "(<n> bytes)"),
)


@dataclass(frozen=True)
class Block:
    """A block of a page; `start` and `end` are where its body is."""

    note: str
    kind: str
    body: str
    start: int
    end: int


@dataclass(frozen=True)
class Printed:
    """What something printed, and what the page says about it, at `start` to `end` if it does."""

    by: str
    said: str
    actual: str
    start: int
    end: int


def blocks_of(text: str) -> list[Block]:
    """Find the blocks of a page."""
    return [
        Block(found["note"] or "", found["kind"], found["body"], *found.span("body"))
        for found in BLOCK.finditer(text)
    ]


def run(text: str) -> Iterator[Printed]:
    """Run a page in the current folder."""
    names: dict[str, object] = {"__name__": "__main__"}
    blocks = blocks_of(text)
    for block, following in zip_longest(blocks, blocks[1:]):
        if block.note.startswith("given: "):
            with tarfile.open(ROOT / block.note.removeprefix("given: ")) as archive:
                archive.extractall(filter="data")
        if block.note.startswith("file: "):
            path = Path(block.note.removeprefix("file: "))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.body, encoding="utf-8")
        elif block.note.startswith("not run: "):
            continue
        elif block.kind == "console":
            yield from run_console(block)
        elif block.kind == "sh":
            run_shell(block)
        elif block.kind == "python":
            between = text[block.end : following.start] if following else ""
            shows = following if between == "```\n\n```text\n" else None
            yield run_python(block, shows, names)


def run_python(block: Block, shows: Block | None, names: dict[str, object]) -> Printed:
    """Run a block of Python."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block.body, "<page>", "exec"), names)
    said, start, end = (shows.body, shows.start, shows.end) if shows else ("", -1, -1)
    return Printed(block.body, said, printed.getvalue(), start, end)


def run_shell(block: Block) -> None:
    """Run a block of commands, which has to succeed."""
    done = subprocess.run(
        ["bash", "-e", "-c", block.body],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={**os.environ, "GIT_PAGER": "cat", **command_of_this_checkout()},
    )
    assert done.returncode == 0, f"{block.body}\n{done.stdout}"


def run_console(block: Block) -> Iterator[Printed]:
    """Run the commands of a block."""
    for found in re.finditer(
        r"^\$ (?P<command>.*)\n(?P<said>(?:(?!\$ ).*\n)*)", block.body, re.MULTILINE
    ):
        done = subprocess.run(
            ["bash", "-c", found["command"]],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            env={**os.environ, "GIT_PAGER": "cat", **command_of_this_checkout()},
        )
        start, end = found.span("said")
        yield Printed(
            found["command"], found["said"], done.stdout, block.start + start, block.start + end
        )


@functools.cache
def command_of_this_checkout() -> dict[str, str]:
    """Let the pages call the command, whether or not it is installed."""
    folder = Path(tempfile.mkdtemp(prefix="tablevault-docs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    command = folder / "tablevault"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m tablevault "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    return {
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "80",
    }


def plain(text: str) -> list[str]:
    """Return the lines of an output without what may change from run to run."""
    lines = [line.rstrip() for line in text.strip("\n").splitlines()]
    for pattern, stands in CHANGING:
        lines = [re.sub(pattern, stands, line) for line in lines]
    return [re.sub(r" {2,}", "  ", line) for line in lines]  # columns grow with what is in them


def agrees(printed: Printed) -> bool:
    """Return whether what is printed is what the page says."""
    pattern = ""
    for line in plain(printed.said):
        pattern += r"(?:.*\n)*?" if line == "..." else re.escape(line) + r"\n"
    return re.fullmatch(pattern, "".join(line + "\n" for line in plain(printed.actual))) is not None


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(
            page,
            id=str(page.relative_to(ROOT)),
            marks=[] if page.name == "README.md" else [pytest.mark.sweep],
        )
        for page in PAGES
    ],
)
def test_a_page_tells_the_truth(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):  # a page may set them
        monkeypatch.setenv(name, "")
    text = page.read_text(encoding="utf-8")
    if re.search(r"^\$ .*\bgit\b.*\blfs\b", text, re.MULTILINE) and not shutil.which("git-lfs"):
        assert "CI" not in os.environ, "git-lfs is missing"
        pytest.skip("needs git-lfs")
    for printed in run(text):
        if not agrees(printed):
            pytest.fail(
                f"{page.name} shows\n\n{printed.by}\nand says that it prints\n\n{printed.said}\n"
                f"but it prints\n\n{printed.actual}",
                pytrace=False,
            )


@pytest.mark.sweep
@pytest.mark.timeout(300)
def test_the_readme_shows_the_example(tmp_path):
    shown = next(
        block.body
        for block in blocks_of((ROOT / "README.md").read_text(encoding="utf-8"))
        if block.note == "from: python examples/stdlib_catalogue.py"
    )
    if f"CPython {platform.python_version()}\n" not in shown:  # another library, other figures
        shown = "".join(f"{line}\n...\n" for line in shown.splitlines() if line[:2] in {"- ", "+ "})
    earlier = TableVault(
        tmp_path / "stdlib.vault", "Ana", "Catalogue of the standard library", create=True
    )
    earlier.create_table("modules")  # as if from an earlier run, which is replaced
    done = run_example(tmp_path / "stdlib.vault")
    assert done.returncode == 0, done.stderr
    if not agrees(Printed("", f"...\n{shown}...\n", done.stdout, 0, 0)):
        pytest.fail(f"README.md says\n\n{shown}\nbut it prints\n\n{done.stdout}", pytrace=False)


@pytest.mark.sweep
def test_the_example_replaces_nothing_that_is_not_its_own(tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("Dear", encoding="utf-8")
    TableVault(tmp_path / "mine", "Ana", "My tables", create=True).create_table("precious")
    for name, kept in (("letters", "dear.txt"), ("mine", "tables/precious/table.yaml")):
        done = run_example(tmp_path / name)
        assert done.returncode == 1
        assert (str(tmp_path / name) in done.stderr, "Traceback" in done.stderr) == (True, False)
        assert (tmp_path / name / kept).exists()


def run_example(vault: Path) -> subprocess.CompletedProcess[str]:
    """Run the example."""
    command = [sys.executable, str(ROOT / "examples" / "stdlib_catalogue.py"), str(vault)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_every_block_is_run_or_says_why_not():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in blocks_of(text):
            is_run = block.kind in {"python", "console", "sh", "text"}
            reason = block.note.partition("not run: ")[2]
            assert is_run or block.note.startswith("file: ") or reason, (page, block.body)
            assert "not run" not in block.note or reason, (page, block.body)


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), (page, target)


def test_every_page_is_listed_on_the_first_one():
    folder = ROOT / "docs"
    first = (folder / "index.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^- \[[^\]]*\]\(([\w/.-]+)\)", first, re.MULTILINE))
    pages = {str(page.relative_to(folder)) for page in folder.rglob("*") if page.suffix[1:] in TEXT}
    assert pages - {"index.md"} == listed


def test_the_page_of_the_api_names_all_that_is_public():
    page = (ROOT / "docs" / "api.rst").read_text(encoding="utf-8")
    public = {f"tablevault.{name}" for name in tablevault.__all__} - {"tablevault.TableVaultError"}
    for module in (table_generation, random_string, language_model):
        public |= {
            f"{module.__name__}.{name}"
            for name, each in vars(module).items()
            if inspect.isfunction(each) and each.__module__ == module.__name__ and name[0] != "_"
        }
    assert {name for name in public if f":: {name}\n" not in page} == set()


def test_the_page_of_the_vault_on_disk_names_every_trailer():
    page = (ROOT / "docs" / "vault-layout.md").read_text(encoding="utf-8")
    sources = [path.read_text("utf-8") for path in (ROOT / "tablevault").rglob("*.py")]
    trailers = {name for text in sources for name in re.findall(r"\bVault-[A-Z][A-Za-z-]+", text)}
    assert {name for name in trailers if f"`{name}`" not in page} == set()


def test_the_page_of_errors_names_every_class():
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    kinds = {name for name in vars(errors) if name.startswith(("TV", "Table"))}
    assert {name for name in kinds if f"`{name}`" not in page} == {"TableVaultError"}


def test_a_line_of_dots_stands_for_any_lines():
    def fits(said: str, actual: str) -> bool:
        return agrees(Printed("", said, actual, 0, 0))

    assert fits("a\n...\nd\n", "a\nb\nc\nd\n")
    assert fits("a\n...\nd\n", "a\nd\n")
    assert not fits("a\n...\nd\n", "a\nb\n")
    assert not fits("a\n", "a\nb\n")
    assert fits("commit 0123abc\n", "commit fedcba9\n")


def update(page: Path) -> None:
    """Write what is printed into a page."""
    text = page.read_text(encoding="utf-8")
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            done = list(run(text))
        finally:
            os.chdir(here)
    for printed in reversed(done):
        if agrees(printed):
            continue
        if printed.start < 0:
            sys.stderr.write(
                f"{page}: prints without a text block:\n{printed.by}\n{printed.actual}"
            )
            continue
        shown = "".join(line.rstrip() + "\n" for line in printed.actual.splitlines())
        text = text[: printed.start] + shown + text[printed.end :]
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"HOME": home, "GIT_CONFIG_NOSYSTEM": "1"}
        for name in sys.argv[1:] or PAGES:
            update(Path(name).absolute())
