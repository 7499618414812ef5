"""Two builders of a small table, for tests of what its functions do."""

from __future__ import annotations

import yaml


def row_builders(n: int, **fields: object) -> dict[str, str]:
    """Return an IndexBuilder that calls `rows(n)`, and a ColumnBuilder of `x` that calls `f`."""
    shared = {"code_module": "work", "is_custom": True}
    index = shared | {
        "builder_type": "IndexBuilder",
        "changed_columns": ["id"],
        "primary_key": ["id"],
        "python_function": "rows",
        "arguments": {"n": n},
    }
    column = shared | {
        "builder_type": "ColumnBuilder",
        "changed_columns": ["x"],
        "python_function": "f",
        "return_type": "row-wise",
        "arguments": {"id": "<<self.id[index]>>"},
    }
    return {"t_index": yaml.safe_dump(index), "f": yaml.safe_dump(column | fields)}
