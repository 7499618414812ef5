"""Commands that take care of a vault: verify, gc."""

from __future__ import annotations

import argparse
import contextlib

from tablevault import operations, remotes
from tablevault.cli.command import JSON, Command, option, switch
from tablevault.cli.mistakes import UsageError
from tablevault.cli.output import Listing, Text
from tablevault.cli.place import Place
from tablevault.errors import TVFileError

_DAY_S = 24 * 3600.0


def _verify(place: Place, given: argparse.Namespace) -> object:
    """Look whether the vault is whole."""
    vault = place.look()
    # What keeps it from being opened is what is to be told, or mended.
    if operations.repair.can_be_opened(vault.path):
        with contextlib.suppress(TVFileError):
            vault = place.read()  # to mend a vault, nobody has to be named
    found = operations.repair.verify(vault, data=not given.no_data, repair=given.repair)
    problems = remotes.inspection.with_remote(vault, given.remote, found)
    left = [problem for problem in problems if not problem.repaired]
    return Listing(
        columns=("severity", "where", "what", "next"),
        rows=[
            (
                "mended" if problem.repaired else problem.severity,
                problem.where,
                problem.text,
                "" if problem.repaired else problem.advice,
            )
            for problem in problems
        ],
        value=[
            {
                "kind": problem.kind,
                "severity": problem.severity,
                "where": problem.where,
                "text": problem.text,
                "advice": problem.advice,
                "repaired": problem.repaired,
            }
            for problem in problems
        ],
        if_empty="Nothing is wrong.",
        exit_code=1 if left else 0,
    )


def _gc(place: Place, given: argparse.Namespace) -> object:
    """Remove what nothing needs any more."""
    if given.grace_days < 0:
        raise UsageError(f"--grace-days is {given.grace_days}; it must be at least 0")
    from dataclasses import asdict

    report = operations.gc.collect(
        place.vault(), grace_s=given.grace_days * _DAY_S, dry_run=given.dry_run
    )
    return Text(repr(report), asdict(report))


COMMANDS = (
    Command(
        name="verify",
        summary="look whether the vault is whole; exit code 1 when something is wrong",
        run=_verify,
        arguments=(
            switch("no-data", "look for objects without reading them"),
            switch("repair", "make again what follows from the rest"),
            option("remote", "ask this remote for every object that it should have", "remote"),
            JSON,
        ),
    ),
    Command(
        name="gc",
        summary="remove what nothing needs any more, and pack the rest",
        run=_gc,
        arguments=(
            option("grace-days", "age that what is removed must have", default=14, type=float),
            switch("dry-run", "tell what would be removed, and change nothing"),
            JSON,
        ),
    ),
)
