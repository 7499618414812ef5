"""Stands for the client library of a language model: slow, limited, and paid by the question.

The provider's side is one file: a line for each period that was paid, and one for each answer
that was given. So it is known afterwards what was asked, and how often, whoever asked.

An answer is the sentence of the document that has most words in common with the question.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

ACCOUNT = "SIMULATED_MODEL_ACCOUNT"  # environment variable: path of the provider's file
MOST_WORDS = 500  # of a prompt
SECONDS = 0.05  # to think


class RateLimitError(Exception):
    """Too many questions in this period. This one was not answered, and costs nothing."""


class PromptTooLongError(Exception):
    """The prompt has more words than the model can read. It was not answered either."""


def ask(question: str, document: str) -> str:
    """Ask a question about a document; give the answer, with a guess how good it is."""
    words = len(document.split()) + len(question.split())
    if words > MOST_WORDS:
        raise PromptTooLongError(f"{words} words; the model reads {MOST_WORDS}")
    with _account() as (lines, file):
        limit = sum(line.get("questions", 0) for line in lines)
        if sum("answered" in line for line in lines) >= limit:
            raise RateLimitError(f"{limit} questions; try again in an hour")
        # Counted when it is accepted, as providers do: several threads ask at once.
        file.write(json.dumps({"answered": f"{question} {document}"}) + "\n")
    time.sleep(SECONDS)
    return _answer(question, document)


def pay(questions: int) -> None:
    """Allow so many questions more: an hour has gone by, or a bill was paid."""
    with _account() as (_, file):
        file.write(json.dumps({"questions": questions}) + "\n")


def answered() -> int:
    """Count the questions that were answered."""
    return sum(_times().values())


def answered_twice() -> int:
    """Count the questions that were answered more than once about the same document."""
    return sum(times > 1 for times in _times().values())


def _times() -> Counter[str]:
    """Count how often each question was answered."""
    with _account() as (lines, _):
        return Counter(line["answered"] for line in lines if "answered" in line)


@contextmanager
def _account() -> Iterator[tuple[list[dict[str, str]], TextIO]]:
    """Open the provider's file, alone."""
    with Path(os.environ[ACCOUNT]).open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        yield [json.loads(line) for line in file], file


def _answer(question: str, document: str) -> str:
    """Find the sentence that fits best; the first of those that fit as well."""
    asked = _words(question)
    sentences = re.split(r"(?<=[.:!?])\s+", " ".join(document.split()))
    fit, best = max(
        ((len(asked & _words(each)), each) for each in sentences), key=lambda found: found[0]
    )
    return f"{best} (certainty: {fit / len(asked):.0%})"


def _words(text: str) -> set[str]:
    """Give the words of a text, without their endings."""
    return {word[:6] for word in re.findall(r"[a-z]{3,}", text.lower())}
