"""Builder files and code modules: create and delete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from tablevault.errors import TVArgumentError, TVFileError
from tablevault.history.commits.change import BranchChange, Change
from tablevault.history.commits.snapshot import decode_text
from tablevault.history.git.trees import Edit, Put, Remove
from tablevault.model.instance import TempInstance
from tablevault.model.view import VaultView
from tablevault.names import (
    builder_of_path,
    builder_path,
    check_builder_name,
    check_module_name,
    code_path,
    index_builder,
)
from tablevault.paths import is_hidden
from tablevault.queries.describe import refuse_unknown_module
from tablevault.secrets import IN_BUILDER, IN_CODE
from tablevault.transactions.allowed_secrets import admit
from tablevault.transactions.claims import code_hold, temp_hold
from tablevault.transactions.operation import NOT_RECORDED, Operation, operation
from tablevault.transactions.records import Hold, Record
from tablevault.transactions.transaction import Transaction
from tablevault.vault import Vault
from tablevault.wording import OperationName, Parameter, Wording


@operation("create_builder_file")
@dataclass(frozen=True, slots=True, kw_only=True)
class CreateBuilderFile(Operation[Vault, VaultView, None]):
    """Write builders into a temporary instance: a file, a folder's, a text, or a template."""

    table_name: str
    builder_name: str = ""
    version: str = ""
    copy_dir: str = ""
    text: str = ""
    allow_secret: bool = False
    texts: Mapping[str, str] = field(default_factory=dict, metadata=NOT_RECORDED)
    """Text of each builder, once it was read."""

    def gathered(self, vault: Vault) -> Self:
        """Read the files, after a look for the table, which the user is to hear of first."""
        vault.view().table(self.table_name).temp_with_builders(self.version)
        texts = builder_texts(self.table_name, self.builder_name, self.copy_dir, self.text)
        admitted = admit(self.request, by_file(texts, self.copy_dir, ".yaml"), IN_BUILDER)
        return replace(self, texts=texts, admitted=(admitted,))

    def claims(self, view: VaultView, record: Record) -> Sequence[Hold]:
        """Claim the temporary instance."""
        temp = view.table(self.table_name).temp_with_builders(self.version)
        return [temp_hold(self.table_name, temp.ref.version)]

    def plan(self, view: VaultView, tx: Transaction, prepared: None, at: float) -> Change:
        """Write the files."""
        temp = view.table(self.table_name).temp_with_builders(self.version)
        edits = [
            Put(
                path=builder_path(self.table_name, temp.ref.version, name),
                data=body.encode("utf-8"),
            )
            for name, body in self.texts.items()
        ]
        return _on_branch(tx, temp, f"write {', '.join(self.texts)}", edits, at)


@operation("delete_builder_file")
@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteBuilderFile(Operation[Vault, VaultView, None]):
    """Remove a builder from a temporary instance."""

    builder_name: str
    table_name: str
    version: str

    def claims(self, view: VaultView, record: Record) -> Sequence[Hold]:
        """Claim the temporary instance; the builder has to be there."""
        temp = view.table(self.table_name).temp_with_builders(self.version)
        check_builder_name(self.builder_name)
        known = _names(temp)
        if self.builder_name not in known:
            raise TVFileError(
                f'There is no builder "{self.builder_name}" in {temp.ref.instance_id} of table '
                f'"{self.table_name}".',
                f"Builders there: {', '.join(known) or 'none'}.",
                builder=self.builder_name,
                table=self.table_name,
            )
        return [temp_hold(self.table_name, temp.ref.version)]

    def plan(self, view: VaultView, tx: Transaction, prepared: None, at: float) -> Change:
        """Remove the file."""
        temp = view.table(self.table_name).temp_with_builders(self.version)
        path = builder_path(self.table_name, temp.ref.version, self.builder_name)
        return _on_branch(tx, temp, f"delete {self.builder_name}", [Remove(path=path)], at)


def _names(temp: TempInstance) -> list[str]:
    """Name the builders, those made by hand included."""
    tracked = temp.snapshot.builders(*temp.ref)
    return sorted(tracked.keys() | temp.parts.temp_folders.builders(temp.ref).keys())


