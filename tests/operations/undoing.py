"""What a vault looks like to whoever does not look into history, and vaults to undo things in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tablevault import TableVault
from tablevault.errors import TVProcessError
from tablevault.names import temp_of_ref
from tablevault.vault import Vault
from tests.looking import git, state_of

CODE = """\
import pandas as pd
from pathlib import Path


def make(rows):
    return pd.DataFrame({"n": range(rows)})


def twice(n):
    return 2 * n


def draw(folder, rows):
    names = [f"{n}.txt" for n in range(rows)]
    for name in names:
        (Path(folder) / name).write_text(name)
    return pd.DataFrame({"n": range(rows), "file": names})


def fail(n):
    raise LookupError("on purpose")
"""

FRAME = pd.DataFrame({"a": [1, 2, 3]})


def index_builder(rows: int = 2, function: str = "make") -> str:
    return (
        "builder_type: IndexBuilder\nchanged_columns: [n]\n"
        f"python_function: {function}\ncode_module: made\nis_custom: true\n"
        f"arguments: {{rows: {rows}}}\n"
    )


def drawing_builder(rows: int = 2) -> str:
    return (
        "builder_type: IndexBuilder\nchanged_columns: [n, file]\n"
        "dtypes: {file: artifact_string}\n"
        "python_function: draw\ncode_module: made\nis_custom: true\n"
        f"arguments: {{folder: ~ARTIFACT_FOLDER~, rows: {rows}}}\n"
    )


def column_builder(function: str = "twice") -> str:
    return (
        "builder_type: ColumnBuilder\nchanged_columns: [m]\n"
        f"python_function: {function}\ncode_module: made\nis_custom: true\n"
        'return_type: row-wise\narguments: {n: "<<self.n[index]>>"}\n'
    )


def picture(path: Path) -> dict[str, object]:
    """Take down all that a vault holds, apart from history and what it caches."""
    vault, parts = TableVault(path, "looker"), Vault(path=path, author="looker")
    seen: dict[str, object] = {"tree": git(path, "ls-tree", "-r", "main")}
    for ref in git(path, "for-each-ref", "--format=%(refname)").splitlines():
        temp = temp_of_ref(ref)
        folder = f":tables/{temp.table}/{temp.version}/" if temp else ""
        seen[ref] = git(path, "ls-tree", "-r", f"{ref}{folder}") if temp else "a ref"
    for name in vault.get_table_instances(""):
        index = parts.parts.index.instances(parts.snapshot().table(name).id)
        seen[name] = [(each.instance_id, each.active, each.success) for each in index]
        for each in index:
            frame, _ = vault.get_dataframe(name, each.instance_id, full_artifact_path=False)
            seen[each.instance_id] = frame.to_csv()
        seen[f"{name}, described"] = vault.get_descriptions(table_name=name)
    for file in sorted(path.rglob("*")):
        shown = file.relative_to(path).as_posix()
        if file.is_file() and not shown.startswith(".git/"):
            seen[f"/{shown}"] = file.read_bytes()
    seen["modules"] = vault.get_code_modules_list()
    return seen


def furnish(vault: TableVault) -> None:
    """Put a bit of everything into a vault."""
    vault.create_code_module("made", text=CODE)
    vault.create_table("t", description="with builders")
    vault.create_instance("t", builders={"t_index": index_builder()})
    vault.execute_instance("t")
    vault.create_instance("t", copy=True)
    vault.create_table("free", allow_multiple_artifacts=True)
    vault.create_instance("free", external_edit=True)
    vault.write_instance(FRAME, "free")
    vault.create_instance("free", version="other", external_edit=True)
    vault.create_table("acts", has_side_effects=True)
    for _ in range(2):
        vault.create_instance(
            "acts", builders={"acts_index": index_builder(), "m": column_builder()}
        )
        vault.execute_instance("acts")
    vault.create_instance("acts", builders={"acts_index": index_builder(3), "m": column_builder()})
    vault.create_table("files")
    vault.create_instance("files", builders={"files_index": drawing_builder()})
    vault.execute_instance("files")
    vault.create_instance("files", builders={"files_index": drawing_builder(3)})
    vault.create_table("empty")


@pytest.fixture
def full(copy_of: Callable[..., TableVault], vault_path: Path) -> TableVault:
    """Return a vault with a bit of everything."""
    return copy_of(furnish, vault_path)


def latest(vault: TableVault, table: str) -> str:
    return vault.get_table_instances(table, "")[-1]


def refused(vault: TableVault, path: Path, process: str) -> TVProcessError:
    """Undo in vain, and return the error."""
    before = state_of(path)
    with pytest.raises(TVProcessError, match="cannot be undone") as caught:
        vault.undo(process)
    assert state_of(path) == before
    return caught.value
