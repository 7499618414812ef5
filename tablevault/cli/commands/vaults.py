"""Commands on a vault as a whole: create, import, compress, decompress, delete, demo."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tablevault.cli.command import (
    ALLOW_SECRET,
    DESCRIPTION,
    Command,
    number,
    option,
    positional,
    switch,
)
from tablevault.cli.context import (
    AbortedError,
    CommandContext,
    UsageError,
    existing_file,
    existing_folder,
    refuse_below_file,
)
from tablevault.cli.output import TextOutput
from tablevault.render import harmless
from tablevault.wording import Call

if TYPE_CHECKING:
    from tablevault.vault import Vault

_ENDING = ".tar.xz"


def _create(context: CommandContext, given: argparse.Namespace) -> object:
    """Make an empty vault."""
    vault = context.create(given.new_dir, given.description, allow_secret=given.allow_secret)
    return TextOutput(f"Created → {vault.path}", {"path": str(vault.path)})


def _compress(context: CommandContext, given: argparse.Namespace) -> object:
    """Write a vault into one file."""
    from tablevault.operations import vaults
    from tablevault.vault import absolute

    del context
    folder = existing_folder(given.vault_dir)
    vaults.compress_vault(folder, given.preset)
    archive = vaults.archive_path(absolute(folder))
    return TextOutput(f"Compressed → {archive.name}", {"path": str(archive)})


def _decompress(context: CommandContext, given: argparse.Namespace) -> object:
    """Restore a vault from such a file."""
    from tablevault.operations.vaults import decompress_vault
    from tablevault.vault import absolute

    del context
    archive = existing_file(given.archive)
    if not archive.name.endswith(_ENDING):
        raise UsageError(f'"{archive}" does not end in {_ENDING}')
    target = archive.with_name(archive.name.removesuffix(_ENDING))
    decompress_vault(target)
    return TextOutput(f"Decompressed → {target.name}/", {"path": str(absolute(target))})


def _delete(context: CommandContext, given: argparse.Namespace) -> object:
    """Remove a vault."""
    from tablevault.operations import vaults

    del context
    from tablevault.vault import absolute, refuse_unless_vault

    folder = existing_folder(given.vault_dir)
    path = absolute(folder)
    refuse_unless_vault(folder)
    if not given.yes:
        _ask(f'Delete the vault "{folder}" with everything in it?')
    vaults.delete_vault(folder)
    return TextOutput(f"Deleted → {folder}", {"path": str(path)})


def _ask(question: str) -> None:
    """Ask on the standard error, as the standard output is for results; raise unless it is yes."""
    sys.stderr.write(f"{harmless(question)} [y/N] ")
    sys.stderr.flush()
    answer = ""
    try:
        answer = sys.stdin.readline()
    finally:
        if not answer:  # Ctrl-C, Ctrl-D, or nobody can answer
            sys.stderr.write("\n")
    if not answer and not sys.stdin.isatty():
        raise AbortedError("There is no terminal to ask in: answer by --yes.")
    if answer.strip().lower() not in {"y", "yes"}:
        raise AbortedError


def _import(context: CommandContext, given: argparse.Namespace) -> object:
    """Take over a vault of TableVault 0.1."""
    from tablevault.operations import import_v01

    old = existing_folder(given.old_dir)
    refuse_below_file(given.new_dir)
    new = context.handle(Path(given.new_dir), context.author)
    report = import_v01.import_original(old, new, allow_secret=given.allow_secret)
    text = f"{report}\nThe vault is {given.new_dir}; {old} is as it was."
    return TextOutput(text, {"path": str(new.path), **dataclasses.asdict(report)})


_CODE = '''"""Functions of the demonstration: reviews, and a judge that stands for a slow model."""

REVIEWS = [
    ("r1", "The tent kept dry for a week."),
    ("r2", "Poor zip, it broke at once."),
    ("r3", "A good lamp, and a bright one."),
    ("r4", "It arrived."),
]
WORDS = {"dry": 1, "good": 1, "bright": 1, "poor": -1, "broke": -1}


def reviews():
    """Return the reviews: a real vault would read a file or ask a service."""
    import pandas as pd

    return pd.DataFrame(REVIEWS, columns=["id", "text"])


def judge(text, threshold):
    """Judge one review: a real vault would ask a language model here."""
    words = [word.strip(".,").lower() for word in text.split()]
    score = sum(WORDS.get(word, 0) for word in words)
    return "good" if score >= threshold else "bad" if score <= -threshold else "neutral"


def count(moods):
    """Count the reviews of each mood."""
    import pandas as pd

    counted = moods["mood"].value_counts(sort=False).sort_index()
    return pd.DataFrame({"mood": counted.index, "reviews": counted.to_numpy()})
'''
_BUILDERS = {
    "reviews": {
        "reviews_index": """builder_type: IndexBuilder
