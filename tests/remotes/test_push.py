"""What a push takes along."""

from __future__ import annotations

from tests.clones import path_of, same, write
from tests.looking import git as stock


def test_temporary_instances_travel_on_request(shared, bare):
    ana, bo = shared
    ana.create_instance("t", external_edit=True, version="draft")
    assert str(ana.push()) == "origin is up to date."
    assert ana.push(temp=True).refs == ("refs/heads/temp/t/draft",)
    assert "refs/heads/temp/t/draft" in stock(bare, "for-each-ref")
    bo.pull()
    assert "refs/remotes/origin/temp/t/draft" in stock(path_of(bo), "for-each-ref")
    assert bo.get_table_instances("t", "draft", include_temp=True) == []


def test_a_push_after_a_deletion(shared, bare):
    ana, bo = shared
    write(ana, [5])
    ana.push()
    ana.delete_instance(ana.get_table_instances("t")[-1], "t")
    ana.push()
    assert stock(bare, "tag").count("\n") == 1
    bo.pull(data="all")
    same(ana, bo)
