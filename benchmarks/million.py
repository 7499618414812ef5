"""What vaults with very many instances cost: simulate one, and measure it operation by operation.

``python benchmarks/million.py [--instances N] [--tables M] [--only NAME]`` prints a Markdown table:
the median of the seconds that an operation takes, and of those that processors work for it, git's
included; and the peak memory of the process (in brackets that of the largest program that it
started). The vault is made in a temporary folder and removed. Each line is a process of its own,
which is ended after `--limit` seconds. ``--objects N`` looks at a store with many objects instead.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import pandas as pd
import pygit2
from million_history import AUTHOR, PLANNED, simulate
from pairs import timed

from tablevault import TableVault, clone_vault
from tablevault.history.git.git_config import LfsStorage
from tablevault.lfs.pointer import Pointer
from tablevault.lfs.store import ObjectStore
from tablevault.names import ObjectId
from tablevault.remotes.http.retry import TransferLimits
from tablevault.remotes.lfs.local_transport import LocalTransport
from tablevault.remotes.remote_objects import RemoteState, write_state

Action = Callable[[Path, int], object]
TABLE = "t0000"
FRAME = pd.DataFrame({"n": [1]})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """An operation to be measured: how, how often, and what comes before it, untimed."""

    run: Action
    times: int = 5
    before: Action = lambda _, __: None


def opened(folder: Path, name: str = "vault") -> TableVault:
    """Return a vault; one for each process and name, as programs keep it."""
    key = folder / name
    if key not in _OPENED:
        _OPENED[key] = TableVault(key, AUTHOR)
    return _OPENED[key]


_OPENED: dict[Path, TableVault] = {}


def inner(folder: Path):
    """Return the opened vault beneath the API."""
    return opened(folder)._vault  # noqa: SLF001 - to fold, and for what a remote is known to have


def forget_catalog(folder: Path, _: int) -> None:
    """Delete the catalog."""
    inner(folder).index.discard()


def new_instance(folder: Path, _: int, name: str = "vault") -> str:
    """Make an instance."""
    vault = opened(folder, name)
    vault.create_instance(TABLE, external_edit=True)
    return vault.write_instance(FRAME, TABLE)


def create_temp(folder: Path, number: int) -> None:
    """Begin an instance."""
    opened(folder).create_instance(f"t{number:04d}", external_edit=True)


def undo_last(folder: Path, _: int) -> None:
    """Undo the newest operation."""
    vault = opened(folder)
    vault.undo(vault.log(limit=1)["process_id"].iloc[0])


def compare(folder: Path, _: int) -> None:
    """Compare the last two instances of a table."""
    vault = opened(folder)
    old, new = vault.get_table_instances("t0001")[-2:]
    assert str(vault.diff("t0001", new, old))


def add_and_push(folder: Path, number: int) -> None:
    """Make an instance in the vault, and push it."""
    new_instance(folder, number)
    opened(folder).push()


def forget_remote(folder: Path, _: int) -> None:
    """Forget what the remote is known to have, as a new clone does not know it."""
    shutil.rmtree(folder / "vault/.git/tablevault/remotes", ignore_errors=True)


def verify(folder: Path, _: int) -> None:
    """Check all but the bytes of objects; nothing may be wrong."""
    found = opened(folder).verify(data=False)
    assert not found, found[:3]


STEPS = {
    "open": Step(run=lambda at, _: TableVault(at / "vault", AUTHOR)),
    "get_table_instances": Step(run=lambda at, _: opened(at).get_table_instances(TABLE)),
    "get_dataframe": Step(run=lambda at, _: opened(at).get_dataframe(TABLE)),
    "log, 20": Step(run=lambda at, _: opened(at).log(limit=20)),
    "diff": Step(run=compare),
    "plan": Step(run=lambda at, _: opened(at).plan(PLANNED), times=3),
    "status": Step(run=lambda at, _: opened(at).status(), times=3),
    "create_table": Step(run=lambda at, n: opened(at).create_table(f"new{n}")),
    "create_instance": Step(run=create_temp),
    "write_instance": Step(
        run=lambda at, n: opened(at).write_instance(FRAME, f"t{n:04d}"),
    ),
    "undo": Step(before=new_instance, run=undo_last, times=3),
    "push, an instance": Step(before=new_instance, run=lambda at, _: opened(at).push(), times=3),
    "pull, an instance": Step(
        before=add_and_push, run=lambda at, _: opened(at, "clone").pull(), times=3
    ),
    "log, all": Step(run=lambda at, _: opened(at).log(), times=1),
    "gc, dry run": Step(run=lambda at, _: opened(at).gc(dry_run=True), times=1),
    "verify, without data": Step(run=verify, times=1),
    "push, the first of a clone": Step(
        before=forget_remote, run=lambda at, _: opened(at).push(), times=1
    ),
    "fold of the catalog": Step(
        before=forget_catalog, run=lambda at, _: inner(at).index.catch_up(), times=1
    ),
    "clone": Step(run=lambda at, _: clone_vault(at / "hub.git", at / "new", AUTHOR), times=1),
}


def prepare(folder: Path, options: argparse.Namespace) -> None:
    """Make the vault, a bare repository with all of it, and a copy that pulls from there."""
    vault, hub = folder / "vault", folder / "hub.git"
    simulate(vault, options.instances, options.tables, loose=options.loose)
    TableVault(vault, AUTHOR)  # checks the files out
    command = ["git", "clone", "--quiet", "--bare", "--local", str(vault), str(hub)]
    subprocess.run(command, check=True)
    shutil.copytree(vault / ".git/lfs", hub / "lfs")
    opened(folder).add_remote("origin", hub)
    repository = inner(folder).repository
    tips = tuple(repository.refs("refs/heads/").values())
    write_state(inner(folder), "origin", RemoteState(main=repository.main(), tips=tips))


def copy_vault(folder: Path) -> None:
    """Copy the vault for the pulls, its packs as hard links."""

    def copy(source: str, target: str) -> object:
        if "/.git/objects/pack/" in source or "/.git/lfs/objects/" in source:
            return os.link(source, target)
        return shutil.copy2(source, target)

    shutil.copytree(folder / "vault", folder / "clone", copy_function=copy)


def measure(name: str, folder: Path, limit: float) -> str:
    """Run a step in a process of its own; return the line of the table."""
    command = [sys.executable, __file__, "--folder", str(folder), "--step", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return f"| {name} | over {limit:,.0f} s | | |"
    if done.returncode:
        return f"| {name} | failed: {done.stderr.strip().splitlines()[-1][:200]} | | |"
    found = json.loads(done.stdout.splitlines()[-1])
    own, other = (kib / 1024 for kib in (found["own"], found["others"]))
    more = f" ({other:,.0f})" if other > own * 1.05 else ""
    times = f"{found['seconds']:,.3f} s | {found['work']:,.2f} s"
    return f"| {name} | {times} | {own:,.0f} MB{more} |"


def run_step(name: str, folder: Path) -> None:
    """Measure a step in this process."""
    step = STEPS[name]
    seconds, work = [], []
    for number in range(step.times):
        step.before(folder, number)
        before = sum(os.times()[:4])
        seconds.append(timed(lambda n: step.run(folder, n), number))
        work.append(sum(os.times()[:4]) - before)
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    own, others = (resource.getrusage(who).ru_maxrss for who in whose)
    medians = {"seconds": statistics.median(seconds), "work": statistics.median(work)}
    print(json.dumps({**medians, "own": own, "others": others}))


def sizes(folder: Path) -> list[str]:
    """Return what is on the disk."""
    git = folder / "vault/.git"
    refs = sum(1 for _ in pygit2.Repository(str(git)).references.iterator())
    loose = sum(1 for _ in (git / "objects").glob("??/*"))
    packs = sum(path.stat().st_size for path in (git / "objects/pack").iterdir())
    catalog = (git / "tablevault/index.sqlite").stat().st_size
    logs = sum(path.stat().st_size for path in (git / "logs").rglob("*") if path.is_file())
    packed = git / "packed-refs"
    packed_refs = packed.stat().st_size if packed.exists() else 0
    return [
        f"| refs, loose git objects | {refs:,}, {loose:,} | | |",
        f"| packs, packed-refs | {packs / 1e6:,.1f} MB, {packed_refs / 1e6:,.1f} MB | | |",
        f"| catalog, reflogs | {catalog / 1e6:,.1f} MB, {logs / 1e6:,.1f} MB | | |",
    ]


def check_simulation() -> None:
    """Make sure that a small simulated vault is a vault, and its commits are like real ones."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulate(folder / "vault", 13, 3, loose=False)
        vault = opened(folder)
        assert vault.verify() == [], vault.verify()
        assert len(vault.get_table_instances(TABLE)) == 5
        assert vault.log()["success"].all()
        simulated = _shapes(folder)
        new_instance(folder, 0)
        assert simulated == _shapes(folder), "a simulated commit is not like a real one"
        del _OPENED[folder / "vault"]


