"""Make a vault with the history of many instances, in one pack, without a dataframe for each.

Real operations make the vault, its tables and one instance. What they wrote is the form: each
simulated instance has the same commits, trees and documents with other ids and times, 30 seconds
after the one before, and a tag. All of them point to the one dataframe that there is. The catalog
is written, too, with the rows that it has of the real one: to fold a million instances takes
longer than all else.
"""

from __future__ import annotations

import hashlib
import random
import sqlite3
import struct
import time
import uuid
import zlib
from array import array
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pygit2

from tablevault import TableVault
from tablevault.history.catalog.schema import TABLES

AUTHOR = "ana"
PLANNED = "planned"
SPACING_S = 30.0
_DEPTH = 50
_MOST_COPIED = 0xFFFF
_KINDS = {b"commit": 1, b"tree": 2, b"blob": 3}
_BY_OFFSET = 6
_TIMES = ("created", "create_started", "written", "write_started")
_CODE = """
import pandas as pd


def rows(n):
    return pd.DataFrame({"n": range(n)})
"""
_INDEX = """
builder_type: IndexBuilder
changed_columns: [n]
python_function: rows
code_module: planned
is_custom: true
arguments: {n: 3}
"""


def simulate(path: Path, instances: int, tables: int, *, loose: bool) -> None:
    """Make the vault at `path`; its tags are `loose` files, or in one."""
    began = time.time() - instances * SPACING_S - tables - 3600.0
    form = _real_part(path, tables, began)
    history = _History(path, form)
    at = form.at + SPACING_S
    for number in range(instances):
        history.add(number % tables, at + number * SPACING_S)
    history.publish(loose=loose)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """A real instance: what its commits and documents look like."""

    merge: pygit2.Commit
    tables: tuple[str, ...]
    at: float

    @property
    def commits(self) -> dict[bytes, pygit2.Commit]:
        """The commits: of the beginning of the branch, of the dataframe there, and of both."""
        result = self.merge.parents[1]
        return {b"creation": result.parents[0], b"result": result, b"merge": self.merge}

    @property
    def instance_id(self) -> str:
        """Id of the instance."""
        return _trailers(self.merge)["Instance"]

    @property
    def tokens(self) -> dict[str, str]:
        """What is different in each instance, with the name of the field; longer ones first."""
        creation, _, merge = (_trailers(each) for each in self.commits.values())
        ids = {str(commit.id): key.decode() for key, commit in self.commits.items()}
        return {
            merge["Instance"]: "instance",
            merge["Table-Id"]: "table_id",
            merge["Process"]: "process",
            creation["Process"]: "creation_process",
            merge["Time"]: "written",
            merge["Started"]: "write_started",
            creation["Time"]: "created",
            creation["Started"]: "create_started",
            str(self.merge.tree_id): "tree2",
            str(self.commits[b"creation"].tree_id): "tree1",
            **ids,
            str(self.merge.parent_ids[0]): "parent",
            self.tables[-1]: "table",
        }

    @property
    def seconds(self) -> dict[float, str]:
        """The times as numbers, with the name of the field."""
        times = {token: field for token, field in self.tokens.items() if field in _TIMES}
        found = {
            datetime.fromisoformat(token).timestamp(): f"{times[token]}, unix" for token in times
        }
        begun = float(self.commits[b"creation"].commit_time)
        return {**found, begun: "create_s, unix", float(self.merge.commit_time): "write_s, unix"}


def _real_part(path: Path, tables: int, began: float) -> _Form:
    """Make the vault, its tables, one with builders, and an instance; clock set back, unsynced."""
    clock, real = time.monotonic(), time.monotonic
    with (
        patch("time.time", lambda: began + real() - clock),
        patch("os.fsync", lambda _: None),
    ):
        vault = TableVault(path, AUTHOR, create=True)
        vault.create_code_module("planned", text=_CODE)
        vault.create_table(PLANNED)
        vault.create_instance(PLANNED, builders={f"{PLANNED}_index": _INDEX})
        vault.execute_instance(PLANNED)
        vault.create_instance(PLANNED, copy=True)
        names = tuple(f"t{number:04d}" for number in range(tables))
        for name in names:
            vault.create_table(name)
        vault.create_instance(names[-1], external_edit=True)
        vault.write_instance(pd.DataFrame({"n": [1]}), names[-1])
    handle = pygit2.Repository(str(path))
    merge = handle[handle.references["refs/heads/main"].target]
    return _Form(merge=merge, tables=names, at=merge.commit_time + 1.0)


