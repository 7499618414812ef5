"""A catalogue of Python's standard library, made twice, and what git shows of it.

    python examples/stdlib_catalogue.py [VAULT_DIR]

The first table, ``modules``, has a row for each top-level module of the library that this very
interpreter runs on; its columns are measured from the source. The second, ``ranking``, reads the
first. Then one argument of one builder is edited, both tables are made again, and git is asked
what has changed.

The functions are in ``stdlib_catalogue/code/``, the builders that call them in
``stdlib_catalogue/modules/`` and ``stdlib_catalogue/ranking/``: read these first.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
from pathlib import Path

import pandas as pd
from rich.console import Console

from tablevault import TableVault, TableVaultError

FILES = Path(__file__).with_suffix("")  # the folder beside this file
SUMMARY = "Catalogue of the standard library"
SHOWN_ROWS = 8
SHOWN_PLACES = 5

console = Console(width=110, highlight=False)


def main() -> int:
    """Make the catalogue, show it, and give the exit status."""
    parser = argparse.ArgumentParser(description="Make a catalogue of the standard library.")
    parser.add_argument("vault_dir", nargs="?", default="stdlib.vault", type=Path)
    folder: Path = parser.parse_args().vault_dir.absolute()
    try:
        vault = new_vault(folder)
    except TableVaultError as error:
        print(error, file=sys.stderr)
        return 1

    heading("First run")
    set_up(vault)
    first = make_modules(vault)
    make_ranking(vault)
    show_tables(vault)

    heading("Second run: functions such as _helper no longer count")
    vault.create_instance("modules", copy=True, description=library())
    edit_builder(folder / "temp" / "modules" / "base" / "builders" / "documentation.yaml")
    second = execute(vault, "modules")
    make_ranking(vault)
    show_tables(vault)

    heading("The vault")
    console.print(vault.get_file_tree())

    heading("What git says")
    git(folder, "log", "--first-parent", "--oneline")
    # Each instance is a tag, and always at the same paths. The artifacts have not changed.
    git(folder, "diff", f"modules/{first}", f"modules/{second}", "--", "tables/modules/base")
    console.print(f"The vault is {folder}: a git repository, look around.", soft_wrap=True)
    return 0


def new_vault(folder: Path) -> TableVault:
    """Make an empty vault; one that an earlier run left is replaced, anything else refused."""
    author = "Catalogue <catalogue@example.org>"
    if folder.exists():
        summary = TableVault(folder, author).get_descriptions()["summary"]
        if summary != SUMMARY:
            raise TableVaultError(f'The vault "{folder}" is not mine.', "Name another folder.")
    return TableVault(folder, author, SUMMARY, create=True)


def set_up(vault: TableVault) -> None:
    """Bring the code and two empty tables into the vault."""
    vault.create_code_module(copy_dir=FILES / "code")
    vault.create_table(
        "modules",
        allow_multiple_artifacts=True,  # each instance keeps the sources that it was made from
        description="Top-level modules of the standard library",
    )
    vault.create_table("ranking", description="Modules by the share of documented functions")


def make_modules(vault: TableVault) -> str:
    """Make the first instance of ``modules``; give its id."""
    vault.create_instance("modules", description=library())
    vault.create_builder_file("modules", copy_dir=FILES / "modules")  # all builders in a folder
    return execute(vault, "modules")


def make_ranking(vault: TableVault) -> None:
    """Make an instance of ``ranking`` from the latest instance of ``modules``."""
    builder = FILES / "ranking" / "ranking_index.yaml"
    vault.create_instance("ranking", builders=[str(builder)])
    execute(vault, "ranking")


def execute(vault: TableVault, table: str) -> str:
    """Run the builders of the temporary instance; give the id of the instance it becomes."""
    vault.execute_instance(table)
    return vault.get_table_instances(table)[-1]


def edit_builder(path: Path) -> None:
    """Change an argument, as one would in an editor; the next operation commits the edit."""
    text = path.read_text(encoding="utf-8")
    edited = text.replace("count_private: true", "count_private: false")
    assert edited != text
    path.write_text(edited, encoding="utf-8")


def show_tables(vault: TableVault) -> None:
    """Print the beginning of both tables as they are now."""
    modules, instance = vault.get_dataframe("modules", full_artifact_path=False)
    console.print(f"modules, {len(modules)} rows, {instance}")
    console.print(as_text(modules.head(SHOWN_ROWS)))
    ranking, instance = vault.get_dataframe("ranking", rows=SHOWN_PLACES)
    console.print(f"\nranking, the best {len(ranking)}, {instance}")
    console.print(as_text(ranking))


def as_text(frame: pd.DataFrame) -> str:
    """Format a frame without row numbers."""
    return frame.to_string(index=False, float_format="{:.2f}".format)


def library() -> str:
    """Return the name of the library that is measured."""
    return f"Standard library of {platform.python_implementation()} {platform.python_version()}"


def git(folder: Path, *arguments: str) -> None:
    """Run git in the vault and show the command with what it prints."""
    console.print(f"$ git {' '.join(arguments)}", style="bold", soft_wrap=True)
    run = subprocess.run(
        ["git", "-C", str(folder), "--no-pager", *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    console.print(run.stdout, markup=False, soft_wrap=True)


def heading(text: str) -> None:
    """Print a line between the parts."""
    console.rule(text, align="left")


if __name__ == "__main__":
    sys.exit(main())
