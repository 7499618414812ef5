"""What talks to another vault, or to a server that keeps objects for one."""

from __future__ import annotations

from tablevault._lazy import lazily

TYPE_CHECKING = False  # as typing has it, which takes longer to load
if TYPE_CHECKING:
    from tablevault.remotes import (
        clone as clone,
    )
    from tablevault.remotes import (
        door as door,
    )
    from tablevault.remotes import (
        inspection as inspection,
    )
    from tablevault.remotes import (
        pull as pull,
    )
    from tablevault.remotes import (
        push as push,
    )

__getattr__ = lazily(__name__)
