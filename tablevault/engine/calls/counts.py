"""What an execution has made so far, as queries of the records of calls."""

from __future__ import annotations

from typing import Final

ROWS: Final = (
    "SELECT (SELECT count(DISTINCT row) FROM calls WHERE execution = ?1 AND builder = ?2"
    " AND row >= 0 AND outcome = 'ok')"
    " + (SELECT count(*) FROM found WHERE execution = ?1 AND builder = ?2 AND row >= 0)"
)
"""The number of rows that have a result. Takes execution and builder."""
FINISHED: Final = (
    "SELECT row FROM calls WHERE execution = ?1 AND builder = ?2 AND row >= 0 AND outcome = 'ok'"
    " UNION SELECT row FROM found WHERE execution = ?1 AND builder = ?2 AND row >= 0"
)
"""The rows that have a result. Takes execution and builder."""
ERRORS: Final = (
    "SELECT c.builder, count(DISTINCT c.row) FROM calls c"
    " WHERE c.execution = ? AND c.row >= 0 AND c.outcome != 'ok' AND NOT EXISTS (SELECT 1"
    " FROM calls o WHERE o.execution = c.execution AND o.builder = c.builder AND o.row = c.row"
    " AND o.outcome = 'ok') AND NOT EXISTS (SELECT 1 FROM found f WHERE f.execution = c.execution"
    " AND f.builder = c.builder AND f.row = c.row) GROUP BY c.builder"
)
"""By builder, the number of rows that failed and have no result. Takes execution."""
