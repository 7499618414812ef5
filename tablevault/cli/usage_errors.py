"""What ends a command that is no error of the vault: wrong arguments, or a person who says no."""

from __future__ import annotations


class UsageError(Exception):
    """The arguments make no sense together, or name a file that is not there: exit code 2."""


class AbortedError(Exception):
    """The person said no: exit code 1."""
