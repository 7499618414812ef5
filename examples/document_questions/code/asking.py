"""Asks the model. This is what takes time, costs money, and fails."""

from simulated_model import ask  # instead of the client of a provider


def reply(question: str, document: str) -> str:
    """Fill one row."""
    return ask(question, document)
