"""A text that names calls is Python in Python, and shell at a prompt."""

from __future__ import annotations

import pickle

from tablevault.cli.errors import at_prompt
from tablevault.errors import TVArgumentError
from tablevault.wording import (
    BLANK,
    Call,
    Either,
    OperationName,
    Parameter,
    Wording,
    decoded,
    encoded,
)

HINT = Wording(
    "Make one: ",
    Call("create_instance", table_name="a b", version=BLANK),
    ", with ",
    Parameter("create_instance", "external_edit"),
    " of ",
    OperationName("create_instance"),
    Either(" here", " there"),
    ".",
)


def test_a_hint_is_python_in_python_and_shell_at_the_prompt():
    assert HINT == (
        "Make one: create_instance('a b', version=...), with external_edit of create_instance here."
    )
    assert HINT.written(at_prompt(["--db-dir", "v"])) == (
        "Make one: `tablevault --db-dir v create-instance 'a b' --version VERSION`, "
        "with --external-edit of create-instance there."
    )


def test_a_hint_outlives_processes():
    error = pickle.loads(pickle.dumps(TVArgumentError("No.", HINT)))
    for hint in (error.hint, decoded(encoded(HINT))):
        assert hint == HINT
        assert hint.written(at_prompt()) == HINT.written(at_prompt())
