"""A Change into commits and ref moves."""

from __future__ import annotations

import pytest

from tablevault.history.commits.change import (
    BranchChange,
    Change,
    RemovedBranch,
    Signing,
    write_by_hand,
    write_change,
)
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.commit_message import Message
from tablevault.history.git.refs import RefMove, move_refs
from tablevault.history.git.trees import Put, Remove
from tablevault.names import MAIN, TempRef

TEMP = TempRef(table="t", version="base")
SIGNING = Signing(author="Ana", at=1_700_000_000.0)
INSTANCE = "tables/t/base/instance.yaml"


@pytest.fixture
def repository(new_repository):
    return new_repository()


def write(repository, change, base=None):
    main = repository.main()
    return write_change(repository, change, main=main, base=base or main, signing=SIGNING)


def branch(tip=None, **facts):
    facts = {"edits": (Put(path=INSTANCE, data=b"1"),), "message": Message(subject="b")} | facts
    return BranchChange(temp=TEMP, tip=tip, **facts)


def publish(repository, change, base=None):
    """Write a change and move the refs; give its draft."""
    draft = write(repository, change, base)
    move_refs(repository, draft.moves, "r")
    return draft


def parents(repository, commit):
    return list(repository.commit(commit).parents)


def test_nothing_is_visible_before_the_refs_move(repository, git):
    before = git(repository.path, "for-each-ref")
    draft = write(
        repository, Change(message=Message(subject="m"), main=(Put(path="f", data=b"1"),))
    )
    assert git(repository.path, "for-each-ref") == before
    assert Snapshot(repository, draft.commit).blob("f") == b"1"


def test_edits_of_main_are_one_commit_on_its_tip(repository):
    main = repository.main()
    draft = write(
        repository, Change(message=Message(subject="m"), main=(Put(path="f", data=b"1"),))
    )
    assert draft.moves == (RefMove(ref=MAIN, old=main, new=draft.commit),)
    assert parents(repository, draft.commit) == [main]


def test_a_change_of_main_without_edits_is_a_commit_all_the_same(repository):
    draft = write(repository, Change(message=Message(subject="m"), main=()))
    assert draft.moves[0].ref == MAIN
    assert draft.commit != repository.main()


def test_a_new_temporary_instance_is_a_branch_at_the_tip_of_main(repository):
    main = repository.main()
    draft = write(repository, Change(message=Message(subject="m"), branches=(branch(),)))
    assert draft.moves == (RefMove(ref=TEMP.ref, old=None, new=draft.commit),)
    assert parents(repository, draft.commit) == [main]


def test_an_edit_of_a_temporary_instance_continues_its_branch(repository):
    tip = publish(repository, Change(message=Message(subject="m"), branches=(branch(),))).commit
    edit = branch(tip, edits=(Put(path="x", data=b"2"),))
    draft = publish(repository, Change(message=Message(subject="m"), branches=(edit,)))
    assert parents(repository, draft.commit) == [tip]
    assert Snapshot(repository, draft.commit).blob(INSTANCE) == b"1"


def test_a_fresh_start_keeps_the_old_draft_in_history(repository):
    tip = publish(repository, Change(message=Message(subject="m"), branches=(branch(),))).commit
    again = branch(tip, fresh=True, edits=(Put(path="x", data=b"2"),))
    draft = publish(repository, Change(message=Message(subject="m"), branches=(again,)))
    assert parents(repository, draft.commit) == [repository.main(), tip]
    assert Snapshot(repository, draft.commit).blob(INSTANCE) is None


