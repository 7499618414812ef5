"""Every operation of the public API, on one vault in which there is something to act on."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tablevault import TableVault

CODE = """\
import pandas as pd


def make(names):
    return pd.DataFrame({"name": names})


def shout(name, ending="!"):
    return name.upper() + ending


def lengths(frame):
    for name in frame["name"]:
        yield len(name)
"""
INDEX = """\
builder_type: IndexBuilder
changed_columns: [name]
python_function: make
code_module: words
is_custom: true
arguments:
  names: [a, bb, ccc]
"""
SHOUT = """\
builder_type: ColumnBuilder
changed_columns: [loud]
python_function: shout
code_module: words
is_custom: true
return_type: row-wise
arguments: {name: "<<self.name[index]>>"}
"""
LENGTHS = """\
builder_type: ColumnBuilder
changed_columns: [length]
python_function: lengths
code_module: words
is_custom: true
return_type: generator
arguments: {frame: "<<self.name>>"}
"""
ACTING = """\
import os
from pathlib import Path

import pandas as pd

from tablevault import TableVault


def act(values):
    if "TABLEVAULT_TEST_FAILS" in os.environ:
        raise LookupError("on purpose")
    return pd.DataFrame({"n": values})


def draw(folder, names):
    for name in names:
        beside = Path(folder).parents[4] / name  # outside of the vault: here it appears whole
        beside.write_text(f"drawn {name}")
        beside.rename(Path(folder) / name)
    act([])
    return pd.DataFrame({"file": names})


def use_the_vault(folder):
    vault = TableVault(Path(folder).parents[3], "a function")
    if "inner" not in vault.get_table_instances():
        vault.create_table("inner")
    return act([1])
