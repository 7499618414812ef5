"""The artifacts of calls are kept with their records, and come back when a record is found."""

from __future__ import annotations

import hashlib
import shutil
import signal
import unicodedata
from pathlib import Path

import pytest
import yaml

from tablevault import TableVault
from tablevault.core import clone_vault, compress_vault, decompress_vault
from tablevault.errors import TVTableError
from tablevault.transactions.recovery import needed_elsewhere
from tests.looking import check_clean, git
from tests.operations.bench import EXECUTE, Bench

DRAW = """
def draw(id, folder, prompt="a"):
    if id == 5 and os.path.exists({down!r}):
        raise ConnectionError("no answer")
    pay(id)
    path = Path(folder, {name})
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{{prompt}} {{id}}")
    return {name}
"""
NAME = 'f"{id}.txt"'
IDS = tuple(range(8))


class Drawings(Bench):
    """A vault whose function draws a file for each row, and notes each call."""

    def __init__(self, path: Path, folder: Path, *, multiple: bool = False) -> None:
        self.path = path
        self.paid = folder / "paid"
        self.down = folder / "down"
        self.vault = TableVault(path, "Ana <ana@example.org>", create=True)
        self.vault.create_table("t", allow_multiple_artifacts=multiple)
        self.draw(NAME)

    def draw(self, name: str) -> None:
        self.code(DRAW.format(down=str(self.down), name=name))

    def prepare(self, ids=IDS, *, version="base", table="t", prompt="a", **fields) -> None:
        common = {"code_module": "work", "is_custom": True}
        index = {
            **common,
            "builder_type": "IndexBuilder",
            "changed_columns": ["id"],
            "primary_key": ["id"],
            "python_function": "rows",
            "arguments": {"id": list(ids)},
        }
        draw = {
            **common,
            "builder_type": "ColumnBuilder",
            "changed_columns": ["x"],
            "python_function": "draw",
            "return_type": "row-wise",
            "arguments": {
                "id": "<<self.id[index]>>",
                "folder": "~ARTIFACT_FOLDER~",
                "prompt": prompt,
            },
            "dtypes": {"x": "artifact_string"},
            **fields,
        }
        texts = {f"{table}_index": yaml.safe_dump(index), "draw": yaml.safe_dump(draw)}
        self.vault.create_instance(table, version, builders=texts)

    def execute(self, *, version="base", table="t", **options) -> int:
        before = self.calls()
        self.vault.execute_instance(table, version, **options)
        return self.calls() - before

    def run(self, ids=IDS, *, version="base", table="t", **fields) -> int:
        self.prepare(ids, version=version, table=table, **fields)
        return self.execute(version=version, table=table)

    def fail(self, process_id="", **fields) -> None:
        self.down.touch()
        self.prepare(**fields)
        with pytest.raises(ConnectionError):
            self.vault.execute_instance("t", process_id=process_id)
        self.down.unlink()

    def texts(self, version="base", table="t") -> list[str]:
        frame, _ = self.vault.get_dataframe(table, version=version)
        return [Path(path).read_text() for path in frame["x"]]

    def objects(self) -> set[str]:
        return {oid for oid, _ in self.vault._vault.store.every()}


@pytest.fixture(params=[False, True], ids=["shared", "own"])
def bench(request: pytest.FixtureRequest, vault_path: Path, tmp_path: Path) -> Drawings:
    return Drawings(vault_path, tmp_path, multiple=request.param)


@pytest.fixture
def plain(vault_path: Path, tmp_path: Path) -> Drawings:
    return Drawings(vault_path, tmp_path)


def drawn(ids=IDS, prompt="a") -> list[str]:
    return [f"{prompt} {n}" for n in ids]


# -- found again -----------------------------------------------------------------------------------


def test_rows_that_come_back_bring_their_files(bench):
    for ids, calls in (([1, 2, 3, 4], 4), ([1, 4], 0), ([4, 3, 2, 1], 0)):
        assert bench.run(ids) == calls
        assert bench.texts() == drawn(ids)
    check_clean(bench.path)


