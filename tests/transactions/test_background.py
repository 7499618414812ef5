"""A process is handed over, and what becomes of it when that fails."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest

from tablevault.errors import TVArgumentError, TVProcessError
from tablevault.files.locks import is_held, locked, take_lock
from tablevault.names import ProcessId
from tablevault.transactions import background

P = ProcessId("p")


class DiedError(BaseException):
    """What a crash looks like from within."""


@pytest.fixture
def died(begin, parts):
    """Leave the record of a process that died before its commit."""
    with pytest.raises(DiedError), begin(process_id="p"):
        raise DiedError
    return parts.files.read(P)


def give_up(parts, record):
    error = background._give_up(parts, record, parts.log_file(P), "why")
    assert 'Process "p" does not run in the background: why.' in error.message


def test_a_process_is_taken_over_with_its_lock(died, parts):
    parts.files.handover_file(P).touch()
    lock = background._take_over(parts.files, died)
    assert is_held(parts.files.lock_file(P))
    assert not parts.files.handover_file(P).exists()
    lock.release()


def test_a_process_that_somebody_took_up_meanwhile_is_not_taken_over(died, parts):
    handed = replace(died, updated_at=died.updated_at - 1)
    with pytest.raises(TVProcessError, match="no longer what was handed over"):
        background._take_over(parts.files, handed)
    assert parts.files.read(P) == died
    assert not parts.files.is_alive(P)


def test_who_does_not_start_is_taken_back(died, parts):
    give_up(parts, died)
    assert parts.files.read(P) is None
    assert parts.files.remembers("p")


def test_who_has_done_work_stays_paused(died, parts):
    parts.files.write(replace(died, plan={"rows": 1}))
    give_up(parts, died)
    assert parts.files.read(P).error[0] == "TVProcessError"


def test_what_has_happened_meanwhile_is_not_taken_back(begin, plan, parts):
    with pytest.raises(DiedError), begin(process_id="p") as process:
        process.publish(plan(process))
        raise DiedError
    give_up(parts, process.record)
    assert parts.files.read(P) is None
    assert not parts.files.remembers("p")


def test_who_runs_after_all_is_left_alone(died, parts, monkeypatch):
    monkeypatch.setattr(background, "_LOOK_S", 0.0)
    with locked(parts.files.lock_file(P)):
        give_up(parts, died)
    assert parts.files.read(P) == died


def test_whose_files_are_not_closed_yet_is_waited_for(died, parts, monkeypatch):
    lock = take_lock(parts.files.lock_file(P))
    monkeypatch.setattr(background.time, "sleep", lambda _: lock.release())
    give_up(parts, died)
    assert parts.files.read(P) is None


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"error": "TVArgumentError", "message": "x"}, TVArgumentError),
        ({"error": "TVArgumentError", "message": "x", "facts": {"row": 1}}, TVArgumentError),
        ({"error": "ValueError", "message": "x"}, TVProcessError),
        ({"error": "said", "message": "x"}, TVProcessError),
    ],
)
def test_what_the_other_interpreter_found_wrong_is_raised(said, kind, tmp_path):
    with pytest.raises(kind, match="x"):
        background._raise(said, P, tmp_path / "log")


def test_the_last_words_are_the_last_line_if_anything_was_printed(tmp_path):
    log = tmp_path / "log"
    assert background._last_words(log) == ""
    log.write_text("\n")
    assert background._last_words(log) == ""
    log.write_text("one\ntwo\n\n")
    assert background._last_words(log) == "It said: two"


def test_what_ends_the_interpreter_ends_its_session(monkeypatch):
    ended = []
    monkeypatch.setattr(os, "killpg", lambda *those: ended.append(those))
    before = signal.getsignal(signal.SIGUSR1)
    background._end_all(signal.SIGUSR1, None)
    assert ended == [(os.getpgrp(), signal.SIGUSR1)]
    signal.signal(signal.SIGUSR1, before)
