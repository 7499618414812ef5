"""Several interpreters with several threads each in one vault: history is what they were told."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tablevault import TableVault
from tests.journeys.hammer import SHARED, TABLES
from tests.looking import LOCK_LEFT, check_clean, git

pytestmark = pytest.mark.timeout(600)
AUTHOR = "Ana Lund <ana@example.org>"
_KEYS = ("Process", "Operation", "Instance", "Undoes", "Step")
_FORM = "%x00".join(["%H", "%s", *(f"%(trailers:key=Vault-{key},valueonly)" for key in _KEYS)])
Said = dict[str, str]


@dataclass
class Model:
    """What must be in the vault, by what was done in the order of history."""

    tables: dict[str, dict[str, str]] = field(default_factory=dict)
    modules: dict[str, str] = field(default_factory=dict)
    undoing: dict[str, tuple[str, str, str | None]] = field(default_factory=dict)
    withdrawn: set[str] = field(default_factory=set)

    def apply(self, process: str, instance: str, said: Said) -> None:
        """Follow one operation."""
        kind, table, value = said["kind"], said["table"], said["value"]
        match kind:
            case "create_table":
                assert table not in self.tables
                self.tables[table] = {}
            case "rename_table":
                assert said["new"] not in self.tables
                self.tables[said["new"]] = self.tables.pop(table)
            case "delete_table":
                del self.tables[table]
            case "write" | "execute":
                self.tables[table][instance] = value
                self.undoing[process] = ("instance", instance, None)
            case "delete_instance":
                # The history of an instance whose creation was undone meanwhile is deleted.
                if said["instance"] not in self.withdrawn:
                    del self.tables[table][said["instance"]]
            case "module":
                before = self.modules.get(said["module"])
                self.modules[said["module"]] = f"v = {value!r}\n"
                self.undoing[process] = ("module", said["module"], before)
            case "delete_module":
                self.undoing[process] = ("module", said["module"], self.modules[said["module"]])
                del self.modules[said["module"]]
            case "undo":
                self.undo(*self.undoing.pop(said["undoes"]))
            case _:
                raise AssertionError(kind)

    def undo(self, what: str, name: str, before: str | None) -> None:
        """Take one operation back."""
        if what == "instance":
            next(each for each in self.tables.values() if name in each).pop(name)
            self.withdrawn.add(name)
        elif before is None:
            del self.modules[name]
        else:
            self.modules[name] = before


def start(path: Path, name: str, operations: int, threads: int) -> subprocess.Popen[str]:
    worker = subprocess.Popen(
        [
            *(sys.executable, "-W", "error", "-m", "tests.journeys.hammer"),
            *(path, name, str(operations), str(threads)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout.readline() == "ready\n"
    return worker


def vault_at(path: Path) -> TableVault:
    vault = TableVault(path, AUTHOR, create=True)
    vault.create_code_module("shared", text=SHARED)
    for table in TABLES[:2]:
        vault.create_table(table)
    return vault


def first_model(path: Path) -> tuple[Model, str]:
    """Return what is there before anybody hammers, and the commit."""
    model = Model(tables={table: {} for table in TABLES[:2]}, modules={"shared": SHARED})
    return model, git(path, "rev-parse", "main").strip()


def history(path: Path, since: str) -> list[list[str]]:
    """Return commit, process, operation, instance ... of all commits on main, oldest first."""
    told = git(
        path, "log", "--first-parent", "--reverse", f"--format={_FORM}%x01", f"{since}..main"
    )
    rows = [each.strip().split("\0") for each in told.split("\1") if each.strip()]
    return [[cell.strip() for cell in row] for row in rows]


def replay(path: Path, since: str, model: Model, said: list[Said], killed: list[Said]) -> None:
    """Follow history: each operation was reported as done, or its process was killed in it."""
    done = {each["done"]: each for each in said if "done" in each}
    on_main = history(path, since)
    seen = [row[2] for row in on_main]
    assert len(seen) == len(set(seen)), "a process has two commits"
    for commit, subject, process, _operation, instance, undoes, _step in on_main:
        found = done.get(process)
        if found is None:
            found = next(
                each
                for each in killed
                if not each.get("used") and fits(path, each, commit, subject, undoes)
            )
            found["used"] = "yes"
        model.apply(process, instance, found)
    lost = {process for process, each in done.items() if each["kind"] != "builder"} - set(seen)
    assert not lost, "what was said to be done is not in history"


def fits(path: Path, wanted: Said, commit: str, subject: str, undoes: str) -> bool:
    """Return whether a commit is what a thread wanted that was killed before it reported."""
    kind, table, module = wanted["kind"], wanted["table"], wanted["module"]
    if kind == "undo":
        return wanted["undoes"] == undoes
    instance = wanted.get("instance", "")
    place = f"{table}/{wanted['value'].split()[0]}"
    subjects = {
        "write": f"{place}: write, 1 row",
        "execute": f"{place}: execute, 1 row",
        "module": f"code: write {module}",
        "delete_module": f"code: delete {module}",
        "delete_instance": f"{table}/{instance.partition('_')[0]}: delete {instance}",
        "create_table": f"{table}: create table",
        "rename_table": f"{table}: rename to {wanted['new']}",
        "delete_table": f"{table}: delete table",
    }
    if subject != subjects.get(kind):
        return False
    text = f"v = {wanted['value']!r}\n"
    return kind != "module" or git(path, "show", f"{commit}:code/{module}.py") == text


def check_same(path: Path, model: Model) -> None:
    """Compare the vault with the model, and look for what was left over."""
    for vault in (TableVault(path, AUTHOR), _rebuilt(path)):
        assert sorted(vault.get_table_instances("")) == sorted(model.tables)
        for table, instances in model.tables.items():
            found = vault.get_table_instances(table, "")
            assert sorted(found) == sorted(instances)
            for instance in found:
                frame, _ = vault.get_dataframe(table, instance)
                assert frame["n"].tolist() == [instances[instance]]
        modules = {name: vault.get_code_module_str(name) for name in vault.get_code_modules_list()}
        assert modules == model.modules
    tags = git(path, "for-each-ref", "--format=%(refname:lstrip=2)", "refs/tags").split("\n")
    wanted = [f"{table}/{each}" for table, ids in model.tables.items() for each in ids]
    assert sorted(filter(None, tags)) == sorted(wanted)
    check_clean(path)


def _rebuilt(path: Path) -> TableVault:
    (path / ".git/tablevault/index.sqlite").unlink()
    return TableVault(path, AUTHOR)


def lines(text: str) -> list[Said]:
    """Read what a worker said; the last line may be cut off."""
    whole = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [json.loads(line) for line in whole]


def pending(said: list[Said]) -> list[Said]:
    """Return what each thread began last and did not report as done."""
    last: dict[str, Said] = {}
    for each in said:
        if "wants" in each:
            last[each["by"]] = each["wants"]
        else:
            last.pop(each["by"], None)
    return list(last.values())


@pytest.mark.sweep
@pytest.mark.parametrize(("workers", "threads"), [(2, 2), (4, 1)])
def test_what_was_said_to_be_done_is_done_and_nothing_else(
    path: Path, workers: int, threads: int
) -> None:
    vault_at(path)
    model, since = first_model(path)
    running = [start(path, f"w{n}", 20, threads) for n in range(workers)]
    for worker in running:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    said: list[Said] = []
    for worker in running:
        out, errors = worker.communicate(timeout=300)
        assert errors == ""
        assert worker.returncode == 0
        said.extend(lines(out))
    assert sum("done" in each for each in said) > 10 * workers
    replay(path, since, model, said, [])
    check_same(path, model)


@pytest.mark.sweep
def test_who_is_killed_takes_nobody_elses_work_along(path: Path) -> None:
    """Workers are killed at any moment, and others take their place in the same vault."""
    vault_at(path)
    model, since = first_model(path)
    chance = random.Random("kill")
    said: list[Said] = []
    killed: list[Said] = []
    for round_ in range(2):
        running = [start(path, f"r{round_}w{n}", 30, 2) for n in range(2)]
        for worker in running:
            worker.stdin.write("go\n")
            worker.stdin.flush()
        victim, other = running
        heard = [victim.stdout.readline() for _ in range(chance.randint(5, 40))]
        victim.send_signal(signal.SIGKILL)
        rest = victim.stdout.read()  # with what has been read already, unlike `communicate`
        victim.communicate()
        told = lines("".join(heard) + rest)
        killed.extend(pending(told))
        said.extend(told)
        out, errors = other.communicate(timeout=300)
        assert [line for line in errors.splitlines() if not line.endswith(LOCK_LEFT)] == []
        said.extend(lines(out))
    TableVault(path, AUTHOR, restart=True)
    replay(path, since, model, said, killed)
    check_same(path, model)
