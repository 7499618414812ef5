"""Reads what the model has replied. In a module of its own: who mends it here asks nobody again."""

import re


def read(reply: str) -> tuple[str, float]:
    """Take apart "It sorts. (certainty: 40%)"."""
    found = re.fullmatch(r"(.*) \(certainty: (\d+)%\)", reply)
    return found[1], int(found[2])
