"""Clone, pull, push: exchange with vaults elsewhere."""

from __future__ import annotations

from tablevault._lazy import lazily

TYPE_CHECKING = False  # as typing has it, which takes longer to load
if TYPE_CHECKING:
    from tablevault.remotes import (
        clone as clone,
    )
    from tablevault.remotes import (
        fetch as fetch,
    )
    from tablevault.remotes import (
        pull as pull,
    )
    from tablevault.remotes import (
        push as push,
    )
    from tablevault.remotes import (
        verify_remote as verify_remote,
    )

__getattr__ = lazily(__name__)
