"""Builders of temporary instances that no execution would accept."""

from __future__ import annotations

from collections.abc import Iterator

from tablevault.errors import TVBuilderError, TVFileError
from tablevault.history.snapshot import decode_text
from tablevault.model.view import VaultView
from tablevault.problems import Problem
from tablevault.vault import Vault


def check_builders(vault: Vault) -> Iterator[Problem]:
    """Find builders that are no YAML mapping, or have a field that no builder has.

    Those of materialised instances ran, whatever this release thinks of them.
    """
    from tablevault.engine.document import check_builder_text

    for temp in VaultView.live(vault.journal, vault.snapshot()).temps():
        for name, data in temp.builders().items():
            try:
                check_builder_text(name, decode_text(data, f"{name}.yaml"))
            except (TVBuilderError, TVFileError) as error:
                yield Problem(
                    kind="face",
                    severity="warning",
                    where=f"{temp.ref.face}/builders/{name}.yaml",
                    text=error.message,
                    advice=error.hint,
                )
