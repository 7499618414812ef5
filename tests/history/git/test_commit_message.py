"""Commit messages, held against git interpret-trailers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault.history.git.commit_message import Message, decode_message, one_line, trailers

keys = st.from_regex(r"Vault-[A-Z][a-z]{1,8}(-[A-Z][a-z]{1,8})?", fullmatch=True)
values = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=80).map(
    lambda text: " ".join(text.splitlines()).strip() or "x"
)
subjects = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).map(
    lambda text: one_line(text.replace("\0", "")) or "x"
)
bodies = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")).map(
    lambda text: text.replace("\r", "")
)


def parsed_by_git(git, path, message):
    """Return the trailers as git reads them from the commit message."""
    said = git(path, "interpret-trailers", "--parse", text=message.encode())
    # Keys and values as bytes of lines: a value may hold what splitlines() takes for a break.
    return [tuple(line.split(": ", 1)) for line in said.split("\n")[:-1]]


@given(subjects, st.lists(st.tuples(keys, values), min_size=1, max_size=6))
def test_git_parses_the_trailers(git, sealed, subject, pairs):
    message = Message(subject=subject, trailers=tuple(pairs))
    assert parsed_by_git(git, sealed, message) == [
        (key, value.strip(" \t")) for key, value in pairs
    ]


@pytest.mark.parametrize(
    "body",
    [
        "A plain one.",
        "Two\nlines.\n",
        "Two\n\nparagraphs.",
        "Signed-off-by: somebody",
        "a\n---\nb",
        "---",
        "\n\n",
        "Vault-Process: forged",
        "# a comment",
        "diff --git a/x b/x",
    ],
)
def test_no_body_hides_or_forges_a_trailer(git, sealed, body):
    message = Message(subject="s", body=body, trailers=(("Vault-Process", "p"),))
    assert parsed_by_git(git, sealed, message) == [("Vault-Process", "p")]
    assert decode_message(message.encode()).trailers == (("Vault-Process", "p"),)


@given(subjects, st.lists(st.tuples(keys, values), max_size=6), bodies)
def test_a_message_is_read_as_it_was_written(subject, pairs, body):
    message = Message(subject=subject[:150], trailers=(*pairs, ("Vault-Time", "now")), body=body)
    found = decode_message(message.encode())
    assert found.subject == one_line(subject[:150])
    assert found.trailers == message.trailers


def test_trailers_survive_a_commit_of_stock_git(git, tmp_path):
    message = Message(subject="s", body="b", trailers=(("Vault-Process", "two  blanks"),))
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-F", "-", text=message.encode())
    git(tmp_path, "commit", "-q", "--amend", "--no-edit", "--allow-empty", "-s")
    said = git(tmp_path, "log", "-1", "--format=%B")
    assert decode_message(said).first("Vault-Process") == "two  blanks"


@pytest.mark.parametrize(
    "process_id",
    ["a\nb", "Vault-Process: x\n\nb", " a ", '"', '"a"', "\0", "a\u2028b", '"a\n', "é/_."],
)
@pytest.mark.parametrize("key", ["Vault-Process", "Vault-Parent-Process", "Vault-Undoes"])
def test_any_id_of_a_process_is_read_as_it_was_written(git, sealed, process_id, key):
    message = Message(subject="s", trailers=((key, process_id), ("Vault-Table", "t")))
    assert decode_message(message.encode()) == message
    ((name, _), table) = parsed_by_git(git, sealed, message)
    assert (name, table) == (key, ("Vault-Table", "t"))


def test_a_quote_that_is_no_json_stands_for_itself():
    for value in ('"a', '"a" b', '"'):
        text = f"s\n\nVault-Process: {value}\n"
        assert decode_message(text).first("Vault-Process") == value


def test_a_line_break_in_a_value_becomes_a_blank():
    text = Message(subject="s", trailers=(("Vault-Table", "a\nVault-Deletes: b"),)).encode()
    assert decode_message(text).trailers == (("Vault-Table", "a Vault-Deletes: b"),)


def test_a_subject_is_one_line_of_bounded_length():
    text = Message(subject="a\n\nb" + "x" * 500).encode()
    assert text.startswith("a bxxx")
    assert len(text.splitlines()[0]) == 200
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "subject",
        "subject\n",
        "Vault-Process: p\n",
        "subject\nVault-Process: p\n",
        "subject\n\nVault-Process: p\n\nAnd more text.\n",
        "subject\n\n  Vault-Process: p\n",
        "subject\n\nvault-process: p\n",
        "subject\n\nVault-Process:p\n",
    ],
)
def test_what_is_no_last_paragraph_of_trailers_is_none(text):
    assert decode_message(text).trailers == ()


def test_a_message_of_the_user_with_other_trailers_beside_keeps_ours():
    text = "s\n\nbody\n\nSigned-off-by: A <a@b>\nVault-Process: p\nVault-Depends-On: a/b\n\n\n"
    assert decode_message(text).trailers == (("Vault-Process", "p"), ("Vault-Depends-On", "a/b"))


def test_first_and_every_look_trailers_up():
    message = Message(subject="s", trailers=(("Vault-A", "1"), ("Vault-B", "2"), ("Vault-A", "3")))
    assert message.first("Vault-A") == "1"
    assert message.every("Vault-A") == ("1", "3")
    assert message.first("Vault-C") == ""
    assert message.every("Vault-C") == ()


def test_empty_trailers_are_left_out():
    assert trailers([("Process", "p"), ("Parent-Process", "")]) == (("Vault-Process", "p"),)
