"""A worker that does random operations in a vault that others work in, and says what it did.

``python -m tests.journeys.hammer <vault> <name> <operations> <threads>``. It prints JSON lines:
``{"wants": ...}`` before an operation, ``{"done": <process id>, ...}`` when it has happened,
``{"refused": <class of the error>, ...}`` when it has not.
"""

from __future__ import annotations

import json
import random
import sys
import threading
from collections.abc import Callable

import pandas as pd

from tablevault import TableVault
from tablevault.errors import TableVaultError

TABLES = ("red", "green", "blue")
MODULES = ("one", "two")
BUILDER = (
    "builder_type: IndexBuilder\nchanged_columns: [n]\npython_function: make\n"
    "code_module: shared\nis_custom: true\narguments: {{values: [{value}]}}\n"
)
SHARED = "import pandas as pd\n\n\ndef make(values):\n    return pd.DataFrame({'n': values})\n"
KINDS = (
    *("write",) * 4,
    *("execute",) * 3,
    *("module",) * 3,
    "delete_module",
    "delete_instance",
    *("create_table",) * 2,
    "rename_table",
    "delete_table",
    *("undo",) * 3,
    "builder",
    "read",
)


class Worker:
    """One thread of a worker."""

    def __init__(self, vault: TableVault, name: str) -> None:
        self.vault = vault
        self.name = name
        self.chance = random.Random(name)
        self.mine: list[str] = []

    def run(self, operations: int) -> None:
        """Do so many operations."""
        for number in range(operations):
            self.operate(self.chance.choice(KINDS), number)

    def operate(self, kind: str, number: int) -> None:
        """Do one, and say so."""
        value = f"{self.name} {number}"
        known = self.vault.get_table_instances("") if kind != "create_table" else []
        table = self.chance.choice(known or TABLES)
        arguments = {"kind": kind, "table": table, "value": value}
        arguments["module"] = self.chance.choice(MODULES)
        if kind == "undo":
            arguments["undoes"] = self.mine.pop() if self.mine else "none"
        arguments["new"] = self.chance.choice(TABLES)
        try:
            if kind in ("write", "execute", "builder"):
                self.prepare(kind, arguments["table"], value)
            if kind == "delete_instance":
                known = self.vault.get_table_instances(arguments["table"], "")
                arguments["instance"] = self.chance.choice(known) if known else "none"
            self.say({"wants": arguments, "by": self.name})
            done = self.call(kind, arguments)()
        except TableVaultError as error:
            self.say({"refused": type(error).__name__, "by": self.name, "text": str(error)})
            return
        if kind != "read":
            if kind in ("write", "module", "delete_module", "execute"):
                self.mine.append(done)
            self.say({"done": done, "by": self.name, **arguments})

    def prepare(self, kind: str, table: str, value: str) -> None:
        """Make a temporary instance of a version of this thread's own."""
        builders = None if kind == "write" else {f"{table}_index": BUILDER.format(value=value)}
        self.vault.create_instance(
            table, version=self.name, external_edit=kind == "write", builders=builders
        )

    def call(self, kind: str, given: dict[str, str]) -> Callable[[], str]:
        """Return the operation."""
        vault, table, value = self.vault, given["table"], given["value"]
        calls: dict[str, Callable[[], str]] = {
            "write": lambda: vault.write_instance(
                pd.DataFrame({"n": [value]}), table, version=self.name
            ),
            "execute": lambda: vault.execute_instance(table, version=self.name),
            "module": lambda: vault.create_code_module(given["module"], text=f"v = {value!r}\n"),
            "delete_module": lambda: vault.delete_code_module(given["module"]),
            "delete_instance": lambda: vault.delete_instance(given["instance"], table),
            "create_table": lambda: vault.create_table(table),
            "rename_table": lambda: vault.rename_table(given["new"], table),
            "delete_table": lambda: vault.delete_table(table),
            "undo": lambda: vault.undo(given["undoes"]),
            "builder": lambda: vault.create_builder_file(
                table, "extra", version=self.name, text="builder_type: ColumnBuilder\n"
            ),
            "read": lambda: str(len(vault.get_dataframe(table)[0])),
        }
        return calls[kind]

    def say(self, what: dict[str, object]) -> None:
        """Write one line, at once and whole."""
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()


def main() -> None:
    """Work."""
    path, name, operations, threads = sys.argv[1:]
    vault = TableVault(path, name, lock_timeout=60)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    workers = [
        threading.Thread(target=Worker(vault, f"{name}-{n}").run, args=(int(operations),))
        for n in range(int(threads))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    main()