def _shapes(folder: Path) -> list[tuple[list[str], list[str]]]:
    """Return what the last three commits of the vault say, without values, and their files."""
    handle = pygit2.Repository(str(folder / "vault"))
    merge = handle[handle.references["refs/heads/main"].target]
    result = merge.parents[1]
    commits = (merge, result, result.parents[0])
    return [(_keys(each), _paths(each.tree / "tables/t0000/base")) for each in commits]


def _keys(commit: pygit2.Commit) -> list[str]:
    """Return the words of a commit message before values."""
    lines = commit.message.splitlines()
    return [lines[0], *(line.partition(": ")[0] for line in lines[1:])]


def _paths(tree: pygit2.Tree) -> list[str]:
    """Return the names in a folder."""
    return [str(entry.name) for entry in tree]


def measure_objects(count: int) -> None:
    """Print what it costs to look at each object: what gc, verify and push do with them."""
    with tempfile.TemporaryDirectory() as name:
        git_dir = Path(name) / "vault/.git"
        vault = TableVault(git_dir.parent, AUTHOR, create=True)
        store = vault._vault.store  # noqa: SLF001 - there is no other way to look at objects alone
        pointers = [written(store, number) for number in range(count)]
        sides = LfsStorage(git_dir=git_dir, lfs=git_dir / "lfs")
        remote = LocalTransport(sides, "download", TransferLimits())
        looks = {
            "gc, dry run": lambda: vault.gc(dry_run=True),
            "are they here": lambda: all(map(store.has, pointers)),
            "has the remote all, at a path": lambda: remote.ask(pointers),
        }
        print(f"| {count:,} objects | time | work |\n| --- | --- | --- |")
        for what, look in looks.items():
            before = sum(os.times()[:4])
            seconds = timed(lambda _, look=look: look(), 0)
            print(
                f"| {what} | {seconds:,.1f} s | {sum(os.times()[:4]) - before:,.1f} s |", flush=True
            )
        used = subprocess.run(["du", "-sm", name], capture_output=True, text=True, check=True)
        print(f"| on the disk | {used.stdout.split()[0]} MB | |")


