"""A vault that checks find damaged."""

from tests.damaging import damaged, original

__all__ = ["damaged", "original"]
