"""vault.yaml, table.yaml and instance.yaml as values; encode and decode their YAML."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType

import yaml

from tablevault.core_schema import YAML_ERRORS, resolve_as_core, yaml_fault
from tablevault.errors import TVArgumentError, TVFileError, TVFormatError
from tablevault.history.commits.vault_config import SECTIONS, VaultConfig, fault_of_config, parsed
from tablevault.names import InstanceId, TableId

FORMAT_VERSION = 1
"""Written into each vault; a vault with a higher one is refused."""

LARGEST_DOCUMENT = 64 << 20
"""Bytes."""
_Dumper: type[yaml.SafeDumper] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Fields = dict[str, object]

SPENT = ("calls", "input_tokens", "output_tokens", "cost", "expected_cost", "errors")
"""Fields of `BuilderRun` that say what calls have cost."""


class _PlainDumper(_Dumper):  # type: ignore[misc, valid-type]  # chosen at run time
    """Never writes anchors: a document exists to be read in a diff."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        """Repeat a value instead of naming it."""
        return True


# Text that YAML 1.2 reads as a number is quoted, too, such as "1e-5".
resolve_as_core(_PlainDumper)


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultDocument:
    """``vault.yaml``."""

    id: str
    description: str
    created_by: str
    created_at: str
    format: int = FORMAT_VERSION
    config_or_fault: VaultConfig | str = field(default_factory=VaultConfig)
    """What is set, or what is wrong with it: who does not read it is not stopped by that."""

    @property
    def config(self) -> VaultConfig:
        """What people set for the whole vault.

        Raises
        ------
        TVFileError
            A value in the file, put there by hand, is none that its setting can have.
        """
        if isinstance(self.config_or_fault, str):
            raise TVFileError(f"{self.config_or_fault}.", _CORRECT)
        return self.config_or_fault

    def encode(self) -> bytes:
        """Write the document; raises as `config` does."""
        fields: Fields = {
            "format": self.format,
            "id": self.id,
            "description": self.description,
            "created_by": self.created_by,
            "created_at": self.created_at,
        }
        # What is not set is not there: such a vault is as earlier releases wrote it.
        fields |= {name: part for name, part in self.config.fields().items() if part}
        return encode_fields(fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableDocument:
    """``table.yaml``: what stays the same over all instances of a table."""

    id: TableId
    description: str
    multiple_artifacts: bool
    side_effects: bool
    created_by: str
    created_at: str
    artifact_instance: str = ""

    def encode(self) -> bytes:
        """Encode the document."""
        found = dataclasses.asdict(self)
        if not self.artifact_instance:
            del found["artifact_instance"]
        return encode_fields(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderRun:
    """What an execution did for the columns of one builder."""

    computed: int
    """Rows that the function was asked for."""
    reused: int
    """Rows that were taken over from an earlier instance."""
    reason: str
    """Why not more of them."""
    calls: int | None = None
    """How often its function was called since the version had its last instance, also in
    executions that failed. None, as below, where that was not noted or reported."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None
    expected_cost: float | None = None
    """What was expected, by earlier calls, when its calls began."""
    errors: int | None = None
    """Rows that stayed null because their calls failed; None for none."""

    def known(self) -> Fields:
        """Return what is known of it, by name."""
        return {
            name: value for name, value in dataclasses.asdict(self).items() if value is not None
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceDocument:
    """``instance.yaml``: one instance; of a temporary one only the first four are known."""

    description: str
    version: str
    external_edit: bool
    origin: tuple[str, str] = ("", "")
    """Instance id and table, empty when there is none."""
    id: str = ""
    table_id: str = ""
    operation: str = ""
    success: bool = True
    author: str = ""
    process: str = ""
    started_at: str = ""
    materialized_at: str = ""
    rows: int = 0
    dtypes: Mapping[str, str] = field(default_factory=dict)
    primary_key: tuple[str, ...] = ()
    digest: str = ""
    dependencies: tuple[tuple[str, InstanceId], ...] = ()
    builders: Mapping[str, str] = field(default_factory=dict)
    """Builder name to git blob id, in the order of execution."""
    code: Mapping[str, str] = field(default_factory=dict)
    """Code module to the git blob id of the very text that ran."""
    shipped: Mapping[str, str] = field(default_factory=dict)
    """Module that comes with the package to the sha256 of its text."""
    execution: Mapping[str, BuilderRun] = field(default_factory=dict)
    """By builder, in the order of execution."""

    @property
    def errors(self) -> int:
        """Number of rows that stayed null because their calls failed, for each builder once."""
        return sum(run.errors or 0 for run in self.execution.values())

    @property
    def has_artifacts(self) -> bool:
        """Whether a column names artifacts."""
        return "artifact_string" in self.dtypes.values()

    def encode(self) -> bytes:
        """Encode the document."""
        fields: Fields = {
            "description": self.description,
            "version": self.version,
            "external_edit": self.external_edit,
            "origin": list(self.origin) if self.origin[0] else [],
        }
        if self.id:
            runs = {name: run.known() for name, run in self.execution.items()}
            fields |= {
                "id": self.id,
                "table_id": self.table_id,
                "operation": self.operation,
                "success": self.success,
                **({"errors": self.errors} if self.errors else {}),
                "author": self.author,
                "process": self.process,
                "started_at": self.started_at,
                "materialized_at": self.materialized_at,
                "rows": self.rows,
                "primary_key": list(self.primary_key),
                "dependencies": [list(pair) for pair in self.dependencies],
                "builders": dict(self.builders),
                "code": dict(self.code),
                **({"shipped": dict(self.shipped)} if self.shipped else {}),
                **({"execution": runs} if runs else {}),
                "dtypes": dict(self.dtypes),
                "digest": self.digest,
            }
        return encode_fields(fields)


@lru_cache(maxsize=64)
def decode_vault(blob: bytes, where: str) -> VaultDocument:
    """Read ``vault.yaml``.

    Raises
    ------
    TVFormatError
        The vault was written in a newer format.
    TVFileError
        The text is no such document.
    """
    fields = _load(blob, where)
    found = _whole(fields, "format", where)
    if found > FORMAT_VERSION:
        raise TVFormatError(
            f"{where} says format {found}; this release of TableVault reads up to "
            f"{FORMAT_VERSION}.",
            "Open the vault with a newer release: pip install --upgrade tablevault",
            format=found,
        )
    return VaultDocument(
        id=_text(fields, "id"),
        description=_text(fields, "description"),
        created_by=_text(fields, "created_by"),
        created_at=_text(fields, "created_at"),
        format=found,
        config_or_fault=_config(fields, blob, where),
    )


def _config(fields: Fields, blob: bytes, where: str) -> VaultConfig | str:
    """Read limits and prices, or what is wrong with them."""
    if not any(name in fields for name in SECTIONS):
        return VaultConfig()
    root = yaml.compose(blob, Loader=_Loader)
    assert root is not None, "there are fields"
    fault = fault_of_config(fields, root)
    return f"{where}, {fault}" if fault else parsed(fields)


@lru_cache(maxsize=4096)
def decode_table(blob: bytes, where: str) -> TableDocument:
    """Read ``table.yaml``; TVFileError when it is no such document."""
    fields = _load(blob, where)
    return TableDocument(
        id=TableId(_text(fields, "id")),
        description=_text(fields, "description"),
        multiple_artifacts=fields.get("multiple_artifacts") is True,
        side_effects=fields.get("side_effects") is True,
        created_by=_text(fields, "created_by"),
        created_at=_text(fields, "created_at"),
        artifact_instance=_text(fields, "artifact_instance"),
    )


@lru_cache(maxsize=256)
def decode_instance(blob: bytes, where: str) -> InstanceDocument:
    """Read ``instance.yaml``; TVFileError when it is no such document."""
    fields = _load(blob, where)
    origin = _texts(fields, "origin")
    pairs = fields.get("dependencies")
    return InstanceDocument(
        description=_text(fields, "description"),
        version=_text(fields, "version"),
        external_edit=fields.get("external_edit") is True,
        origin=(origin[0], origin[1]) if len(origin) == 2 else ("", ""),  # noqa: PLR2004 - a pair
        id=_text(fields, "id"),
        table_id=_text(fields, "table_id"),
        operation=_text(fields, "operation"),
        success=fields.get("success") is not False,
        author=_text(fields, "author"),
        process=_text(fields, "process"),
        started_at=_text(fields, "started_at"),
        materialized_at=_text(fields, "materialized_at"),
        rows=_whole(fields, "rows", where, default=0),
        dtypes=_mapping(fields, "dtypes"),
        primary_key=tuple(_texts(fields, "primary_key")),
        digest=_text(fields, "digest"),
        dependencies=tuple(
            (_scalar(pair[0]), InstanceId(_scalar(pair[1])))
            for pair in (pairs if isinstance(pairs, list) else [])
            if isinstance(pair, list) and len(pair) == 2  # noqa: PLR2004 - a pair
        ),
        builders=_mapping(fields, "builders"),
        code=_mapping(fields, "code"),
        shipped=_mapping(fields, "shipped"),
        execution=_execution(fields),
    )


def _execution(fields: Fields) -> Mapping[str, BuilderRun]:
    """Read what was done for each builder; what is no number counts as nothing."""
    found = fields.get("execution")
    runs = found.items() if isinstance(found, dict) else ()

    def number(value: object) -> int:
        return value if isinstance(value, int) else 0

    return MappingProxyType(
        {
            _scalar(name): BuilderRun(
                computed=number(run.get("computed")),
                reused=number(run.get("reused")),
                reason=_scalar(run.get("reason")),
                calls=_amount(run.get("calls")),
                input_tokens=_amount(run.get("input_tokens")),
                output_tokens=_amount(run.get("output_tokens")),
                cost=_measure(run.get("cost")),
                expected_cost=_measure(run.get("expected_cost")),
                errors=_amount(run.get("errors")),
            )
            for name, run in runs
            if isinstance(run, dict)
        }
    )


def _amount(value: object) -> int | None:
    """Read a number that may be missing; what is none counts as missing."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value < 1 << _MOST_BITS else None


def _measure(value: object) -> float | None:
    """Read a measure that may be missing; what is none counts as missing."""
    if isinstance(value, float):
        return value if 0 <= value < math.inf else None
    whole = _amount(value)
    return None if whole is None else float(whole)


def timestamp(at: float) -> str:
    """Format a Unix time as RFC 3339 with microseconds, UTC: text order is time order."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def encode_fields(fields: Fields) -> bytes:
    """Write YAML with stable key order, one fact a line, no anchors, no wrapping."""
    text = yaml.dump(
        fields,
        Dumper=_PlainDumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=1 << 30,
    )
    data = str(text).encode("utf-8")
    if len(data) > LARGEST_DOCUMENT:
        raise TVArgumentError(
            f"A document would have {len(data):,} bytes; no vault takes over one of more than "
            f"{LARGEST_DOCUMENT:,}.",
            "Shorten the description: keep long text in a column, or in an artifact.",
        )
    return data


def _load(blob: bytes, where: str) -> Fields:
    """Read a YAML mapping with the safe loader."""
    try:
        if b"*" in blob or sum(blob.count(opening) for opening in _OPENINGS) > _DEEPEST:
            _refuse_bombs(blob, where)
        fields = yaml.load(blob, Loader=_Loader)  # noqa: TID251, S506 - a safe loader, the C one
    except YAML_ERRORS as error:
        raise TVFileError(
            f"{where} is no readable YAML: {yaml_fault(error, blob)}.", _REPAIR
        ) from error
    if not isinstance(fields, dict):
        raise TVFileError(f"{where} holds no mapping.", _REPAIR)
    return {_scalar(key): value for key, value in fields.items()}


def _refuse_bombs(blob: bytes, where: str) -> None:
    """Refuse small texts that become large values: aliases, and deeply nested lists.

    Merge keys (``<<: [*a, *a]``) double with each line, and the C loader ends the interpreter
    where it runs out of stack. The events of a text come one by one.
    """
    depth = 0
    for event in yaml.parse(blob, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST or isinstance(event, yaml.AliasEvent):
            what = "is nested too deep" if depth > _DEEPEST else "holds an alias (*)"
            raise TVFileError(f"{where} {what}: no vault writes such a document.", _REPAIR)


_OPENINGS = (b"[", b"{", b"- ", b"-\t", b"? ", b"?\t")
_DEEPEST = 100
_MOST_BITS = 63
_REPAIR = "Restore it from history: `git log -p -- <file>`."
_CORRECT = "Correct it in the file, and commit that: `git commit vault.yaml`."


def _text(fields: Fields, key: str) -> str:
    """Return a field as text, "" when it is absent or no scalar.

    Nested lists that name each other grow without bounds when they are written out.
    """
    value = fields.get(key)
    return "" if value is None else _scalar(value)


def _scalar(value: object) -> str:
    """Format a value, "" for what is no scalar, or a number that Python will not spell."""
    is_huge = isinstance(value, int) and value.bit_length() > _MOST_BITS
    return "" if is_huge or isinstance(value, list | dict | set | tuple) else str(value)


def _texts(fields: Fields, key: str) -> list[str]:
    """Return a field as a list of text."""
    value = fields.get(key)
    return [_scalar(item) for item in value] if isinstance(value, list) else []


def _mapping(fields: Fields, key: str) -> Mapping[str, str]:
    """Return a field as a read-only mapping of text to text: documents are cached."""
    value = fields.get(key)
    found = {_scalar(k): _scalar(v) for k, v in value.items()} if isinstance(value, dict) else {}
    return MappingProxyType(found)


def _whole(fields: Fields, key: str, where: str, default: int | None = None) -> int:
    """Return a field as a whole number."""
    value = fields.get(key, default)
    is_number = isinstance(value, int) and value.bit_length() <= _MOST_BITS
    if not isinstance(value, int) or isinstance(value, bool) or not is_number:
        raise TVFileError(f'{where} has no whole number "{key}".', _REPAIR)
    return value
