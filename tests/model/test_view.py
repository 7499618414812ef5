"""A view is one commit: what happens meanwhile changes no answer, and no two answers differ."""

from __future__ import annotations

import os
import threading

import pandas as pd
import pytest

from tablevault import TableVault
from tablevault.errors import TVArgumentError, TVTableError
from tablevault.history.catalog.catalog import Index, PinnedCatalog
from tablevault.history.git.repository import Repository

FRAME = pd.DataFrame({"n": [1]})


def write(vault: TableVault, table: str, version: str = "base") -> str:
    vault.create_instance(table, version=version, external_edit=True)
    vault.write_instance(FRAME, table, version=version)
    return vault.get_table_instances(table, version)[-1]


@pytest.fixture
def stories(vault):
    """Make a table with two instances, and return its vault."""
    vault.create_table("stories")
    write(vault, "stories")
    write(vault, "stories")
    return vault


def answers(view):
    """Collect what a view has to say."""
    tables = view.tables()
    return {
        "commit": view.commit,
        "names": view.table_names,
        "instances": {table.name: table.instances() for table in tables},
        "latest": {table.name: table.latest_or_none() for table in tables},
        "documents": [each.document for table in tables for each in table.instances()],
        "created": view.catalog.created_order(),
    }


def change_everything(vault):
    """Commit whatever a reader could notice."""
    first, _ = vault.get_table_instances("stories")
    vault.delete_instance(first, "stories")
    write(vault, "stories", "other")
    write(vault, "stories")
    vault.rename_table("tales", "stories")
    vault.create_table("more")
    write(vault, "more")


def test_a_view_stays_as_it_was(stories, parts):
    view = parts.view()
    before = answers(view)
    change_everything(stories)
    parts.parts.index.catch_up()
    assert answers(view) == before
    assert set(parts.view().table_names.values()) == {"tales", "more"}


def test_a_view_has_what_was_committed_before(stories, parts):
    parts.view()
    new = write(stories, "stories")
    assert parts.view().table("stories").latest().instance_id == new


@pytest.mark.parametrize("commits", [1, 2])
def test_snapshot_and_catalog_are_of_one_commit_when_main_moves_as_a_view_is_made(
    stories, parts, monkeypatch, commits
):
    """It moves after each of the first looks at its tip."""
    tip_of_main = Repository.main
    waiting = [lambda: change_everything(stories), lambda: write(stories, "tales")][:commits]
    parts.parts.index.discard()

    def main(repository):
        tip = tip_of_main(repository)
        if waiting and repository is parts.parts.repository:
            waiting.pop(0)()
        return tip

    monkeypatch.setattr(Repository, "main", main)
    view = parts.view()
    assert not waiting
    assert view.commit == view.catalog.commit
    assert view.table_names.keys() == view.catalog.created_order().keys()
    reachable = parts.parts.repository.is_ancestor
    for table in view.tables():
        for version in view.snapshot.versions(table.name):
            document = view.snapshot.instance(table.name, version)
            assert table.latest(version).instance_id == document.id
        for each in table.instances():
            assert each.commit == view.commit or reachable(each.commit, view.commit)


def test_a_view_stays_as_it_was_when_the_index_is_deleted(stories, parts):
    view = parts.view()
    before = answers(view)
    parts.parts.index.discard()
    change_everything(stories)
    parts.parts.index.catch_up()
    assert answers(view) == before


def test_a_view_stays_as_it_was_when_it_is_released(stories, parts):
    view = parts.view()
    before = answers(view)
    view.release()
    change_everything(stories)
    assert answers(view) == before


def test_a_view_stays_as_it_was_when_main_is_rewritten(stories, parts, git, vault_path):
    view = parts.view()
    before = answers(view)
    git(vault_path, "update-ref", "refs/heads/main", f"{view.commit}~1")
    parts.parts.index.catch_up()
    assert answers(view) == before


def test_a_view_can_be_asked_in_a_fork(stories, parts):
    view = parts.view()
    before = answers(view)
    change_everything(stories)
    child = os.fork()
    if not child:
        os._exit(0 if answers(view) == before else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert answers(view) == before


def test_a_view_can_be_asked_in_other_threads(stories, parts):
    view = parts.view()
    before = answers(view)
    change_everything(stories)
    found = []
    threads = [threading.Thread(target=lambda: found.append(answers(view))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [before] * 4


def test_views_follow_each_other_on_one_connection(stories, parts):
    parts.view()
    first = parts.view()
    connection = first.catalog._reading.connection
    del first
    assert parts.view().catalog._reading.connection is connection


def test_operations_on_branches_are_in_a_view_that_is_asked_for_them(stories, parts):
    stories.create_instance("stories", process_id="before")
    view = parts.view(with_temps=True)
    stories.create_instance("stories", version="other", process_id="after")
    parts.parts.index.process("after")
    assert view.catalog.process("before") is not None
    assert view.catalog.process("after") is None


def test_a_branch_brings_no_later_commit_of_main_into_a_view(stories, parts, monkeypatch):
    """It begins at one that `seen` has not seen, if main is read first."""
    index = parts.parts.index
    refs = Repository.temp_refs

    def temp_refs(repository):
        found = refs(repository)
        monkeypatch.setattr(Repository, "temp_refs", refs)
        write(stories, "stories")
        stories.create_instance("stories", version="new")
        return found

    monkeypatch.setattr(Repository, "temp_refs", temp_refs)
    index._query("SELECT 1", (), with_temps=True)
    view = parts.view(with_temps=True)
    document = view.snapshot.instance("stories", "base")
    assert view.table("stories").latest().instance_id == document.id


def test_a_pinned_catalog_needs_no_index(stories, parts):
    repository = parts.parts.repository
    pinned = PinnedCatalog(repository, repository.main(), temps=None)
    assert pinned.existing() == Index.existing(parts.parts.index)


def test_a_table_that_is_not_there_is_an_error_that_names_its_later_name(stories, parts):
    stories.rename_table("tales", "stories")
    with pytest.raises(TVArgumentError, match='no table "stories"') as raised:
        parts.view().table("stories")
    assert raised.value.hint == 'It was renamed to "tales".'


def test_an_instance_is_found_in_its_own_table_alone(stories, parts):
    stories.create_table("more")
    view = parts.view()
    (first, second) = view.table("stories").instances()
    assert view.table("stories").instance(first.instance_id) == first
    with pytest.raises(TVArgumentError, match='"more" has no instance'):
        view.table("more").instance(first.instance_id)
    assert view.instance(second.instance_id) == second
    assert view.instance("no such") is None


def test_the_latest_of_a_table_without_any_is_an_error(stories, parts):
    stories.create_table("more")
    with pytest.raises(TVTableError, match='"more" has no active, successful, materialised'):
        parts.view().table("more").latest(successful=True)


def test_temporary_instances_are_those_of_now(stories, parts):
    view = parts.view()
    stories.create_instance("stories", version="new")
    assert [each.instance_id for each in view.temps()] == ["TEMP_new"]
    assert view.table("stories").temp("new") == view.temps()[0]
    with pytest.raises(TVArgumentError, match='no temporary instance of version "other"'):
        view.table("stories").temp("other")
