"""Which failures of a transfer are retried, how often, and after how long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Never

import tenacity

from tablevault.errors import TableVaultError
from tablevault.history.git.git_config import Settings

_LONGEST_WAIT_S = 300.0


class PassingError(Exception):
    """A failure that may pass: another attempt may succeed.

    Parameters
    ----------
    reason : str
        What happened, without secrets; the middle of a sentence.
    after_s : float, optional
        How long the other side asked to wait.
    most : int, optional
        After so many attempts it will not pass any more.
    unanswered : bool, default False
        Everything was sent, and no answer came: it may have succeeded.
    """

    def __init__(
        self,
        reason: str,
        *,
        after_s: float | None = None,
        most: int | None = None,
        unanswered: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after_s = after_s
        self.most = most
        self.unanswered = unanswered


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferLimits:
    """How much happens at once, how often a failure is retried, and after how long.

    Attributes
    ----------
    threads : int
        Most objects on their way at once (``lfs.concurrenttransfers``).
    tries : int
        Attempts without any progress before an object is given up (``lfs.transfer.maxretries``).
    longest_s : float
        Longest wait between two of them (``lfs.transfer.maxretrydelay``), unless the other side
        asks for more.
    """

    threads: int = 8
    tries: int = 8
    first_s: float = 0.25
    longest_s: float = 10.0

    def retrying(
        self,
        sleep: Callable[[float], None],
        give_up: Callable[[PassingError, int], TableVaultError],
        *,
        has_progressed: Callable[[], bool] = lambda: False,
    ) -> tenacity.Retrying:
        """Return what calls a function again while it raises PassingError.

        Parameters
        ----------
        sleep : callable
            Waits so many seconds.
        give_up : callable
            Returns the error to raise after the last attempt, by the failure and their number.
        has_progressed : callable, optional
            Returns after each failure whether there was progress: then failures count from 1 again,
            for there is hope.
        """

        def fail(state: tenacity.RetryCallState) -> Never:
            error = _failure(state)
            raise give_up(error, state.attempt_number) from error

        def after(state: tenacity.RetryCallState) -> None:
            if has_progressed():
                state.attempt_number = 1

        return tenacity.Retrying(
            sleep=sleep,
            stop=self.is_over,
            wait=self.wait_s,
            retry=tenacity.retry_if_exception_type(PassingError),
            after=after,
            retry_error_callback=fail,
        )

    def wait_s(self, state: tenacity.RetryCallState) -> float:
        """Return how long to wait after a failure: twice as long each time, with jitter.

        Without jitter all clients that were cut off together would come back together.
        """
        first_s, longest_s = self.first_s / 2, self.longest_s / 2
        wait = tenacity.wait_exponential(first_s, longest_s) + tenacity.wait_random_exponential(
            first_s, longest_s
        )
        return max(wait(state), _failure(state).after_s or 0.0)

    def is_over(self, state: tenacity.RetryCallState) -> bool:
        """Return whether to give up after a failure."""
        error = _failure(state)
        most = self.tries if error.most is None else min(self.tries, error.most)
        return state.attempt_number >= most or (error.after_s or 0.0) > _LONGEST_WAIT_S


def _failure(state: tenacity.RetryCallState) -> PassingError:
    """Return why the last attempt failed."""
    error = state.outcome and state.outcome.exception()
    assert isinstance(error, PassingError)
    return error


def limits_of(settings: Settings) -> TransferLimits:
    """Return the limits that git-lfs has in git's configuration."""
    return TransferLimits(
        threads=max(1, settings.number("lfs.concurrenttransfers", default=8)),
        tries=max(1, settings.number("lfs.transfer.maxretries", default=8)),
        longest_s=float(settings.number("lfs.transfer.maxretrydelay", default=10)),
    )
