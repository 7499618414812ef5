"""What comes of calls in the workers of an executor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from typing import Any, Final

from tablevault.engine.builders.resolve_fields import ResolvedBuilder
from tablevault.engine.calls.usage import Usage, UsageReport
from tablevault.engine.execution.live_items import Item
from tablevault.engine.execution.parcels import UnsendableError, opened
from tablevault.engine.execution.worker import WorkerOutcome
from tablevault.errors import TVBuilderError, message_of

POLL_S: Final = 0.5
"""Seconds between two questions for the items of a generator that a worker calls."""


class RemoteOutcome:
    """What came of one call.

    Attributes
    ----------
    used : sequence of UsageReport
        What it reported.
    seconds : float
        How long it took in the worker.
    """

    def __init__(self, outcome: WorkerOutcome, worker: str, builder: ResolvedBuilder) -> None:
        self.used: Sequence[UsageReport] = outcome.used
        self.seconds = outcome.seconds
        self._outcome = outcome
        self._worker = worker
        self._builder = builder

    def value(self) -> Any:  # noqa: ANN401 - functions return anything
        """Return what the function returned; what it raised is raised."""
        outcome = self._outcome
        if outcome.items is not None:
            return RemoteItems(outcome.items, self._error, self._opened)
        if (error := self._error()) is not None:
            raise error
        return self._opened(outcome.value)

    def _error(self) -> BaseException | None:
        """Return what was raised."""
        raised = self._outcome.error
        return None if raised is None else raised.error(self._worker)

    def _opened(self, value: object) -> Any:  # noqa: ANN401 - functions return anything
        """Return a value that was sent."""
        return open_value(value, self._builder, self._worker)


def open_value(value: object, builder: ResolvedBuilder, worker: str) -> Any:  # noqa: ANN401 - as above
    """Return a value that a worker sent.

    Raises
    ------
    TVBuilderError
        It could not be sent, or cannot be read here.
    """
    try:
        return opened(value)
    except UnsendableError as error:
        raise TVBuilderError(
            f'Builder "{builder.name}": function "{builder.function}" returned '
            f"what cannot be sent from worker {worker}: {message_of(error)}.",
            "Return text, numbers, lists, dicts or dataframes.",
            builder=builder.name,
        ) from error


class RemoteItems:
    """The items that a function returned in a worker, and what it raised after them."""

    def __init__(
        self,
        items: Sequence[Item],
        error: Callable[[], BaseException | None],
        opened: Callable[[object], Any],
    ) -> None:
        self._items = items
        self._error = error
        self._opened = opened

    def charged(self, usage: Usage) -> Iterator[Any]:
        """Yield the items, each once its reports are added."""
        for item in self._items:
            for used in item.used:
                usage.add(used)
            yield self._opened(item.value)
        if (error := self._error()) is not None:
            raise error

    def __iter__(self) -> Iterator[Any]:
        """Yield the items."""
        return self.charged(Usage(""))


class LiveItems(RemoteItems):
    """The items of a function that a worker is calling, as they come.

    Parameters
    ----------
    first : sequence of Item
        Those that have come.
    take : callable
        Returns those that have come since.
    made : Future
        The outcome, with the items that were not taken.
    opened : callable
        Returns a value that was sent.
    """

    def __init__(
        self,
        first: Sequence[Item],
        take: Callable[[], Sequence[Item]],
        made: Future[RemoteOutcome],
        opened: Callable[[object], Any],
    ) -> None:
        super().__init__(first, lambda: None, opened)
        self._take = take
        self._made = made

    def charged(self, usage: Usage) -> Iterator[Any]:
        """Yield the items, each once its reports are added."""
        yield from super().charged(usage)
        is_made = False
        while not is_made:
            is_made = bool(wait([self._made], timeout=POLL_S).done)
            self._items = self._take()
            yield from super().charged(usage)
        outcome = self._made.result()
        for used in outcome.used:
            usage.add(used)
        yield from outcome.value().charged(usage)
