"""What changes a vault: a file for each family of operations."""

from __future__ import annotations

from tablevault._lazy import lazily

TYPE_CHECKING = False  # as typing has it, which takes longer to load
if TYPE_CHECKING:
    from tablevault.operations import (
        archive as archive,
    )
    from tablevault.operations import (
        builders as builders,
    )
    from tablevault.operations import (
        code as code,
    )
    from tablevault.operations import (
        config as config,
    )
    from tablevault.operations import (
        execute as execute,
    )
    from tablevault.operations import (
        gc as gc,
    )
    from tablevault.operations import (
        import_v01 as import_v01,
    )
    from tablevault.operations import (
        instances as instances,
    )
    from tablevault.operations import (
        plan as plan,
    )
    from tablevault.operations import (
        refresh as refresh,
    )
    from tablevault.operations import (
        repair as repair,
    )
    from tablevault.operations import (
        stop as stop,
    )
    from tablevault.operations import (
        tables as tables,
    )
    from tablevault.operations import (
        undo as undo,
    )
    from tablevault.operations import (
        vaults as vaults,
    )
    from tablevault.operations import (
        write as write,
    )

__getattr__ = lazily(__name__)