def _on_branch(
    tx: Transaction, temp: TempInstance, what: str, edits: Sequence[Edit], at: float
) -> Change:
    """Commit edits to the branch of a temporary instance, on top of what was edited by hand."""
    branch, ref = tx.edited_branch(temp.ref), temp.ref
    message = tx.message(
        f"{ref.table}/{ref.version}: {what}",
        [("Table", ref.table), ("Version", ref.version)],
        at=at,
    )
    return Change(
        message=message,
        branches=(
            BranchChange(
                temp=ref, tip=branch.tip, onto=branch.commit, edits=tuple(edits), message=message
            ),
        ),
    )


# -- texts of builders --------------------------------------------------------------------------

_ENDING = ".yaml"


def by_file(texts: Mapping[str, str], copy_dir: str, ending: str) -> dict[str, str]:
    """Return texts by the file that each comes from; that to be, where it comes from none."""
    if copy_dir.endswith(ending):
        return dict.fromkeys([copy_dir], "".join(texts.values()))
    return {str(Path(copy_dir, f"{name}{ending}")): text for name, text in texts.items()}


def gather_builders(
    table: str, builders: Sequence[str] | Mapping[str, str] | None
) -> dict[str, str]:
    """Return the text of each builder that ``create_instance`` is asked for.

    A list holds names, which get templates, and paths of ``.yaml`` files; a mapping gives for
    each name a text or a path that ends in ``.yaml``.
    """
    if builders is None:
        return {}
    if isinstance(builders, str):
        raise TVArgumentError(
            f"builders is the text {builders!r}.", "Pass a list of names, or a dict name -> text."
        )
    found: dict[str, str] = {}
    if isinstance(builders, Mapping):
        for name, value in builders.items():
            found[_own_name(name, table)] = _text_or_file(name, value)
        return found
    for entry in builders:
        if str(entry).endswith(_ENDING):
            path = Path(entry)
            name = check_builder_name(builder_of_path(path.name))
            found[name] = _checked(name, read_text(path))
        else:
            name = _own_name(entry, table)
            found[name] = template(table, name)
    return found


def builder_texts(table: str, builder: str, copy_dir: str, text: str) -> dict[str, str]:
    """Return the builders that ``create_builder_file`` is asked for, by name."""
    if not copy_dir:
        name = _own_name(builder or index_builder(table), table)
        return {name: _checked(name, text) if text else template(table, name)}
    hint = Wording(
        "Name one of these as ",
        Parameter("create_builder_file", "copy_dir"),
        ", or pass the builder itself as ",
        Parameter("create_builder_file", "text"),
        ".",
    )
    own_name = "" if Path(copy_dir).is_dir() else builder
    names = {
        check_builder_name(own_name or builder_of_path(path.name)): path
        for path in _files_to_copy(Path(copy_dir), _ENDING, "builders", hint)
    }
    return {name: _checked(name, read_text(path)) for name, path in names.items()}


def _files_to_copy(source: Path, ending: str, kind: str, hint: str) -> list[Path]:
    """Return the file that is named, or the files with an ending in the folder that is named."""
    if source.is_dir():
        entries = sorted(source.iterdir())
        files = [each for each in entries if each.suffix == ending and not is_hidden(each.name)]
        if not files:
            raise TVFileError(
                f'The folder "{source}" holds no {ending} file.', f"Name a folder with {kind}."
            )
        return files
    if not source.exists():
        raise TVFileError(f'There is no file or folder "{source}".', "Check the path.")
    if source.suffix != ending:
        raise TVFileError(f'"{source}" is neither a folder nor a {ending} file.', hint)
    return [source]


def template(table: str, name: str) -> str:
    """Return the template of a builder."""
    from tablevault.engine.builders.document import column_template, index_template

    return index_template(table) if name == index_builder(table) else column_template(name)


def read_text(path: Path) -> str:
    """Read a file that the user named.

    Raises
    ------
    TVFileError
        The file is missing, cannot be read, or is no UTF-8.
    """
    try:
        return decode_text(path.read_bytes(), str(path))
    except OSError as error:
        raise TVFileError(
            f'The file "{path}" cannot be read: {error.strerror}.', "Check the path."
        ) from error


def _text_or_file(name: str, value: str) -> str:
    """Read a builder that is given by text or by path."""
    if not isinstance(value, str):
        raise TVArgumentError(
            f'Builder "{name}" is given as {type(value).__name__}.',
            "Give its YAML text, or the path of a .yaml file.",
        )
    is_path = value.endswith(_ENDING) and "\n" not in value
    return _checked(name, read_text(Path(value)) if is_path else value)


