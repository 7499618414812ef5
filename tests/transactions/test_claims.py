"""Which operations exclude each other, and what those hear who are refused."""

from __future__ import annotations

import itertools
import os
import time

import pytest

from tablevault.errors import TVLockError
from tablevault.names import ProcessId
from tablevault.transactions import claims
from tablevault.transactions.records import Hold, Record, Request

TABLE = claims.table_hold("t")
OPERATIONS = {
    "rename": [TABLE],
    "create_instance": [
        claims.temp_hold("t", "a"),
        claims.instance_hold("t", "a_1", exclusive=False),
    ],
    "builder": [claims.temp_hold("t", "b")],
    "execute_single": [claims.temp_hold("t", "c"), claims.artifacts_hold("t")],
    "execute_multiple": [claims.temp_hold("t", "d")],
    "execute_effects": [TABLE, claims.temp_hold("t", "e")],
    "write_single": [claims.temp_hold("t", "f"), claims.artifacts_hold("t")],
    "delete_instance": [claims.instance_hold("t", "x_1", exclusive=True)],
    "delete_origin": [claims.instance_hold("t", "a_1", exclusive=True)],
    "read_by_other": [claims.instance_hold("t", "x_1", exclusive=False)],
    "other_table": [claims.table_hold("t2")],
    "code": [claims.code_hold(exclusive=True)],
    "custom": [claims.code_hold(exclusive=False), claims.temp_hold("t2", "a")],
}
EXCLUDING = {
    *(
        frozenset({whole, other})
        for whole in ("rename", "execute_effects")
        for other in OPERATIONS
        if other not in {"other_table", "code", "custom"}
    ),
    frozenset({"execute_single", "write_single"}),
    frozenset({"delete_instance", "read_by_other"}),
    frozenset({"create_instance", "delete_origin"}),
    frozenset({"code", "custom"}),
    frozenset({"other_table", "custom"}),
}
# Each excludes itself, but what only shares.
EXCLUDING |= {frozenset({name}) for name in OPERATIONS if name != "read_by_other"}


def test_operations_exclude_each_other_as_the_matrix_says():
    for pair in itertools.combinations_with_replacement(OPERATIONS, 2):
        one, other = (OPERATIONS[name] for name in pair)
        excluded = any(hold.excludes(held) for hold in one for held in other)
        assert excluded == (frozenset(pair) in EXCLUDING), pair


def test_what_is_excluded_is_told_who_holds_it(begin, refused):
    with begin(process_id="holder"):
        error = refused(begin(process_id="second"))
    assert (error.holder, error.author, error.operation) == ("holder", "Ana", "op")
    assert error.resource == "tables/t"
    assert error.since[:4] == time.strftime("%Y")
    assert 'Table "t" is held by process "holder" (op, Ana, since ' in error.message
    assert "lock_timeout" in error.hint


@pytest.mark.parametrize(
    ("resource", "spoken"),
    [
        ("tables/t", 'Table "t" is held'),
        ("tables/t/TEMP_a", 'Instance "TEMP_a" of table "t" is held'),
        ("tables/t/artifacts", 'The artifact folder of table "t" is held'),
        ("code", "The code folder is held"),
    ],
)
def test_a_resource_is_named_as_people_speak(begin, refused, resource, spoken):
    with begin(resource):
        assert refused(begin(resource)).message.startswith(spoken)


def test_shared_claims_are_had_together(begin):
    with begin(exclusive=False), begin(exclusive=False):
        pass


def test_ids_that_begin_alike_are_not_related(begin, refused):
    with begin(process_id="job1"):
        refused(begin(process_id="job10"))


def test_ancestors_are_followed_up_and_circles_end(parts):
    for process_id, parent in (("a", "b"), ("b", "c"), ("c", "a"), ("x", "")):
        parts.files.write(
            Record(
                process_id=ProcessId(process_id),
                named=True,
                request=Request(operation="op", arguments={}),
                author="Ana",
                parent=parent,
                holds=(Hold(resource="tables/t", exclusive=True),),
                started_at=1.0,
                updated_at=1.0,
                pid=os.getpid(),
            )
        )
    assert set(claims.ancestors(parts.files, "a")) == {"a", "b", "c"}
    assert set(claims.ancestors(parts.files, "x")) == {"x"}
    assert set(claims.ancestors(parts.files, "unknown")) == {"unknown"}
    assert set(claims.ancestors(parts.files, "")) == set()


def test_what_is_held_alone_is_refused_at_once_to_a_child(begin, refused):
    mine = "tables/t/TEMP_base"
    with begin(mine, alone=True), begin("tables/u"):
        for resource, options in (
            (mine, {}),
            (mine, {"exclusive": False}),
            (f"{mine}/x", {}),
            ("tables/t", {"alone": True}),
        ):
            with pytest.raises(TVLockError, match="within a function"):
                begin(resource, lock_timeout_s=60, **options).__enter__()
        with begin("tables/t"), begin("tables/t/TEMP_other", alone=True):
            pass
    with begin(mine, alone=True, exclusive=False), begin(mine, exclusive=False):
        pass


@pytest.mark.parametrize(
    ("operation", "alive", "hint", "hold", "what"),
    [
        ("create_table", True, "or end it: ", TABLE, 'Table "t"'),
        (
            "stop_process",
            True,
            "Wait until it ends, open the vault with a longer lock_timeout.",
            claims.code_hold(exclusive=True),
            "The code folder",
        ),
        (
            "create_table",
            False,
            "or give it up: ",
            claims.config_hold(),
            "The configuration of the vault",
        ),
        (
            "stop_process",
            False,
            "it ends itself and what it was to stop.",
            claims.pull_hold(),
            "What comes from remotes",
        ),
        (
            "execute_instance",
            False,
            "after editing files of its builders",
            claims.artifacts_hold("t"),
            'The artifact folder of table "t"',
        ),
    ],
)
def test_the_error_says_what_is_held_and_what_to_do(operation, alive, hint, hold, what):
    arguments = {"table_name": "t", "version": "base", "to_stop_process_id": "q"}
    holder = Record(
        process_id=ProcessId("p"),
        named=True,
        request=Request(operation=operation, arguments=arguments),
        author="Ana",
        started_at=1.0,
        updated_at=1.0,
        pid=1,
    )
    error = claims.lock_error(holder, hold, alive=alive, waited_s=1.0)
    assert error.message.startswith(f"{what} is held by ")
    assert hint in error.hint
