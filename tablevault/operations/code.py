"""Code modules: create and delete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tablevault.errors import TVArgumentError, TVFileError
from tablevault.filenames import is_hidden
from tablevault.history.change import Change
from tablevault.history.documents import timestamp
from tablevault.history.snapshot import Snapshot
from tablevault.history.tree import Put, Remove
from tablevault.journal.admission import admit
from tablevault.journal.beginning import refusing, taken_up
from tablevault.journal.locks import code_hold
from tablevault.journal.operation import running
from tablevault.journal.record import Hold, Request
from tablevault.names import CODE_DIR, ProcessId, check_module_name, code_path
from tablevault.operations.builder_sources import TextSources, by_file, read_text
from tablevault.operations.messages import operation_message
from tablevault.queries.describe import code_modules
from tablevault.secrets import IN_CODE
from tablevault.vault import Vault
from tablevault.wording import Operation, Parameter, Wording

_CREATE = Operation("create_code_module")
_NAME = Parameter("create_code_module", "module_name")
_SOURCE = Parameter("create_code_module", "copy_dir")

_TEMPLATE = '"""Functions that builders of this vault call."""\n'


def create_code_module(
    vault: Vault, module: str, *, sources: TextSources, process_id: str
) -> ProcessId:
    """Write code modules into the vault."""
    with refusing(vault.journal, vault.actor(process_id), "create_code_module"):
        request = Request(
            operation="create_code_module",
            arguments={
                "module_name": module,
                "copy_dir": sources.copy_dir,
                "text": sources.text,
                "allow_secret": sources.allow_secret,
            },
        )
        return perform_create(vault, taken_up(vault.journal, request, process_id), process_id)


def perform_create(vault: Vault, request: Request, process_id: str) -> ProcessId:
    """Write the modules that are asked for."""
    copy_dir, text = request.text("copy_dir"), request.text("text")
    texts = _texts(request.text("module_name"), copy_dir, text)
    admitted = admit(request, by_file(texts, copy_dir, ".py"), IN_CODE)
    keeps_existing = not copy_dir and not text

    def setup(_: Request, __: Snapshot) -> Sequence[Hold]:
        return [code_hold(exclusive=True)]

    with running(vault.journal, request, vault.actor(process_id), setup) as operation:
        operation.admit(admitted)

        def plan(snapshot: Snapshot, at: float) -> Change:
            known = snapshot.code_modules()
            edits = tuple(
                Put(path=code_path(name), data=body.encode("utf-8"))
                for name, body in texts.items()
                if not (keeps_existing and name in known)
            )
            subject = f"code: write {', '.join(texts)}"
            if not edits:
                subject = f"code: {', '.join(texts)} is there already"
            return Change(
                message=operation_message(operation, subject, [("Time", timestamp(at))]),
                main=edits,
            )

        operation.publish(plan)
    return operation.process_id


def delete_code_module(vault: Vault, module: str, *, process_id: str) -> ProcessId:
    """Remove a code module."""
    request = Request(operation="delete_code_module", arguments={"module_name": module})
    return perform_delete(vault, taken_up(vault.journal, request, process_id), process_id)


def perform_delete(vault: Vault, request: Request, process_id: str) -> ProcessId:
    """Remove the module that is asked for."""
    name = request.text("module_name").removesuffix(".py")

    def setup(_: Request, __: Snapshot) -> Sequence[Hold]:
        check_module_name(name)
        _refuse_missing(name, code_modules(vault))
        return [code_hold(exclusive=True)]

    with running(vault.journal, request, vault.actor(process_id), setup) as operation:

        def plan(snapshot: Snapshot, at: float) -> Change:
            _refuse_missing(name, list(snapshot.code_modules()))
            return Change(
                message=operation_message(
                    operation, f"code: delete {name}", [("Time", timestamp(at))]
                ),
                main=(Remove(path=code_path(name)),),
            )

        operation.publish(plan)
    return operation.process_id


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
    """Give the text of each module to write."""
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