def written(store: ObjectStore, number: int) -> Pointer:
    """Write a small object straight into its place."""
    data = b"%d" % number
    oid = ObjectId(hashlib.sha256(data).hexdigest())
    path = store.path(oid)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return Pointer(oid=oid, size=len(data))


def main() -> None:
    """Make a vault, measure it, and remove it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=10_000)
    parser.add_argument("--tables", type=int, default=1000)
    parser.add_argument("--objects", type=int, help="files in the object store, without history")
    parser.add_argument("--loose", action="store_true", help="each tag is a file")
    parser.add_argument("--only", default="", help="steps whose name holds this text")
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds for a step")
    parser.add_argument("--folder", type=Path, help="an existing one, which stays")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        run_step(options.step, options.folder)
        return
    if options.objects:
        measure_objects(options.objects)
        return
    check_simulation()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="million-"))
    try:
        is_there = (folder / "vault").exists()
        seconds = 0.0 if is_there else timed(lambda _: prepare(folder, options), 0)
        kind = f"{options.instances:,} instances, {options.tables:,} tables"
        print(f"| {kind} | time | work | memory |\n| --- | --- | --- | --- |")
        print(f"| the simulation | {seconds:,.1f} s | | |", flush=True)
        for name in STEPS:
            if options.only in name:
                if name.startswith("pull") and not (folder / "clone").exists():
                    copy_vault(folder)
                print(measure(name, folder, options.limit), flush=True)
        print("\n".join(sizes(folder)))
    finally:
        if options.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
