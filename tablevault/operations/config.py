"""Read and set limits and prices of the whole vault."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from tablevault.errors import TVArgumentError
from tablevault.history.commits.change import Change
from tablevault.history.commits.documents import encode_fields
from tablevault.history.commits.snapshot import Snapshot
from tablevault.history.commits.vault_config import (
    UnknownSettingError,
    VaultConfig,
    known_settings,
    setting_path,
)
from tablevault.history.git.trees import Put
from tablevault.limits_and_prices import UnfitValueError
from tablevault.model.view import VaultView
from tablevault.names import VAULT_DOCUMENT
from tablevault.transactions.claims import config_hold
from tablevault.transactions.operation import Operation, operation
from tablevault.transactions.records import Hold, Record
from tablevault.transactions.transaction import Transaction
from tablevault.vault import Vault
from tablevault.wording import Either, Wording, did_you_mean


def get_config(vault: Vault, key: str = "") -> object:
    """Return a setting, or all of them, as plain values.

    Parameters
    ----------
    vault : Vault
        The vault.
    key : str, default ""
        Such as ``limits``, ``limits.calls`` or ``prices.gpt-4.1.input``.

    Returns
    -------
    object
        None for a setting that is not set.

    Raises
    ------
    TVArgumentError
        No setting has that name.
    TVFileError
        ``vault.yaml`` has a value that its setting cannot have.
    """
    config = vault.snapshot().vault().config
    if not key:
        return config.fields()
    try:
        return config.value_at(key)
    except UnknownSettingError as error:
        raise unknown_setting(error, key) from None


def config_text(value: object) -> str:
    """Return settings as YAML, a single value as it is."""
    return encode_fields(value).decode("utf-8") if isinstance(value, dict) else str(value)


def unknown_setting(error: UnknownSettingError, key: str) -> TVArgumentError:
    """Make the error for a key that names no setting."""
    hint = f'Did you mean "{error.near}"? ' if error.near else ""
    return TVArgumentError(
        f'There is no setting "{key}".',
        f"{hint}Settings are {', '.join(known_settings())}.",
        setting=key,
    )


# -- changes ------------------------------------------------------------------------------------


@operation("set_config")
@dataclass(frozen=True, slots=True, kw_only=True)
class SetConfig(Operation[Vault, VaultView, None]):
    """Set values of the configuration by key, in one commit; None removes one.

    Raises
    ------
    TVArgumentError
        No setting has that name, or its value cannot be that.
    TVFileError
        ``vault.yaml`` has a value already that its setting cannot have.
    """

    changes: Mapping[str, object]

    def checked(self, vault: Vault) -> Self:
        """Return it with values as the configuration keeps them."""
        config = _changed(vault.snapshot(), self.changes)
        return replace(self, changes={key: config.value_at(key) for key in self.changes})

    def claims(self, view: VaultView, record: Record) -> Sequence[Hold]:
        """Claim the configuration."""
        _changed(view.snapshot, self.changes)
        return [config_hold()]

    def plan(self, view: VaultView, tx: Transaction, prepared: None, at: float) -> Change:
        """Write ``vault.yaml``, if anything differs."""
        before = view.snapshot.vault()
        after = replace(before, config_or_fault=_changed(view.snapshot, self.changes))
        is_same = after == before
        subject = "config: no change" if is_same else f"config: {_shown(self.changes)}"
        return Change(
            message=tx.message(subject, at=at),
            main=() if is_same else (Put(path=VAULT_DOCUMENT, data=after.encode()),),
        )


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
    section, *names = path
    if section != "prices" or not names or names[0] in config.prices:
        return
    known = ", ".join(sorted(config.prices)) or "none"
    raise TVArgumentError(
        f'There is no price of the model "{names[0]}".',
        did_you_mean(names[0], config.prices) or f"Models with a price: {known}.",
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


def _shown(changes: Mapping[str, object]) -> str:
    """Return what is set and what is removed, in a few words."""
    return ", ".join(
        f"remove {key}"
        if value is None or value == {}
        else (f"set {key}" if isinstance(value, dict) else f"set {key} to {value}")
        for key, value in changes.items()
    )
