"""Names: which are allowed, and the one place where they become paths, refs and tags."""

from __future__ import annotations

import contextlib
import re
from functools import lru_cache
from typing import NamedTuple, NewType, TypeGuard
from urllib.parse import quote, unquote

from tablevault.errors import TVArgumentError

CommitId = NewType("CommitId", str)
"""Forty hexadecimal digits: a git commit."""
BlobId = NewType("BlobId", str)
"""Forty hexadecimal digits: a git blob."""
ObjectId = NewType("ObjectId", str)
"""Sixty-four hexadecimal digits: the sha256 of a file in the object store."""
ProcessId = NewType("ProcessId", str)
InstanceId = NewType("InstanceId", str)
TableId = NewType("TableId", str)

MAIN = "refs/heads/main"
DEFAULT_VERSION = "base"
VAULT_DOCUMENT = "vault.yaml"
CODE_DIR = "code"
TABLES_DIR = "tables"
TEMP_DIR = "temp"
TEMP_PREFIX = "TEMP_"
ARRIVED = "arrived"
"""The note, in ``.git/tablevault``, that objects were brought when they were read."""
SELF = "self"

_TABLE = re.compile(r"[A-Za-z0-9_-]+")
_BUILDER = re.compile(r"[A-Za-z0-9_-]+")
_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")
_INSTANCE = re.compile(r"([^_]+)_([0-9]{10,})_([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_FORBIDDEN_IN_VERSION = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|_]')
_PLAIN_IN_REF = ".-"
_LONGEST_NAME = 100
_LONGEST_BUILDER = _LONGEST_NAME + len("_index")
_LONGEST_FILE_NAME = 120
# A file name has at most 255 bytes, and a tag adds "_<time>_<uuid>", its lock file ".lock".
_LONGEST_IN_REF = 200

RESERVED_TABLES = frozenset(
    {
        "EXECUTION_ARCHIVE",
        "builders",
        "ARCHIVED_TRASH",
        "code_functions",
        "metadata",
        "locks",
        "_temp",
        "restart",
        "artifacts",
        "description.yaml",
        ".tablevault",
        "~PROCESS_ID~",
        SELF,
    }
)
SHARED_ARTIFACTS = "artifacts"
"""Folder, beside those of the versions, with the artifacts that all versions of a table share."""
_RESERVED_VERSIONS = frozenset({SHARED_ARTIFACTS, "table.yaml"})
_DOTGIT_ON_WINDOWS = "git~1"  # git fsck refuses a tree with this name, whatever its case


class TempRef(NamedTuple):
    """A temporary instance: at most one for each table and version."""

    table: str
    version: str

    @property
    def instance_id(self) -> InstanceId:
        """Id under which the API speaks of it, ``TEMP_<version>``."""
        return InstanceId(TEMP_PREFIX + self.version)

    @property
    def ref(self) -> str:
        """Full name of its branch."""
        return f"refs/heads/temp/{self.table}/{_ref_component(self.version)}"

    @property
    def folder(self) -> str:
        """Folder with its editable files, relative to the vault."""
        return f"{TEMP_DIR}/{self.table}/{self.version}"


def check_table_name(name: str) -> str:
    """Return `name` when a new table may carry it.

    Raises
    ------
    TVArgumentError
        The name is empty, reserved, too long, or holds other characters than ``[A-Za-z0-9_-]``,
        which is what a table reference can spell.
    """
    if not _TABLE.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise TVArgumentError(
            f"Table name {name!r} cannot be used.",
            f"Use 1 to {_LONGEST_NAME} letters, digits, underscores and hyphens.",
            table=name,
        )
    if name in RESERVED_TABLES:
        raise TVArgumentError(
            f'Table name "{name}" is reserved.', "Choose another name.", table=name
        )
    return name


def check_version(version: str) -> str:
    """Return the version label meant by `version`; an empty one means ``base``.

    Raises
    ------
    TVArgumentError
        The label holds an underscore, a path separator or a control character, begins or ends
        with a blank or dot, is reserved, or is too long.
    """
    if version == "":
        return DEFAULT_VERSION
    problem = ""
    if len(version.encode("utf-8", "surrogatepass")) > _LONGEST_NAME:
        problem = f"it is longer than {_LONGEST_NAME} bytes"
    elif not version.isprintable():
        problem = "it holds a character that cannot be printed"
    elif found := _FORBIDDEN_IN_VERSION.search(version):
        problem = f"it holds {found.group()!r}"
    elif version != version.strip(" ."):
        problem = "it begins or ends with a blank or a dot"
    elif version in _RESERVED_VERSIONS or version.lower() == _DOTGIT_ON_WINDOWS:
        problem = "the vault or git uses that name itself"
    elif len(_ref_component(version)) > _LONGEST_IN_REF:
        problem = "it is too long for the name of a branch, which spells it in ASCII"
    if problem:
        raise TVArgumentError(
            f"Version {version!r} cannot be used: {problem}.",
            'Use a plain label such as "base" or "prompt 2".',
            version=version,
        )
    return version


def check_builder_name(name: object) -> str:
    """Return `name` when a builder file may carry it.

    Raises
    ------
    TVArgumentError
        The name holds other characters than ``[A-Za-z0-9_-]`` or is too long.
    """
    if not isinstance(name, str) or not _BUILDER.fullmatch(name) or len(name) > _LONGEST_BUILDER:
        raise TVArgumentError(
            f"Builder name {name!r} cannot be used.",
            f"Use 1 to {_LONGEST_BUILDER} letters, digits, underscores and hyphens.",
            builder=str(name),
        )
    return name


def check_module_name(name: str) -> str:
    """Return `name` when a code module may carry it.

    Raises
    ------
    TVArgumentError
        The name is no ASCII Python identifier, or is too long.
    """
    if not _MODULE.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise TVArgumentError(
            f"Code module name {name!r} cannot be used.",
            "Use a Python identifier, without folders and without the ending .py.",
            module=name,
        )
    return name


def check_process_id(process_id: object) -> ProcessId:
    """Return `process_id` as an id; any text that is not empty may be one.

    Raises
    ------
    TVArgumentError
        It is no text, is empty, or holds half of a character (a lone surrogate), which no file
        can carry.
    """
    if not is_process_id(process_id):
        raise TVArgumentError(
            f"Process id {process_id!r} cannot be used.",
            "Use any text that is not empty, or leave it out.",
            process=ascii(process_id),
        )
    return process_id


def is_process_id(process_id: object) -> TypeGuard[ProcessId]:
    """Return whether something can be the id of a process."""
    if not isinstance(process_id, str):
        return False
    try:
        return bool(process_id.encode())
    except UnicodeEncodeError:
        return False


def new_process_id() -> ProcessId:
    """Make a random process id, a version 4 UUID."""
    import uuid  # late, like hashlib below: each takes as long to load as all of this module

    return ProcessId(str(uuid.uuid4()))


def new_instance_id(version: str, started_at: float) -> InstanceId:
    """Make a permanent id of `version` for an operation that started at `started_at` (Unix s)."""
    import uuid

    return InstanceId(f"{version}_{int(started_at):010d}_{uuid.uuid4()}")


def is_instance_id(text: str) -> bool:
    """Return whether `text` has the form of a permanent instance id."""
    found = _INSTANCE.fullmatch(text)
    return found is not None and _is_version(found[1])


def is_instance(table: str, version: str, instance_id: str) -> bool:
    """Return whether an instance may be called so.

    A commit of somebody else may say anything; what these three are made into is paths and refs.
    """
    try:
        check_table_name(table)
    except TVArgumentError:
        return False
    named, _, rest = instance_id.partition("_")
    return named == version and _is_version(version) and _PLAIN.fullmatch(rest) is not None


@lru_cache(maxsize=256)
def _is_version(text: str) -> bool:
    """Return whether a version may be called so."""
    try:
        return check_version(text) == text
    except TVArgumentError:
        return False


def is_temp_id(text: str) -> bool:
    """Return whether `text` has the form of the id of a temporary instance."""
    return text.startswith(TEMP_PREFIX)


def version_of(instance_id: str) -> str:
    """Return the version label in a permanent or temporary instance id."""
    if is_temp_id(instance_id):
        return instance_id.removeprefix(TEMP_PREFIX)
    return instance_id.split("_", 1)[0]


def temp_of_ref(ref: str) -> TempRef | None:
    """Return the temporary instance whose branch is `ref`; None for any other ref.

    Anybody can name a branch ``temp/stories/..%2F..``: only a valid version becomes a path.
    """
    match ref.split("/"):
        case ["refs", "heads", "temp", table, version]:
            temp = _temp(table, unquote(version))
            return temp if temp is not None and temp.ref == ref else None
        case _:
            return None


def temp_of_folder(path: str) -> TempRef | None:
    """Return the temporary instance whose folder `path` is; None for any other path."""
    match path.split("/"):
        case [first, table, version] if first == TEMP_DIR:
            return _temp(table, version)
        case _:
            return None


def _temp(table: str, version: str) -> TempRef | None:
    """Return a temporary instance; None if its names are not valid."""
    with contextlib.suppress(TVArgumentError):
        if _TABLE.fullmatch(table):
            return TempRef(table=table, version=check_version(version))
    return None


def tag_ref(table: str, instance_id: str) -> str:
    """Full name of the tag on the merge commit of an instance."""
    version, rest = version_of(instance_id), instance_id.split("_", 1)[1]
    return f"refs/tags/{table}/{_ref_component(version)}_{rest}"


def index_builder(table: str) -> str:
    """Name of the builder that makes the rows of `table`."""
    return f"{table}_index"


def table_dir(table: str) -> str:
    """Tracked folder of a table."""
    return f"{TABLES_DIR}/{table}"


def table_document(table: str) -> str:
    """Tracked document of a table."""
    return f"{TABLES_DIR}/{table}/table.yaml"


def instance_dir(table: str, version: str) -> str:
    """Tracked folder of the latest instance of `version`."""
    return f"{TABLES_DIR}/{table}/{version}"


def instance_document(table: str, version: str) -> str:
    """Tracked document of the latest instance of `version`."""
    return f"{instance_dir(table, version)}/instance.yaml"


def frame_path(table: str, version: str) -> str:
    """Tracked path of the dataframe of the latest instance of `version`."""
    return f"{instance_dir(table, version)}/dataframe.parquet"


def calls_path(table: str, version: str) -> str:
    """Tracked path of the calls that made the latest instance of `version`."""
    return f"{instance_dir(table, version)}/calls.parquet"


def builders_dir(table: str, version: str) -> str:
    """Tracked folder of builders."""
    return f"{instance_dir(table, version)}/builders"


def builder_path(table: str, version: str, builder: str) -> str:
    """Tracked path of one builder."""
    return f"{builders_dir(table, version)}/{builder}.yaml"


def artifacts_dir(table: str, version: str, *, multiple: bool) -> str:
    """Tracked artifact folder: of the version when `multiple`, else of the table."""
    return f"{instance_dir(table, version) if multiple else table_dir(table)}/artifacts"


def code_path(module: str) -> str:
    """Tracked path of a code module."""
    return f"{CODE_DIR}/{module}.py"


def builder_of_path(path: str) -> str:
    """Name of the builder in a file name or path: up to the first dot of the last part."""
    return path.rsplit("/", 1)[-1].split(".", 1)[0]


@lru_cache(maxsize=64)
def record_file(process_id: ProcessId) -> str:
    """File name, without ending, under which the journal keeps the record of `process_id`.

    Any text may be an id, so what is no plain file name is percent-encoded, a leading dot above
    all: ``..`` would be the folder above. What is long is named by its hash.
    """
    plain = quote(process_id, safe="-_")
    if plain.startswith("."):
        plain = f"%2E{plain[1:]}"
    if len(plain) <= _LONGEST_FILE_NAME:
        return plain
    import hashlib

    return "sha256-" + hashlib.sha256(process_id.encode()).hexdigest()


@lru_cache(maxsize=1024)
def _ref_component(text: str) -> str:
    """Format `text` so that git accepts it within a ref name (git-check-ref-format); reversible."""
    spelled = quote(text, safe=_PLAIN_IN_REF).replace("~", "%7E")  # quote always spares "~"
    if spelled.startswith(".") or spelled.endswith((".", ".lock")) or ".." in spelled:
        spelled = spelled.replace(".", "%2E")
    return spelled
