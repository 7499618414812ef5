"""Files of the vault in workers that do not see it: artifacts, and what is beside modules.

The workers of a Dask scheduler may run on machines without the vault. There arguments name copies
of its files, and functions write artifacts into a folder of the worker, which are fetched after
each task. Files travel in pieces, and a worker keeps those that it has received.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tempfile
import threading
import uuid
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from tablevault.engine.execution.parcels import LinkedText, Parcel, VaultFile
from tablevault.errors import TVExecutorError

_PIECE: Final = 8 << 20
"""Bytes that are sent at once."""
_KEPT_BYTES: Final = 4 << 30
"""Bytes of files that a worker keeps for further tasks."""

Stamp = tuple[int, int, int]


class VaultHome(NamedTuple):
    """Where the vault of an execution is, and how a worker recognises it.

    Attributes
    ----------
    root : str
        Its folder.
    artifacts : str
        The artifact folder of the execution.
    marker : str
        A file of the vault that does not change.
    stamp : tuple of int
        Its inode, size and modification time.
    """

    root: str
    artifacts: str
    marker: str
    stamp: Stamp

    @classmethod
    def of(cls, root: Path, artifacts: Path, marker: Path) -> VaultHome:
        """Return the home of a vault on this machine."""
        return cls(str(root), str(artifacts), str(marker), _stamp(str(marker)))

    @property
    def is_seen(self) -> bool:
        """Whether the same vault is at this place in this process, and its artifacts writable."""
        try:
            return _stamp(self.marker) == self.stamp and os.access(self.artifacts, os.W_OK)
        except OSError:
            return False


class NewFile(NamedTuple):
    """A file that functions wrote in a worker; its name is relative to the artifact folder."""

    name: str
    size: int
    is_executable: bool


def _stamp(path: str) -> Stamp:
    """Return what tells a file from the file at the same place on another machine."""
    status = os.stat(path)  # noqa: PTH116 - the path of another machine
    return status.st_ino, status.st_size, status.st_mtime_ns


def file_at(path: str) -> VaultFile | None:
    """Return the file at a path; None if there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116 - text that is no path is a ValueError here
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    is_executable = bool(status.st_mode & stat.S_IXUSR)
    return VaultFile(path, status.st_size, status.st_mtime_ns, is_executable)


