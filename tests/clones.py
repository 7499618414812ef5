"""Two people who work in clones of one vault, and pull from each other."""

from __future__ import annotations

import pandas as pd

from tablevault import TableVault, clone_vault
from tests.looking import check_clean, git, state_of

ANA, BO = "Ana Lund <ana@example.org>", "Bo Holm <bo@example.org>"


def make_vault(folder):
    """Make Ana's vault, with a table."""
    vault = TableVault(folder / "ana", ANA, create=True)
    vault.create_table("t")
    return vault


def clone(ana, folder):
    """Make Bo's clone of Ana's vault; each has the other's as its remote."""
    bo = clone_vault(path_of(ana), folder / "bo", BO)
    ana.add_remote("origin", path_of(bo))
    return bo


def path_of(vault):
    return vault._vault.path


def write(vault, values, table="t", version="base"):
    """Make an instance, and return its id."""
    vault.create_instance(table, version=version, external_edit=True)
    vault.write_instance(pd.DataFrame({"n": values}), table, version)
    return vault.get_dataframe(table, version=version, active_only=False)[1]


def tree(vault):
    return git(path_of(vault), "log", "-1", "--format=%T", "main")


def finish(ana, bo):
    """Pull until there is no news, and check that both have the same."""
    ana.pull(data="all")
    bo.pull(data="all")
    ana.pull(data="all")
    assert tree(ana) == tree(bo)
    assert git(path_of(ana), "rev-parse", "main") == git(path_of(bo), "rev-parse", "main")
    tags = [git(path_of(vault), "for-each-ref", "refs/tags") for vault in (ana, bo)]
    assert tags[0] == tags[1]
    for vault in (ana, bo):
        assert [problem for problem in vault.verify() if problem.severity == "error"] == []
        check_clean(path_of(vault))


def sound(vault):
    """Check a vault whose data is not here yet."""
    git(path_of(vault), "fsck", "--strict", "--no-dangling")
    assert git(path_of(vault), "status", "--porcelain") == ""


def own_state(vault):
    """Take down all but what is known of the remote."""
    state = state_of(path_of(vault))
    state["refs"] = [line for line in state["refs"].splitlines() if "/remotes/" not in line]
    return {name: what for name, what in state.items() if not name.startswith(".git/lfs/tmp/")}


def read(vault, table="t", **which):
    return vault.get_dataframe(table, **which)[0]["n"].tolist()


def look(vault):
    """Return all that two vaults with the same history have in common."""
    path = path_of(vault)
    tables = {table: vault.get_table_instances(table, "") for table in vault.get_table_instances()}
    return {
        "main": git(path, "rev-parse", "main"),
        "tags": git(path, "for-each-ref", "refs/tags"),
        "tables": tables,
        "frames": {
            instance: read(vault, table, instance_id=instance)
            for table, instances in tables.items()
            for instance in instances
        },
        "latest": {
            table: vault.get_dataframe(table, version="", active_only=False)[1]
            for table, instances in tables.items()
            if instances
        },
        "modules": {
            name: vault.get_code_module_str(name) for name in vault.get_code_modules_list()
        },
    }


def same(*vaults):
    first, *others = map(look, vaults)
    for other in others:
        assert other == first
    for vault in vaults:
        check_clean(path_of(vault))
