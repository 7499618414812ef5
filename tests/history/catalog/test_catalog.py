"""The derived index: quick look-ups that may be lost at any moment."""

from __future__ import annotations

import sqlite3
import threading
import time

import pytest

from tablevault.history.catalog.catalog import Index
from tablevault.history.catalog.operation_log import entries
from tablevault.history.git.refs import RefMove, move_refs
from tablevault.history.git.trees import Put
from tablevault.names import MAIN, TempRef


@pytest.fixture
def path(chronicle):
    return chronicle.repository.git_dir / "tablevault/index.sqlite"


@pytest.fixture
def index(chronicle, path):
    return Index(chronicle.repository, path)


@pytest.fixture
def told(chronicle, monkeypatch):
    """A history with two tables, four instances, a deletion and a rename; without objects."""
    monkeypatch.setenv("GIT_LFS_SKIP_SMUDGE", "1")
    chronicle.create_table("a", "A")
    chronicle.create_table("b", "B")
    chronicle.materialize("a", "A", "base_1")
    chronicle.materialize("a", "A", "other_2")
    chronicle.materialize("a", "A", "base_3", ("Deactivates", "base_1"))
    chronicle.materialize("b", "B", "base_4", ("Success", "false"))
    chronicle.delete("other_2")
    chronicle.rename_table("b", "c", "B")
    return chronicle


def ids(instances):
    return [instance.instance_id for instance in instances]


def test_an_instance_is_found_with_all_that_is_known_of_it(told, index):
    found = index.instance("base_3")
    assert found is not None
    assert (found.table_id, found.table_name, found.version) == ("A", "a", "base")
    assert told.repository.commit(found.commit).message.first("Vault-Instance") == "base_3"
    assert found.materialized_at == told.repository.commit(found.commit).message.first("Vault-Time")
    assert (found.success, found.active, found.deleted_at) == (True, True, "")
    assert index.instance("nowhere") is None


def test_instances_are_listed_oldest_first_without_the_deleted(told, index):
    assert ids(index.instances("A")) == ["base_1", "base_3"]
    assert ids(index.instances("A", "base")) == ["base_1", "base_3"]
    assert ids(index.instances("A", "other")) == []
    assert ids(index.instances("nowhere")) == []


def test_a_deleted_instance_is_still_known(told, index):
    found = index.instance("other_2")
    assert found is not None
    assert found.deleted_by == "Bo"
    assert found.deleted_at


def test_the_instances_of_a_deleted_table_are_deleted(told, index):
    assert index.table_deletion("B") is None
    commit = told.delete("B")
    assert ids(index.instances("B")) == []
    deletion = index.table_deletion("B")
    assert deletion is not None
    assert (deletion[0], deletion[2]) == (commit, "Bo")
    found = index.instance("base_4")
    assert found is not None
    assert found.deleted_by == "Bo"


def test_the_latest_instance_is_the_one_made_last(told, index):
    def latest(table, version="", *, active=False, successful=False):
        found = index.latest(table, version, active=active, successful=successful)
        return found.instance_id if found else None

    assert latest("A") == "base_3"
    assert latest("A", "other") is None
    assert latest("B") == "base_4"
    assert latest("B", successful=True) is None
    assert latest("A", active=True) == "base_3"
    told.materialize("a", "A", "x_5", ("Deactivates", "base_3"), ("Deactivates", "x_5"))
    assert latest("A", active=True) is None
    assert latest("A") == "x_5"


def test_the_current_instances_are_the_last_of_each_version(told, index):
    assert ids(index.current()) == ["base_3", "base_4"]
    told.materialize("a", "A", "other_5")
    told.materialize("a", "A", "base_6")
    assert ids(index.current()) == ["base_4", "other_5", "base_6"]
    told.delete("base_6")
    assert ids(index.current()) == ["base_3", "base_4", "other_5"]
    told.delete("B")
    assert ids(index.current()) == ["base_3", "other_5"]


def test_objects_are_deleted_unless_another_instance_needs_them(told, index, pointer_of):
    def oids(*contents):
        return {pointer_of(content).oid for content in contents}

    told.materialize("a", "A", "x_5", content=b"shared")
    told.materialize("c", "B", "x_6", content=b"shared")
    assert index.deleted_objects() == oids(b"other_2")
    told.delete("x_5")
    assert index.deleted_objects() == oids(b"other_2")
    told.delete("B")
    assert index.deleted_objects() == oids(b"other_2", b"base_4", b"shared")


