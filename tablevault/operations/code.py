"""Code modules: create and delete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from tablevault.errors import TVArgumentError, TVFileError
from tablevault.filenames import is_hidden
from tablevault.history.commits.change import Change
from tablevault.history.commits.documents import timestamp
from tablevault.history.git.trees import Put, Remove
from tablevault.model.view import VaultView
from tablevault.names import CODE_DIR, check_module_name, code_path
from tablevault.operations.builder_sources import by_file, read_text
from tablevault.secrets import IN_CODE
from tablevault.transactions.allowed_secrets import admit
from tablevault.transactions.operation import NOT_RECORDED, Operation, operation
from tablevault.transactions.record import Hold, Record
from tablevault.transactions.resource_locks import code_hold
from tablevault.transactions.transaction import Transaction
from tablevault.vault import Vault
from tablevault.wording import OperationName, Parameter, Wording

_CREATE = OperationName("create_code_module")
_NAME = Parameter("create_code_module", "module_name")
_SOURCE = Parameter("create_code_module", "copy_dir")

_TEMPLATE = '"""Functions that builders of this vault call."""\n'


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
        texts = _texts(self.module_name, self.copy_dir, self.text)
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
        return Change(message=tx.message(subject, [("Time", timestamp(at))]), main=edits)


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
        _refuse_missing(self._name, view.code_modules())
        return [code_hold(exclusive=True)]

    def plan(self, view: VaultView, tx: Transaction, prepared: None, at: float) -> Change:
        """Remove the file."""
        _refuse_missing(self._name, list(view.snapshot.code_modules()))
        return Change(
            message=tx.message(f"code: delete {self._name}", [("Time", timestamp(at))]),
            main=(Remove(path=code_path(self._name)),),
        )


def _refuse_missing(module: str, known: Sequence[str]) -> None:
    """Refuse to delete what is not there."""
    if module not in known:
        raise TVFileError(
            f'There is no code module "{module}".',
            f"Modules in {CODE_DIR}/: {', '.join(known) or 'none'}.",
            module=module,
        )


def _is_source(path: Path) -> bool:
    """Return whether a file in a folder that is copied is a code module."""
    return path.suffix == ".py" and not is_hidden(path.name)


def _texts(module: str, copy_dir: str, text: str) -> Mapping[str, str]:
    """Return the text of each module to write."""
    name = module.removesuffix(".py")
    if not copy_dir:
        if not module:
            raise TVArgumentError(
                Wording(_CREATE, " needs ", _NAME, " or ", _SOURCE, "."), "Pass one of them."
            )
        return {check_module_name(name): text or _TEMPLATE}
    source = Path(copy_dir)
    if source.is_dir():
        files = sorted(path for path in source.iterdir() if _is_source(path))
        if not files:
            raise TVFileError(
                f'The folder "{source}" holds no .py file.', "Name a folder with modules."
            )
        return {check_module_name(path.stem): read_text(path) for path in files}
    if not source.exists():
        raise TVFileError(f'There is no file or folder "{source}".', "Check the path.")
    if source.suffix != ".py":
        raise TVFileError(
            f'"{source}" is neither a folder nor a .py file.',
            Wording("Name one of these as ", _SOURCE, "."),
        )
    return {check_module_name(name or source.stem): read_text(source)}