class _History:
    """The simulated history: goes on from the real one, instance by instance."""

    def __init__(self, path: Path, form: _Form) -> None:
        self._path = path
        self._handle = pygit2.Repository(str(path))
        self._pack = Pack(path / ".git/objects/pack")
        self._random = random.Random(7)
        self._catalog = _Catalog(path / ".git/tablevault/index.sqlite", form)
        self._tags: list[tuple[str, str]] = []
        self._log: list[bytes] = []
        self._real = _Real(self._handle, form)
        root = form.merge.tree
        self._root = bytearray(root.read_raw())
        self._tables = bytearray((root / "tables").read_raw())
        self._at_tables = self._root.index(bytes((root / "tables").id.raw))
        self._folders = [self._table(name) for name in form.tables]
        self._head = str(form.merge.id).encode()
        self._base: tuple[int, int] = (0, _DEPTH)

    def _table(self, name: str) -> tuple[str, str, int, bytes, bytes]:
        """Return name and id of a table, the place of its tree, and its trees in both commits."""
        tree = self._handle[self._handle.references["refs/heads/main"].target].tree / "tables"
        document = (tree / name / "table.yaml").id.raw
        text = (tree / name / "table.yaml").data.decode()
        table_id = next(line for line in text.splitlines() if line.startswith("id: "))[4:]
        place = self._tables.index(bytes((tree / name).id.raw))
        with_frame = self._real.table.replace(self._real.document_of_table, document)
        without = with_frame.replace(self._real.with_frame, self._real.without_frame)
        return name, table_id, place, with_frame, self._pack.add(b"tree", without)

    def add(self, number: int, at: float) -> None:
        """Add an instance of a table."""
        name, table_id, place, folder, created = self._folders[number]
        real, pack = self._real, self._pack
        values = self._values(name, table_id, at)
        blob = pack.add(b"blob", real.document % values)
        base = real.frame_tree.replace(real.document_id, blob)
        table = pack.add(b"tree", folder.replace(real.with_frame, pack.add(b"tree", base)))
        for key, tree in ((b"tree1", created), (b"tree2", table)):
            values[key] = self._with_table(place, tree, is_last=key == b"tree2").hex().encode()
        values[b"parent"] = self._head
        for key, text in real.commits.items():
            values[key] = pack.add(b"commit", text % values).hex().encode()
        log = {**values, b"old": self._head, b"new": values[b"merge"]}
        self._log.append(real.log % log)
        self._head = values[b"merge"]
        self._catalog.add(values)
        tag = f"refs/tags/{name}/{values[b'instance'].decode()}"
        self._tags.append((tag, self._head.decode()))

    def _values(self, name: str, table_id: str, at: float) -> dict[bytes, bytes]:
        """Return what is different in each instance: ids and times."""
        times = {
            b"created": at,
            b"create_started": at - 0.01,
            b"written": at + 0.07,
            b"write_started": at + 0.05,
        }
        ids = (str(uuid.UUID(bytes=self._random.randbytes(16), version=4)) for _ in range(3))
        own, creation, writing = ids
        values = {
            b"table": name,
            b"table_id": table_id,
            b"instance": f"base_{int(at + 0.05):010d}_{own}",
            b"creation_process": creation,
            b"process": writing,
            b"create_s": str(int(at)),
            b"write_s": str(int(at + 0.07)),
            **{key: _timestamp(value) for key, value in times.items()},
        }
        return {key: value.encode() for key, value in values.items()}

    def _with_table(self, place: int, tree: bytes, *, is_last: bool) -> bytes:
        """Write the folder of tables with another table in it, and the root above it."""
        tables = self._tables if is_last else bytearray(self._tables)
        tables[place : place + 20] = tree
        offset, depth = self._base
        found = self._pack.add(b"tree", bytes(tables), base=offset, place=place, depth=depth)
        if is_last:
            self._base = (found[1], 0 if depth == _DEPTH else depth + 1)
        root = bytearray(self._root)
        root[self._at_tables : self._at_tables + 20] = found[0]
        return self._pack.add(b"tree", bytes(root))

    def publish(self, *, loose: bool) -> None:
        """Finish the pack, and make refs and reflogs."""
        self._pack.close()
        self._catalog.close(self._head.decode())
        git = self._path / ".git"
        for log in ("HEAD", "refs/heads/main"):
            with (git / "logs" / log).open("ab") as file:
                file.writelines(self._log)
        if loose:
            for tag, commit in self._tags:
                (git / tag).parent.mkdir(parents=True, exist_ok=True)
                (git / tag).write_text(f"{commit}\n")
        else:
            lines = sorted(f"{tag}\0{commit}" for tag, commit in self._tags)
            with (git / "packed-refs").open("w") as file:
                file.write("# pack-refs with: peeled fully-peeled sorted \n")
                file.writelines(f"{line[-40:]} {line[:-41]}\n" for line in lines)
        (git / "refs/heads/main").write_bytes(self._head + b"\n")


