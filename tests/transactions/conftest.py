"""A journal, and operations that change one file."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import Context

import pytest

from tablevault.errors import TVLockError
from tablevault.history.commits.change import Change
from tablevault.history.git.commit_message import Message, trailers
from tablevault.history.git.trees import Put
from tablevault.transactions.begin import Actor
from tablevault.transactions.records import Hold, Request
from tablevault.transactions.transaction import running


@pytest.fixture
def parts(parts):
    """The journal of a fresh vault."""
    return parts.parts


@pytest.fixture
def begin(parts):
    """Begin an operation as a context manager."""

    @contextmanager
    def begin(
        resource="tables/t", *, exclusive=True, alone=False, on=None, operation="op", **actor
    ):
        hold = [Hold(resource=resource, exclusive=exclusive, alone=alone)] if resource else []
        request = Request(operation=operation, arguments={"resource": resource})
        who = Actor(author="Ana", **{"lock_timeout_s": 0.0, **actor})
        with running(on or parts, request, who, lambda *_: hold) as process:
            yield process

    return begin


@pytest.fixture
def refused():
    """Begin an operation that nothing encloses, and give the TVLockError that this raises."""

    def refused(operation, kind=TVLockError):
        with pytest.raises(kind) as caught:
            Context().run(operation.__enter__)
        return caught.value

    return refused


@pytest.fixture
def plan():
    """Make a plan that writes one file, and names the process as every operation does."""

    def make(process, path="f", data=b"1", **change):
        def plan(snapshot, at):
            return Change(
                message=Message(
                    subject=f"write {path}",
                    trailers=trailers(
                        [
                            ("Operation", process.record.request.operation),
                            ("Process", process.process_id),
                        ]
                    ),
                ),
                main=(Put(path=path, data=data),),
                **change,
            )

        return plan

    return make
