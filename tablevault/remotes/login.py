"""A name and a password, which nothing ever shows."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Who we are for a server.

    Attributes
    ----------
    more : tuple of pairs
        What a helper of git said besides, and wants to hear again.
    is_from_helper : bool
        A helper of git has given it, and wants to know whether it was right.
    """

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    more: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    is_from_helper: bool = False

    @property
    def basic(self) -> str:
        """Value of the header ``Authorization``, by the scheme Basic."""
        pair = f"{self.username}:{self.password}".encode()
        return "Basic " + base64.b64encode(pair).decode("ascii")
