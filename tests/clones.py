"""Two people who work in clones of one vault, and pull from each other."""

from __future__ import annotations

import pandas as pd

from tablevault import TableVault, clone_vault
from tests.looking import check_clean, git

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
