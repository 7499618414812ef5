"""Settings of builders: what people set, and no references."""

from __future__ import annotations

import pytest

from tablevault.queries.builder_settings import builder_settings

HEAD = "python_function: ask\ncode_module: model\nchanged_columns: [a]\narguments:\n"


def test_an_argument_with_words_of_its_own_is_shown():
    text = f"{HEAD}  prompt: 'Judge <<self.a[index]>> kindly'\n  model: small\n"
    found = builder_settings("b", "id", text)
    assert found.arguments == (("prompt", "Judge <<self.a[index]>> kindly"), ("model", "small"))
    assert (found.function, found.columns, found.more_arguments) == ("model.ask", ("a",), 0)


@pytest.mark.parametrize(
    "value",
    ["<<t>>", "<<self.a[index]>>", '"<<t.a[k::<<self.k[index]>>]>>"', "'<<t.a[k::''x'']>>'"],
)
def test_an_argument_that_passes_a_reference_on_is_left_out(value):
    assert builder_settings("b", "id", f"{HEAD}  a: {value}\n").arguments == ()


def test_two_references_are_words_of_their_own():
    assert builder_settings("b", "id", f"{HEAD}  a: <<t.a[0]>><<t.b[0]>>\n").arguments


def test_many_arguments_are_counted():
    text = HEAD + "".join(f"  a{number}: {number}\n" for number in range(15))
    found = builder_settings("b", "id", text)
    assert (len(found.arguments), found.more_arguments) == (12, 3)
