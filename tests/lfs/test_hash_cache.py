"""What the store remembers of objects that it has hashed."""

from __future__ import annotations

from tablevault.lfs.hash_cache import Ledger
from tablevault.names import ObjectId

OID = ObjectId("a" * 64)


def test_a_stamp_is_known_once_remembered(tmp_path):
    ledger = Ledger(tmp_path / "objects.sqlite")
    assert not ledger.knows(OID, (1, 2, 3))
    ledger.remember([(OID, (1, 2, 3))])
    assert ledger.knows(OID, (1, 2, 3))


def test_each_part_of_a_stamp_counts(tmp_path):
    ledger = Ledger(tmp_path / "objects.sqlite")
    ledger.remember([(OID, (1, 2, 3))])
    assert not ledger.knows(OID, (9, 2, 3))
    assert not ledger.knows(OID, (1, 9, 3))
    assert not ledger.knows(OID, (1, 2, 9))
    assert not ledger.knows(ObjectId("b" * 64), (1, 2, 3))


def test_the_newest_stamp_of_an_object_counts(tmp_path):
    ledger = Ledger(tmp_path / "objects.sqlite")
    ledger.remember([(OID, (1, 2, 3))])
    ledger.remember([(OID, (4, 5, 6))])
    assert ledger.knows(OID, (4, 5, 6))
    assert not ledger.knows(OID, (1, 2, 3))


def test_the_largest_inode_and_time_can_be_remembered(tmp_path):
    ledger = Ledger(tmp_path / "objects.sqlite")
    stamp = (2**63 - 1, 2**63 - 1, -1)
    ledger.remember([(OID, stamp)])
    assert ledger.knows(OID, stamp)


def test_a_ledger_that_is_deleted_knows_nothing(tmp_path):
    path = tmp_path / "objects.sqlite"
    ledger = Ledger(path)
    ledger.remember([(OID, (1, 2, 3))])
    path.unlink()
    assert not ledger.knows(OID, (1, 2, 3))
    ledger.remember([(OID, (1, 2, 3))])
    assert ledger.knows(OID, (1, 2, 3))


def test_a_ledger_that_is_damaged_knows_nothing(tmp_path):
    path = tmp_path / "objects.sqlite"
    Ledger(path).remember([(OID, (1, 2, 3))])
    for part in tmp_path.iterdir():
        part.write_bytes(b"damaged" * 1000)
    ledger = Ledger(path)
    assert not ledger.knows(OID, (1, 2, 3))
    ledger.remember([(OID, (1, 2, 3))])
    assert ledger.knows(OID, (1, 2, 3))


def test_a_ledger_of_another_shape_is_made_again(tmp_path):
    import sqlite3

    path = tmp_path / "objects.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE hashed (something TEXT)")
    connection.close()
    ledger = Ledger(path)
    assert not ledger.knows(OID, (1, 2, 3))
    ledger.remember([(OID, (1, 2, 3))])
    assert ledger.knows(OID, (1, 2, 3))
