"""Tables in memory, and the example of the reference guide."""

from __future__ import annotations

import hashlib
import itertools

import pandas as pd
import pytest

from tablevault.engine.builders.builder import parse_builder
from tablevault.engine.builders.order import make_plan
from tablevault.engine.calls.ledger import Ledger, ReusePolicy
from tablevault.engine.calls.store import CallStore
from tablevault.engine.code import Code
from tablevault.engine.execution.context import RunOptions
from tablevault.engine.execution.run import ready, run_all
from tablevault.engine.fingerprints.fingerprint import DIGEST_SIZE, Fingerprint
from tablevault.engine.tables import FixedInstance
from tablevault.errors import TableReferenceError
from tablevault.names import InstanceId
from tablevault.progress import Progress
from tests.engine.builder_texts import column, index, rows
from tests.engine.references.reference_table import CONFIG, EVENTS, PEOPLE


class MemoryInputs:
    """Instances by table, oldest first; the selector is a version or an instance id."""

    def __init__(self, instances):
        self.instances = instances
        self.asked = []

    def resolve(self, table, selector):
        found = [
            key
            for key in self.instances.get(table, {})
            if selector in {"", key, key.split("_", 1)[0]}
        ]
        if not found:
            raise TableReferenceError(f'Table "{table}" has no instance "{selector}".')
        return FixedInstance(table=table, instance_id=InstanceId(found[-1]))

    def columns(self, source):
        return tuple(self.instances[source.table][source.instance_id].columns)

    def frame(self, source, columns):
        self.asked.append((source.table, tuple(columns) if columns is not None else None))
        frame = self.instances[source.table][source.instance_id]
        return frame if columns is None else frame[list(columns)]


def instance(version, number=0):
    return f"{version}_{1700000000 + number}_00000000-0000-4000-8000-{number:012d}"


def example_tables():
    return {
        "people": {instance("base"): pd.DataFrame(PEOPLE)},
        "cfg": {
            instance("base"): pd.DataFrame(
                {
                    "key": pd.array(list(CONFIG), dtype="string"),
                    "value": pd.array(list(CONFIG.values()), dtype="string"),
                }
            )
        },
        "one": {instance("base"): pd.DataFrame({"v": pd.array([42], dtype="Int64")})},
        "vers": {
            instance(version, number): pd.DataFrame({"v": pd.array([value], dtype="Int64")})
            for number, (version, value) in enumerate({"base": 10, "alt": 20, "base2": 30}.items())
        },
        "ev": {instance("base"): pd.DataFrame(EVENTS)},
        "t": {instance("base"): pd.DataFrame({"k": pd.array(["old"], dtype="string")})},
        "empty": {},
    }


def only_names(module, function, _is_custom):
    """Return a fingerprint of names alone, where there is no code to look at."""
    digest = hashlib.blake2b(f"{module}.{function}".encode(), digest_size=DIGEST_SIZE).digest()
    return Fingerprint(
        module=module,
        function=function,
        digest=digest,
        parts=(),
        texts=(),
        outside=(),
        dynamic=(),
    )


SILENT = Progress()


@pytest.fixture
def inputs():
    return MemoryInputs(example_tables())


@pytest.fixture
def execute(inputs, tmp_path):
    """Run builders given as YAML against functions given as Python objects or module texts.

    Each run is the first one of a vault of its own.
    """
    numbers = itertools.count()

    def call(
        texts, functions=None, *, code=None, table="t", keywords=None, options=None, progress=SILENT
    ):
        builders = [parse_builder(name, text, table=table) for name, text in texts.items()]
        named = functions or {}
        load = (
            Code(code).load_function
            if code is not None
            else lambda module, function, *, is_custom: named[function]
        )
        plan = make_plan(builders, table=table)
        given = {"inputs": inputs, "load": load, "keywords": keywords or {}}
        store = CallStore(tmp_path / f"calls-{next(numbers)}.sqlite")
        with Ledger(store, temp="t", process="p", policy=ReusePolicy()) as ledger:
            options = RunOptions(
                fingerprint=only_names, content=str, ledger=ledger, **(options or {})
            )
            with ready(plan, options=options, progress=progress, **given) as run:
                return run_all(run)

    return call


@pytest.fixture
def fill(execute):
    """Run one column builder over the three rows of the example and give the frame."""

    def call(function, columns="[o]", **fields):
        texts = {"t_index": index(), "o": column(columns, **fields)}
        return execute(texts, {"rows": rows, "f": function}).frame

    return call


@pytest.fixture
def make(execute):
    """Run one index builder and give the frame."""

    def call(function, columns="[k, n]", **fields):
        return execute({"t_index": index(columns, **fields)}, {"rows": function}).frame

    return call