class _Catalog:
    """Writes the rows of the catalog, as it has them of the real instance."""

    def __init__(self, path: Path, form: _Form) -> None:
        self._catalog = sqlite3.connect(path, isolation_level=None)
        self._fields = {**form.tokens, **form.seconds}
        ids = {str(each.id) for each in form.commits.values()} | {form.instance_id}
        self._rows: dict[str, list[list[object]]] = {}
        for table in TABLES:
            every = self._catalog.execute(f"SELECT * FROM {table}").fetchall()
            own = [row for row in every if table != "seen" and ids & {*row}]
            self._rows[table] = [[self._cell(cell) for cell in row] for row in own]
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        self._indexes = dict(self._catalog.execute(query).fetchall())
        self._catalog.execute("PRAGMA cache_size = -1000000")
        self._catalog.execute("PRAGMA synchronous = OFF")
        self._catalog.execute("BEGIN")
        for index in self._indexes:
            self._catalog.execute(f"DROP INDEX {index}")

    def _cell(self, cell: object) -> object:
        """Return what makes a cell of the values of an instance: a name of one, or a text."""
        if isinstance(cell, float):
            return (self._fields[cell],)
        if not isinstance(cell, str):
            return cell
        for token, field in self._fields.items():
            if cell == token:
                return (field,)
        for token, field in self._fields.items():
            if isinstance(token, str):
                cell = cell.replace(token, f"%({field})s")
        return cell

    def add(self, values: dict[bytes, bytes]) -> None:
        """Add the rows of an instance."""
        texts = {key.decode(): value.decode() for key, value in values.items()}
        moments = {key: datetime.fromisoformat(texts[key]).timestamp() for key in _TIMES}
        seconds = {key: float(texts[key]) for key in ("create_s", "write_s")}
        floats = {f"{key}, unix": value for key, value in {**moments, **seconds}.items()}
        texts |= floats
        for table, rows in self._rows.items():
            for row in rows:
                cells = [_filled(cell, texts) for cell in row]
                marks = ", ".join("?" * len(cells))
                self._catalog.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", cells)

    def close(self, head: str) -> None:
        """Make the indexes again."""
        self._catalog.execute("UPDATE seen SET commit_id = ?", (head,))
        for sql in self._indexes.values():
            self._catalog.execute(sql)
        self._catalog.execute("COMMIT")
        self._catalog.close()


def _filled(cell: object, values: dict[str, object]) -> object:
    """Return a cell with the values of an instance."""
    if isinstance(cell, tuple):
        return values[cell[0]]
    return cell % values if isinstance(cell, str) and "%(" in cell else cell


class _Real:
    """The bytes of a real instance, with fields in place of its ids and times."""

    def __init__(self, handle: pygit2.Repository, form: _Form) -> None:
        name = form.tables[-1]
        table = form.merge.tree / "tables" / name
        base = table / "base"
        self.table = table.read_raw()
        self.frame_tree = base.read_raw()
        self.with_frame = base.id.raw
        self.without_frame = (form.commits[b"creation"].tree / "tables" / name / "base").id.raw
        self.document_of_table = (table / "table.yaml").id.raw
        self.document_id = (base / "instance.yaml").id.raw
        self._tokens = [
            (text.encode(), f"%({field})s".encode()) for text, field in form.tokens.items()
        ]
        self.document = self._template((base / "instance.yaml").data)
        self.commits = {key: self._template(each.read_raw()) for key, each in form.commits.items()}
        log = Path(handle.path, "logs/refs/heads/main").read_bytes().splitlines()[-1]
        self.log = self._template(log.replace(log[41:81], b"%new%").replace(log[:40], b"%old%"))
        self.log = self.log.replace(b"%%new%%", b"%(new)s").replace(b"%%old%%", b"%(old)s") + b"\n"

    def _template(self, text: bytes) -> bytes:
        """Put fields in place of ids and times."""
        text = text.replace(b"%", b"%%")
        is_creation = any(
            field == b"%(creation_process)s" and token in text for token, field in self._tokens
        )
        for token, field in self._tokens:
            text = text.replace(token, field)
        seconds = b"create_s" if is_creation else b"write_s"
        lines = [_with_seconds(line, b"> %(" + seconds + b")s ") for line in text.split(b"\n")]
        return b"\n".join(lines)


def _with_seconds(line: bytes, field: bytes) -> bytes:
    """Put a field in place of the seconds after the address of a person."""
    before, mark, after = line.partition(b"> ")
    seconds, _, zone = after.partition(b" ")
    return before + field + zone if mark and seconds.isdigit() else line