"""


def _index(function: str, arguments: str, columns: str = "n") -> str:
    """Write an index builder that calls a function of the module ``acting``."""
    return (
        f"builder_type: IndexBuilder\nchanged_columns: [{columns}]\n"
        f"python_function: {function}\ncode_module: acting\nis_custom: true\n"
        f"arguments: {{{arguments}}}\n"
        + ("dtypes: {file: artifact_string}\n" if columns == "file" else "")
    )


FAILS = "TABLEVAULT_TEST_FAILS"
AUTHOR = "Ana Lund <ana@example.org>"
BUILDERS = {"words_index": INDEX, "shout": SHOUT, "lengths": LENGTHS}


def furnish(path: Path) -> None:
    """Make the vault on which all operations act."""
    vault = TableVault(path, AUTHOR, create=True)
    vault.create_code_module("words", text=CODE)
    vault.create_code_module("spare", text="x = 1\n")
    vault.create_table("words", description="made by builders")
    vault.create_instance("words", builders=BUILDERS)
    vault.execute_instance("words")
    vault.create_instance("words", copy=True)
    vault.create_instance("words", version="other", builders=BUILDERS)
    vault.create_table("papers")
    vault.create_table("films", allow_multiple_artifacts=True)
    for table in ("papers", "films"):
        for n in range(2):
            vault.create_instance(table, external_edit=True)
            _put_artifacts(vault, table, {"a.txt": f"{table} {n}", "sub/b.txt": "both"})
            _write_artifacts(vault, table, ["a.txt", "sub/b.txt"])
        vault.create_instance(table, external_edit=True)
        _put_artifacts(vault, table, {"c.txt": f"{table} new"})
    vault.create_table("events", has_side_effects=True)
    for n in range(3):
        vault.create_instance("events", external_edit=True)
        vault.write_instance(pd.DataFrame({"n": [n, n]}), "events")
    vault.create_instance("events", external_edit=True)
    vault.create_code_module("acting", text=ACTING)
    for table, version in (("events", "acts"), ("papers", "drawn"), ("films", "drawn")):
        arguments = "values: [4]" if table == "events" else "folder: ~ARTIFACT_FOLDER~, names: [d]"
        index = _index(
            "act" if table == "events" else "draw",
            arguments,
            "n" if table == "events" else "file",
        )
        vault.create_instance(table, version=version, builders={f"{table}_index": index})
    vault.create_table("outer")
    index = _index("use_the_vault", "folder: ~ARTIFACT_FOLDER~")
    vault.create_instance("outer", builders={"outer_index": index})
    subprocess.run(["git", "-C", path, "repack", "-adq"], check=True)


def _put_artifacts(vault: TableVault, table: str, files: dict[str, str]) -> None:
    folder = Path(vault.get_artifact_folder(table))
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")


def _write_artifacts(vault: TableVault, table: str, names: list[str], process_id: str = "") -> None:
    frame = pd.DataFrame({"file": names})
    dtypes = {"file": "artifact_string"}
    vault.write_instance(frame, table, dtypes=dtypes, process_id=process_id)


def _edit_temp(path: Path) -> None:
    """Edit a builder in the folder of a temporary instance by hand."""
    folder = path / "temp/words/base/builders"
    (folder / "shout.yaml").write_text(SHOUT + "# by hand\n", "utf-8")
    (folder / "extra.yaml").write_text(SHOUT.replace("loud", "louder"), "utf-8")


def _edit_all(path: Path) -> None:
    """Edit a builder and the code by hand."""
    _edit_temp(path)
    (path / "code/words.py").write_text(CODE.replace('"!"', '"?"'), "utf-8")


def _nothing(path: Path) -> None:
    """Leave the vault as it is."""


def _pause(path: Path) -> None:
    """Leave an execution paused that has made some rows."""
    vault = TableVault(path, AUTHOR)
    vault.create_code_module("words", text=CODE.replace("name.upper()", "name.missing()"))
    try:
        vault.execute_instance("words", process_id="paused")
    except AttributeError:
        return
    raise AssertionError("nothing was paused")


def _undone(do: Callable[[TableVault], object], *more: str) -> Scenario:
    """Undo an operation that was done under the id "done", after undoing and redoing it."""

    def prepare(path: Path) -> None:
        vault = TableVault(path, AUTHOR)
        do(vault)
        for undone, by in itertools.pairwise(("done", *more)):
            vault.undo(undone, undo_process_id=by)

    return Scenario(act=lambda vault: vault.undo(("done", *more)[-1]), prepare=prepare)


def _delete_nth(table: str, n: int) -> Callable[[TableVault], object]:
    def act(vault: TableVault) -> object:
        return vault.delete_instance(vault.get_table_instances(table)[n], table)

    return act


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One call, and what was done by hand before."""

    act: Callable[[TableVault], object]
    prepare: Callable[[Path], None] = _nothing
    has_middle: bool = False
    """Functions, and what they do within the vault, are a step of their own, which stays."""

    def act_half(self, vault: TableVault) -> None:
        """Do the first step: let the function fail when it has done what stays."""
        os.environ[FAILS] = "1"
        try:
            self.act(vault)
        except LookupError:
            pass
        finally:
            del os.environ[FAILS]


