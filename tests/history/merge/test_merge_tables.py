"""Tables that two sides have changed: the same instances for everybody."""

from __future__ import annotations

from tests.clones import finish, path_of, write


def test_an_instance_that_the_other_side_deleted_does_not_come_back(ana, part):
    first, second, third = (write(ana, [number]) for number in (1, 2, 3))
    bo = part()
    ana.delete_instance(second, "t")
    bo.delete_instance(third, "t")  # the second one steps in
    finish(ana, bo)
    for vault in (ana, bo):
        assert vault.get_table_instances("t") == [first]
        assert vault.get_dataframe("t")[0]["n"].tolist() == [1]
        path = path_of(vault)
        assert first in (path / "tables/t/base/instance.yaml").read_text("utf-8")


def test_nothing_is_left_when_both_deleted_what_there_was(ana, part):
    first, second = write(ana, [1]), write(ana, [2])
    bo = part()
    ana.delete_instance(first, "t")
    bo.delete_instance(second, "t")
    finish(ana, bo)
    assert ana.get_table_instances("t") == bo.get_table_instances("t") == []
    assert not (path_of(bo) / "tables/t/base").exists()


def test_of_a_table_with_side_effects_the_latest_instance_alone_is_active(ana, part):
    ana.create_table("mails", has_side_effects=True)
    write(ana, [0], "mails")
    bo = part()
    write(ana, [1], "mails")
    last = write(bo, [2], "mails", "other")
    finish(ana, bo)
    for vault in (ana, bo):
        index = vault._vault.parts.index
        document = vault._vault.snapshot().table("mails")
        active = [item.instance_id for item in index.instances(document.id) if item.active]
        assert active == [last]
