"""Every error: what it says, what it carries, and that it crosses processes."""

from __future__ import annotations

import copy
import errno
import inspect
import multiprocessing
import pickle

import pytest

from tablevault import errors
from tablevault.errors import (
    TableReferenceError,
    TableVaultError,
    TVArgumentError,
    TVLockError,
    reason_of,
)
from tablevault.names import check_table_name

KINDS = sorted(
    (
        kind
        for kind in vars(errors).values()
        if inspect.isclass(kind) and issubclass(kind, TableVaultError)
    ),
    key=lambda kind: kind.__name__,
)
every_kind = pytest.mark.parametrize("kind", KINDS, ids=[kind.__name__ for kind in KINDS])


@every_kind
def test_an_error_is_the_same_after_pickle_and_copy(kind):
    error = kind("Wrong.", "Mend it.", table="t", line=3, holder=None, text="a\nbc", start=2, end=4)
    error.add_note("In row 3.")
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(other) is kind
        assert (str(other), other.message, other.hint, other.facts) == (
            str(error),
            error.message,
            error.hint,
            error.facts,
        )
        assert other.table == "t"
        assert other.holder is None
        assert other.__notes__ == ["In row 3."]


def test_every_error_prints_message_and_hint(capsys):
    for kind in KINDS:
        print(f"{kind.__name__}: {kind('What was wrong.', 'What to do next.')}")  # noqa: T201
    printed = capsys.readouterr().out.splitlines()
    assert printed == [f"{kind.__name__}: What was wrong. What to do next." for kind in KINDS]


@every_kind
def test_an_error_says_in_its_first_line_what_it_is_for(kind):
    assert (kind.__doc__ or "").split("\n")[0].endswith((".", ";"))


def test_an_error_without_a_hint_prints_the_message_alone():
    assert str(TVLockError("Held.")) == "Held."


def test_what_is_no_fact_is_no_attribute():
    error = TVLockError("Held.", holder="p")
    assert error.holder == "p"
    with pytest.raises(AttributeError, match="TVLockError has no attribute 'author'"):
        _ = error.author
    assert not hasattr(error, "__wrapped__")


def test_an_error_with_nothing_in_it_yet_has_no_attributes():
    blank = TableVaultError.__new__(TableVaultError)
    assert not hasattr(blank, "table")
    assert not hasattr(blank, "facts")


def test_an_error_crosses_a_process_pool():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        with pytest.raises(TVArgumentError, match="is reserved") as caught:
            pool.apply(check_table_name, ("artifacts",))
        assert caught.value.table == "artifacts"


@pytest.mark.parametrize(
    ("text", "start", "end", "marked"),
    [
        ("<<a.b>>", 2, 3, ["    <<a.b>>", "      ^"]),
        ("<<a.b>>", 2, 5, ["    <<a.b>>", "      ^~~"]),
        ("one\ntwo three\nfour", 8, 13, ["    two three", "        ^~~~~"]),
        ("one\ntwo", 4, 99, ["    two", "    ^~~"]),
        ("abc", 3, 3, ["    abc", "       ^"]),
        ("", 0, 0, ["    ", "    ^"]),
    ],
)
def test_a_reference_error_marks_the_place(text, start, end, marked):
    error = TableReferenceError(
        "Unknown.", builder="q", field="arguments.x", text=text, start=start, end=end
    )
    assert str(error).splitlines() == [
        "Unknown.",
        '  in builder "q", field arguments.x',
        *marked,
    ]


def test_a_reference_error_without_a_place_is_like_any_other():
    assert str(TableReferenceError("Unknown.", "Look.")) == "Unknown. Look."


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "a/b"), 'Permission denied: "a/b"'),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (FileNotFoundError(errno.ENOENT, "No such file", b"\xff"), 'No such file: "\udcff"'),
        (OSError("Not a Parquet file"), "Not a Parquet file"),
        (KeyError("x"), "'x'"),
    ],
)
def test_a_reason_names_the_path_and_no_number(error, text):
    assert reason_of(error) == text
