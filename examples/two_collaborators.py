"""Two people, one remote: both make instances, neither waits for the other.

    python examples/two_collaborators.py [NEW_FOLDER]

The remote is a bare repository in a folder; one behind ssh or at a git host with LFS does as well.
Ana and Bo work on a table of the status codes of HTTP: she changes how they are counted, he brings
new ones. Both push; what one finds there is merged with what he or she has done. Then both change
the same line, and somebody has to choose.
"""

from __future__ import annotations

import http
import subprocess

import pandas as pd
from stage import git, heading, new_folder

from tablevault import TableVault, TableVaultError, clone_vault

CODE = '''"""Counts what is in the table of status codes."""

import pandas as pd


def count(statuses, digits):
    """Count the codes that begin with the same digits."""
    begins = statuses["code"].astype(str).str.slice(0, digits)
    counted = begins.value_counts().sort_index()
    return pd.DataFrame({"begins": list(counted.index), "codes": list(counted)})
'''

COUNTS = """\
builder_type: IndexBuilder
changed_columns: [begins, codes]
primary_key: [begins]
python_function: count
code_module: counting
is_custom: true
arguments:
  statuses: <<statuses.code>>
  digits: 1
"""


def main() -> None:
    """Share a vault, diverge, merge, disagree, agree."""
    folder = new_folder("together")
    folder.mkdir()
    subprocess.run(["git", "init", "-q", "--bare", str(folder / "hub.git")], check=True)

    heading("Ana makes a vault and pushes it")
    ana = TableVault(folder / "ana", author="Ana <ana@example.org>", create=True)
    ana.create_code_module("counting", text=CODE)
    ana.create_table("statuses")
    write_statuses(ana, below=400)
    ana.create_table("counts")
    ana.create_instance("counts", builders={"counts_index": COUNTS})
    ana.execute_instance("counts")
    ana.add_remote("origin", folder / "hub.git")
    print("Ana:", ana.push())

    heading("Bo clones it: all of history at once, a dataframe when it is first read")
    bo = clone_vault(folder / "hub.git", folder / "bo", author="Bo <bo@example.org>")
    print(bo.get_dataframe("counts")[0])

    heading("Both work at the same time")
    write_statuses(bo, below=600)
    print("Bo brings the codes above 400.")
    print("Bo:", bo.push())
    ana.create_instance("counts", copy=True)
    ana.create_builder_file("counts", text=COUNTS.replace("digits: 1", "digits: 2"))
    ana.execute_instance("counts")
    print("Ana counts by two digits.")
    try:
        ana.push()
    except TableVaultError as error:
        print("Ana:", error)
    print("Ana:", ana.pull())

    heading("Ana counts what Bo has brought; the lineage knows whose work it is made from")
    ana.create_instance("counts", copy=True)
    ana.execute_instance("counts")
    print("Ana:", ana.push())
    print("Bo:", bo.pull())
    newest = bo.get_table_instances("counts")[-1]
    print(bo.diff("counts", newest))
    print()
    print(bo.lineage("counts", newest))

    disagree(ana, bo)

    heading("The same in both, and in the bare repository")
    assert ana.get_table_instances("counts") == bo.get_table_instances("counts")
    assert ana.get_code_module_str("counting") == bo.get_code_module_str("counting")
    git(folder / "hub.git", "log", "--graph", "--format=%s (%an)", "--max-count=12", "main")
    print(f"\nEverything is in {folder}.")


def disagree(ana: TableVault, bo: TableVault) -> None:
    """Let both change the same line; who comes second has to choose."""
    heading("Both change the same line")
    for vault, word in ((ana, "first"), (bo, "same leading")):
        text = CODE.replace("with the same digits", f"with the {word} digits")
        vault.create_code_module("counting", text=text)
    print("Ana:", ana.push())
    try:
        bo.pull()
    except TableVaultError as error:
        print("Bo:", error)
    print("Bo:", bo.pull(resolve={"code/counting.py": "theirs"}))
    print("Bo:", bo.push())
    print("Ana:", ana.pull())


def write_statuses(vault: TableVault, below: int) -> None:
    """Make an instance of ``statuses`` from what Python knows of HTTP."""
    known = [each for each in http.HTTPStatus if each < below]
    frame = pd.DataFrame(
        {"code": [int(each) for each in known], "phrase": [each.phrase for each in known]}
    )
    if "statuses" not in vault.get_table_instances():
        vault.create_table("statuses")
    vault.create_instance("statuses", external_edit=True)
    vault.write_instance(frame, "statuses")


if __name__ == "__main__":
    main()
