"""A commit as operations write it."""

from __future__ import annotations

from tablevault.history.git.commit_message import Message
from tablevault.history.git.trees import Put


def commit(repository, parent=None, *, path="f", data=b"1", author="Ana", at=1_700_000_000.0):
    """Write a commit on `parent`, the tip of ``main`` when None."""
    parent = parent or repository.main()
    return repository.write_commit(
        parents=[parent],
        base=parent,
        edits=[Put(path=path, data=data)],
        message=Message(subject="s", trailers=(("Vault-Process", "p"),)),
        author=author,
        at=at,
    )
