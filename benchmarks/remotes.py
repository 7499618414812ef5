"""Push, clone and pull beside stock git-lfs and DVC, which do the same with a local remote."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from pairs import Row, from_times, timed

from tablevault import TableVault, clone_vault

ENVIRONMENT = Path(os.environ.get("TABLEVAULT_DVC", Path.home() / ".cache/tablevault-dvc"))
MEGABYTE = 10**6
AUTHOR = "ana"


class Ours:
    """A vault; each file is an instance."""

    name = "ours"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "vault"
        self.vault = TableVault(self.path, AUTHOR, create=True)
        self.vault.create_table("t")

    def add(self, *frames: pd.DataFrame) -> None:
        """Write instances."""
        for frame in frames:
            self.vault.create_instance("t", external_edit=True)
            self.vault.write_instance(frame, "t")

    def aim(self, remote: Path) -> None:
        """Make a new remote."""
        _bare(remote)

    def push(self, remote: Path) -> None:
        """Push all."""
        self.vault.push(str(remote))

    def clone(self, remote: Path, target: Path, *, is_lazy: bool) -> None:
        """Clone, data included unless lazy."""
        clone_vault(str(remote), target, AUTHOR, data="lazy" if is_lazy else "all")


class GitLfs:
    """A git repository with git-lfs; each file is a commit."""

    name = "git-lfs"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "lfs"
        self._number = 0
        _git(folder, "init", "-q", "-b", "main", str(self.path))
        _git(self.path, "lfs", "install", "--local")
        _git(self.path, "lfs", "track", "*.parquet")

    def add(self, *frames: pd.DataFrame) -> None:
        """Commit files, one by one."""
        for frame in frames:
            self._number += 1
            _write(frame, self.path / f"{self._number}.parquet")
            _git(self.path, "add", "-A")
            _git(self.path, "commit", "-qm", f"{self._number}")

    def aim(self, remote: Path) -> None:
        """Make a new remote."""
        _bare(remote)

    def push(self, remote: Path) -> None:
        """Push all; the hook of git-lfs sends the objects."""
        _git(self.path, "push", "-q", f"file://{remote}", "main")

    def clone(self, remote: Path, target: Path, *, is_lazy: bool) -> None:
        """Clone, with the filter of git-lfs."""
        lazy = {"GIT_LFS_SKIP_SMUDGE": "1"} if is_lazy else {}
        _git(
            target.parent,
            *("-c", "filter.lfs.smudge=git-lfs smudge -- %f"),
            *("-c", "filter.lfs.process=git-lfs filter-process"),
            *("-c", "filter.lfs.required=true"),
            *("clone", "-q", f"file://{remote}", str(target)),
            **lazy,
        )


class Dvc:
    """A git repository with DVC."""

    name = "DVC"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "dvc"
        self._number = 0
        _git(folder, "init", "-q", "-b", "main", str(self.path))
        self._dvc("init", "-q")
        self._dvc("config", "core.analytics", "false")

    def add(self, *frames: pd.DataFrame) -> None:
        """Commit files, all at once: DVC takes seconds to start."""
        names = [f"{self._number + number}.parquet" for number in range(len(frames))]
        self._number += len(frames)
        for name, frame in zip(names, frames, strict=True):
            _write(frame, self.path / name)
        self._dvc("add", "-q", *names)
        _git(self.path, "add", "-A")
        _git(self.path, "commit", "-qm", f"{self._number}")

    def aim(self, remote: Path) -> None:
        """Make a new remote, and commit where it is."""
        _bare(remote)
        self._dvc("remote", "add", "-q", "-f", "-d", "there", f"{remote}-data")
        _git(self.path, "commit", "-q", "--allow-empty", "-am", "remote")

    def push(self, remote: Path) -> None:
        """Push data, then commits."""
        self._dvc("push", "-q")
        _git(self.path, "push", "-q", f"file://{remote}", "main")

    def clone(self, remote: Path, target: Path, *, is_lazy: bool) -> None:
        """Clone, then pull the data."""
        _git(target.parent, "clone", "-q", f"file://{remote}", str(target))
        if not is_lazy:
            self._dvc("pull", "-q", at=target)

    def _dvc(self, *words: str, at: Path | None = None) -> None:
        """Run DVC."""
        command = [str(ENVIRONMENT / "bin" / "dvc"), *words]
        subprocess.run(command, cwd=at or self.path, check=True, capture_output=True)


def against_peers(folder: Path, pairs: int) -> list[Row]:
    """Measure many small files, one large one, what changes when data grow, and a long pull."""
    peers = [Ours, GitLfs, *([Dvc] if _has_dvc() else [])]
    rounds = max(3, pairs // 8)
    rows = _transfers(folder / "many", peers, "100 x 1 MB", (100, MEGABYTE), rounds)
    rows += _transfers(folder / "large", peers, "1 x 500 MB", (1, 500 * MEGABYTE), 3)
    rows.append(lazy_clones(folder / "growing", 2 * rounds))
    rows += _pulling(folder / "pulling", rounds)
    return rows


def _transfers(
    folder: Path, peers: list[type], what: str, size: tuple[int, int], rounds: int
) -> list[Row]:
    """Push and clone by turns, each time with remotes that are new."""
    folder.mkdir()
    sides = [peer(folder) for peer in peers]
    frames = [frame_of(size[1], number) for number in range(size[0])]
    for side in sides:
        side.add(*frames)
    times: dict[tuple[str, str], list[float]] = {}

    def measure(name: str, side: object, step: Callable[[], None]) -> None:
        key = (name, getattr(side, "name", ""))
        times.setdefault(key, []).append(timed(lambda _: step(), 0))

    for number in range(rounds):
        for side in sides:
            remote, target = folder / f"{side.name}.git", folder / f"{side.name}-clone"
            for path in (remote, target, Path(f"{remote}-data")):
                shutil.rmtree(path, ignore_errors=True)
            side.aim(remote)
            measure(f"push {what}", side, lambda side=side, remote=remote: side.push(remote))
            measure(
                f"clone {what}",
                side,
                lambda side=side, remote=remote, target=target: side.clone(
                    remote, target, is_lazy=False
                ),
            )
            times.setdefault((f"what lies in the remote, {what}", side.name), []).append(
                float(_bytes(remote) + _bytes(Path(f"{remote}-data")))
            )
            side.add(frame_of(1000, 10_000 + number))
            measure(
                f"push after a small one, {what}",
                side,
                lambda side=side, remote=remote: side.push(remote),
            )
    return [
        from_times(
            f"{name}: {peer.name}",
            times[name, "ours"],
            times[name, peer.name],
            aim="1",
            unit="MB" if "lies" in name else "ms",
        )
        for name in dict.fromkeys(name for name, _ in times)
        for peer in peers[1:]
    ]


def lazy_clones(folder: Path, rounds: int, bucket: Callable[[int], str] | None = None) -> Row:
    """Clone lazily what holds 500 MB, and what holds 10 MB in as many instances.

    The data is in the remote, or in the bucket whose address `bucket` returns by the size.
    """
    folder.mkdir()
    remotes = {}
    for size in (500, 10):
        (folder / f"{size}").mkdir()
        side, remote = Ours(folder / f"{size}"), folder / f"{size}.git"
        for number in range(10):
            side.add(frame_of(size * MEGABYTE // 10, number))
        side.aim(remote)
        side.vault.add_remote("origin", remote, data=bucket(size) if bucket else "")
        side.vault.push()
        remotes[size] = remote
    times: dict[int, list[float]] = {500: [], 10: []}
    for _ in range(rounds):
        for size, remote in remotes.items():
            target = folder / "clone"
            shutil.rmtree(target, ignore_errors=True)
            times[size].append(
                timed(lambda _, r=remote, t=target: clone_vault(str(r), t, AUTHOR), 0)
            )
    return from_times("lazy clone of 500 MB: of 10 MB", times[500], times[10], aim="1")


def _pulling(folder: Path, rounds: int) -> list[Row]:
    """Pull 1,000 operations; plain git fetches the same commits, and does no more."""
    folder.mkdir()
    side, remote = Ours(folder), folder / "remote.git"
    side.aim(remote)
    side.push(remote)
    early = folder / "early"
    clone_vault(str(remote), early, AUTHOR)
    vault = TableVault(side.path, AUTHOR)
    for number in range(500):
        vault.create_instance("t", external_edit=True)
        vault.write_instance(pd.DataFrame({"n": [number]}), "t")
    side.push(remote)
    ours, theirs = [], []
    for _ in range(rounds):
        here, there = folder / "here", folder / "there"
        for path in (here, there):
            shutil.rmtree(path, ignore_errors=True)
            shutil.copytree(early, path, symlinks=True)
        late = TableVault(here, AUTHOR)
        ours.append(timed(lambda _, late=late: late.pull(), 0))
        theirs.append(timed(lambda _, there=there: _git(there, "fetch", "-q"), 0))
    return [from_times("pull of 1,000 operations: git fetch", ours, theirs, aim="-")]


def frame_of(size_bytes: int, seed: int) -> pd.DataFrame:
    """Make a frame that cannot be compressed."""
    return pd.DataFrame({"n": np.random.default_rng(seed).random(max(1, size_bytes // 8))})


def _write(frame: pd.DataFrame, path: Path) -> None:
    """Write a file as ours is written."""
    frame.to_parquet(path, compression="zstd", index=False)


def _bytes(folder: Path) -> int:
    """Add up the files of a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _bare(path: Path) -> None:
    """Make an empty bare repository."""
    _git(path.parent, "init", "-q", "--bare", "-b", "main", str(path))


def _git(folder: Path, *words: str, **more: str) -> None:
    """Run git."""
    who = {"GIT_AUTHOR_NAME": AUTHOR, "GIT_AUTHOR_EMAIL": "a@example.org"}
    who |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in who.items()}
    environment = {**os.environ, **who, **more}
    subprocess.run(["git", *words], cwd=folder, env=environment, check=True, capture_output=True)


def _has_dvc() -> bool:
    """Install DVC, once; tell whether it is there."""
    if not (ENVIRONMENT / "bin" / "dvc").exists():
        venv.create(ENVIRONMENT, with_pip=True)
        command = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "install", "-q", "dvc"]
        if subprocess.run(command, check=False).returncode:
            print("DVC cannot be installed: its rows are left out.", file=sys.stderr)
            return False
    return True