def test_what_was_deleted_and_the_log_are_found_without_a_look_at_every_instance(told, index):
    def steps():
        """Count the instructions that SQLite runs."""
        connection, found = index._file.connection(), []
        connection.set_progress_handler(lambda: found.append(1) and None, 1)
        assert len(index.deleted_objects()) == 1
        assert len(entries(index.read, limit=2)) == 2
        connection.set_progress_handler(None, 1)
        return len(found)

    def steps_with(numbers):
        """Count them once there are more instances."""
        for number in numbers:
            told.materialize("a", "A", f"base_{number}")
        index.catch_up()
        return steps()

    assert steps_with(range(10, 13)) == steps_with(range(13, 23))


def test_tables_are_found_by_names_they_had(told, index):
    assert index.table_of_deleted("a") == "A"
    assert index.table_of_deleted("b") == "B"
    assert index.table_of_deleted("c") == "B"
    assert index.table_of_deleted("nowhere") is None
    assert index.new_name("b") == "c"
    assert index.new_name("c") == ""
    assert set(index.created_order()) == {"A", "B"}


def test_a_name_used_twice_means_the_table_that_had_it_last(told, index):
    told.delete("A")
    told.create_table("a", "A2")
    assert index.table_of_deleted("a") == "A2"


def test_a_process_is_known_once_it_has_a_commit(told, index):
    found = index.process("make base_1")
    assert found is not None
    assert (found.operation, found.author) == ("write_instance", "Ana")
    assert index.process("nowhere") is None


def test_a_process_on_a_temporary_branch_is_known_too(told, index):
    ref = TempRef(table="a", version="base").ref
    told.commit(("Operation", "create_instance"), ("Process", "p"), ref=ref)
    found = index.process("p")
    assert found is not None
    assert found.operation == "create_instance"


def test_objects_are_needed_as_long_as_one_instance_stands(told, index, pointer_of):
    shared = pointer_of(b"shared").oid
    for number in (7, 8):
        told.materialize("a", "A", f"base_{number}", content=b"shared")
    own = pointer_of(b"base_1").oid
    assert index.objects_of("base_1") == {own}
    assert index.objects_of("base_7") == {shared}
    assert index.still_needed([own, shared, "ab" * 32]) == {own, shared}
    told.delete("base_7")
    assert index.still_needed([shared]) == {shared}
    told.delete("base_8")
    assert index.still_needed([shared, own]) == {own}
    told.delete("A")
    assert index.still_needed([own]) == set()


# -- catching up ----------------------------------------------------------------------------------


def test_plain_commits_in_between_are_passed_over(told, index, git):
    assert len(index.instances("A")) == 2
    git(told.repository.path, "reset", "-q", "--hard")
    git(told.repository.path, "commit", "-q", "--allow-empty", "-m", "by hand")
    told.materialize("a", "A", "base_9")
    assert ids(index.instances("A")) == ["base_1", "base_3", "base_9"]


def test_what_another_process_commits_is_seen_at_once(told, index, path):
    other = Index(told.repository, path)
    for number in range(5):
        told.materialize("a", "A", f"x_{number}")
        assert ids(other.instances("A", "x")) == ids(index.instances("A", "x"))
        assert len(index.instances("A", "x")) == number + 1


@pytest.mark.parametrize("how", ["reset", "amend", "orphan"])
def test_a_rewritten_main_is_folded_from_nothing(told, index, git, how):
    assert ids(index.instances("A")) == ["base_1", "base_3"]
    path = told.repository.path
    git(path, "reset", "-q", "--hard")
    if how == "reset":
        git(path, "reset", "-q", "--hard", "HEAD~4")
        assert ids(index.instances("A")) == ["base_1", "other_2"]
    elif how == "amend":
        git(path, "commit", "-q", "--amend", "--allow-empty", "-m", "nothing is said")
        assert ids(index.instances("A")) == ["base_1", "base_3"]
        assert index.new_name("b") == ""
    else:
        git(path, "checkout", "-q", "--orphan", "fresh")
        git(path, "commit", "-q", "-m", "new")
        git(path, "branch", "-q", "-M", "fresh", "main")
        assert ids(index.instances("A")) == []


