"""The command that shows and sets limits and prices of the whole vault."""

from __future__ import annotations

import argparse

from tablevault.cli.command import PROCESS_ID, Argument, Command, positional
from tablevault.cli.context import Place
from tablevault.cli.output import Text
from tablevault.cli.usage_errors import UsageError
from tablevault.wording import Call

_REMOVES = "null"


def _config(place: Place, given: argparse.Namespace) -> object:
    """Show a setting or all of them, or set some."""
    from tablevault.operations import config

    if not given.value:
        found = config.get_config(place.read(), given.key)
        return None if found is None else Text(config.config_text(found), found)
    words = [given.key, *given.value]
    if len(words) % 2:
        raise UsageError(f"there is no value for {words[-1]}")
    keys = words[::2]
    if len({*keys}) < len(keys):
        raise UsageError("a key is given twice")
    values = [None if value == _REMOVES else value for value in words[1::2]]
    asked = config.SetConfig(changes=dict(zip(keys, values, strict=True)))
    return asked.run(place.vault(), given.process_id)


COMMANDS = (
    Command(
        name="config",
        summary="show limits and prices of the vault; with a value, set one",
        details="Keys are limits.calls_per_minute, limits.tokens_per_minute, limits.calls, "
        "limits.cost, limits.name, prices.MODEL.input, prices.MODEL.output and prices.MODEL.batch. "
        "More keys with their values may follow; all are set at once.",
        run=_config,
        calls=(Call("get_config"), Call("set_config")),
        arguments=(
            positional("key", "such as limits.calls_per_minute; all by default", default=""),
            Argument(
                ("value",),
                {"help": f"its value; {_REMOVES} removes it", "metavar": "VALUE", "nargs": "*"},
                words=lambda value: [_REMOVES if value is None else value],
            ),
            PROCESS_ID,
        ),
    ),
)