def test_an_earlier_prompt_brings_its_files(bench):
    for prompt, calls in (("a", 8), ("b", 8), ("a", 0), ("b", 0)):
        assert bench.run(prompt=prompt) == calls
        assert bench.texts() == drawn(prompt=prompt)


def test_another_version_and_another_table_get_the_files(bench):
    assert bench.run() == 8
    assert bench.run(version="other") == 0
    assert bench.texts(version="other") == drawn()
    bench.vault.create_table("u")
    assert bench.run(table="u") == 0
    assert bench.texts(table="u") == drawn()


@pytest.mark.parametrize("threads", [1, 4])
def test_files_survive_an_exception_and_a_new_instance(bench, threads):
    bench.fail(n_threads=threads)
    made = bench.calls()
    assert bench.run(n_threads=threads) == 8 - made
    assert bench.texts() == drawn()


def test_files_survive_a_stop(plain):
    plain.fail("p")
    plain.vault.stop_process("p")
    assert plain.run() == 3
    assert plain.texts() == drawn()


def test_a_new_program_finds_the_files(plain, python, finish):
    plain.fail()
    plain.prepare()
    finish(python(EXECUTE, plain.path, "t"))
    assert plain.calls() == 8
    assert plain.texts() == drawn()


def test_a_prompt_that_comes_back_in_one_temporary_instance_has_its_own_files(plain):
    plain.fail("p", prompt="a")
    builder = plain.path / "temp/t/base/builders/draw.yaml"
    text = builder.read_text()
    builder.write_text(text.replace("prompt: a", "prompt: b"))
    plain.down.touch()
    with pytest.raises(ConnectionError):
        plain.vault.execute_instance("t", process_id="p")
    plain.down.unlink()
    builder.write_text(text)
    assert plain.execute(process_id="p") == 3
    assert plain.texts() == drawn()


# -- what can be had -------------------------------------------------------------------------------


def oid_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_file_that_is_gone_is_made_again_and_told(plain, caplog):
    plain.fail()
    plain.vault._vault.store.path(oid_of("a 2")).unlink()
    damaged = plain.vault._vault.store.path(oid_of("a 3"))
    damaged.chmod(0o644)
    damaged.write_text("a x")
    assert plain.run() == 3 + 2
    assert plain.texts() == drawn()
    (text,) = [each for each in caplog.messages if "made again" in each]
    assert text.startswith('Builder "draw": 2 calls are made again')
    assert '"2.txt"' in text


def test_a_file_comes_from_a_remote(plain, tmp_path):
    plain.run()
    plain.run([0, 1])
    git(tmp_path, "init", "--bare", "--quiet", "-b", "main", "remote.git")
    plain.vault.add_remote("origin", str(tmp_path / "remote.git"))
    plain.vault.push()
    plain.vault._vault.store.path(oid_of("a 6")).unlink()
    assert plain.run() == 0
    assert plain.texts() == drawn()


def test_without_the_file_of_records_unclaimed_results_are_lost_and_nothing_else(plain):
    plain.run([0, 1])
    plain.fail()
    (plain.path / ".git/tablevault/calls.sqlite").unlink()
    plain.vault = TableVault(plain.path, "B")
    assert plain.run() == 6
    assert plain.texts() == drawn()
    check_clean(plain.path)


def test_instances_of_a_clone_bring_files_that_only_their_history_has(plain, tmp_path):
    plain.run()
    shutil.copytree(plain.path, tmp_path / "copy", symlinks=True)
    (tmp_path / "copy/.git/tablevault/calls.sqlite").unlink()
    plain.vault = TableVault(tmp_path / "copy", "B")
    for prompt, calls in (("a", 0), ("b", 8), ("a", 0)):
        assert plain.run(prompt=prompt) == calls
        assert plain.texts() == drawn(prompt=prompt)


