"""Any work in any clones, pulled in any order: in the end all have the same."""

from __future__ import annotations

import random
import re

import pandas as pd
import pytest

from tablevault import TableVault, clone_vault
from tablevault.errors import TVRemoteError
from tests.clones import path_of
from tests.looking import git

PEOPLE = ("ana", "bo", "cy")
NAMES = ("one", "two", "three")
VERSIONS = ("base", "other")
CONFLICT = re.compile(r"^  (\S+): (.*)$", re.MULTILINE)


class Company:
    """Some people, each with a clone, who pull from each other."""

    def __init__(self, folder, seed):
        self.source = random.Random(seed)
        first = TableVault(folder / PEOPLE[0], "ana <ana@example.org>", create=True)
        first.create_table(NAMES[0])
        first.create_code_module("m", text=self.text())
        first.set_config("prices.m", {"input": 1, "output": 1})
        self.vaults = {PEOPLE[0]: first}
        for name in PEOPLE[1:]:
            self.vaults[name] = clone_vault(
                path_of(first), folder / name, f"{name} <{name}@example.org>"
            )
        for name, vault in self.vaults.items():
            for other, there in self.vaults.items():
                if name != other:
                    vault.add_remote(other, path_of(there))

    def text(self):
        lines = [f"LINE_{number} = {self.source.randrange(3)}" for number in range(3)]
        return "\n\n\n\n".join(lines) + "\n"

    def work(self, vault):
        """Do something; what the vault does not allow is left."""
        tables = vault.get_table_instances()
        table = self.source.choice(tables) if tables else ""
        free = [name for name in NAMES if name not in tables]
        match self.source.randrange(9):
            case 0 if free:
                vault.create_table(
                    self.source.choice(free),
                    has_side_effects=self.source.random() < 0.5,
                    allow_multiple_artifacts=self.source.random() < 0.5,
                )
            case 1 if free and table:
                vault.rename_table(self.source.choice(free), table)
            case 2 if table and self.source.random() < 0.5:
                vault.delete_table(table)
            case 3 if table:
                instances = vault.get_table_instances(table, "")
                if instances:
                    vault.delete_instance(self.source.choice(instances), table)
            case 4:
                vault.create_code_module("m", text=self.text())
            case 8:
                key = self.source.choice(["limits.calls", "limits.cost", "prices.m.output"])
                vault.set_config(key, self.source.randrange(3))
            case _ if table:
                version = self.source.choice(VERSIONS)
                vault.create_instance(table, version=version, external_edit=True)
                frame = pd.DataFrame({"n": [self.source.randrange(1000)]})
                vault.write_instance(frame, table, version)

    def pull(self, name, other):
        """Pull, and take the way out that a conflict names."""
        vault, resolve = self.vaults[name], {}
        for _ in range(8):
            before = git(path_of(vault), "rev-parse", "main")
            try:
                vault.pull(other, resolve=resolve)
            except TVRemoteError as error:
                found = CONFLICT.findall(str(error))
            else:
                return
            assert git(path_of(vault), "rev-parse", "main") == before
            assert found
            for path, problem in found:
                self.resolve_conflict(vault, resolve, path, problem)
        raise AssertionError((resolve, found))

    def resolve_conflict(self, vault, resolve, path, problem):
        if "two tables are called" in problem:
            table = path.split("/")[1]
            if table in vault.get_table_instances():
                vault.rename_table(f"{table}-{self.source.randrange(10**9)}", table)
        elif "deleted there" in problem:
            resolve[path] = "theirs"
        elif "A deletion cannot" in problem:
            resolve[path] = "ours"
        else:
            resolve[path] = self.source.choice(["ours", "theirs"])

    def finish(self):
        """Pull until there is no news."""
        for _ in range(4):
            for name in self.vaults:
                for other in self.vaults:
                    if name != other:
                        self.pull(name, other)
            if (
                len({git(path_of(vault), "rev-parse", "main") for vault in self.vaults.values()})
                == 1
            ):
                return
        raise AssertionError("there is no end to it")


def look(vault):
    """Return all that vaults with the same history have in common."""
    index = vault._vault.parts.index
    snapshot = vault._vault.snapshot()
    current = index.existing()
    latest = {}
    for table in snapshot.table_names():
        document = snapshot.table(table)
        for version in snapshot.versions(table):
            latest[document.id, version] = snapshot.instance(table, version).id
    expected = {}
    for item in sorted(current, key=lambda item: (item.materialized_at, item.instance_id)):
        expected[item.table_id, item.version] = item.instance_id
    # The folder of each version holds the latest instance that stands, and no other.
    assert latest == expected
    return {
        "tags": git(path_of(vault), "for-each-ref", "refs/tags"),
        "instances": [(item.instance_id, item.active) for item in current],
        "module": vault.get_code_module_str("m"),
        "config": vault.get_config(),
    }


@pytest.mark.sweep
@pytest.mark.property
@pytest.mark.parametrize("seed", range(4))
def test_all_clones_come_to_the_same(tmp_path, seed):
    company = Company(tmp_path, seed)
    for _ in range(24):
        name = company.source.choice(PEOPLE)
        if company.source.random() < 0.3:
            company.pull(name, company.source.choice([who for who in PEOPLE if who != name]))
        else:
            company.work(company.vaults[name])
    company.finish()
    first, *others = map(look, company.vaults.values())
    for other in others:
        assert other == first
    for name, vault in company.vaults.items():
        assert git(path_of(vault), "status", "--porcelain") == "", name
        problems = vault.verify(data=False)
        assert [each for each in problems if each.severity == "error"] == []
