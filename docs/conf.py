"""How Sphinx builds the pages: Markdown as it stands, and the API from its docstrings."""

from __future__ import annotations

import os
import re
import sys
from functools import partial
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

# What is documented is this checkout.
from tablevault import __version__  # noqa: E402
from tablevault.cli.command import Argument, Command, commands  # noqa: E402

project = "TableVault"
author = "the authors of TableVault"
project_copyright = author
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"TableVault {release}"
html_copy_source = False
html_show_sphinx = False
templates_path: list[str] = []
highlight_language = "none"

myst_heading_anchors = 3  # builders.md#artifacts leads somewhere, as it does at a git host

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

# Pages that live elsewhere. Each has a stub in docs/, whose text they replace.
ELSEWHERE = {
    "readme": ROOT / "README.md",
    "contributing": ROOT / "CONTRIBUTING.md",
    "changelog": ROOT / "CHANGELOG.md",
    "examples": ROOT / "examples" / "README.md",
}
OF_EVERY = """
An argument in brackets may be left out. Every command also takes `--db-dir PATH` (folder of the
vault, by default `TABLEVAULT_DIR`, else the vault that the current folder is in), `--author TEXT`
(author of commits, by default `TABLEVAULT_AUTHOR`, else as git knows you), `-q` (log nothing),
`--debug` (show tracebacks) and `--help`. [Commands](commands.md) is the page to begin with.
"""
HEADING = re.compile(r"^## (?P<title>.*)$", re.MULTILINE)
NOTED = re.compile(r"^<!-- (?P<note>[^\n]*?) -->\n```(?P<kind>\w+)$", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|#)(?P<target>[^)]+)")
FOLDER = re.compile(r"\[(?P<text>[^\]]*)\]\((?!https?:)[^)]*/\)")
LISTED = re.compile(r"^- \[([^\]]*)\]\(([\w/-]+)\.(?:md|rst)\)", re.MULTILINE)


def adapt(_app: Sphinx, page: str, source: list[str]) -> None:
    """Make of a page that is read at a git host one that is built."""
    text = source[0]
    if page in ELSEWHERE:
        text = LINK.sub(partial(moved, ELSEWHERE[page].parent), ELSEWHERE[page].read_text("utf-8"))
    for name, path in ELSEWHERE.items():
        text = text.replace(f"](../{path.relative_to(ROOT)}", f"]({name}.md")
    text = NOTED.sub(note, FOLDER.sub(r"\g<text>", text))
    text = text.replace("```csv\n", "```text\n")  # there is no colouring of it
    if page == "arguments":
        text = "\n".join(["# Arguments of commands", OF_EVERY, *map(told, commands().values())])
    if page == "index":
        text += contents(text)
    source[0] = text


def moved(folder: Path, found: re.Match[str]) -> str:
    """Give a link of a page in `folder` as it is from docs/."""
    target = os.path.relpath(folder / found["target"], ROOT / "docs")
    return f"]({target}{'/' if found['target'].endswith('/') else ''}"


def note(found: re.Match[str]) -> str:
    """Show the name of a file above its content; what only the tests want to know goes."""
    kind = found["kind"]
    if not found["note"].startswith("file: "):
        return f"```{kind}"
    name = found["note"].removeprefix("file: ")
    return f"```{{code-block}} {'text' if kind == 'csv' else kind}\n:caption: {name}\n"


def contents(index: str) -> str:
    """Give the trees of contents, which follow from the lists of links on the first page."""
    pieces = HEADING.split(index)
    trees = ""
    for title, section in zip(pieces[1::2], pieces[2::2], strict=True):
        pages = LISTED.findall(section)
        if pages:
            listed = "\n".join(f"{text} <{page}>" for text, page in pages)
            trees += f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n{listed}\n```\n"
    return trees


def told(command: Command) -> str:
    """Tell a command: what it does, and a table of its arguments."""
    lines = [f"## {command.name}", "", f"{command.summary[0].upper()}{command.summary[1:]}."]
    lines += [command.details] if command.details else []
    if command.arguments:
        lines += ["", "| Argument | |", "| --- | --- |"]
    rows = [f"| {spelled(each)} | {each.options['help']} |" for each in command.arguments]
    return "\n".join([*lines, *rows, ""])


def spelled(argument: Argument) -> str:
    """Spell an argument as it is typed."""
    options = argument.options
    if not argument.is_option:
        name = options.get("metavar") or " ".join(options.get("choices", argument.names))
        shown = {"?": f"[{name}]", "*": f"[{name} ...]"}.get(options.get("nargs"), name)
        return f"`{shown}`"
    value = f" {options['metavar']}" if "metavar" in options else ""
    return ", ".join(f"`{name}{value}`" for name in argument.names)


def setup(app: Sphinx) -> None:
    """Let Sphinx call what is above."""
    app.connect("source-read", adapt)