def test_a_main_whose_old_commits_were_pruned_is_folded_anew(told, index, git):
    index.catch_up()
    path = told.repository.path
    git(path, "reset", "-q", "--hard", "HEAD~1")
    git(path, "reflog", "expire", "--expire=now", "--all")
    git(path, "gc", "-q", "--prune=now")
    assert index.new_name("b") == ""
    assert ids(index.instances("A")) == ["base_1", "base_3"]


def test_a_tip_read_just_before_somebody_folded_a_newer_one_is_no_rewritten_main(
    told, index, path, monkeypatch
):
    index.catch_up()
    old = told.repository.main()
    told.materialize("a", "A", "base_9")
    Index(told.repository, path).catch_up()
    tips = [old]
    real = told.repository.main
    monkeypatch.setattr(told.repository, "main", lambda: tips.pop() if tips else real())
    continues = []
    real_continues = index._continues
    monkeypatch.setattr(
        index, "_continues", lambda *s: continues.append(real_continues(*s)) or True
    )
    assert ids(index.instances("A")) == ["base_1", "base_3", "base_9"]
    assert continues == [True]


# -- loss -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["deleted", "no database", "emptied", "old shape", "torn"])
def test_a_lost_index_is_made_again(told, index, path, loss):
    index.catch_up()
    if loss != "deleted":
        index._file.close()
    for part in path.parent.glob("index.sqlite*"):
        if loss in {"deleted", "old shape"}:
            part.unlink()
        elif loss == "torn":
            part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
        else:
            part.write_bytes(b"x" * 5000 if loss == "no database" else b"")
    if loss == "old shape":
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE instances (something TEXT)")
        connection.close()
    assert ids(index.instances("A")) == ["base_1", "base_3"]
    assert index.instance("other_2") is not None


def test_an_index_may_be_deleted_between_any_two_look_ups(told, index, path):
    for _ in range(5):
        assert ids(index.instances("A")) == ["base_1", "base_3"]
        for part in path.parent.glob("index.sqlite*"):
            part.unlink()
        assert index.process("make base_1") is not None


def test_threads_that_look_while_it_is_deleted_never_fail(told, path):
    errors = []
    index = Index(told.repository, path)

    def look():
        try:
            for _ in range(25):
                assert ids(index.instances("A")) == ["base_1", "base_3"]
        except Exception as error:  # noqa: BLE001 - shown by the test
            errors.append(error)
        finally:
            index._file.close()

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        path.unlink(missing_ok=True)
        time.sleep(0.03)
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_fold_that_is_interrupted_is_done_again(told, index, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tablevault.history.catalog.fold._fold_table", fail)
        with pytest.raises(KeyboardInterrupt):
            index.catch_up()
    assert ids(index.instances("A")) == ["base_1", "base_3"]


# -- what people commit ---------------------------------------------------------------------------


def test_a_file_committed_around_lfs_is_no_object(told, index):
    told.commit(
        ("Table", "a"),
        ("Table-Id", "A"),
        ("Version", "raw"),
        ("Instance", "raw_1"),
        edits=[Put(path="tables/a/raw/dataframe.parquet", data=b"PAR1" * 999)],
    )
    assert index.objects_of("raw_1") == set()
    assert index.instance("raw_1") is not None


def test_a_broken_document_in_history_breaks_no_look_up(told, index):
    told.commit(edits=[Put(path="tables/a/table.yaml", data=b"a: [")])
    told.materialize("a", "A", "base_9")
    assert ids(index.instances("A")) == ["base_1", "base_3", "base_9"]


def test_trailers_that_say_half_are_harmless(told, index):
    told.commit(("Instance", "x_1"))
    told.commit(("Operation", "create_table"))
    told.commit(("Operation", "rename_table"), ("Table", "z"))
    told.commit(("Instance", "x_2"), ("Table", "../.."), ("Version", "/etc"))
    assert ids(index.instances("A")) == ["base_1", "base_3"]


def test_a_moved_tip_without_new_commits_costs_no_fold(told, index, monkeypatch):
    index.catch_up()
    monkeypatch.setattr("tablevault.history.catalog.catalog.fold_commits", None)
    assert len(index.instances("A")) == 2
    main = told.repository.main()
    move_refs(told.repository, [RefMove(ref="refs/tags/x", old=None, new=main)], "r")
    assert told.repository.tip(MAIN) == main
    assert len(index.instances("A")) == 2