SCENARIOS = {
    "create_table": Scenario(
        act=lambda vault: vault.create_table("fresh", has_side_effects=True, description="new")
    ),
    "rename_table": Scenario(
        act=lambda vault: vault.rename_table("terms", "words"), prepare=_edit_temp
    ),
    "rename_table_with_artifacts": Scenario(
        act=lambda vault: vault.rename_table("articles", "papers")
    ),
    "delete_table": Scenario(act=lambda vault: vault.delete_table("words"), prepare=_edit_temp),
    "delete_table_with_artifacts": Scenario(act=lambda vault: vault.delete_table("papers")),
    "create_instance": Scenario(
        act=lambda vault: vault.create_instance("words", version="third", builders=BUILDERS)
    ),
    "create_instance_replacing": Scenario(
        act=lambda vault: vault.create_instance("words", builders={"words_index": INDEX}),
        prepare=_edit_temp,
    ),
    "create_instance_copy": Scenario(
        act=lambda vault: vault.create_instance("words", version="third", copy=True)
    ),
    "create_instance_external_copy": Scenario(
        act=lambda vault: vault.create_instance(
            "events", version="third", copy=True, external_edit=True
        )
    ),
    "write_instance": Scenario(
        act=lambda vault: vault.write_instance(
            pd.DataFrame({"n": [1, 2], "s": ["a", None]}), "events", dependencies=[("words", None)]
        )
    ),
    "write_instance_shared_artifacts": Scenario(
        act=lambda vault: _write_artifacts(vault, "papers", ["a.txt", "c.txt"])
    ),
    "write_instance_own_artifacts": Scenario(
        act=lambda vault: _write_artifacts(vault, "films", ["c.txt"])
    ),
    "execute_instance": Scenario(
        act=lambda vault: vault.execute_instance("words"), prepare=_edit_all
    ),
    "delete_instance_latest": Scenario(act=_delete_nth("events", -1)),
    "delete_instance_older": Scenario(act=_delete_nth("events", 0)),
    "delete_instance_only": Scenario(act=_delete_nth("words", 0)),
    "delete_instance_owner": Scenario(act=_delete_nth("papers", -1)),
    "delete_instance_own_artifacts": Scenario(act=_delete_nth("films", 0)),
    "delete_instance_temp": Scenario(
        act=lambda vault: vault.delete_instance("TEMP_base", "words"), prepare=_edit_temp
    ),
    "create_code_module": Scenario(
        act=lambda vault: vault.create_code_module("fresh", text="y = 2\n"), prepare=_edit_all
    ),
    "delete_code_module": Scenario(act=lambda vault: vault.delete_code_module("spare")),
    "set_config": Scenario(
        act=lambda vault: vault.set_config("limits.calls", 500), prepare=_edit_all
    ),
    "create_builder_file": Scenario(
        act=lambda vault: vault.create_builder_file("words", "more", text=SHOUT),
        prepare=_edit_temp,
    ),
    "delete_builder_file": Scenario(
        act=lambda vault: vault.delete_builder_file("lengths", "words"), prepare=_edit_temp
    ),
    "execute_instance_shared_artifacts": Scenario(
        act=lambda vault: vault.execute_instance("papers", version="drawn"), has_middle=True
    ),
    "execute_instance_own_artifacts": Scenario(
        act=lambda vault: vault.execute_instance("films", version="drawn"), has_middle=True
    ),
    "execute_instance_side_effects": Scenario(
        act=lambda vault: vault.execute_instance("events", version="acts"), has_middle=True
    ),
    "execute_instance_within": Scenario(
        act=lambda vault: vault.execute_instance("outer"), has_middle=True
    ),
    "stop_process": Scenario(act=lambda vault: vault.stop_process("paused"), prepare=_pause),
    "stop_process_keeping_rows": Scenario(
        act=lambda vault: vault.stop_process("paused", materialize=True),
        prepare=_pause,
    ),
    "undo_execute_instance_side_effects": _undone(
        lambda vault: vault.execute_instance("events", version="acts", process_id="done")
    ),
    "undo_create_table": _undone(lambda vault: vault.create_table("fresh", process_id="done")),
    "undo_rename_table": _undone(
        lambda vault: vault.rename_table("articles", "papers", process_id="done")
    ),
    "undo_delete_table": _undone(
        lambda vault: (
            vault.create_table("fresh"),
            vault.create_instance("fresh", builders={"shout": SHOUT}),
            vault.delete_table("fresh", process_id="done"),
        )
    ),
    "undo_create_instance_replacing": _undone(
        lambda vault: vault.create_instance(
            "words", builders={"words_index": INDEX}, process_id="done"
        )
    ),
    "undo_delete_instance_temp": _undone(
        lambda vault: vault.delete_instance("TEMP_base", "words", process_id="done")
    ),
    "undo_create_builder_file": _undone(
        lambda vault: vault.create_builder_file("words", "shout", text=LENGTHS, process_id="done")
    ),
    "undo_set_config": _undone(
        lambda vault: vault.set_config("limits.calls", 500, process_id="done")
    ),
    "undo_create_code_module": _undone(
        lambda vault: vault.create_code_module("words", text="y = 2\n", process_id="done")
    ),
    "undo_execute_instance": _undone(
        lambda vault: vault.execute_instance("words", process_id="done")
    ),
    "undo_write_instance": _undone(
        lambda vault: vault.write_instance(pd.DataFrame({"n": [1, 2]}), "events", process_id="done")
    ),
    "undo_write_instance_shared_artifacts": _undone(
        lambda vault: _write_artifacts(vault, "papers", ["a.txt", "c.txt"], "done")
    ),
    "redo_write_instance_own_artifacts": _undone(
        lambda vault: _write_artifacts(vault, "films", ["c.txt"], "done"), "undone"
    ),
}


