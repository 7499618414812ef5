"""Set limits and prices of the whole vault."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

from tablevault.errors import TVArgumentError
from tablevault.history.change import Change
from tablevault.history.documents import timestamp
from tablevault.history.snapshot import Snapshot
from tablevault.history.tree import Put
from tablevault.history.vault_config import UnknownSettingError, VaultConfig, setting_path
from tablevault.journal.beginning import refusing, taken_up
from tablevault.journal.locks import config_hold
from tablevault.journal.operation import running
from tablevault.journal.record import Hold, Json, Request
from tablevault.limits import UnfitValueError
from tablevault.names import VAULT_DOCUMENT, ProcessId
from tablevault.operations.messages import operation_message
from tablevault.queries.config import unknown_setting
from tablevault.vault import Vault
from tablevault.wording import Either, Wording

_OPERATION = "set_config"


def set_config(vault: Vault, changes: Mapping[str, object], *, process_id: str) -> ProcessId:
    """Set values by key, in one commit; None removes one.

    Raises
    ------
    TVArgumentError
        No setting has that name, or its value cannot be that.
    TVFileError
        ``vault.yaml`` has a value already that its setting cannot have.
    """
    with refusing(vault.journal, vault.actor(process_id), _OPERATION):
        config = _changed(vault.snapshot(), changes)
        plain = {key: cast("Json", config.value_at(key)) for key in changes}
    request = Request(operation=_OPERATION, arguments={"changes": plain})
    return perform(vault, taken_up(vault.journal, request, process_id), process_id)


def perform(vault: Vault, request: Request, process_id: str) -> ProcessId:
    """Set the values that are asked for."""
    changes = cast("Mapping[str, object]", request.arguments["changes"])

    def setup(_: Request, snapshot: Snapshot) -> Sequence[Hold]:
        _changed(snapshot, changes)
        return [config_hold()]

    with running(vault.journal, request, vault.actor(process_id), setup) as operation:

        def plan(snapshot: Snapshot, at: float) -> Change:
            before, config = snapshot.vault(), _changed(snapshot, changes)
            after = replace(before, config_or_fault=config)
            subject = "config: no change" if after == before else f"config: {_told(changes)}"
            data = after.encode()
            return Change(
                message=operation_message(operation, subject, [("Time", timestamp(at))]),
                main=() if after == before else (Put(path=VAULT_DOCUMENT, data=data),),
            )

        operation.publish(plan)
    return operation.process_id


def _changed(snapshot: Snapshot, changes: Mapping[str, object]) -> VaultConfig:
    """Return the configuration with other values."""
    config = snapshot.vault().config
    try:
        for key in (key for key, value in changes.items() if value is None):
            _refuse_unknown_model(config, setting_path(key))
        return config.changed(changes)
    except UnknownSettingError as error:
        raise unknown_setting(error, str(error)) from None
    except UnfitValueError as error:
        raise TVArgumentError(f"{error}.", _hint(error.path), setting=error.path) from None


def _refuse_unknown_model(config: VaultConfig, path: Sequence[str]) -> None:
    """Refuse to remove the price of a model that has none: its name may be spelt wrongly."""
    import difflib

    section, *names = path
    if section != "prices" or not names or names[0] in config.prices:
        return
    near = difflib.get_close_matches(names[0], list(config.prices), n=1)
    known = ", ".join(sorted(config.prices)) or "none"
    raise TVArgumentError(
        f'There is no price of the model "{names[0]}".',
        f'Did you mean "{near[0]}"?' if near else f"Models with a price: {known}.",
        setting=".".join(path),
    )


def _hint(key: str) -> str:
    """Return how a price is set, where a key names one; else "", since the error says it all."""
    section, dot, model = key.partition(".")
    if section != "prices" or not dot or len(setting_path(key)) > 2:  # noqa: PLR2004 - prices.MODEL
        return ""
    words = ["tablevault", "config", f"{key}.input", "INPUT", f"{key}.output", "OUTPUT"]
    return Wording(
        "Set both at once: ",
        Either(f'{{"input": ..., "output": ...}} for "{model}"', f"`{shlex.join(words)}`"),
        ".",
    )


def _told(changes: Mapping[str, object]) -> str:
    """Return what is set and what is removed, in a few words."""
    return ", ".join(
        f"remove {key}"
        if value is None or value == {}
        else (f"set {key}" if isinstance(value, dict) else f"set {key} to {value}")
        for key, value in changes.items()
    )