def _own_name(name: str, table: str) -> str:
    """Check the name of a builder; only that of the index builder ends in ``_index``."""
    check_builder_name(name)
    if name.endswith("_index") and name != index_builder(table):
        raise TVFileError(
            f'Builder "{name}" cannot be made: the index builder of table "{table}" is '
            f'"{index_builder(table)}".',
            "Give a column builder a name that does not end in _index.",
            builder=name,
            table=table,
        )
    return name


def _checked(name: str, text: str) -> str:
    """Refuse a text that cannot become a builder."""
    from tablevault.engine.builders.document import check_builder_text

    check_builder_text(name, text)
    return text


# -- code modules -------------------------------------------------------------------------------

_CREATE_MODULE = OperationName("create_code_module")
_MODULE_NAME = Parameter("create_code_module", "module_name")
_SOURCE = Parameter("create_code_module", "copy_dir")

_MODULE_TEMPLATE = '"""Functions that builders of this vault call."""\n'


@operation("create_code_module")
@dataclass(frozen=True, slots=True, kw_only=True)
class CreateCodeModule(Operation[Vault, VaultView, None]):
    """Write code modules into the vault: a file, the files of a folder, a text, or a template."""

    module_name: str = ""
    copy_dir: str = ""
    text: str = ""
    allow_secret: bool = False
    texts: Mapping[str, str] = field(default_factory=dict, metadata=NOT_RECORDED)
    """Text of each module, once it was read."""

    def gathered(self, vault: Vault) -> Self:
        """Read the files."""
        texts = _module_texts(self.module_name, self.copy_dir, self.text)
        admitted = admit(self.request, by_file(texts, self.copy_dir, ".py"), IN_CODE)
        return replace(self, texts=texts, admitted=(admitted,))

    def claims(self, view: VaultView, record: Record) -> Sequence[Hold]:
        """Claim all modules."""
        return [code_hold(exclusive=True)]

    def plan(self, view: VaultView, tx: Transaction, prepared: None, at: float) -> Change:
        """Write the files; a template replaces nothing."""
        known = view.snapshot.code_modules()
        is_template = not self.copy_dir and not self.text
        edits = tuple(
            Put(path=code_path(name), data=body.encode("utf-8"))
            for name, body in self.texts.items()
            if not (is_template and name in known)
        )
        subject = f"code: write {', '.join(self.texts)}"
        if not edits:
            subject = f"code: {', '.join(self.texts)} is there already"
        return Change(message=tx.message(subject, at=at), main=edits)


@operation("delete_code_module")
@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteCodeModule(Operation[Vault, VaultView, None]):
    """Remove a code module."""

    module_name: str

    @property
    def _name(self) -> str:
        """Name of the module, which may be given with its ending."""
        return self.module_name.removesuffix(".py")

    def claims(self, view: VaultView, record: Record) -> Sequence[Hold]:
        """Claim all modules."""
        check_module_name(self._name)
        refuse_unknown_module(self._name, view.code_modules())
        return [code_hold(exclusive=True)]

    def plan(self, view: VaultView, tx: Transaction, prepared: None, at: float) -> Change:
        """Remove the file."""
        refuse_unknown_module(self._name, list(view.snapshot.code_modules()))
        return Change(
            message=tx.message(f"code: delete {self._name}", at=at),
            main=(Remove(path=code_path(self._name)),),
        )


def _module_texts(module: str, copy_dir: str, text: str) -> Mapping[str, str]:
    """Return the text of each module to write."""
    name = module.removesuffix(".py")
    if not copy_dir:
        if not module:
            raise TVArgumentError(
                Wording(_CREATE_MODULE, " needs ", _MODULE_NAME, " or ", _SOURCE, "."),
                "Pass one of them.",
            )
        return {check_module_name(name): text or _MODULE_TEMPLATE}
    own_name = "" if Path(copy_dir).is_dir() else name
    hint = Wording("Name one of these as ", _SOURCE, ".")
    return {
        check_module_name(own_name or path.stem): read_text(path)
        for path in _files_to_copy(Path(copy_dir), ".py", "modules", hint)
    }
