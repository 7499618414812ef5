"""What makes an instance stale, and what does not."""

from __future__ import annotations

import pandas as pd
import pytest
import yaml

from tests.operations.staleness import builders


def test_a_newer_input_makes_stale_and_what_reads_that_is_behind(chain):
    chain.run("texts", (1, 2, 3, 4))
    assert chain.states() == {"texts": "current", "moods": "stale", "sums": "behind"}
    assert chain.reasons("moods") == ("texts/base is newer",)
    assert chain.reasons("sums") == ("reads moods/base, which is stale",)


def test_a_newer_input_that_holds_the_same_makes_nothing_stale(chain):
    chain.run("texts")
    assert chain.count("texts") == 2
    assert set(chain.states().values()) == {"current"}


def test_changed_code_is_told_as_a_plan_tells_it(chain):
    chain.edit("return len(text)", "return -len(text)")
    assert chain.states() == {"texts": "current", "moods": "stale", "sums": "behind"}
    assert chain.reasons("moods") == ("judge: `judge` calls `rate`, which changed",)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("def rate(text):", "# a comment\ndef rate(text):"),
        ("\nimport pandas as pd", "\nimport pandas as pd\n\ndef more(): pass\n"),
    ],
    ids=["a comment", "another function"],
)
def test_code_that_decides_nothing_makes_nothing_stale(chain, old, new):
    chain.edit(old, new)
    assert set(chain.states().values()) == {"current"}


def test_code_that_is_changed_back_is_current_again(chain):
    chain.edit("return len(text)", "return -len(text)")
    chain.edit("return -len(text)", "return len(text)")
    assert set(chain.states().values()) == {"current"}


def test_code_that_is_gone_makes_stale(chain):
    chain.vault.delete_code_module("work")
    assert "take" not in str(chain.reasons("moods"))
    assert "judge: module `work` cannot be used any more" in chain.reasons("moods")


def test_a_pinned_code_version_is_not_compared(chain):
    chain.run("moods", code_version="1")
    chain.edit("return len(text)", "return -len(text)")
    assert chain.states()["moods"] == "current"


def test_builders_edited_in_a_temporary_instance_make_stale(chain):
    chain.vault.create_instance("texts", copy=True)
    chain.vault.create_builder_file(
        "texts", "texts_index", text=builders("texts", (1, 2))["texts_index"]
    )
    assert chain.reasons("texts") == ("texts_index: argument `ids` changed in TEMP_base",)


def test_a_copy_without_edits_and_comments_in_it_make_nothing_stale(chain):
    chain.vault.create_instance("texts", copy=True)
    text = builders("texts")["write"]
    chain.vault.create_builder_file("texts", "write", text=f"# a comment\n{text}")
    assert set(chain.states().values()) == {"current"}
    work = {each.name: each.work for each in chain.vault.status().tables}
    assert work == {"texts": "in preparation", "moods": "", "sums": ""}


def test_a_stopped_execution_is_stale(chain):
    chain.edit('pay("write")', 'pay("write")\n    if id == 2: raise ConnectionError("down")')
    chain.vault.create_instance("texts", copy=True)
    with pytest.raises(ConnectionError):
        chain.vault.execute_instance("texts", process_id="night")
    paused = {each.name: each for each in chain.vault.status().tables}["texts"]
    assert (paused.work, paused.process_id) == ("paused", "night")
    assert "[paused (night)]" in str(paused)
    chain.vault.stop_process("night", materialize=True)
    assert chain.reasons("texts") == ("it was stopped before all rows were made",)


def test_a_table_that_was_written_by_hand_is_never_stale(chain):
    chain.vault.create_table("labels")
    chain.vault.create_instance("labels", external_edit=True)
    chain.vault.write_instance(pd.DataFrame({"id": [1]}), "labels", dependencies=[("texts", None)])
    chain.run("texts", (1, 2))
    assert chain.states()["labels"] == "current"


def test_a_reference_to_one_instance_is_not_outdated_by_a_later_one(chain):
    (first,) = chain.vault.get_table_instances("texts")
    text = builders("moods")["moods_index"].replace("<<texts.", f"<<texts({first}).")
    chain.vault.create_instance("moods", builders={**builders("moods"), "moods_index": text})
    chain.vault.execute_instance("moods")
    chain.run("texts", (1, 2))
    assert chain.states()["moods"] == "current"


def test_versions_are_compared_each_with_what_it_reads(chain):
    chain.run("texts", (7, 8), version="v2")
    text = builders("moods")["moods_index"].replace("<<texts.", "<<texts(v2).")
    new = {**builders("moods"), "moods_index": text}
    chain.vault.create_instance("moods", "v2", builders=new)
    chain.vault.execute_instance("moods", "v2")
    chain.run("texts", (7, 8, 9), version="v2")
    found = {each.place: each.reasons for each in chain.vault.status().tables}
    assert found["moods/v2"] == ("texts/v2 is newer",)
    # Without a version the latest of all is read.
    assert found["moods/base"] == ("texts/v2 is newer",)


def test_an_earlier_instance_of_its_own_makes_nothing_stale(chain):
    text = builders("texts", (1, 2, 3, 4))
    index = yaml.safe_load(text["texts_index"]) | {"dependencies": ["texts.id"]}
    chain.vault.create_instance("texts", builders={**text, "texts_index": yaml.safe_dump(index)})
    chain.vault.execute_instance("texts")
    assert chain.states()["texts"] == "current"


def test_a_renamed_input_is_told_and_a_deleted_one_changes_nothing(chain):
    chain.vault.rename_table("words", "texts")
    assert chain.reasons("moods") == ('There is no table "texts". It was renamed to "words".',)
    chain.vault.delete_table("moods")
    assert chain.states()["sums"] == "current"


def test_an_instance_whose_input_went_back_to_another_one_is_stale(chain):
    chain.run("texts", (1, 2))
    chain.run("moods")
    chain.vault.delete_instance(chain.vault.get_table_instances("texts")[-1], "texts")
    assert chain.reasons("moods") == ("texts/base is another one",)
