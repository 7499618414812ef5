"""What commits mean for the index, in whatever order they are folded."""

from __future__ import annotations

import random
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault.history.catalog.catalog import Index
from tablevault.history.catalog.fold import fold_commit, fold_commits
from tablevault.history.catalog.schema import SCHEMA, TABLES
from tablevault.history.git.trees import Put
from tablevault.names import TableId

FACTS = [name for name in TABLES if name not in {"seen", "folded"}]


@pytest.fixture
def story(chronicle):
    """Two tables, merges, deletions, renames, and a side branch that is merged late."""
    chronicle.create_table("a", "A")
    chronicle.materialize("a", "A", "base_1")
    side = "refs/heads/side"
    chronicle.commit(("Process", "on the side"), ref=side)
    chronicle.materialize("a", "A", "side_2", ref=side)
    chronicle.create_table("b", "B")
    chronicle.materialize("b", "B", "base_3", ("Deactivates", "base_1"))
    chronicle.commit(
        ("Operation", "deactivate_instances"),
        ("Process", "child"),
        ("Parent-Process", "make base_5"),
        ("Deactivates", "base_3"),
    )
    chronicle.materialize("b", "B", "base_5", ("Reactivates", "base_3"))
    chronicle.delete("base_1")
    chronicle.commit(("Process", "merge"), merged=[chronicle.repository.tip(side)])
    chronicle.rename_table("b", "c", "B")
    chronicle.rename_table("c", "b", "B")
    chronicle.delete("A")
    return chronicle


def commits(repository):
    """Return all commits, oldest first."""
    handle = repository.handle
    walker = handle.walk(handle.references["refs/heads/main"].target)
    return [repository.commit(str(commit.id)) for commit in walker][::-1]


def facts(connection):
    """Read all that was folded; a process is named by several commits, each of which will do."""
    found = {name: set(connection.execute(f"SELECT * FROM {name}")) for name in FACTS}
    found["processes"] = {row[0] for row in found["processes"]}
    return found


def folded(repository, order):
    connection = sqlite3.connect(":memory:")
    connection.executescript(SCHEMA)
    for commit in order:
        fold_commit(connection, repository, commit)
    found = facts(connection)
    connection.close()
    return found


def test_the_order_of_commits_does_not_matter(story):
    every = commits(story.repository)
    expected = folded(story.repository, every)
    assert len(expected["instances"]) == 4
    for seed in range(20):
        shuffled = random.Random(seed).sample(every, len(every))
        assert folded(story.repository, shuffled) == expected


def test_folding_a_commit_twice_says_nothing_new(story):
    every = commits(story.repository)
    assert folded(story.repository, every + every) == folded(story.repository, every)


def test_every_commit_is_folded_once_however_it_is_reached(story):
    connection = sqlite3.connect(":memory:")
    connection.executescript(SCHEMA)
    main = story.repository.main()
    side = story.repository.tip("refs/heads/side")
    for tips in ([side], [main], [main, side], []):
        fold_commits(connection, story.repository, tips)
    count = connection.execute("SELECT count(*) FROM folded").fetchone()[0]
    assert count == len(commits(story.repository))
    assert facts(connection) == folded(story.repository, commits(story.repository))
    connection.close()


@pytest.mark.parametrize(
    "named",
    [
        {"Instance": "../../x_1"},
        {"Instance": "base_../../x"},
        {"Instance": "x"},
        {"Instance": "other_1"},
        {"Instance": "base_a b~c"},
        {"Instance": "TEMP_base"},
        {"Version": "../..", "Instance": "../.._1"},
        {"Table": "../.."},
        {"Table": ""},
    ],
    ids=str,
)
def test_an_instance_that_cannot_be_called_so_is_none(chronicle, named):
    chronicle.create_table("a", "A")
    said = {"Table": "a", "Version": "base", "Table-Id": "A", "Instance": "base_1", "Time": "2026"}
    chronicle.commit(*(said | named).items())
    index = Index(chronicle.repository, chronicle.repository.git_dir / "tablevault/i.sqlite")
    assert index.existing() == []


def active(chronicle):
    """Return the active instances of table A."""
    index = Index(chronicle.repository, chronicle.repository.git_dir / "tablevault/i.sqlite")
    return [item.instance_id for item in index.instances(TableId("A")) if item.active]


