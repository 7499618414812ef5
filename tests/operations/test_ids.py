"""The id of a process is used once, whatever became of it."""

from __future__ import annotations

import pandas as pd
import pytest

from tablevault import TableVault
from tablevault.errors import TableVaultError, TVArgumentError, TVProcessError
from tests.looking import check_clean, state_of

FRAME = pd.DataFrame({"a": [1]})
REFUSED = {
    "create_table": lambda vault, **id_: vault.create_table("bad name!", **id_),
    "create_table again": lambda vault, **id_: vault.create_table("t", **id_),
    "rename_table": lambda vault, **id_: vault.rename_table("t", "none", **id_),
    "delete_table": lambda vault, **id_: vault.delete_table("none", **id_),
    "create_instance": lambda vault, **id_: vault.create_instance("t", version="a/b", **id_),
    "create_instance nowhere": lambda vault, **id_: vault.create_instance("none", **id_),
    "execute_instance": lambda vault, **id_: vault.execute_instance("t", version="a/b", **id_),
    "execute_instance of none": lambda vault, **id_: vault.execute_instance("t", **id_),
    "in the background": lambda vault, **id_: vault.execute_instance("t", background=True, **id_),
    "write_instance": lambda vault, **id_: vault.write_instance(FRAME, "t", **id_),
    "write_instance of no frame": lambda vault, **id_: vault.write_instance("a", "t", **id_),
    "delete_instance": lambda vault, **id_: vault.delete_instance("none", "t", **id_),
    "create_builder_file": lambda vault, **id_: vault.create_builder_file("t", "a", **id_),
    "delete_builder_file": lambda vault, **id_: vault.delete_builder_file("a", "t", **id_),
    "create_code_module": lambda vault, **id_: vault.create_code_module("not-one", **id_),
    "delete_code_module": lambda vault, **id_: vault.delete_code_module("none", **id_),
    "set_config": lambda vault, **id_: vault.set_config("limits.calls", -1, **id_),
    "set_config of nothing": lambda vault, **id_: vault.set_config("calls", 1, **id_),
    "stop_process": lambda vault, **id_: vault.stop_process("none", **id_),
}
EXECUTIONS = ("execute_instance", "execute_instance of none", "in the background")


def test_what_is_refused_has_ended_and_its_id_is_used(vault: TableVault, vault_path) -> None:
    vault.create_table("t")
    before = state_of(vault_path)
    for name, act in REFUSED.items():
        with pytest.raises(TableVaultError):
            act(vault)
        with pytest.raises(TableVaultError) as refused:
            act(vault, process_id=name)
        assert not isinstance(refused.value, TVProcessError) or name == "stop_process"
        assert vault.get_process_completion(name), name
    assert vault.get_active_processes() == {}
    told = vault.log("t").set_index("process_id")
    assert told.loc["execute_instance", "version"] == "a/b"
    assert told.loc["write_instance", "error"].startswith("TVArgumentError: ")
    again = TableVault(vault_path, "Ben")
    for name, act in REFUSED.items():
        with pytest.raises(TableVaultError) as refused:
            act(again, process_id=name)
        if name in EXECUTIONS:  # see test_prepare_execution
            assert not isinstance(refused.value, TVProcessError)
        else:
            with pytest.raises(TVProcessError, match="has ended"):
                again.create_table("other", process_id=name)
    assert state_of(vault_path) == before
    check_clean(vault_path)


@pytest.mark.parametrize("process_id", ["\ud800", 7, b"p"])
def test_what_is_no_text_is_refused_and_nothing_is_noted(vault, vault_path, process_id) -> None:
    for act in (REFUSED["create_code_module"], lambda vault, **id_: vault.create_table("u", **id_)):
        with pytest.raises(TVArgumentError):
            act(vault, process_id=process_id)
    assert not vault.get_process_completion("7")
    with pytest.raises((TVArgumentError, TVProcessError)):
        vault.stop_process(process_id)
    with pytest.raises(TableVaultError):
        vault.execute_instance("t", process_id=process_id)
    assert vault.get_active_processes() == {}
    check_clean(vault_path)