def files_below(folder: Path) -> dict[str, VaultFile]:
    """Return the files below a folder by their relative names, without compiled modules."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if "__pycache__" not in name and (file := file_at(str(path))) is not None:
            found[name] = file
    return found


File = TypeVar("File", VaultFile, NewFile)


def pieces(files: Iterable[File], most: int) -> Iterator[list[tuple[File, int, int]]]:
    """Yield what is sent at once: parts of files with their offsets and lengths."""
    parts: list[tuple[File, int, int]] = []
    room = most
    for file in files:
        offset = 0
        while True:
            length = min(file.size - offset, room)
            parts.append((file, offset, length))
            offset, room = offset + length, room - length
            if not room:
                yield parts
                parts, room = [], most
            if offset == file.size:
                break
    if parts:
        yield parts


# -- in the process that executes ---------------------------------------------------------------


class Links:
    """Finds paths of the vault in the texts of arguments.

    Parameters
    ----------
    home : VaultHome
        Where the vault is.
    """

    def __init__(self, home: VaultHome) -> None:
        self.root = home.root
        self._artifacts = home.artifacts
        self._paths = re.compile(re.escape(home.root) + r"/[^\s\"'<>|]*")

    def __call__(self, text: str) -> LinkedText | None:
        """Return a text with the files that it names; None if it names nothing of the vault."""
        if self.root not in text:
            return None
        whole = file_at(text)
        paths = [text] if whole else self._paths.findall(text)
        files = tuple(file for file in map(file_at, dict.fromkeys(paths)) if file is not None)
        return LinkedText(text, files) if files or self._artifacts in text else None


Run = Callable[..., Any]
"""Runs a function with its arguments in one worker, and returns what it returns."""


def send(home: VaultHome, files: Sequence[VaultFile], run: Run) -> None:
    """Send files of a vault to a worker.

    Raises
    ------
    TVExecutorError
        One changes meanwhile.
    """
    transfer = uuid.uuid4().hex
    for parts in pieces(run(still_lacking, home, files), _PIECE):
        read = [(file, offset, _read(file, offset, length)) for file, offset, length in parts]
        run(receive, home, transfer, read)


def _read(file: VaultFile, offset: int, length: int) -> bytes:
    """Return a piece of a file."""
    with Path(file.path).open("rb") as source:
        source.seek(offset)
        data = source.read(length)
    if file_at(file.path) != file:
        raise TVExecutorError(
            f'File "{file.path}" changed while it was sent to a worker.',
            "Finished calls are kept. Execute again when nobody writes to it.",
        )
    return data


def fetch(folder: str, files: Sequence[NewFile], target: Path, run: Run) -> None:
    """Fetch what functions wrote in a worker into the artifact folder.

    All files get their names at the end: if this crashes, or the worker dies, hidden parts of files
    stay, which are no artifacts. Calls that are made again may choose other names.
    """
    transfer = uuid.uuid4().hex
    there = {file: target / file.name for file in files}
    parts_of = {
        file: path.with_name(f".{transfer}.{number}.part")
        for number, (file, path) in enumerate(there.items())
    }
    for parts in pieces(files, _PIECE):
        wanted = [(file.name, offset, length) for file, offset, length in parts]
        for (file, offset, _), data in zip(parts, run(read_parts, folder, wanted), strict=True):
            parts_of[file].parent.mkdir(parents=True, exist_ok=True)
            _append(parts_of[file], offset, data)
    for file, path in there.items():
        _finish(parts_of[file], path, is_executable=file.is_executable)


def _append(path: Path, offset: int, data: bytes) -> None:
    """Write a piece of a file."""
    with path.open("r+b" if offset else "wb") as sink:
        sink.seek(offset)
        sink.write(data)


def _finish(part: Path, path: Path, *, is_executable: bool) -> None:
    """Rename a file that is complete to its name."""
    if is_executable:
        part.chmod(part.stat().st_mode | 0o111)
    part.replace(path)


# -- in the worker ------------------------------------------------------------------------------


class _KeptFiles:
    """Files that were received; those used longest ago are removed first, never during a task."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._used: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def folder(self) -> Path:
        """A folder of this process, which Dask removes with its worker, killed or not."""
        from distributed import get_worker

        with self._lock:
            if self._folder is None:
                find: Any = get_worker
                self._folder = Path(
                    tempfile.mkdtemp(prefix="tablevault-", dir=find().local_directory)
                )
            return self._folder

    def path(self, home: VaultHome, file: VaultFile) -> Path:
        """Return where a file is, or will be."""
        facts = repr((home.root, home.stamp, file)).encode("utf-8", "surrogatepass")
        key = hashlib.blake2b(facts, digest_size=16).hexdigest()
        return self.folder / "files" / key / Path(file.path).name

    def hold(self, paths: Sequence[Path]) -> list[Path]:
        """Keep files from being removed; return those that are not there, then none is held."""
        keys = [path.parent.name for path in paths]
        with self._lock:
            lacking = [
                path for path, key in zip(paths, keys, strict=True) if key not in self._sizes
            ]
            if not lacking:
                self._used.update(keys)
                for key in keys:
                    self._sizes.move_to_end(key)
        return lacking

    def release(self, paths: Sequence[Path]) -> None:
        """Let files be removed again."""
        with self._lock:
            self._used.subtract(path.parent.name for path in paths)
            self._used = +self._used

    def add(self, path: Path, size: int) -> None:
        """Note that a file is there; remove others where there are too many bytes."""
        with self._lock:
            self._sizes[path.parent.name] = size
            excess = sum(self._sizes.values()) - _KEPT_BYTES
            for key in [key for key in self._sizes if not self._used[key]][:-1]:
                if excess <= 0:
                    break
                excess -= self._sizes.pop(key)
                shutil.rmtree(path.parent.with_name(key), ignore_errors=True)


_kept = _KeptFiles()
_making = threading.Lock()


def still_lacking(home: VaultHome, files: Sequence[VaultFile]) -> list[VaultFile]:
    """Return those of some files that no other task has received meanwhile."""
    return [file for file in files if not _kept.path(home, file).exists()]


def receive(home: VaultHome, transfer: str, parts: Sequence[tuple[VaultFile, int, bytes]]) -> None:
    """Write pieces of files of a vault."""
    for file, offset, data in parts:
        path = _kept.path(home, file)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{transfer}.part")
        _append(part, offset, data)
        if offset + len(data) == file.size:
            _finish(part, path, is_executable=file.is_executable)
            _kept.add(path, file.size)


