from __future__ import annotations

import html.parser
import shutil
from pathlib import Path

import pandas as pd
import pytest

from tablevault import TableVault
from tests.conftest import AUTHOR
from tests.report.chromium import started

CODE = '''"""Functions of the tests."""
import pandas as pd


def rows(count):
    return pd.DataFrame({"n": range(count)})


def twice(n, factor):
    return n * factor


def sums(frame):
    return pd.DataFrame({"total": [int(frame["twice"].sum())]})
'''
INDEX = """builder_type: IndexBuilder
changed_columns: [n]
primary_key: [n]
python_function: rows
code_module: m
is_custom: true
return_type: dataframe
arguments:
  count: {count}
"""
TWICE = """builder_type: ColumnBuilder
changed_columns: [twice]
python_function: twice
code_module: m
is_custom: true
return_type: row-wise
arguments:
  n: <<self.n[index]>>
  factor: {factor}
"""
SUMS = """builder_type: IndexBuilder
changed_columns: [total]
python_function: sums
code_module: m
is_custom: true
return_type: dataframe
arguments:
  frame: <<numbers>>
"""


def make_numbers(vault, count, factor, description=""):
    builders = {
        "numbers_index": INDEX.format(count=count),
        "twice": TWICE.format(factor=factor),
    }
    vault.create_instance("numbers", builders=builders, description=description)
    vault.execute_instance("numbers")
    return vault.get_table_instances("numbers")[-1]


def make_sums(vault):
    vault.create_instance("sums", builders={"sums_index": SUMS})
    vault.execute_instance("sums")
    return vault.get_table_instances("sums")[-1]


def write(vault, table, columns, *sources, version="base"):
    vault.create_instance(table, version, external_edit=True)
    vault.write_instance(pd.DataFrame(columns), table, version, dependencies=list(sources))
    return vault.get_table_instances(table, version)[-1]


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """Make two tables, one of the other, and several instances of each."""
    vault = TableVault(tmp_path_factory.mktemp("made") / "v", AUTHOR, create=True)
    vault.create_code_module("m", text=CODE)
    vault.create_table("numbers", description="Numbers & their doubles")
    vault.create_table("sums")
    vault.create_table("apart")
    make_numbers(vault, 2, 2, "first try")
    make_sums(vault)
    make_numbers(vault, 3, 2, "one more row")
    make_numbers(vault, 3, 3, "another factor")
    make_sums(vault)
    return vault._vault.path


@pytest.fixture
def made(made_once, repo_path):
    """Return a copy of that vault, which a test may change."""
    shutil.copytree(made_once, repo_path, symlinks=True)
    return TableVault(repo_path, AUTHOR)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Start one headless Chromium for a module."""
    with started(tmp_path_factory.mktemp("chromium")) as chromium:
        yield chromium


EMPTY = {"meta", "input", "br"}


class Elements(html.parser.HTMLParser):
    """Elements of a page with their attributes; one that is not closed rightly is an error."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.open = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def named(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture
def page(repo_path, tmp_path):
    """Write a report; return its text after checking that it is sound."""

    def write_page(table="", path="report.html"):
        written = Path(TableVault(repo_path, AUTHOR).report(tmp_path / path, table))
        text = written.read_text("utf-8")
        check_sound(text)
        return text

    return write_page


def check_sound(text):
    """Assert that elements are closed, ids unique, links lead somewhere, nothing is loaded."""
    elements = Elements(text)
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    for link in elements.named("a"):
        assert link["href"].removeprefix("#") in ids, link
    assert {name for name, _ in elements.found} <= {
        *("html", "head", "meta", "title", "style", "script", "body", "header", "main", "footer"),
        *("section", "nav", "h1", "h2", "h3", "p", "a", "span", "b", "i", "small", "code", "pre"),
        *("div", "ul", "li", "dl", "dt", "dd", "table", "caption", "thead", "tbody", "tr", "th"),
        *("td", "details", "summary", "figure", "figcaption", "svg", "g", "path", "rect", "text"),
        *("label", "input", "time", "ins", "del"),
    }
    assert len(elements.named("script")) == len(elements.named("style")) == 1
    for _, attributes in elements.found:
        assert not {"style", "src"} & attributes.keys()
        assert not [name for name in attributes if name.startswith("on")]
    return elements
