"""Tags of instances, derived from history."""

from __future__ import annotations

import re

from tablevault.history.catalog.catalog import Catalog
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.git.refs import RefMove
from tablevault.history.git.repository import Repository
from tablevault.names import CommitId, tag_ref

_UUID = re.compile(r".+_[0-9]+_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def expected_tags(index: Catalog, snapshot: Snapshot) -> dict[str, CommitId]:
    """Return the tag of each instance that is not deleted, by its full name."""
    names = snapshot.names_by_id()
    return {
        tag_ref(names[instance.table_id], instance.instance_id): instance.commit
        for instance in index.standing()
        if instance.table_id in names
    }


def tag_moves(repository: Repository, index: Catalog, snapshot: Snapshot) -> list[RefMove]:
    """Return the moves that make the tags of instances what history says; other tags stay."""
    expected = expected_tags(index, snapshot)
    known = repository.refs("refs/tags/")
    moves = [
        RefMove(ref=tag, old=known.get(tag), new=commit)
        for tag, commit in expected.items()
        if known.get(tag) != commit
    ]
    moves.extend(
        RefMove(ref=tag, old=commit, new=None)
        for tag, commit in known.items()
        if tag not in expected and _UUID.fullmatch(tag)
    )
    return moves