def read_parts(folder: str, wanted: Sequence[tuple[str, int, int]]) -> list[bytes]:
    """Return pieces of files below a folder: by name, offset and length."""
    found = []
    for name, offset, length in wanted:
        with Path(folder, name).open("rb") as source:
            source.seek(offset)
            found.append(source.read(length))
    return found


def remove_folder(folder: str) -> None:
    """Remove a folder of artifacts that were fetched."""
    shutil.rmtree(folder, ignore_errors=True)


class WorkerFiles:
    """What one task has of the files of a vault.

    Parameters
    ----------
    home : VaultHome, optional
        The vault; None where paths are never replaced.

    Attributes
    ----------
    is_seen : bool
        Whether the vault is at the same place here: then all paths stay.
    folder : str
        Where functions wrote artifacts, once `written` has found some.
    """

    def __init__(self, home: VaultHome | None) -> None:
        self.is_seen = home is None or home.is_seen
        self.folder = ""
        self._home = home
        self._held: list[Path] = []
        self._folder: Path | None = None
        self._before: dict[str, VaultFile] = {}

    def lacking(self, files: Iterable[VaultFile]) -> list[VaultFile]:
        """Return the files that have to be sent first; if there are none, all are kept for it."""
        paths = {self._path(file): file for file in files}
        lacking = [paths[path] for path in _kept.hold(list(paths))]
        if not lacking:
            self._held += paths
        return lacking

    def texts(self, parcel: Parcel) -> list[str] | None:
        """Return the texts of a parcel, which name files here; None if all stay as they are."""
        return None if self.is_seen else [self._text(linked) for linked in parcel.links]

    def code(self, digest: str, texts: Mapping[str, str], beside: Mapping[str, VaultFile]) -> Path:
        """Return a folder with modules by their names, and with the files beside them."""
        folder = _kept.folder / "code" / digest
        with _making:
            if not folder.exists():
                new = Path(tempfile.mkdtemp(dir=_kept.folder))
                for name, file in beside.items():
                    _copy(self._path(file), new / name)
                for name, text in texts.items():
                    (new / f"{name}.py").write_text(text, "utf-8", "surrogatepass", newline="")
                folder.parent.mkdir(exist_ok=True)
                new.rename(folder)
        return folder

    def written(self) -> list[NewFile]:
        """Return the artifacts that functions wrote; if there are some, they stay to be fetched."""
        if self._folder is None:
            return []
        new = [
            NewFile(name, file.size, file.is_executable)
            for name, file in files_below(self._folder).items()
            if self._before.get(name) != file
        ]
        self.folder = str(self._folder) if new else ""
        return new

    def close(self) -> None:
        """Remove what is not needed any more."""
        _kept.release(self._held)
        if self._folder is not None and not self.folder:
            remove_folder(str(self._folder))

    def _text(self, linked: LinkedText) -> str:
        """Return a text that names files here.

        Artifacts of the table that is made are copies in the folder of the task: functions may
        write to them.
        """
        assert self._home is not None, "it is not seen"
        text, artifacts = linked.text, self._home.artifacts
        for file in sorted(linked.files, key=lambda file: -len(file.path)):
            if file.path.startswith(f"{artifacts}/"):
                self._show(file.path.removeprefix(f"{artifacts}/"), file)
            else:
                text = text.replace(file.path, str(self._path(file)))
        return text.replace(artifacts, str(self._own_folder())) if artifacts in text else text

    def _path(self, file: VaultFile) -> Path:
        """Return the path of a file that was sent."""
        assert self._home is not None, "it is not seen"
        return _kept.path(self._home, file)

    def _own_folder(self) -> Path:
        """Return the folder for the artifacts of the task."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="artifacts-", dir=_kept.folder))
        return self._folder

    def _show(self, name: str, file: VaultFile) -> None:
        """Copy an artifact that is there already into the folder."""
        target = self._own_folder() / name
        if name not in self._before:
            _copy(self._path(file), target)
            found = file_at(str(target))
            assert found is not None, "it was written"
            self._before[name] = found


def _copy(source: Path, target: Path) -> None:
    """Copy a file with its mode."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)
