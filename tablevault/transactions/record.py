"""The record of a running process, as a value and as a file.

========  ==========  =========  ===========================================================
state     its OS lock  its error  goes on to
========  ==========  =========  ===========================================================
running   held        none       paused, ended
paused    free        any        running (the same call again, a restart), ended (a stop)
died      free        none       running (a restart), ended (rolled back by who needs it)
ended     no file     in history nothing: the id is never used again,
                                 except that of an execution that failed before its first call
========  ==========  =========  ===========================================================

*paused* has a process id that the caller gave, *died* one that was generated. Nothing about
states stands anywhere else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tablevault.history.git.repository import RefMove
from tablevault.names import CommitId, ObjectId, ProcessId
from tablevault.secrets import text_to_keep
from tablevault.transactions.cancellation import STOPPED
from tablevault.wording import Parameter

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked for: enough to do it again."""

    operation: str
    arguments: Mapping[str, Json]

    @property
    def id_parameter(self) -> Parameter:
        """The parameter in which the operation takes a process id."""
        is_undo = self.operation == "undo"  # whose process_id is what it undoes
        return Parameter(self.operation, "undo_process_id" if is_undo else "process_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A claim on a resource, such as ``tables/stories`` or ``tables/stories/TEMP_base``."""

    resource: str
    exclusive: bool
    alone: bool = False
    """It excludes also what is started within the process, which else may use what that holds.
    See :func:`tablevault.transactions.resource_locks.alone`."""

    def excludes(self, other: Hold) -> bool:
        """Return whether both cannot be had at once: a resource covers everything below it."""
        if not (self.exclusive or other.exclusive):
            return False
        mine, its = f"{self.resource}/", f"{other.resource}/"
        return mine.startswith(its) or its.startswith(mine)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Everything a process needs to be understood, continued or taken back by another one."""

    process_id: ProcessId
    named: bool
    """The caller gave the id: on an error that is not TableVault's own the process pauses."""
    request: Request
    author: str
    parent: str = ""
    holds: tuple[Hold, ...] = ()
    started_at: float
    updated_at: float
    pid: int
    steps: tuple[tuple[str, float], ...] = ()
    """Finished steps and when they ended (Unix s)."""
    pins: tuple[ObjectId, ...] = ()
    """Objects in the store that the process is about to need."""
    made: tuple[ObjectId, ...] = ()
    """Those of them that were not in the store before: taken back when the process fails."""
    moves: tuple[RefMove, ...] = ()
    """Ref moves that are being made, the first one is the commit point; noted when there are
    several. Whether an operation has happened is told by history, which names its process."""
    error: tuple[str, str] = ("", "")
    """Class name and text."""
    plan: Mapping[str, Json] = field(default_factory=dict)
    """What the operation decided when it began to work, and holds on to when it is taken up."""

    def encode(self) -> bytes:
        """Encode the record as JSON."""
        fields = {
            "process_id": self.process_id,
            "named": self.named,
            "request": {
                "operation": self.request.operation,
                "arguments": dict(self.request.arguments),
            },
            "author": self.author,
            "parent": self.parent,
            "holds": [
                {"resource": hold.resource, "exclusive": hold.exclusive, "alone": hold.alone}
                for hold in self.holds
            ],
            "started_at": self.started_at,
            "updated_at": self.updated_at,
            "pid": self.pid,
            "steps": self.steps,
            "pins": self.pins,
            "made": self.made,
            "moves": [{"ref": m.ref, "old": m.old, "new": m.new} for m in self.moves],
            "error": self.error,
            "plan": dict(self.plan),
        }
        # ASCII: an argument may be a path, and a path may be no UTF-8.
        return json.dumps(fields).encode("ascii")

    @property
    def frees_id(self) -> bool:
        """Whether the id can be used again once the process has ended.

        What is wrong with an execution before its first call is corrected, and the same call made
        again. One that was stopped was given up.
        """
        has_failed = bool(self.error[0]) and self.error[1] != STOPPED
        return has_failed and self.request.operation == "execute_instance" and not self.plan

    def failed(self, error: BaseException, at: float) -> Record:
        """Return the record with the error that ended or paused it."""
        return replace(self, error=(type(error).__name__, text_to_keep(error)), updated_at=at)


def decode_record(data: bytes) -> Record:
    """Read a record.

    Raises
    ------
    ValueError
        The bytes are no record, for instance cut off by a power failure.
    """
    try:
        fields = json.loads(data)
        return Record(
            process_id=ProcessId(fields["process_id"]),
            named=bool(fields["named"]),
            request=Request(**fields["request"]),
            author=str(fields["author"]),
            parent=str(fields["parent"]),
            holds=tuple(Hold(**hold) for hold in fields["holds"]),
            started_at=float(fields["started_at"]),
            updated_at=float(fields["updated_at"]),
            pid=int(fields["pid"]),
            steps=tuple((str(name), float(at)) for name, at in fields["steps"]),
            pins=tuple(ObjectId(oid) for oid in fields["pins"]),
            made=tuple(ObjectId(oid) for oid in fields["made"]),
            moves=tuple(
                RefMove(
                    ref=move["ref"],
                    old=None if move["old"] is None else CommitId(move["old"]),
                    new=None if move["new"] is None else CommitId(move["new"]),
                )
                for move in fields["moves"]
            ),
            error=(str(fields["error"][0]), str(fields["error"][1])),
            plan=dict(fields["plan"]),
        )
    except (KeyError, TypeError, IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"no process record: {error}") from error
