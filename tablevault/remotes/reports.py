"""The results of pushes, pulls and transfers of objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tablevault.errors import TableVaultError, TVOutcomeUnknownError
from tablevault.lfs.pointer import Pointer

_MOST_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An object that was not transferred, and the error."""

    pointer: Pointer
    error: TableVaultError


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferReport:
    """The result of a transfer.

    Attributes
    ----------
    objects : int
        Objects that were transferred.
    bytes : int
        Bytes that moved, also in failed attempts; fewer than the objects have where an earlier
        transfer left a part.
    present : int
        Objects that needed no transfer, because they were there.
    failures : tuple of Failure
        Objects that were not transferred, in the order in which they were given.
    """

    objects: int
    bytes: int
    present: int
    failures: tuple[Failure, ...]

    def check(self) -> None:
        """Raise the first failure, with the number of failures.

        Raises
        ------
        TVOutcomeUnknownError
            It is not known whether some object was transferred.
        TableVaultError
            Of the class of the first failure otherwise.
        """
        if not self.failures:
            return
        errors = [failure.error for failure in self.failures]
        first = next((e for e in errors if isinstance(e, TVOutcomeUnknownError)), errors[0])
        if len(self.failures) == 1:
            raise first
        total = self.objects + self.present + len(self.failures)
        message = f"{first.message} {len(self.failures):,} of {total:,} objects are missing."
        raise type(first)(message, first.hint, **first.facts) from first


@dataclass(frozen=True, slots=True, kw_only=True)
class PushReport:
    """The result of a push.

    Attributes
    ----------
    remote : str
        Name of the remote.
    commits : int
        Commits that the remote lacked.
    refs : tuple of str
        Refs that moved there, by full name; empty if there was nothing to push.
    objects : TransferReport
        Objects that were sent, or were there.
    kept : tuple of str
        Stale refs that the remote does not let us remove.
    missing : tuple of str
        Objects of earlier pushes that neither the remote nor this vault has: path, and id in
        parentheses.
    """

    remote: str
    commits: int
    refs: tuple[str, ...]
    objects: TransferReport
    kept: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return it as a sentence, with further ones for what could not be done."""
        return "".join([self._done, *self._left_undone])

    @property
    def _done(self) -> str:
        """What was done."""
        if self.refs:
            if not (self.commits or self.objects.objects):
                return f"Pushed {_count(len(self.refs), 'ref')} to {self.remote}."
            pushed = f"Pushed {_count(self.commits, 'commit')} to {self.remote}"
            return f"{pushed}, with {_transferred(self.objects)}."
        if self.objects.objects:
            return f"Sent {_transferred(self.objects)} that {self.remote} lacked."
        return f"{self.remote} is up to date."

    @property
    def _left_undone(self) -> Iterator[str]:
        """What could not be done."""
        if self.kept:
            yield f" It does not allow to remove {', '.join(self.kept)}."
        if self.missing:
            shown = ", ".join(self.missing[:_MOST_SHOWN])
            more = len(self.missing) - _MOST_SHOWN
            yield f" {self.remote} and this vault lack {shown}"
            yield f" and {_count(more, 'object')} more" if more > 0 else ""
            yield ": push from the vault that has it."


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteGcReport:
    """What ``gc`` removed from a remote, or would remove.

    Attributes
    ----------
    remote : str
        Name of the remote.
    objects : int
        Dataframes and artifacts that no ref of the remote needs.
    object_bytes : int
        Their size.
    uploads : int
        Interrupted uploads of large objects.
    young : int
        Further ones that stay, because they are young: their refs may come next.
    dry_run : bool
        Whether nothing was done.
    """

    remote: str
    objects: int
    object_bytes: int
    uploads: int
    young: int
    dry_run: bool

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing to remove."""
        return not (self.objects or self.uploads)

    def __str__(self) -> str:
        """Return it as a sentence."""
        verb = "would be removed" if self.dry_run else "removed"
        young = f" Younger ones that stay: {self.young:,}." if self.young else ""
        counted = f"{_count(self.objects, 'object')} ({_count(self.object_bytes, 'byte')})"
        counted += f" and {_count(self.uploads, 'interrupted upload')}" if self.uploads else ""
        return f"{self.remote}: {counted} {verb}.{young}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PullReport:
    """The result of a pull.

    Attributes
    ----------
    remote : str
        Name of the remote.
    commits : int
        Commits that this vault lacked.
    merged : bool
        Both sides had new commits, and a merge commit joins them.
    process_id : str
        Id of the process, "" if there was nothing to merge.
    renamed : dict of str to str
        New names of renamed tables.
    objects : TransferReport
        Objects that were received; none with ``data="lazy"``.
    """

    remote: str
    commits: int
    merged: bool
    process_id: str
    renamed: dict[str, str]
    objects: TransferReport

    def __str__(self) -> str:
        """Return it as a sentence."""
        data = f", with {_transferred(self.objects)}" if self.objects.objects else ""
        if not self.commits:
            return f"Nothing new on {self.remote}{data}."
        how = "Merged" if self.merged else "Took over"
        renamed = "".join(f" Table {old} is called {new} now." for old, new in self.renamed.items())
        return f"{how} {_count(self.commits, 'commit')} from {self.remote}{data}.{renamed}"


NO_TRANSFER = TransferReport(objects=0, bytes=0, present=0, failures=())


def joined_reports(remote: str, reports: Sequence[PushReport]) -> PushReport:
    """Return one report of the pushes to all addresses of a remote."""
    parts = [report.objects for report in reports]
    return PushReport(
        remote=remote,
        commits=max(report.commits for report in reports),
        refs=tuple(dict.fromkeys(ref for report in reports for ref in report.refs)),
        objects=TransferReport(
            objects=sum(part.objects for part in parts),
            bytes=sum(part.bytes for part in parts),
            present=sum(part.present for part in parts),
            failures=tuple(failure for part in parts for failure in part.failures),
        ),
        kept=tuple(dict.fromkeys(ref for report in reports for ref in report.kept)),
        missing=tuple(dict.fromkeys(each for report in reports for each in report.missing)),
    )


def _transferred(report: TransferReport) -> str:
    """Return how much has moved, as text."""
    return f"{_count(report.objects, 'object')} ({report.bytes:,} bytes)"


def _count(number: int, what: str) -> str:
    """Return a number with its noun."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
