"""What reads a vault: a view in, a value out; takes no lock and writes no record."""

from __future__ import annotations

from tablevault._lazy import lazily

TYPE_CHECKING = False  # as typing has it, which takes longer to load
if TYPE_CHECKING:
    from tablevault.queries import (
        artifacts as artifacts,
    )
    from tablevault.queries import (
        calls as calls,
    )
    from tablevault.queries import (
        config as config,
    )
    from tablevault.queries import (
        dataframe as dataframe,
    )
    from tablevault.queries import (
        describe as describe,
    )
    from tablevault.queries import (
        diff as diff,
    )
    from tablevault.queries import (
        lineage as lineage,
    )
    from tablevault.queries import (
        log as log,
    )
    from tablevault.queries import (
        partial as partial,
    )
    from tablevault.queries import (
        processes as processes,
    )
    from tablevault.queries import (
        status as status,
    )
    from tablevault.queries import (
        tree as tree,
    )

__getattr__ = lazily(__name__)