def test_what_a_process_deactivated_it_may_activate_again(chronicle):
    chronicle.create_table("a", "A")
    chronicle.materialize("a", "A", "base_1")
    child = [("Operation", "deactivate_instances"), ("Process", "c"), ("Deactivates", "base_1")]
    chronicle.commit(*child, ("Parent-Process", "make base_2"))
    assert active(chronicle) == []
    chronicle.materialize("a", "A", "base_2", ("Reactivates", "base_1"))
    assert active(chronicle) == ["base_1", "base_2"]


def test_what_another_process_deactivated_stays_inactive(chronicle):
    chronicle.create_table("a", "A")
    chronicle.materialize("a", "A", "base_1")
    chronicle.materialize("a", "A", "base_2", ("Deactivates", "base_1"))
    child = [("Operation", "deactivate_instances"), ("Process", "c"), ("Deactivates", "base_1")]
    chronicle.commit(*child, ("Parent-Process", "make base_3"))
    chronicle.materialize("a", "A", "base_3", ("Reactivates", "base_1"))
    assert active(chronicle) == ["base_2", "base_3"]


steps = st.lists(
    st.tuples(
        st.sampled_from(["make", "delete", "deactivate", "revive", "rename", "plain"]),
        st.booleans(),
    ),
    max_size=6,
)


@given(steps)
def test_folding_step_by_step_is_folding_from_nothing(new_repository, chronicle_of, steps):
    chronicle = chronicle_of(new_repository())
    repository = chronicle.repository
    state = repository.git_dir / "tablevault"
    stepwise = Index(repository, state / "stepwise.sqlite")
    chronicle.create_table("a", "A")
    made = ["base_0"]
    for number, (step, looks) in enumerate(steps, 1):
        match step:
            case "make":
                made.append(f"base_{number}")
                chronicle.materialize("a", "A", made[-1])
            case "delete":
                chronicle.delete(made[number % len(made)])
            case "deactivate":
                chronicle.commit(("Deactivates", made[-1]))
            case "revive":
                chronicle.commit(("Reactivates", made[-1]))
            case "rename":
                chronicle.rename_table("a", f"a{number}", "A")
            case "plain":
                chronicle.commit(edits=[Put(path="f", data=b"%d" % number)])
        if looks:
            stepwise.catch_up()
    at_once = Index(repository, state / "at-once.sqlite")
    assert at_once.instances(TableId("A")) == stepwise.instances(TableId("A"))
    assert facts(at_once._file.connection()) == facts(stepwise._file.connection())
    for index in (at_once, stepwise):
        index._file.close()


def test_a_deep_history_is_folded_without_recursion(chronicle, tmp_path):
    tip = chronicle.repository.main()
    for number in range(1500):
        handle = chronicle.repository.handle
        person = handle[tip].author
        tip = str(
            handle.create_commit(None, person, person, str(number), handle[tip].tree_id, [tip])
        )
    connection = sqlite3.connect(":memory:")
    connection.executescript(SCHEMA)
    fold_commits(connection, chronicle.repository, [tip])
    assert connection.execute("SELECT count(*) FROM folded").fetchone() == (1501,)
    connection.close()


def test_artifacts_count_for_the_instance_that_owns_the_shared_folder(chronicle, pointer_of):
    chronicle.create_table("a", "A", artifact_instance="base_2")
    pointer = pointer_of(b"picture")
    artifact = Put(path="tables/a/artifacts/x.png", data=pointer.encode())
    chronicle.commit(edits=[artifact])
    for name in ("base_1", "base_2"):
        chronicle.materialize("a", "A", name)
    index = Index(chronicle.repository, chronicle.repository.git_dir / "tablevault/i.sqlite")
    assert index.objects_of("base_1") == {pointer_of(b"base_1").oid}
    assert index.objects_of("base_2") == {pointer_of(b"base_2").oid, pointer.oid}


def test_artifacts_of_a_version_count_for_its_instance(chronicle, pointer_of):
    chronicle.create_table("a", "A")
    pointer = pointer_of(b"picture")
    chronicle.commit(edits=[Put(path="tables/a/base/artifacts/sub/x", data=pointer.encode())])
    chronicle.materialize("a", "A", "base_1")
    index = Index(chronicle.repository, chronicle.repository.git_dir / "tablevault/i.sqlite")
    assert index.objects_of("base_1") == {pointer_of(b"base_1").oid, pointer.oid}
