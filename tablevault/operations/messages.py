"""Commit messages of operations: the trailers that all of them carry."""

from __future__ import annotations

from collections.abc import Iterable

from tablevault.history.documents import timestamp
from tablevault.history.message import Message, trailers
from tablevault.journal.operation import Operation


def operation_message(
    operation: Operation, subject: str, pairs: Iterable[tuple[str, str]], body: str = ""
) -> Message:
    """Write the message of the commit that stands for `operation`.

    `pairs` are further trailers, without their prefix ``Vault-``; empty ones are left out. What
    looks like a key, and was allowed, is named in trailers, too.
    """
    record = operation.record
    return Message(
        subject=subject,
        body=body,
        trailers=trailers(
            [
                ("Operation", record.request.operation),
                ("Process", record.process_id),
                ("Parent-Process", record.parent),
                *pairs,
                *(("Allowed-Secret", str(found)) for found in dict.fromkeys(operation.allowed)),
                ("Started", timestamp(record.started_at)),
            ]
        ),
    )
