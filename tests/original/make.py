"""Makes `vault.tar.gz` by the real package: ``pip install tablevault==0.1.1``, then run this."""

import shutil
import sys
import tarfile
from pathlib import Path

import pandas as pd

from tablevault.core import TableVault

INDEX = """builder_type: IndexBuilder
changed_columns: ['id', 'score', 'good', 'day']
primary_key: ['id']
python_function: rows
code_module: made
is_custom: true
arguments: {papers: "<<papers.id>>"}
return_type: dataframe
dtypes: {score: Float64, good: boolean}
"""
COLUMN = """builder_type: ColumnBuilder
changed_columns: ['loud']
python_function: shout
code_module: made
is_custom: true
arguments: {name: "<<self.id[index]>>"}
return_type: row-wise
n_threads: 1
"""
CODE = """import pandas as pd


def rows(papers):
    ids = list(papers["id"])
    return pd.DataFrame(
        {
            "id": ids,
            "score": [0.5, None, 2.25][: len(ids)],
            "good": [True, None, False][: len(ids)],
            "day": pd.to_datetime(["2024-01-01"] * len(ids)),
        }
    )


def shout(name):
    return name.upper()
"""


class Pairs(dict):
    """A mapping that is iterated by pairs: 0.1.1 does both with the dtypes that it is given."""

    def __iter__(self):
        """Return pairs."""
        return iter(self.items())


def main(folder: str) -> None:
    """Make a vault with all that there is, and pack it."""
    path = Path(folder) / "old"
    shutil.rmtree(path, ignore_errors=True)
    vault = TableVault(str(path), "Ana", "The old vault", create=True)
    vault.create_table("drafts", description="What was read")
    vault.rename_table("papers", "drafts")
    for ids in (["x", "y"], ["x", "y", "z"]):
        vault.create_instance("papers", external_edit=True, description=f"{len(ids)} papers")
        texts = ['a,\n"b"', None, "ü"]
        frame = pd.DataFrame({"id": ids, "n": range(len(ids)), "text": texts[: len(ids)]})
        TableVault(str(path), "Bo").write_instance(frame, "papers")
    vault.create_table("notes", has_side_effects=True)
    vault.create_code_module("made")
    (path / "code_functions" / "made.py").write_text(CODE)
    for _ in range(2):
        vault.create_instance("notes", builders=["notes_index", "loud"])
        builders = path / "notes" / "TEMP_base" / "builders"
        (builders / "notes_index.yaml").write_text(INDEX)
        (builders / "loud.yaml").write_text(COLUMN)
        vault.execute_instance("notes")
    (path / "code_functions" / "made.py").write_text(CODE + "# later\n")
    vault.create_instance("notes", version="next", copy=True)
    vault.create_table("empty")
    vault.create_table("pictures", allow_multiple_artifacts=True)
    vault.create_instance("pictures", external_edit=True)
    folder = Path(vault.get_artifact_folder("pictures"))
    folder.chmod(0o755)
    (folder / "one.txt").write_text("one")
    dtypes = Pairs(file="artifact_string")
    vault.write_instance(pd.DataFrame({"file": ["one.txt"]}), "pictures", dtypes=dtypes)
    with tarfile.open(Path(__file__).with_name("vault.tar.gz"), "w:gz") as archive:
        archive.add(path, arcname="old")


if __name__ == "__main__":
    main(sys.argv[1])