def test_a_clone_gets_files_of_earlier_rows_from_where_it_comes(plain, tmp_path):
    plain.run()
    plain.run([0, 1])
    git(tmp_path, "init", "--bare", "--quiet", "-b", "main", "remote.git")
    plain.vault.add_remote("origin", str(tmp_path / "remote.git"))
    plain.vault.push()
    plain.vault = clone_vault(str(tmp_path / "remote.git"), tmp_path / "clone", "B", data="all")
    assert plain.run() == 0
    assert plain.texts() == drawn()


def test_something_in_the_way_is_an_end_of_the_call_alone(plain, caplog):
    plain.fail()
    plain.prepare()
    (plain.path / "temp/t/base/artifacts/2.txt").mkdir()
    with pytest.raises(IsADirectoryError):
        plain.vault.execute_instance("t")
    assert "2.txt" in caplog.text
    (plain.path / "temp/t/base/artifacts/2.txt").rmdir()
    plain.execute()
    assert plain.texts() == drawn()


# -- as long as the record -------------------------------------------------------------------------


def test_gc_keeps_the_files_of_records_and_removes_them_with_these(plain):
    plain.fail()
    plain.prepare([1])
    oid = oid_of("a 4")
    plain.vault.gc(grace_s=0)
    assert oid in plain.objects()
    assert not plain.vault.verify(data=True)
    git(plain.path, "lfs", "fsck")
    told = plain.vault.gc(grace_s=0, calls_older_than_days=0, dry_run=True)
    assert told.objects == 5
    assert oid in plain.objects()
    plain.vault.gc(grace_s=0, calls_older_than_days=0)
    assert oid not in plain.objects()
    assert plain.run() == 8


def test_files_of_records_are_archived(plain, tmp_path):
    plain.fail()
    compress_vault(plain.path)
    shutil.rmtree(plain.path)
    decompress_vault(plain.path)
    plain.vault = TableVault(plain.path, "B")
    assert plain.run() == 3
    assert plain.texts() == drawn()


def test_a_deleted_instance_takes_its_files_with_it(plain):
    plain.run()
    _, first = plain.vault.get_dataframe("t")
    plain.run([0, 1])
    plain.vault.delete_instance(first, "t")
    assert oid_of("a 5") not in plain.objects()
    assert oid_of("a 1") in plain.objects()
    assert plain.run() == 6
    assert plain.texts() == drawn()
    check_clean(plain.path)


def test_an_operation_that_is_taken_back_leaves_what_records_name(plain):
    plain.fail()
    vault = plain.vault._vault
    oid = oid_of("a 1")
    vault.store.delete([oid], needed=needed_elsewhere(vault.parts, ""))
    assert oid in plain.objects()


KILLED = """
import os, sys, signal
from tablevault import TableVault
from tablevault.lfs.store import ObjectStore
from tablevault.engine.calls.store import CallStore

owner = {"keep": ObjectStore, "write": CallStore}[sys.argv[2]]
real, count = getattr(owner, sys.argv[2]), [0]

def killed(self, *args, **options):
    count[0] += 1
    if count[0] == 4 and sys.argv[3] == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    real(self, *args, **options)
    if count[0] == 4:
        os.kill(os.getpid(), signal.SIGKILL)

setattr(owner, sys.argv[2], killed)
TableVault(sys.argv[1], "B").execute_instance("t")
"""


@pytest.mark.sweep
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", ["keep", "write"])
def test_a_kill_costs_at_most_the_call_in_flight(plain, python, step, moment):
    plain.prepare()
    assert python(KILLED, plain.path, step, moment).wait() == -signal.SIGKILL
    made = plain.calls()
    assert plain.run() - (8 - made) in (0, 1)
    assert plain.texts() == drawn()
    plain.vault.gc(grace_s=0)
    check_clean(plain.path)


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ['f"deep/{id}/a.txt"', 'f"pla\\u0301n {id}.txt"', 'f".{id}"', 'f"Ωmega {id}.swp"'],
    ids=["folder", "decomposed", "hidden", "editor"],
)
def test_files_come_back_under_their_names(plain, name):
    plain.draw(name)
    text = DRAW.replace("path.parent.mkdir(exist_ok=True)", "path.parent.mkdir(0o777, True, True)")
    plain.code(text.format(down=str(plain.down), name=name))
    plain.fail()
    assert plain.run() == 3
    assert plain.texts() == drawn()


