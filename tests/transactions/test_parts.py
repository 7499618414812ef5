"""What is noted while refs move, for the case that whoever moves them dies."""

from __future__ import annotations

import contextlib

import pytest

from tablevault.errors import TVLockError
from tablevault.history.git.refs import RefMove
from tablevault.names import MAIN
from tablevault.transactions import parts as parts_module
from tablevault.transactions.stopping import cancel_of, cancellable
from tests.looking import LOCK_LEFT

LONG = "refs/heads/temp/a/" + "v" * 80


class DiedError(BaseException):
    """Ends a process amid a step."""


@pytest.fixture
def die_moving(parts, monkeypatch):
    """Die while refs move, leaving git's lock files on them and the note as a kill leaves it."""

    def die(*moves):
        note, kept = parts.state / "moving", []
        with monkeypatch.context() as patch:

            def move(*_):
                for each in moves:
                    lock = parts.repository.git_dir / f"{each.ref}.lock"
                    lock.parent.mkdir(parents=True, exist_ok=True)
                    lock.touch()
                kept.append(note.read_bytes())
                raise DiedError

            patch.setattr(parts_module, "move_refs", move)
            with pytest.raises(DiedError), parts.commit_lock():
                parts.move(moves, "reason")
        note.write_bytes(kept[0])

    return die


@pytest.fixture
def to_main(parts):
    """Move ``main`` to where it is."""
    tip = parts.repository.main()
    return RefMove(ref=MAIN, old=tip, new=tip)


def locks(parts):
    return sorted(path.name for path in parts.repository.git_dir.rglob("refs/**/*.lock"))


def test_git_locks_of_the_dead_are_removed_and_told(parts, die_moving, to_main, caplog):
    die_moving(to_main, RefMove(ref=LONG, old=None, new=to_main.new))
    assert len(locks(parts)) == 2
    with parts.commit_lock():
        assert locks(parts) == []
    assert len(caplog.messages) == 2
    assert all(message.endswith(LOCK_LEFT) for message in caplog.messages)


def test_a_note_that_names_no_ref_removes_nothing(parts, to_main):
    with parts.commit_lock():
        parts.move([to_main], "reason")
    names = ["../precious", "refs/../../precious", "refs/heads/\N{SNOWMAN}/../../../../precious"]
    precious = parts.repository.path / "precious.lock"
    precious.touch()
    note = parts.state / "moving"
    note.write_text("".join(f"{name} \N{SNOWMAN}\n" for name in names), "utf-8")
    with parts.commit_lock():
        assert precious.exists()


def test_only_the_last_note_counts(parts, die_moving, to_main):
    with parts.commit_lock():
        parts.move([to_main, RefMove(ref=LONG, old=None, new=to_main.new)], "reason")
    die_moving(to_main)
    with (parts.state / "moving").open("a") as note:
        note.write(f"\n{LONG} x\n")  # as releases before this one left it
    other = parts.repository.git_dir / f"{LONG}.lock"
    other.touch()
    with parts.commit_lock():
        assert locks(parts) == [other.name]


def test_who_died_while_it_moved_nothing_removes_nothing(parts, to_main):
    with parts.commit_lock():
        parts.move([to_main], "reason")
    lock = parts.repository.git_dir / f"{MAIN}.lock"
    lock.touch()
    with parts.commit_lock():
        assert lock.exists()


def test_a_process_is_found_under_its_id_also_after_an_earlier_one_has_gone(tmp_path):
    with contextlib.ExitStack() as first, contextlib.ExitStack() as second:
        first.enter_context(cancellable(tmp_path, "p"))
        later = second.enter_context(cancellable(tmp_path, "p"))
        first.close()
        assert cancel_of(tmp_path, "p") is later
        second.close()
        assert cancel_of(tmp_path, "p") is None


def test_a_lock_that_may_be_another_programs_keeps_the_note(parts, die_moving, to_main):
    die_moving(to_main)
    lock = parts.repository.git_dir / f"{MAIN}.lock"
    lock.write_text("of another program")
    with parts.commit_lock():
        assert lock.exists()
        assert (parts.state / "moving").exists()
    lock.unlink()
    with parts.commit_lock():
        assert not (parts.state / "moving").exists()


def test_a_commit_lock_that_is_never_free_is_a_clear_error(parts, monkeypatch):
    def give_up(path, timeout_s):
        assert timeout_s >= parts.lock_timeout_s
        raise TimeoutError

    monkeypatch.setattr(parts_module, "take_lock", give_up)
    with pytest.raises(TVLockError, match="unusually long"), parts.commit_lock():
        pass
