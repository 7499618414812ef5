"""The quickstart: two tables, one change, and what the vault says of it.

    python examples/quickstart.py [NEW_FOLDER]

The first table has a row for each built-in function of Python and measures its documentation; the
second ranks the functions of the first. Then one argument is changed, and both are made again.
"""

from __future__ import annotations

from stage import heading, new_folder

from tablevault import TableVault

CODE = '''"""Functions of the quickstart; the builders say when they are called, and with what."""

import builtins
import inspect

import pandas as pd


def built_in():
    """Make the rows: built-in functions and their documentation."""
    functions = {name: what for name, what in vars(builtins).items() if inspect.isbuiltin(what)}
    names = sorted(name for name in functions if not name.startswith("_"))
    return pd.DataFrame({"name": names, "doc": [inspect.getdoc(functions[name]) for name in names]})


def measure(doc, longer_than):
    """Fill one row: how many words of the documentation are longer than so many letters."""
    return sum(len(word) > longer_than for word in (doc or "").split())


def rank(functions, places):
    """Read the other table: the functions with the most words."""
    best = functions.sort_values(["words", "name"], ascending=[False, True]).head(places)
    return best[["name", "words"]].reset_index(drop=True)
'''

FUNCTIONS_INDEX = """\
builder_type: IndexBuilder      # makes the rows
changed_columns: [name, doc]
primary_key: [name]
python_function: built_in
code_module: quickstart
is_custom: true
arguments: {}
"""

WORDS = """\
builder_type: ColumnBuilder     # fills a column, here row by row
changed_columns: [words]
python_function: measure
code_module: quickstart
is_custom: true
return_type: row-wise
arguments:
  doc: <<self.doc[index]>>      # the value of this row
  longer_than: 0
"""

RANKING_INDEX = """\
builder_type: IndexBuilder
changed_columns: [name, words]
primary_key: [name]
python_function: rank
code_module: quickstart
is_custom: true
arguments:
  functions: <<functions.{name, words}>>    # two columns of the other table
  places: 5
"""


def main() -> None:
    """Make a vault, and look at it."""
    folder = new_folder("quickstart")
    vault = TableVault(folder, author="Ana <ana@example.org>", create=True)
    vault.create_code_module("quickstart", text=CODE)

    heading("Two tables; the second reads the first")
    vault.create_table("functions")
    vault.create_instance("functions", builders={"functions_index": FUNCTIONS_INDEX})
    vault.create_builder_file("functions", "words", text=WORDS)
    vault.execute_instance("functions")
    vault.create_table("ranking")
    vault.create_instance("ranking", builders={"ranking_index": RANKING_INDEX})
    vault.execute_instance("ranking")
    ranking, instance_id = vault.get_dataframe("ranking")
    print(f"ranking {instance_id}")
    print(ranking)

    heading("One argument is changed, and only what depends on it is made again")
    vault.create_instance("functions", copy=True)
    changed = WORDS.replace("longer_than: 0", "longer_than: 3")
    vault.create_builder_file("functions", "words", text=changed)
    vault.execute_instance("functions")
    execution = vault.get_descriptions(vault.get_table_instances("functions")[-1])["execution"]
    for builder, told in execution.items():
        print(f"{builder}: {told['computed']} rows made, {told['reason']}")
    vault.create_instance("ranking", copy=True)
    vault.execute_instance("ranking")
    print(vault.get_dataframe("ranking")[0])

    heading("What has changed from one instance to the next")
    newest = vault.get_table_instances("ranking")[-1]
    print(vault.diff("ranking", newest))

    heading("What it was made from")
    print(vault.lineage("ranking", newest))

    heading("What was done")
    print(vault.log()[["operation", "table_name", "rows", "author"]].to_string(index=False))

    print(f"\nThe vault is a git repository, look around:  cd {folder}; git log --first-parent -p")


if __name__ == "__main__":
    main()