def test_a_file_in_another_normal_form_is_found(plain):
    composed, other = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    plain.code(
        f"""
def draw(id, folder, prompt):
    pay(id)
    Path(folder, f"{other}{{id}}").write_text(str(id))
    return f"{composed}{{id}}"
"""
    )
    assert plain.run() == 8
    assert plain.run([1]) == 0
    assert plain.run() == 0
    assert plain.texts() == [str(n) for n in IDS]


def test_empty_and_executable_files_come_back_as_they_were(plain):
    plain.code(
        """
def draw(id, folder, prompt):
    pay(id)
    path = Path(folder, str(id))
    path.touch(0o755 if id % 2 else 0o644)
    if id > 3:
        path.write_text(f"#!/bin/sh {id}")
    return str(id)
"""
    )
    assert plain.run() == 8
    assert plain.run([1]) == 0
    assert plain.run() == 0
    shown = git(plain.path, "ls-tree", "-r", "main", "tables/t/artifacts").splitlines()
    assert [line.split()[0] for line in shown] == ["100644", "100755"] * 4


@pytest.mark.parametrize(
    ("name", "error"), [("'../x'", "cannot be used"), ("'lost.txt'", "is not there")]
)
def test_a_name_without_a_file_ends_the_execution_at_once(plain, name, error):
    plain.code(f"def draw(id, folder, prompt):\n    pay(id)\n    return {name}\n")
    plain.prepare()
    with pytest.raises(TVTableError, match=error) as raised:
        plain.vault.execute_instance("t")
    assert plain.calls() == 1
    assert raised.value.builder == "draw"
    assert raised.value.row == 0


def test_a_file_that_is_put_there_later_needs_no_call(plain):
    plain.code("def draw(id, folder, prompt):\n    pay(id)\n    return 'late.txt'\n")
    plain.prepare()
    with pytest.raises(TVTableError, match=r'Builder "draw", row 0: Artifact "late.txt"'):
        plain.vault.execute_instance("t")
    (plain.path / "temp/t/base/artifacts/late.txt").write_text("here")
    plain.vault.execute_instance("t")
    assert plain.calls() == 8
    assert plain.texts() == ["here"] * 8
    assert plain.run() == 0


def test_a_column_that_is_declared_later_has_its_files(plain):
    plain.prepare(dtypes={})
    with pytest.raises(TVTableError, match="which no value"):
        plain.vault.execute_instance("t")
    builder = plain.path / "temp/t/base/builders/draw.yaml"
    builder.write_text(builder.read_text() + "\ndtypes: {x: artifact_string}\n")
    if "dtypes: {}" in builder.read_text():
        builder.write_text(builder.read_text().replace("dtypes: {}\n", ""))
    assert plain.execute() == 0
    assert plain.run([1]) == 0
    assert plain.run() == 0
    assert plain.texts() == drawn()


# -- one file, several calls -----------------------------------------------------------------------


LOG = """
def draw(id, folder, prompt):
    if id == 5 and os.path.exists({down!r}):
        raise ConnectionError("no answer")
    pay(id)
    with open(Path(folder, "log.txt"), "a") as file:
        file.write(f"{{id}};")
    return "log.txt"
"""


@pytest.mark.parametrize("threads", [1, 4])
def test_a_file_that_all_rows_name_is_as_the_latest_call_left_it(plain, threads):
    plain.code(LOG.format(down=str(plain.down)))
    plain.fail("p", n_threads=threads)
    plain.execute(process_id="p")
    assert plain.calls() == 8
    written = plain.texts()
    assert len(set(written)) == 1
    assert sorted(written[0].split(";")[:-1]) == [str(n) for n in IDS]
    assert plain.run([1]) == 0
    if threads == 1:
        assert plain.run() == 0
        assert plain.texts() == written