def _trailers(commit: pygit2.Commit) -> dict[str, str]:
    """Return the trailers of a commit."""
    lines = commit.message.strip().split("\n\n")[-1].splitlines()
    pairs = (line.removeprefix("Vault-").partition(": ") for line in lines)
    return {key: value for key, _, value in pairs}


def _timestamp(at: float) -> str:
    """Format a time as trailers have it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Pack:
    """Writes a pack of git and its index (gitformat-pack), object by object, each but once."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._beside = folder / "tmp_pack_simulated"
        self._file = self._beside.open("wb", buffering=1 << 20)
        self._file.write(struct.pack(">4sII", b"PACK", 2, 0))
        self._names, self._offsets, self._sums = bytearray(), array("Q"), array("I")
        self._once: dict[bytes, bytes] = {}
        self._end = 12

    def add(self, kind, data, *, base=0, place=0, depth=None):
        """Add an object; one with a `depth` as the difference from `base`, where 20 bytes changed.

        Returns its id; with a `depth` also where it is in the pack.
        """
        name = hashlib.sha1(b"%s %d\0" % (kind, len(data)) + data, usedforsecurity=False).digest()
        if depth is None or depth == _DEPTH:
            start = _header(_KINDS[kind], len(data))
        else:
            data = _delta(data, place)
            start = _header(_BY_OFFSET, len(data)) + _distance(self._end - base)
        packed = start + zlib.compress(data, 1)
        offset = self._end
        self._file.write(packed)
        self._end += len(packed)
        self._names += name
        self._offsets.append(offset)
        self._sums.append(zlib.crc32(packed))
        return name if depth is None else (name, offset)

    def close(self) -> None:
        """Write the number of objects, the checksum, and the index; give both their names."""
        self._file.close()
        with self._beside.open("r+b") as file:
            file.seek(8)
            file.write(struct.pack(">I", len(self._offsets)))
            file.seek(0)
            checksum = hashlib.file_digest(file, lambda: hashlib.sha1(usedforsecurity=False))
            file.write(checksum.digest())
        target = self._beside.with_name(f"pack-{checksum.hexdigest()}.pack")
        self._beside.rename(target)
        index = self._index() + checksum.digest()
        own = hashlib.sha1(index, usedforsecurity=False).digest()
        target.with_suffix(".idx").write_bytes(index + own)

    def _index(self) -> bytes:
        """Return the index, version 2, without its checksums."""
        names = np.frombuffer(self._names, "u1").reshape(-1, 20)
        order = np.argsort(names[:, :8].copy().view(">u8").ravel(), kind="stable")
        names = names[order]
        fanout = np.searchsorted(names[:, 0], np.arange(256), side="right").astype(">u4")
        sums = np.frombuffer(self._sums, "u4")[order].astype(">u4")
        offsets = np.frombuffer(self._offsets, "u8")[order]
        is_large = offsets >= 1 << 31
        large = offsets[is_large].astype(">u8")
        small = offsets.copy()
        small[is_large] = (1 << 31) + np.arange(len(large))
        parts = (fanout, names, sums, small.astype(">u4"), large)
        return b"\377tOc\0\0\0\2" + b"".join(part.tobytes() for part in parts)


def _header(kind: int, size: int) -> bytes:
    """Return the header of an object in a pack."""
    found = bytearray()
    byte, size = (kind << 4) | (size & 15), size >> 4
    while size:
        found.append(byte | 0x80)
        byte, size = size & 0x7F, size >> 7
    found.append(byte)
    return bytes(found)


def _distance(offset: int) -> bytes:
    """Return how far back a base is, as a pack has it."""
    found = [offset & 0x7F]
    offset >>= 7
    while offset:
        offset -= 1
        found.append(0x80 | (offset & 0x7F))
        offset >>= 7
    return bytes(reversed(found))


def _delta(data: bytes, place: int) -> bytes:
    """Return the difference from data in which only the 20 bytes at `place` are others."""
    size = _size(len(data))
    after = place + 20
    new = bytes([20]) + data[place:after]
    return size + size + _copies(0, place) + new + _copies(after, len(data))


def _size(size: int) -> bytes:
    """Return a size as a delta has it."""
    found = bytearray()
    while size > 0x7F:
        found.append(0x80 | (size & 0x7F))
        size >>= 7
    found.append(size)
    return bytes(found)


def _copies(start: int, end: int) -> bytes:
    """Return the instructions that copy a part of the base."""
    found = b""
    while start < end:
        length = min(end - start, _MOST_COPIED)
        found += bytes([0x80 | 0x0F | 0x30]) + struct.pack("<IH", start, length)
        start += length
    return found
