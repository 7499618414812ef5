"""A history as operations make it, of bare commits: quick to write, and odd where it has to be."""

from __future__ import annotations

import hashlib

import pytest

from tablevault.history.commits.documents import TableDocument
from tablevault.history.git.commit_message import Message, trailers
from tablevault.history.git.refs import RefMove, move_refs
from tablevault.history.git.trees import Put
from tablevault.lfs.pointer import Pointer
from tablevault.names import MAIN, ObjectId, TableId, TempRef, frame_path, table_document


class Chronicle:
    """Writes commits with the trailers of operations."""

    def __init__(self, repository):
        self.repository = repository
        self.clock = 0
        self.created = {}

    def commit(self, *pairs, edits=(), merged=(), ref=MAIN, author="Ana"):
        """Commit on `ref` with trailers, merging other commits, and move it."""
        self.clock += 1
        old = self.repository.tip(ref)
        base = old or self.repository.main()
        new = self.repository.write_commit(
            parents=[base, *merged],
            base=base,
            edits=edits,
            message=Message(
                subject="s",
                trailers=trailers([*pairs, ("Time", f"2026-01-01T00:00:{self.clock:06}Z")]),
            ),
            author=author,
            at=1_700_000_000.0 + self.clock,
        )
        move_refs(self.repository, [RefMove(ref=ref, old=old, new=new)], "r")
        return new

    def create_table(self, name, table_id, **document):
        self.created[table_id] = f"2026-01-01T00:00:{self.clock + 1:06}Z"
        made = TableDocument(
            id=TableId(table_id),
            description="",
            multiple_artifacts=False,
            side_effects=False,
            created_by="Ana",
            created_at="",
            **document,
        )
        return self.commit(
            ("Operation", "create_table"),
            ("Process", f"create {table_id}"),
            ("Table", name),
            ("Table-Id", table_id),
            edits=[Put(path=table_document(name), data=made.encode())],
        )

    def rename_table(self, old, new, table_id, created=""):
        return self.commit(
            ("Operation", "rename_table"),
            ("Table", new),
            ("Renames", old),
            ("Table-Id", table_id),
            ("Created", created or self.created[table_id]),
        )

    def materialize(self, table, table_id, instance_id, *pairs, ref=MAIN, content=b""):
        """Make an instance by a merge, as operations do."""
        version = instance_id.split("_")[0]
        frame = pointer_to(content or instance_id.encode())
        temp = TempRef(table=table, version=version)
        process = ("Process", f"make {instance_id}")
        operation = ("Operation", "write_instance")
        branch = self.commit(operation, process, ("Table", table), ref=temp.ref)
        move_refs(self.repository, [RefMove(ref=temp.ref, old=branch, new=None)], "r")
        return self.commit(
            operation,
            process,
            ("Table", table),
            ("Table-Id", table_id),
            ("Version", version),
            ("Instance", instance_id),
            *pairs,
            edits=[Put(path=frame_path(table, version), data=frame.encode())],
            merged=[branch],
            ref=ref,
        )

    def delete(self, subject):
        return self.commit(("Operation", "delete"), ("Deletes", subject), author="Bo")


def pointer_to(content):
    """Return the pointer to `content`."""
    return Pointer(oid=ObjectId(hashlib.sha256(content).hexdigest()), size=len(content))


@pytest.fixture(scope="session")
def pointer_of():
    return pointer_to


@pytest.fixture
def chronicle(new_repository):
    return Chronicle(new_repository())


@pytest.fixture(scope="session")
def chronicle_of():
    return Chronicle