def view(vault: TableVault, path: Path, known: frozenset[str]) -> dict[str, object]:
    """Return all that a user sees of a vault; instances that are not `known` share one name."""
    seen: dict[str, object] = {}
    for table in vault.get_table_instances():
        described = vault.get_descriptions(table_name=table)
        owner = _named(described.get("artifact_instance"), known)
        kept = ("summary", "multiple_artifacts", "side_effects")
        seen[table] = {"owner": owner, **{key: described[key] for key in kept}}
        for instance in vault.get_table_instances(table, ""):
            seen[f"{table}/{_named(instance, known)}"] = _instance(vault, table, instance, known)
        for temp in vault.get_table_instances(table, "", include_temp=True):
            if temp.startswith("TEMP_"):
                seen[f"{table}/{temp}"] = _temp(vault, table, temp)
    for module in vault.get_code_modules_list():
        seen[f"code/{module}"] = vault.get_code_module_str(module)
    refs = vault._vault.parts.repository.refs("refs/")
    seen["refs"] = sorted(_named_ref(ref, known) for ref in refs)
    seen["files"] = _working_files(path)
    seen["config"] = vault.get_config()
    seen["paused"] = [name for name in vault.get_active_processes() if name == "paused"]
    return seen


def _named(instance: object, known: frozenset[str]) -> object:
    return instance if not instance or instance in known else "NEW"


def _named_ref(ref: str, known: frozenset[str]) -> str:
    *folders, last = ref.split("/")
    return "/".join(
        [*folders, "NEW" if ref.startswith("refs/tags") and last not in known else last]
    )


def _instance(
    vault: TableVault, table: str, instance: str, known: frozenset[str]
) -> dict[str, object]:
    frame, _ = vault.get_dataframe(table, instance)
    described = vault.get_descriptions(instance)
    kept = ("summary", "origin", "external_edit", "success", "rows", "dtypes", "active")
    builders = vault.get_builders_list(table, instance)
    return {
        "frame": json.loads(frame.to_json(orient="split")),
        "artifacts": [
            Path(name).read_text("utf-8") if name else "" for name in frame.get("file", [])
        ],
        "builders": {name: vault.get_builder_str(table, name, instance) for name in builders},
        "dependencies": described["dependencies"],
        **{key: described[key] for key in kept},
    }


def _temp(vault: TableVault, table: str, temp: str) -> dict[str, object]:
    names = vault.get_builders_list(table, temp)
    folder = Path(vault.get_artifact_folder(table, temp))
    return {
        "description": vault.get_descriptions(temp, table),
        "builders": {name: vault.get_builder_str(table, name, temp) for name in names},
        "artifacts": {
            file.relative_to(folder).as_posix(): file.read_text("utf-8")
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        },
    }


def _working_files(path: Path) -> dict[str, bytes | None]:
    """Return working files by name; None for documents, which hold ids and times."""
    return {
        file.relative_to(path).as_posix(): None
        if file.name in ("instance.yaml", "table.yaml") or file.suffix == ".parquet"
        else file.read_bytes()
        for part in ("tables", "code", "temp")
        for file in sorted((path / part).rglob("*"))
        if file.is_file()
    }


def instance_ids(path: Path) -> frozenset[str]:
    """Return the ids of all instances of a vault."""
    vault = TableVault(path, AUTHOR)
    return frozenset(
        instance
        for table in vault.get_table_instances()
        for instance in vault.get_table_instances(table, "")
    )
