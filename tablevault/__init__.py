"""TableVault: tables made with Python, every step of their making kept in git."""

from __future__ import annotations

__version__ = "0.1.0"
