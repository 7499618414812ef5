"""The whole public API against a model in plain Python, with people working in the vault, too."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tablevault import TableVault
from tablevault.errors import TableVaultError
from tests.looking import check_clean, git

pytestmark = [pytest.mark.property, pytest.mark.timeout(1200)]
AUTHOR = "Ana Lund <ana@example.org>"
TABLES = ("red", "green", "Blue-1", "a_b")
VERSIONS = ("base", "v 2", "über")
MODULES = ("alpha", "beta")
TEXTS = st.sampled_from(["", "x", "two words", "line\nline", "quote \" '", "ünïcode", "a: b # c"])
CODE = """\
import pandas as pd


def make(values):
    return pd.DataFrame({{"n": [{factor} * value for value in values]}})


def fail(values):
    raise LookupError("on purpose")
"""


def index_builder(values: list[int], function: str = "make", module: str = "alpha") -> str:
    return (
        "builder_type: IndexBuilder\nchanged_columns: [n]\n"
        f"python_function: {function}\ncode_module: {module}\nis_custom: true\n"
        f"arguments: {{values: {values}}}\n"
    )


@dataclass
class Temp:
    external: bool
    builders: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


@dataclass
class Instance:
    version: str
    column: list[object]
    active: bool = True
    files: dict[str, str] = field(default_factory=dict)
    builders: dict[str, str] = field(default_factory=dict)


@dataclass
class Table:
    description: str
    multiple: bool
    side_effects: bool
    instances: dict[str, Instance] = field(default_factory=dict)
    temps: dict[str, Temp] = field(default_factory=dict)


class VaultMachine(RuleBasedStateMachine):
    """Rules act on the vault and on the model; invariants compare the two."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="model"))
        self.path = self.folder / "vault"
        self.tables: dict[str, Table] = {}
        self.code: dict[str, str] = {}
        self.commits = 1
        self.by_hand = False

    @initialize()
    def create(self) -> None:
        self.vault = TableVault(self.path, AUTHOR, create=True)

    def teardown(self) -> None:
        if hasattr(self, "vault"):
            if self.by_hand:
                self.code_operation(lambda: self.vault.create_code_module("last", text="1\n"))
                self.code["last"] = "1\n"
            self.agree()
            check_clean(self.path)
            (self.path / ".git/tablevault/index.sqlite").unlink()
            self.vault = TableVault(self.path, AUTHOR)
            self.agree()
        shutil.rmtree(self.folder)

    # -- what operations have in common -------------------------------------------------------

    def first_parents(self) -> int:
        return int(git(self.path, "rev-list", "--first-parent", "--count", "main"))

    def operate(self, call: Callable[[], object], *, on_main: bool) -> None:
        """Do one operation: it is one commit, above one with what was edited by hand."""
        before = self.first_parents()
        call()
        made = self.first_parents() - before
        assert int(on_main) <= made <= int(on_main) + int(self.by_hand)
        self.by_hand = False

    def code_operation(self, call: Callable[[], object]) -> None:
        self.operate(call, on_main=True)

    def pick(self, data: st.DataObject, condition: Callable[[Table], bool]) -> str:
        return data.draw(st.sampled_from([n for n, t in self.tables.items() if condition(t)]))

    def some(self, condition: Callable[[Table], bool]) -> bool:
        return any(map(condition, self.tables.values()))

    # -- tables -------------------------------------------------------------------------------

    @rule(name=st.sampled_from(TABLES), text=TEXTS, multiple=st.booleans(), effects=st.booleans())
    def create_table(self, name: str, text: str, multiple: bool, effects: bool) -> None:
        def call() -> None:
            self.vault.create_table(
                name,
                allow_multiple_artifacts=multiple,
                has_side_effects=effects,
                description=text,
            )

        if name in self.tables:
            self.refused(call)
            return
        self.operate(call, on_main=True)
        self.tables[name] = Table(text, multiple, effects)

    @precondition(lambda self: self.tables)
    @rule(data=st.data(), new=st.sampled_from(TABLES))
    def rename_table(self, data: st.DataObject, new: str) -> None:
        old = self.pick(data, lambda _: True)
        if new in self.tables:
            self.refused(lambda: self.vault.rename_table(new, old))
            return
        self.operate(lambda: self.vault.rename_table(new, old), on_main=True)
        table = self.tables.pop(old)
        for temp in table.temps.values():
            if f"{old}_index" in temp.builders:
                temp.builders[f"{new}_index"] = temp.builders.pop(f"{old}_index")
        self.tables[new] = table

    @precondition(lambda self: self.tables)
    @rule(data=st.data())
    def delete_table(self, data: st.DataObject) -> None:
        name = self.pick(data, lambda _: True)
        self.operate(lambda: self.vault.delete_table(name), on_main=True)
        del self.tables[name]

    # -- instances ----------------------------------------------------------------------------

    @precondition(lambda self: self.tables)
    @rule(
        data=st.data(),
        version=st.sampled_from(VERSIONS),
        external=st.booleans(),
        values=st.lists(st.integers(0, 9), max_size=3),
    )
    def create_instance(
        self, data: st.DataObject, version: str, external: bool, values: list[int]
    ) -> None:
        name = self.pick(data, lambda _: True)
        builders = {} if external else {f"{name}_index": index_builder(values)}
        self.operate(
            lambda: self.vault.create_instance(
                name, version=version, external_edit=external, builders=builders or None
            ),
            on_main=False,
        )
        table = self.tables[name]
        files = table.temps[version].files if version in table.temps else {}
        table.temps[version] = Temp(external, builders, files)

    @precondition(lambda self: self.some(lambda t: any(i.builders for i in t.instances.values())))
    @rule(data=st.data(), version=st.sampled_from(VERSIONS))
    def copy_instance(self, data: st.DataObject, version: str) -> None:
        name = self.pick(data, lambda t: any(i.builders for i in t.instances.values()))
        table = self.tables[name]
        origins = [key for key, made in table.instances.items() if made.builders]
        origin = data.draw(st.sampled_from(origins))
        self.operate(
            lambda: self.vault.create_instance(name, version=version, origin_id=origin),
            on_main=False,
        )
        builders = dict(table.instances[origin].builders)
        for key in [key for key in builders if key.endswith("_index")]:
            builders[f"{name}_index" if key in self.index_names(table, origin) else key] = (
                builders.pop(key)
            )
        files = table.temps[version].files if version in table.temps else {}
        table.temps[version] = Temp(external=False, builders=builders, files=files)

    def index_names(self, table: Table, origin: str) -> list[str]:
        return [key for key in table.instances[origin].builders if key.endswith("_index")]

    @precondition(lambda self: self.some(lambda t: any(p.external for p in t.temps.values())))
    @rule(
        data=st.data(),
        values=st.lists(st.one_of(st.none(), TEXTS), min_size=1, max_size=3),
        files=st.dictionaries(st.sampled_from(["a.txt", "sub/b.txt"]), TEXTS, max_size=2),
    )
    def write_instance(
        self, data: st.DataObject, values: list[str | None], files: dict[str, str]
    ) -> None:
        name = self.pick(data, lambda t: any(p.external for p in t.temps.values()))
        table = self.tables[name]
        external = [key for key, temp in table.temps.items() if temp.external]
        version = data.draw(st.sampled_from(external))
        folder = Path(self.vault.get_artifact_folder(name, version=version))
        for file, text in files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(text, "utf-8")
        files = {**table.temps[version].files, **files}
        content: list[object] = list(files) if files else list(values)
        frame = pd.DataFrame({"n": pd.Series(content, dtype=object)})
        dtypes = {"n": "artifact_string" if files else "string"}
        self.operate(
            lambda: self.vault.write_instance(frame, name, version=version, dtypes=dtypes),
            on_main=True,
        )
        self.materialised(name, version, Instance(version, content, files=files))

    @precondition(lambda self: self.some(lambda t: any(p.builders for p in t.temps.values())))
    @rule(data=st.data())
    def execute_instance(self, data: st.DataObject) -> None:
        name = self.pick(data, lambda t: any(p.builders for p in t.temps.values()))
        table = self.tables[name]
        made = [key for key, temp in table.temps.items() if temp.builders]
        version = data.draw(st.sampled_from(made))
        temp = table.temps[version]
        call = lambda: self.vault.execute_instance(name, version=version)  # noqa: E731
        index = temp.builders.get(f"{name}_index", "")
        broken = not index or "alpha" not in self.code or "fail" in index or temp.files
        if broken or len(temp.builders) > 1:
            self.refused(call, LookupError)
            return
        factor = int(self.code["alpha"].split("[")[1].split(" ")[0])
        self.operate(call, on_main=True)
        values = [factor * int(n) for n in index.split("[")[2].split("]")[0].split(",") if n]
        instance = Instance(version, list(values), builders=temp.builders)
        self.materialised(name, version, instance)

    def materialised(self, name: str, version: str, instance: Instance) -> None:
        table = self.tables[name]
        del table.temps[version]
        for other in table.instances.values():
            replaced = instance.files and other.files and not table.multiple
            if table.side_effects or replaced:
                other.active = False
        (new,) = set(self.vault.get_table_instances(name, "")) - set(table.instances)
        table.instances[new] = instance

    @precondition(lambda self: self.some(lambda t: bool(t.instances)))
    @rule(data=st.data())
    def delete_instance(self, data: st.DataObject) -> None:
        name = self.pick(data, lambda t: bool(t.instances))
        instance = data.draw(st.sampled_from(list(self.tables[name].instances)))
        self.operate(lambda: self.vault.delete_instance(instance, name), on_main=True)
        del self.tables[name].instances[instance]

    @precondition(lambda self: self.some(lambda t: bool(t.temps)))
    @rule(data=st.data())
    def delete_temp(self, data: st.DataObject) -> None:
        name = self.pick(data, lambda t: bool(t.temps))
        version = data.draw(st.sampled_from(list(self.tables[name].temps)))
        self.operate(lambda: self.vault.delete_instance(f"TEMP_{version}", name), on_main=True)
        del self.tables[name].temps[version]

    # -- code and builders --------------------------------------------------------------------

    @rule(module=st.sampled_from(MODULES), factor=st.integers(1, 3))
    def create_code(self, module: str, factor: int) -> None:
        text = CODE.format(factor=factor)
        self.code_operation(lambda: self.vault.create_code_module(module, text=text))
        self.code[module] = text

    @precondition(lambda self: self.code)
    @rule(data=st.data())
    def delete_code(self, data: st.DataObject) -> None:
        module = data.draw(st.sampled_from(list(self.code)))
        self.code_operation(lambda: self.vault.delete_code_module(module))
        del self.code[module]

    def built(self, data: st.DataObject) -> tuple[str, str, Temp]:
        name = self.pick(data, lambda t: any(not p.external for p in t.temps.values()))
        temps = {key: temp for key, temp in self.tables[name].temps.items() if not temp.external}
        version = data.draw(st.sampled_from(list(temps)))
        return name, version, temps[version]

    @precondition(lambda self: self.some(lambda t: any(not p.external for p in t.temps.values())))
    @rule(
        data=st.data(),
        values=st.lists(st.integers(0, 9), max_size=3),
        function=st.sampled_from(["make", "fail"]),
        by_hand=st.booleans(),
    )
    def write_builder(
        self, data: st.DataObject, values: list[int], function: str, by_hand: bool
    ) -> None:
        name, version, temp = self.built(data)
        builder = data.draw(st.sampled_from([f"{name}_index", "other"]))
        text = index_builder(values, function)
        if by_hand:
            folder = self.path / "temp" / name / version / "builders"
            (folder / f"{builder}.yaml").write_text(text, "utf-8")
        else:
            self.operate(
                lambda: self.vault.create_builder_file(name, builder, version, text=text),
                on_main=False,
            )
        temp.builders[builder] = text

    @precondition(lambda self: self.some(lambda t: any(p.builders for p in t.temps.values())))
    @rule(data=st.data(), by_hand=st.booleans())
    def delete_builder(self, data: st.DataObject, by_hand: bool) -> None:
        name, version, temp = self.built(data)
        if not temp.builders:
            self.refused(lambda: self.vault.delete_builder_file("none", name, version))
            return
        builder = data.draw(st.sampled_from(list(temp.builders)))
        if by_hand:
            (self.path / "temp" / name / version / "builders" / f"{builder}.yaml").unlink()
        else:
            self.operate(
                lambda: self.vault.delete_builder_file(builder, name, version), on_main=False
            )
        del temp.builders[builder]

    # -- people -------------------------------------------------------------------------------

    @rule(text=TEXTS)
    def commit_notes(self, text: str) -> None:
        (self.path / "NOTES.md").write_text(text + "\n", "utf-8")
        git(self.path, "add", "NOTES.md")
        git(self.path, "commit", "-q", "--allow-empty", "-m", "notes", "--", "NOTES.md")

    @rule(module=st.sampled_from(MODULES), factor=st.integers(1, 3), commit=st.booleans())
    def edit_code(self, module: str, factor: int, commit: bool) -> None:
        text = CODE.format(factor=factor)
        (self.path / "code").mkdir(exist_ok=True)
        (self.path / "code" / f"{module}.py").write_text(text, "utf-8")
        self.code[module] = text
        if commit:
            git(self.path, "add", "code")
            git(self.path, "commit", "-q", "--allow-empty", "-m", "code")
            self.by_hand = False
        else:
            self.by_hand = True

    @precondition(lambda self: self.tables)
    @rule(data=st.data(), text=st.sampled_from(["plain", "two words"]))
    def commit_description(self, data: st.DataObject, text: str) -> None:
        name = self.pick(data, lambda _: True)
        document = self.path / "tables" / name / "table.yaml"
        lines = document.read_text("utf-8").splitlines()
        start = next(n for n, line in enumerate(lines) if line.startswith("description:"))
        end = start + 1
        while end < len(lines) and (not lines[end] or lines[end].startswith(" ")):
            end += 1
        lines[start:end] = [f"description: {text}"]
        document.write_text("\n".join(lines) + "\n", "utf-8")
        git(self.path, "commit", "-q", "--allow-empty", "-m", "described", "--", document)
        self.tables[name].description = text

    @precondition(lambda self: not self.by_hand)
    @rule(text=TEXTS)
    def work_on_another_branch(self, text: str) -> None:
        git(self.path, "checkout", "-q", "-B", "side", "HEAD~0")
        self.agree()
        self.vault.create_code_module("beta", text=f"# {text!r}\n")
        self.code["beta"] = f"# {text!r}\n"
        self.agree()
        git(self.path, "checkout", "-q", "main")

    @rule(name=st.sampled_from(["index.sqlite", "objects.sqlite", "checked-out"]))
    def lose_what_is_derived(self, name: str) -> None:
        (self.path / ".git/tablevault" / name).unlink(missing_ok=True)

    @rule(command=st.sampled_from([("gc", "-q"), ("pack-refs", "--all"), ("repack", "-adq")]))
    def tidy(self, command: tuple[str, ...]) -> None:
        git(self.path, *command)

    @rule()
    def reopen(self) -> None:
        self.vault = TableVault(self.path, AUTHOR)

    # -- failures -----------------------------------------------------------------------------

    def refused(self, call: Callable[[], object], *more: type[Exception]) -> None:
        """See that a call raises; that nothing changed is seen by the invariant."""
        refs = git(self.path, "for-each-ref")
        with pytest.raises((TableVaultError, *more)):
            call()
        assert git(self.path, "for-each-ref") == refs
        assert dict(self.vault.get_active_processes()) == {}

    @rule(
        which=st.sampled_from(
            [
                lambda vault: vault.create_table("no/such name"),
                lambda vault: vault.create_table("locks"),
                lambda vault: vault.rename_table("other", "unknown"),
                lambda vault: vault.delete_table("unknown"),
                lambda vault: vault.create_instance("unknown"),
                lambda vault: vault.execute_instance("unknown"),
                lambda vault: vault.write_instance(pd.DataFrame({"a": [1]}), "unknown"),
                lambda vault: vault.delete_instance("base_1", "unknown"),
                lambda vault: vault.create_code_module("not-a-name"),
                lambda vault: vault.delete_code_module("unknown"),
                lambda vault: vault.get_dataframe("unknown"),
            ]
        )
    )
    def fail(self, which: Callable[[TableVault], object]) -> None:
        self.refused(lambda: which(self.vault))

    # -- what always holds --------------------------------------------------------------------

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "vault"):
            return
        vault = self.vault
        assert set(vault.get_table_instances()) == set(self.tables)
        assert vault.get_code_modules_list() == sorted(self.code)
        assert {name: vault.get_code_module_str(name) for name in self.code} == self.code
        for name, table in self.tables.items():
            described = vault.get_descriptions(table_name=name)
            assert described["summary"] == table.description
            assert described["multiple_artifacts"] is table.multiple
            assert described["side_effects"] is table.side_effects
            self.agree_on_instances(name, table)
            self.agree_on_temps(name, table)
        self.agree_with_git()

    def agree_on_instances(self, name: str, table: Table) -> None:
        vault = self.vault
        assert vault.get_table_instances(name, "") == list(table.instances)
        for key, instance in table.instances.items():
            frame, _ = vault.get_dataframe(name, key, full_artifact_path=False)
            values = [None if pd.isna(value) else value for value in frame["n"]]
            assert values == instance.column
            assert vault.get_descriptions(key)["active"] is instance.active
            builders = vault.get_builders_list(name, key)
            texts = [vault.get_builder_str(name, builder, key) for builder in builders]
            assert texts == list(instance.builders.values())
            if instance.files:
                paths = vault.get_dataframe(name, key)[0]["n"]
                assert [Path(path).read_text("utf-8") for path in paths] == list(
                    instance.files.values()
                )

    def agree_on_temps(self, name: str, table: Table) -> None:
        vault = self.vault
        listed = vault.get_table_instances(name, "", include_temp=True)
        temps = {item.removeprefix("TEMP_") for item in listed if item.startswith("TEMP_")}
        assert temps == set(table.temps)
        for version, temp in table.temps.items():
            builders = vault.get_builders_list(name, version=version)
            assert builders == sorted(temp.builders)
            for builder, text in temp.builders.items():
                assert vault.get_builder_str(name, builder, version=version) == text
                folder = self.path / "temp" / name / version / "builders" / f"{builder}.yaml"
                assert folder.read_text("utf-8") == text

    def agree_with_git(self) -> None:
        if self.by_hand or git(self.path, "symbolic-ref", "HEAD").strip() != "refs/heads/main":
            return
        assert git(self.path, "status", "--porcelain") == ""
        assert os.listdir(self.path / ".git/tablevault/processes") == []  # noqa: PTH208 - names


@pytest.mark.sweep
def test_the_api_agrees_with_a_model() -> None:
    thorough = bool(os.environ.get("TABLEVAULT_THOROUGH"))
    # Without shrinking a failure is shown at once; `thorough` looks for the shortest story.
    phases = set(Phase) if thorough else {Phase.generate}
    run_state_machine_as_test(
        VaultMachine,
        settings=settings(
            max_examples=200 if thorough else 8,
            stateful_step_count=80 if thorough else 30,
            phases=phases,
        ),
    )
