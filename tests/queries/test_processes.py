"""Whether a process has ended, and what ids processes get."""

from __future__ import annotations

import pytest

from tablevault import TableVault
from tablevault.errors import TVArgumentError


def test_completion_is_exact(papers: TableVault) -> None:
    process = papers.create_table("other")
    assert papers.get_process_completion(process) is True
    assert papers.get_process_completion(process[:-1]) is False
    assert papers.get_process_completion("") is False
    assert papers.get_process_completion("never seen") is False


def test_a_failed_named_process_is_complete(papers: TableVault) -> None:
    with pytest.raises(TVArgumentError):
        papers.create_table("papers", process_id="mine")
    assert papers.get_process_completion("mine") is True


def test_process_ids_are_random(papers: TableVault) -> None:
    assert papers.generate_process_id() != papers.generate_process_id()
