"""Commands that keep a vault in order: verify, gc, config."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
from collections import Counter
from collections.abc import Sequence

from tablevault.argument_types import CALLS_KEPT_DAYS, GC_GRACE_DAYS
from tablevault.cli.command import (
    PROCESS_ID,
    Argument,
    Command,
    either,
    number,
    opposite,
    option,
    positional,
    switch,
)
from tablevault.cli.context import CommandContext, UsageError
from tablevault.cli.errors import in_shell
from tablevault.cli.output import Listing, TextOutput
from tablevault.errors import TVFileError
from tablevault.problems import Problem
from tablevault.wording import Call

_DAY_S = 24 * 3600.0
_DAYS = number(float)


def _verify(context: CommandContext, given: argparse.Namespace) -> object:
    """Check the vault, and a remote."""
    from tablevault.operations import maintenance
    from tablevault.remotes.remote_objects import add_remote_problems

    vault = context.inspect()
    # What keeps the vault from being opened is reported, or repaired.
    if maintenance.can_be_opened(vault.path):
        with contextlib.suppress(TVFileError):
            vault = context.read()  # a repair needs no author
    found = maintenance.verify(vault, data=not given.no_data, repair=given.repair)
    problems = add_remote_problems(vault, given.remote, found, data=not given.no_data)
    tell = in_shell(context)
    notes = [each for each in problems if each.severity == "note" and not each.repaired]
    shown = [each for each in problems if each not in notes]
    rows = [
        (
            "repaired" if each.repaired else each.severity,
            each.where,
            tell(each.text),
            tell(each.next),
        )
        for each in shown
    ]
    if notes:
        rows.append(("note", "", _counted(notes), "--json lists them."))
    return Listing(
        columns=("severity", "where", "what", "next"),
        rows=rows,
        value=[
            {
                "kind": problem.kind,
                "severity": problem.severity,
                "where": problem.where,
                "text": tell(problem.text),
                "advice": tell(problem.next),
                "repaired": problem.repaired,
            }
            for problem in problems
        ],
        if_empty="Nothing is wrong.",
        exit_code=int(any(not each.repaired for each in shown)),
    )


def _counted(notes: Sequence[Problem]) -> str:
    """Count notes by kind; they are no problems."""
    counts = Counter(each.kind for each in notes)
    listed = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
    return f"{len(notes):,} {'note' if len(notes) == 1 else 'notes'} ({listed}): nothing is wrong."


def _gc(context: CommandContext, given: argparse.Namespace) -> object:
    """Collect garbage."""
    from tablevault.operations import maintenance
    from tablevault.remotes import remote_gc

    vault = context.read()  # it commits nothing, and so needs no author
    if given.remote:
        removed = remote_gc.collect_remote(
            vault,
            given.remote,
            grace_s=given.grace_days * _DAY_S,
            dry_run=given.dry_run is not False,
        )
        hint = " Remove them: --no-dry-run." if removed.dry_run and not removed.is_empty else ""
        return TextOutput(f"{removed}{hint}", dataclasses.asdict(removed))
    report = maintenance.collect(
        vault,
        grace_s=given.grace_days * _DAY_S,
        calls_older_than_days=given.calls_older_than_days,
        dry_run=given.dry_run is True,
    )
    return TextOutput(repr(report), dataclasses.asdict(report))


_REMOVES = "null"


def _config(context: CommandContext, given: argparse.Namespace) -> object:
    """Show a setting or all of them, or set some."""
    from tablevault.operations import config

    if not given.value:
        found = config.get_config(context.read(), given.key)
        return None if found is None else TextOutput(config.config_text(found), found)
    words = [given.key, *given.value]
    if len(words) % 2:
        raise UsageError(f"there is no value for {words[-1]}")
    keys = words[::2]
    if len({*keys}) < len(keys):
        raise UsageError("a key is given twice")
    values = [None if value == _REMOVES else value for value in words[1::2]]
    asked = config.SetConfig(changes=dict(zip(keys, values, strict=True)))
    return asked.run(context.vault(), given.process_id)


COMMANDS = (
    Command(
        name="verify",
        summary="check the vault; exit code 1 if there is a problem",
        run=_verify,
        arguments=(
            opposite("no-data", "only look for objects, do not read them", parameter="data"),
            switch("repair", "repair what can be derived from history"),
            option(
                "remote", "check that this remote has all objects that it should have", "remote"
            ),
        ),
    ),
    Command(
        name="gc",
        summary="remove objects that nothing needs, and pack the rest",
        run=_gc,
        arguments=(
            option(
                "grace-days", "minimum age of what is removed", default=GC_GRACE_DAYS, type=_DAYS
            ),
            option(
                "calls-older-than-days",
                "minimum age of results of calls that no instance has",
                default=CALLS_KEPT_DAYS,
                type=_DAYS,
            ),
            either(
                "dry-run",
                "no-dry-run",
                "only report what would be removed (default with --remote)",
                default=None,
            ),
            option(
                "remote",
                "act on the bucket or folder of this remote: remove what its refs do not need",
                "remote",
            ),
        ),
    ),
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
                typed=lambda value: [_REMOVES if value is None else value],
            ),
            PROCESS_ID,
        ),
    ),
)