def test_a_merge_takes_the_folder_of_the_instance_whole_and_all_else_from_main(repository, git):
    other = "tables/t/base/builders/old.yaml"
    first = (Put(path=other, data=b"old"), Put(path="shared", data=b"1"))
    publish(repository, Change(message=Message(subject="m"), main=first))
    made = branch(
        edits=(Put(path=INSTANCE, data=b"1"), Remove(path=other), Put(path="x", data=b""))
    )
    tip = publish(repository, Change(message=Message(subject="m"), branches=(made,))).commit
    publish(repository, Change(message=Message(subject="m"), main=(Put(path="shared", data=b"2"),)))
    main = repository.main()
    merged = branch(tip, merged=True, edits=(Put(path=INSTANCE, data=b"2"),))
    tag = "refs/tags/t/base_1"
    draft = publish(
        repository,
        Change(message=Message(subject="merge"), main=(), branches=(merged,), tag=tag),
    )
    snapshot = Snapshot(repository, draft.commit)
    assert snapshot.blob(INSTANCE) == b"2"
    assert snapshot.blob(other) is None
    assert snapshot.blob("shared") == b"2"
    assert snapshot.blob("x") is None
    assert parents(repository, draft.commit)[0] == main
    assert parents(repository, parents(repository, draft.commit)[1]) == [tip]
    assert draft.moves[0].ref == MAIN
    assert repository.tip(TEMP.ref) is None
    assert repository.tip(tag) == draft.commit
    assert not git(repository.path, "fsck", "--strict", "--no-dangling", "--no-progress")


def test_what_was_edited_by_hand_is_built_upon(repository):
    tip = publish(repository, Change(message=Message(subject="m"), branches=(branch(),))).commit
    by_hand = write_by_hand(repository, tip, [Put(path="x", data=b"mine")], SIGNING)
    edit = branch(tip, onto=by_hand, edits=(Put(path="y", data=b""),))
    draft = publish(repository, Change(message=Message(subject="m"), branches=(edit,)))
    assert parents(repository, draft.commit) == [by_hand]
    assert Snapshot(repository, draft.commit).blob("x") == b"mine"
    assert repository.commit(by_hand).message.subject == "x: edited by hand"


def test_code_edited_by_hand_reaches_main_even_if_only_a_branch_changes(repository):
    main = repository.main()
    base = write_by_hand(repository, main, [Put(path="code/m.py", data=b"x")], SIGNING)
    draft = publish(repository, Change(message=Message(subject="m"), branches=(branch(),)), base)
    assert draft.moves[0] == RefMove(ref=MAIN, old=main, new=base)
    assert repository.tip(TEMP.ref) == draft.commit
    assert parents(repository, draft.commit) == [base]


def test_a_removed_branch_stays_in_history(repository):
    tip = publish(repository, Change(message=Message(subject="m"), branches=(branch(),))).commit
    removed = RemovedBranch(temp=TEMP, tip=tip, onto=tip)
    main = repository.main()
    draft = publish(repository, Change(message=Message(subject="m"), main=(), removed=(removed,)))
    assert repository.tip(TEMP.ref) is None
    assert parents(repository, draft.commit) == [main, tip]
    assert Snapshot(repository, draft.commit).blob(INSTANCE) is None


def test_a_renamed_branch_carries_its_commits(repository):
    tip = publish(repository, Change(message=Message(subject="m"), branches=(branch(),))).commit
    new = TempRef(table="t2", version="base")
    renamed = BranchChange(
        temp=new, tip=tip, edits=(), message=Message(subject="b"), renamed_from=TEMP
    )
    draft = publish(repository, Change(message=Message(subject="m"), branches=(renamed,)))
    assert repository.temp_refs() == {new.ref: draft.commit}


def test_tags_follow_and_missing_ones_are_no_obstacle(repository):
    main = repository.main()
    move_refs(repository, [RefMove(ref="refs/tags/t/a_1", old=None, new=main)], "r")
    move_refs(repository, [RefMove(ref="refs/tags/t/b_2", old=None, new=main)], "r")
    publish(
        repository,
        Change(
            message=Message(subject="m"),
            main=(),
            retagged=(("refs/tags/t/a_1", "refs/tags/u/a_1"), ("refs/tags/t/x", "refs/tags/u/x")),
            untagged=("refs/tags/t/b_2", "refs/tags/t/gone"),
        ),
    )
    assert repository.refs("refs/tags/") == {"refs/tags/u/a_1": main}


def test_a_tag_that_somebody_set_is_taken_over(repository, git):
    git(repository.path, "tag", "-m", "mine", "t/base_1", "main")
    change = Change(message=Message(subject="m"), main=(), tag="refs/tags/t/base_1")
    draft = publish(repository, change)
    assert repository.tip("refs/tags/t/base_1") == draft.commit
