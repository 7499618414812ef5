"""Builders as they are written."""

from __future__ import annotations

import pytest

from tablevault.engine.builders.document import read_written

TEXT = """# 日本語 😀
builder_type: ColumnBuilder
changed_columns: [mood, "why"]
code_module: model
python_function: ask
arguments:
  temperature: 0.20
  prompt: |
    Read 日本 😀 first.

      Then say <<self.text[index]>>.
  messages:
    - role: user
      content: |
        Hi
    - end
  stop: [a, "b"]
  'n': "yes"
"""


def test_what_a_builder_does_is_read_from_its_text():
    written = read_written(TEXT)
    assert (written.module, written.function) == ("model", "ask")
    assert written.columns == ("mood", "why")


def test_values_are_what_the_file_holds():
    assert dict(read_written(TEXT).arguments) == {
        "temperature": "0.20",
        "prompt": "Read 日本 😀 first.\n\n  Then say <<self.text[index]>>.",
        "messages": "- role: user\n  content: |\n    Hi\n- end",
        "stop": '[a, "b"]',
        "n": "yes",
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[not a mapping",
        "- a",
        "a",
        "\0",
        "*nobody",
        "? [a]\n: b",
        "arguments: 3",
        "a: 1" * 600_000,
    ],
    ids=["empty", "broken", "list", "scalar", "nul", "alias", "key", "number", "long"],
)
def test_text_that_is_no_builder_says_nothing(text):
    written = read_written(text)
    assert not any((written.module, written.function, written.columns, written.arguments))


def test_an_alias_that_repeats_itself_costs_nothing():
    lines = ["arguments:", "  a0: &a0 [x, x]"]
    lines += [f"  a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    assert len(read_written("\n".join(lines)).arguments) == 60
