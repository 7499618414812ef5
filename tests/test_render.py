"""Templates: every value is escaped, and no template opts out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from tablevault.render import environment, escaped

TEMPLATES = sorted((Path(__file__).parents[1] / "tablevault").rglob("*.j2"))


def written(source, **values):
    return environment("tablevault.report").from_string(source).render(values)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("<b title='x'>&\"", "&lt;b title=&#39;x&#39;&gt;&amp;&#34;"),
        ("a\u202eb\x00c\x1b[31m", "a\\u202eb\\x00c\\x1b[31m"),
        ("one\r\ntwo\n<three>", "one\ntwo\n&lt;three&gt;"),
        ("\ud800", "\\ud800"),
        ("日本語 😀", "日本語 😀"),
        ("x" * 2_001, "x" * 2_000 + "…"),
        (Markup("<b>"), "<b>"),
        (None, ""),
        (0, "0"),
    ],
)
def test_a_value_is_text_unless_it_is_markup(value, shown):
    assert written("{{ value }}", value=value) == shown
    assert written('<a title="{{ value }}">', value=value) == f'<a title="{shown}">'


def test_text_is_cut_before_it_is_escaped():
    assert escaped("<" * 10, 3) == "&lt;&lt;&lt;…"


def test_a_name_that_is_missing_is_an_error():
    with pytest.raises(UndefinedError):
        written("{{ missing }}")


@pytest.mark.parametrize("path", TEMPLATES, ids=[each.name for each in TEMPLATES])
def test_no_template_opts_out_of_escaping(path):
    source = path.read_text("utf-8")
    assert source.startswith("{# ")
    assert not re.search(r"\bsafe\b|autoescape|Markup|xmlattr|tojson", source)
    # An attribute without quotes would end at the first blank of a value.
    assert not re.search(r"=\s*\{\{", source)
    assert not re.search(r"<(script|style)[^>]*>(?!\{\{ (script|style) \}\}<)", source)
