"""What people set for a whole vault: limits and prices of paid calls."""

from __future__ import annotations

from tablevault.errors import TVArgumentError
from tablevault.history.commits.documents import encode_fields
from tablevault.history.commits.vault_config import UnknownSettingError, known_settings
from tablevault.vault import Vault


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