def test_a_call_may_write_over_what_was_brought(plain):
    plain.draw('f"{id % 2}.txt"')
    assert plain.run([0, 1]) == 2
    plain.run([1])
    assert plain.run([0, 1, 3]) == 1
    assert plain.texts() == ["a 0", "a 3", "a 3"]


READ = """
def look(path):
    pay("look")
    return Path(path).read_text()
"""


def test_a_new_builder_reads_files_of_rows_that_are_kept(bench):
    text = DRAW.format(down=str(bench.down), name=NAME) + READ
    bench.code(text)
    assert bench.run() == 8
    bench.prepare()
    look = {
        "builder_type": "ColumnBuilder",
        "changed_columns": ["y"],
        "code_module": "work",
        "is_custom": True,
        "python_function": "look",
        "return_type": "row-wise",
        "arguments": {"path": "<<self.x[index]>>"},
    }
    bench.vault.create_builder_file("t", "look", text=yaml.safe_dump(look))
    assert bench.execute() == 8
    frame, _ = bench.vault.get_dataframe("t")
    assert frame["y"].tolist() == bench.texts() == drawn()
    check_clean(bench.path)


# -- other kinds of builders -----------------------------------------------------------------------


GENERATE = """
def draw(ids, folder, prompt):
    for id in ids['id']:
        if id == 5 and os.path.exists({down!r}):
            raise ConnectionError("no answer")
        pay(id)
        Path(folder, f"{{id}}.txt").write_text(f"{{prompt}} {{id}}")
        yield f"{{id}}.txt"
"""
FRAME = """
def draw(ids, folder, prompt):
    pay("all")
    for id in ids['id']:
        Path(folder, f"{{id}}.txt").write_text(f"{{prompt}} {{id}}")
    return pd.DataFrame({{"x": pd.array([f"{{id}}.txt" for id in ids['id']], {dtype!r})}})
"""


def whole(prompt: str, kind: str) -> dict[str, object]:
    arguments = {"ids": "<<self.id>>", "folder": "~ARTIFACT_FOLDER~", "prompt": prompt}
    return {"arguments": arguments, "return_type": kind, "prompt": prompt}


def test_items_of_a_generator_bring_their_files(plain):
    plain.code(GENERATE.format(down=str(plain.down)))
    for prompt, calls in (("a", 8), ("b", 8), ("a", 0)):
        assert plain.run(**whole(prompt, "generator")) == calls
        assert plain.texts() == drawn(prompt=prompt)
    plain.fail("p", **whole("c", "generator"))
    (plain.path / "temp/t/base/artifacts/2.txt").unlink()
    plain.execute(process_id="p")
    assert plain.texts() == drawn(prompt="c")


@pytest.mark.parametrize("declared", [True, False])
def test_a_dataframe_brings_its_files(plain, declared):
    plain.code(FRAME.format(dtype="string" if declared else "artifact_string"))
    fields = {} if declared else {"dtypes": {}}
    for prompt, calls in (("a", 1), ("b", 1), ("a", 0)):
        assert plain.run(**whole(prompt, "dataframe"), **fields) == calls
        assert plain.texts() == drawn(prompt=prompt)


def test_a_dataframe_whose_file_is_not_there_is_not_made_again(plain):
    plain.code(
        "def draw(ids, folder, prompt):\n    pay(1)\n    return pd.DataFrame({'x': ['f'] * 8})\n"
    )
    plain.prepare(**whole("a", "dataframe"))
    with pytest.raises(TVTableError, match='Builder "draw": Artifact "f"'):
        plain.vault.execute_instance("t")
    (plain.path / "temp/t/base/artifacts/f").write_text("here")
    assert plain.execute() == 0
    assert plain.texts() == ["here"] * 8