changed_columns: [id, text]
primary_key: [id]
python_function: reviews
code_module: demo
is_custom: true
return_type: dataframe
arguments: {}
""",
        "mood": """builder_type: ColumnBuilder
changed_columns: [mood]
python_function: judge
code_module: demo
is_custom: true
return_type: row-wise
arguments:
  text: <<self.text[index]>>
  threshold: 1
""",
    },
    "moods": {
        "moods_index": """builder_type: IndexBuilder
changed_columns: [mood, reviews]
primary_key: [mood]
python_function: count
code_module: demo
is_custom: true
return_type: dataframe
arguments:
  moods: <<reviews.mood>>
"""
    },
}
_AFTER = """Made the vault {path} with two tables, each of two instances. Look around:

  cd {quoted}
  tablevault get-table-instances           the tables
  tablevault log                           what happened
  tablevault diff reviews                  what the second run changed
  tablevault lineage moods                 what was made from what
  git log --first-parent --oneline         the same by plain git
  git log -p -- tables/reviews/base        how each instance came to be
"""


def _demo(context: CommandContext, given: argparse.Namespace) -> object:
    """Create a vault, run everything, change one argument, run it again."""
    from tablevault.operations.code_and_builders import CreateCodeModule
    from tablevault.operations.tables import CreateTable

    vault = context.create(given.new_dir, "A demonstration")
    CreateCodeModule(module_name="demo", text=_CODE).run(vault)
    for table, builders in _BUILDERS.items():
        CreateTable(table_name=table).run(vault)
        _execute(vault, table, builders)
    changed = _BUILDERS["reviews"] | {
        "mood": _BUILDERS["reviews"]["mood"].replace("threshold: 1", "threshold: 2")
    }
    _execute(vault, "reviews", changed)
    _execute(vault, "moods", _BUILDERS["moods"])
    text = _AFTER.format(path=given.new_dir, quoted=shlex.quote(given.new_dir))
    return TextOutput(text, {"path": str(vault.path)})


def _execute(vault: Vault, table: str, builders: dict[str, str]) -> None:
    """Make one instance of a table."""
    from tablevault.operations.execute import ExecuteInstance
    from tablevault.operations.instances import CreateInstance

    CreateInstance(table_name=table, version="base", copy=True, builders=builders).run(vault)
    ExecuteInstance(table_name=table, version="base").run(vault)


COMMANDS = (
    Command(
        name="create-vault",
        summary="create an empty vault",
        run=_create,
        calls=(Call("TableVault", create=True),),
        arguments=(
            positional("new_dir", "folder of the new vault", "path", parameter="db_dir"),
            DESCRIPTION,
            ALLOW_SECRET,
        ),
    ),
    Command(
        name="demo",
        summary="create a small example vault, and suggest what to look at",
        run=_demo,
        arguments=(positional("new_dir", "folder of the new vault", "path", default="demo.vault"),),
    ),
    Command(
        name="import-original",
        summary="convert a vault of TableVault 0.1, with its history as commits",
        run=_import,
        arguments=(
            positional(
                "old_dir", "folder of the vault of TableVault 0.1; it stays as it is", "path"
            ),
            positional("new_dir", "folder of the new vault", "path"),
            ALLOW_SECRET,
        ),
    ),
    Command(
        name="compress",
        summary="pack a vault into one file, DIR.tar.xz; the vault is kept",
        run=_compress,
        calls=(Call("compress_vault"),),
        arguments=(
            positional("vault_dir", "folder of the vault", "path", parameter="db_dir"),
            option(
                "preset", "0 (fast) to 9 (small)", default=6, type=number(int), choices=range(10)
            ),
        ),
    ),
    Command(
        name="decompress",
        summary="restore a vault from such a file",
        run=_decompress,
        calls=(Call("decompress_vault"),),
        arguments=(positional("archive", "the file, NAME.tar.xz", "path", parameter="db_dir"),),
    ),
    Command(
        name="delete-vault",
        summary="delete a vault with everything in it",
        run=_delete,
        arguments=(
            positional("vault_dir", "folder of the vault", "path", parameter="db_dir"),
            switch("yes", "do not ask"),
        ),
    ),
)
