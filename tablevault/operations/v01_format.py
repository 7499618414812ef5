"""A vault of TableVault 0.1 as it lies on disk: read, and never written."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tablevault.errors import TVArgumentError, TVFileError
from tablevault.names import is_temp_id, version_of
from tablevault.paths import is_hidden

if TYPE_CHECKING:
    import pandas as pd

_MARKER = ".tablevault"
_MADE = ("write_instance", "execute_instance")
_TRUTHS = {"True": True, "False": False, "1": True, "0": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class OldTable:
    """A table."""

    name: str
    description: str
    multiple_artifacts: bool
    side_effects: bool
    artifact_instance: str
    author: str
    process: str
    created_at: float
    """Unix s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OldInstance:
    """An instance, temporary or materialised."""

    table: str
    instance_id: str
    version: str
    folder: Path
    description: str
    external_edit: bool
    origin: tuple[str, str]
    dependencies: tuple[tuple[str, str], ...]
    author: str
    process: str
    operation: str
    started_at: float
    materialized_at: float
    deactivated_at: float | None
    success: bool

    def texts(self, folder: str, ending: str) -> dict[str, bytes]:
        """Return the files of a sub-folder by their names without ending, sorted."""
        files = sorted((self.folder / folder).glob(f"*{ending}"))
        found = [path for path in files if not is_hidden(path.name)]
        return {path.name.removesuffix(ending): path.read_bytes() for path in found}

    def primary_key(self, columns: Sequence[str]) -> tuple[str, ...]:
        """Return the primary key that the index builder declared, of columns that there are.

        TableVault 0.1 kept it nowhere else. A reference in its place says nothing by itself.
        """
        import yaml

        from tablevault.core_schema import YAML_ERRORS

        declared: list[str] = []
        for data in self.texts("builders", ".yaml").values():
            with contextlib.suppress(*YAML_ERRORS):
                fields = yaml.safe_load(data)
                if isinstance(fields, dict) and fields.get("builder_type") == "IndexBuilder":
                    key = fields.get("primary_key") or []
                    declared = list(map(str, key if isinstance(key, list) else [key]))
        return tuple(declared) if set(declared) <= set(columns) else ()


class OldVault:
    """The folder of such a vault.

    Raises
    ------
    TVArgumentError
        The folder is none.
    """

    def __init__(self, path: Path) -> None:
        if not (path / _MARKER).is_file() or not (path / "metadata").is_dir():
            raise TVArgumentError(
                f'"{path}" is no vault of TableVault 0.1: it has no file "{_MARKER}" with a folder '
                '"metadata" beside it.',
                "Name the folder of the vault itself.",
                path=str(path),
            )
        self.path = path
        self._history: Mapping[str, Mapping[str, Any]] = _json(path, "tables_history") or {}
        self._logs = list(_logs(path))

    @property
    def description(self) -> str:
        """Summary of the vault."""
        return str(_yaml(self.path / "description.yaml").get("summary", ""))

    def tables(self) -> list[OldTable]:
        """List the tables."""
        return sorted(
            (self._table(name) for name in self._history), key=lambda table: table.created_at
        )

    def instances(self) -> list[OldInstance]:
        """List the materialised instances, oldest first."""
        found = [
            self._instance(table, instance_id, entry)
            for table, entries in self._history.items()
            for instance_id, entry in entries.items()
            if (self.path / table / instance_id / "table.csv").is_file()
        ]
        return sorted(found, key=lambda each: (each.materialized_at, each.instance_id))

    def temps(self) -> list[OldInstance]:
        """List the temporary instances."""
        temps: Mapping[str, list[str]] = _json(self.path, "tables_temp") or {}
        return [
            self._instance(table, temp, None)
            for table, ids in temps.items()
            for temp in ids
            if is_temp_id(temp) and (self.path / table / temp).is_dir()
        ]

    def modules(self) -> dict[str, bytes]:
        """Return the code modules as they are now."""
        files = sorted((self.path / "code_functions").glob("*.py"))
        found = [path for path in files if not is_hidden(path.name)]
        return {path.stem: path.read_bytes() for path in found}

    def texts(self) -> dict[str, str]:
        """Return the builders, the code and the descriptions, by path."""
        folders = [self.path, *(self.path / name for name in self._history)]
        folders += [each.folder for each in (*self.instances(), *self.temps())]
        found = [path for folder in folders for path in folder.glob("description.yaml")]
        for folder in folders:
            found += (folder / "builders").glob("*.yaml")
            found += (folder / "EXECUTION_ARCHIVE").glob("*.py")
        found += (self.path / "code_functions").glob("*.py")
        return {str(path): path.read_text("utf-8", "replace") for path in sorted(found)}

    def shared_artifacts(self, table: str) -> Path:
        """Return the one artifact folder of a table."""
        return self.path / table / "artifacts"

    def _table(self, name: str) -> OldTable:
        """Read one table."""
        facts = _yaml(self.path / name / "description.yaml")
        made = self._creation(name)
        times = [entry[1] for entry in self._history[name].values()]
        oldest = min(times, default=(self.path / name).stat().st_mtime)
        return OldTable(
            name=name,
            description=str(facts.get("summary", "")),
            multiple_artifacts=bool(facts.get("multiple_artifacts")),
            side_effects=bool(facts.get("side_effects")),
            artifact_instance=str(facts.get("artifact_instance", "")),
            author=str(made.get("author", "")),
            process=str(made.get("process_id", "")),
            created_at=float(made.get("start_time", oldest)),
        )

    def _creation(self, name: str) -> Mapping[str, Any]:
        """Find the record of the creation of a table, also under the names that it had before."""
        for log in reversed(self._logs):
            data = log.get("data") or {}
            if log.get("operation") == "rename_table" and data.get("new_table_name") == name:
                name = str(data.get("table_name"))
            elif log.get("operation") == "create_table" and data.get("table_name") == name:
                return dict(log)
        return {}

    def _instance(self, table: str, instance_id: str, entry: list[Any] | None) -> OldInstance:
        """Read one instance."""
        folder = self.path / table / instance_id
        facts = _yaml(folder / "description.yaml")
        made = next((log for log in self._logs if _made(log, instance_id)), {})
        _, materialized_at, deactivated_at, success = entry or (0.0, 0.0, None, True)
        origin = [str(each or "") for each in facts.get("origin") or ("", "")]
        return OldInstance(
            table=table,
            instance_id=instance_id,
            version=instance_id.partition("_")[2] if entry is None else version_of(instance_id),
            folder=folder,
            description=str(facts.get("summary", "")),
            external_edit=bool(facts.get("external_edit")),
            origin=(origin[0], origin[1]),
            dependencies=tuple(
                (str(pair[0]), str(pair[1])) for pair in facts.get("dependencies") or ()
            ),
            author=str(made.get("author", "")),
            process=str(made.get("process_id", "")),
            operation=str(made.get("operation", _MADE[not facts.get("external_edit")])),
            started_at=float(made.get("start_time", materialized_at)),
            materialized_at=float(materialized_at),
            deactivated_at=deactivated_at,
            success=bool(success),
        )


def read_table(instance: OldInstance) -> tuple[pd.DataFrame, list[str]]:
    """Read the dataframe of an instance; text stays where a column does not fit its dtype.

    Returns
    -------
    DataFrame
        With the dtypes that the instance says.
    list of str
        Columns that stayed text.
    """
    import pandas as pd

    from tablevault.errors import TVTableError
    from tablevault.frames.casting import cast
    from tablevault.frames.dtypes import normalise_columns

    path = instance.folder / "table.csv"
    try:
        # An empty cell is a missing value, as it was when TableVault 0.1 read it.
        frame = pd.read_csv(path, dtype="string", keep_default_na=False, na_values=[""])
    except pd.errors.EmptyDataError:
        frame = pd.DataFrame()
    frame = normalise_columns(frame)
    dtypes = json.loads((instance.folder / "dtypes.json").read_text("utf-8") or "{}")
    columns, text = {}, []
    for name in frame.columns:
        wanted = str(dtypes.get(name, "string"))
        values = frame[name]
        try:
            if wanted == "boolean":
                values = values.map(_TRUTHS.get, na_action="ignore")
            columns[name] = cast(values, wanted)
        except TVTableError:
            columns[name] = frame[name]
            text.append(name)
    return pd.DataFrame(columns, index=frame.index), text


def _made(log: Mapping[str, Any], instance_id: str) -> bool:
    """Return whether a record is that of the operation that made an instance."""
    data = log.get("data") or {}
    return log.get("operation") in _MADE and data.get("perm_instance_id") == instance_id


def _logs(path: Path) -> Iterator[dict[str, Any]]:
    """Read the records of finished processes; a line that a crash cut off is passed over."""
    try:
        lines = (path / "metadata" / "logs.txt").read_text("utf-8").splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found


def _json(path: Path, name: str) -> Any:  # noqa: ANN401 - what the file holds
    """Read a file of metadata."""
    file = path / "metadata" / f"{name}.json"
    try:
        return json.loads(file.read_text("utf-8") or "null")
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise TVFileError(
            f'"{file}" cannot be read: {error}.', "Restore it from a backup.", path=str(file)
        ) from error


def _yaml(path: Path) -> dict[str, Any]:
    """Read a description; nothing is known where there is none."""
    import yaml

    from tablevault.core_schema import YAML_ERRORS, yaml_fault

    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    try:
        found = yaml.safe_load(data)
    except YAML_ERRORS as error:
        raise TVFileError(
            f'"{path}" is no readable YAML: {yaml_fault(error, data)}.',
            "Correct it by hand.",
            path=str(path),
        ) from error
    return found if isinstance(found, dict) else {}
