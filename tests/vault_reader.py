"""A vault read by its format alone, as docs/vault-layout.md describes it: nothing here is ours.

Values come as Python values. What only pandas has (Period, Timestamp, arrays) comes as it is
written: an ordinal, or a tagged object of JSON.
"""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import io
import json
import operator
import re
import uuid
import zoneinfo
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

import pyarrow.parquet as pq
import pygit2
import yaml

_POINTER = b"version https://git-lfs.github.com/spec/v1\n"
_IDS = ("Process", "Parent-Process", "Undoes", "Cause")
_order = operator.attrgetter("order")
_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Vault:
    """A vault at the commit that is the tip of ``main`` now."""

    def __init__(self, path):
        self.git = pygit2.Repository(str(path))
        self.main = Tree(self, self.git.references["refs/heads/main"].peel(pygit2.Commit))
        assert self.main.document("vault.yaml")["format"] == 1
        config, folder = self.git.config, Path(self.git.path)
        own = [config["lfs.storage"]] if "lfs.storage" in config else []
        self.stores = [folder / name / "objects" for name in (*own, "lfs")]

    @cached_property
    def tables(self):
        """The document of each table, by name, in the order of creation."""
        names = [folder.name for folder in self.main.find("tables") or ()]
        found = [(name, self.main.document(f"tables/{name}/table.yaml")) for name in names]
        return dict(sorted(found, key=lambda pair: (pair[1]["created_at"], pair[0])))

    def instances(self, table, version=""):
        """List the instances of a table that are not gone, oldest first."""
        wanted = self.tables[table]["id"]
        found = (each for each in self._listed if each.one("Table-Id") == wanted)
        return [each for each in found if version in ("", each.version)]

    def temps(self):
        """List the temporary instances."""
        found = []
        for ref in self.git.references.iterator():
            if name := re.fullmatch(r"refs/heads/temp/([\w-]+)/([^/]+)", ref.name):
                said = {"Table": [name[1]], "Version": [unquote(name[2])]}
                found.append(Instance(Tree(self, ref.peel(pygit2.Commit)), said))
        return found

    @cached_property
    def _listed(self):
        made, facts = {}, defaultdict(set)
        for commit in self.git.walk(self.main.commit.id):
            found = Instance(Tree(self, commit), trailers(commit.message))
            is_child = found.one("Operation") == "deactivate_instances"
            process = found.one("Parent-Process" if is_child else "Process")
            by = {"Restores": found.one("Undoes"), "Reactivates": found.one("Cause") or process}
            for key in ("Deletes", "Withdraws", "Restores", "Deactivates", "Reactivates"):
                subjects = found.said.get(key, ())
                facts[key].update((each, by.get(key, process)) for each in subjects)
            if found.id.startswith(f"{found.version}_"):
                made[found.id] = min(made.get(found.id, found), found, key=_order)
        gone = {x for x, _ in (facts["Deletes"] | facts["Withdraws"]) - facts["Restores"]}
        inactive = {x for x, _ in facts["Deactivates"] - facts["Reactivates"]}
        current = [each for each in made.values() if not {each.id, each.one("Table-Id")} & gone]
        for each in current:
            each.active = each.id not in inactive
        return sorted(current, key=_order)


def trailers(message):
    """Return the values of each trailer of a commit, by its key without ``Vault-``."""
    found = defaultdict(list)
    last = "".join(message.strip("\n").split("\n\n")[1:][-1:])
    for key, value in re.findall(r"^Vault-([A-Za-z-]+): (.*)$", last, re.MULTILINE):
        is_json = key in _IDS and value.startswith('"')
        found[key].append(json.loads(value) if is_json else value)
    return found


@dataclass(frozen=True)
class Tree:
    """The files of a commit."""

    vault: Vault
    commit: pygit2.Commit

    def find(self, path):
        """Return what is at a path; None where nothing is."""
        tree = self.commit.tree
        return tree[path] if path in tree else None  # noqa: SIM401 - a tree has no get

    def document(self, path):
        """Return a YAML document."""
        blob = self.find(path)
        return blob and yaml.load(blob.data, _YAML)

    def file(self, path):
        """Open a file, which may be an object of Git LFS; None where it is not here."""
        blob = self.find(path)
        if blob is None or not blob.data.startswith(_POINTER):
            return blob and io.BytesIO(blob.data)
        oid = oid_in(blob)
        places = (store / oid[:2] / oid[2:4] / oid for store in self.vault.stores)
        found = next(filter(Path.exists, places), None)
        return found and io.BytesIO(found.read_bytes())  # pyarrow opens no path that is not UTF-8


def oid_in(blob):
    """Return the sha256 in a pointer."""
    return dict(line.split(" ", 1) for line in blob.data.decode().splitlines())["oid"][7:]


@dataclass
class Instance:
    """An instance, by the trailers of its commit; a temporary one has a table and a version."""

    tree: Tree
    said: dict[str, list[str]] = field(repr=False)
    active: bool = True

    def one(self, key):
        """Return the first trailer of a key; "" where there is none."""
        return self.said.get(key, [""])[0]

    id = property(lambda self: self.one("Instance"))
    table = property(lambda self: self.one("Table"))
    version = property(lambda self: self.one("Version"))
    order = property(lambda self: (self.one("Time"), self.id, str(self.tree.commit.id)))
    success = property(lambda self: self.one("Success") != "false")
    errors = property(lambda self: int(self.one("Errors") or 0))
    folder = property(lambda self: f"tables/{self.table}/{self.version}")

    @cached_property
    def document(self):
        """What it says of itself."""
        return self.tree.document(f"{self.folder}/instance.yaml")

    @property
    def builders(self):
        """The text of each builder, by name."""
        folder = self.tree.find(f"{self.folder}/builders") or ()
        return {each.name.removesuffix(".yaml"): each.data.decode() for each in folder}

    @property
    def code(self):
        """The text of each code module that ran, by name."""
        blobs = self.document["code"]
        return {name: self.tree.vault.git[blob].data.decode() for name, blob in blobs.items()}

    @property
    def artifacts(self):
        """The sha256 of each artifact, by name."""
        settings = self.tree.document(f"tables/{self.table}/table.yaml")
        is_shared = self.success and not settings["multiple_artifacts"]
        folder = f"tables/{self.table}" if is_shared else self.folder
        tree, index = self.tree.find(f"{folder}/artifacts"), pygit2.Index()
        if tree and (not is_shared or settings.get("artifact_instance") == self.id):
            index.read_tree(tree)
        return {entry.path: oid_in(self.tree.vault.git[entry.id]) for entry in index}

    def frame(self):
        """Open the dataframe; None where it is not here."""
        file = self.tree.file(f"{self.folder}/dataframe.parquet")
        return file and Frame(pq.ParquetFile(file))

    def calls(self):
        """List the calls, with the values that they returned as far as these are known."""
        file = self.tree.file(f"{self.folder}/calls.parquet")
        if file is None:
            return []
        table, columns = pq.read_table(file), self.frame().columns
        note = json.loads(table.schema.metadata[b"tablevault.calls"])
        assert (note["version"], note["digest"]) == (1, self.document["digest"])
        for call in (calls := table.to_pylist()):
            builder = note["builders"].get(call["builder"], {"is_exact": False})
            if call["value"] is not None:
                call["value"] = from_json(call["value"])
            elif call["outcome"] == "ok" and builder["is_exact"] and call["row"] >= 0:
                call["value"] = [columns[name][call["row"]] for name in builder["columns"]]
        return calls


class Frame:
    """A dataframe."""

    def __init__(self, file):
        self._file, self.rows = file, file.metadata.num_rows
        names, entries = file.schema_arrow.names, file.metadata.metadata or {}
        parts = (b"tablevault", *(b"tablevault.%d" % n for n in range(1, len(entries))))
        text = b"".join(entries.get(part, b"") for part in parts)
        noted = json.loads(text) if text else {"version": 1, "columns": [None] * len(names)}
        assert noted["version"] == 1
        self.facts = dict(zip(names, noted["columns"], strict=True))
        self.dtypes = {name: facts and facts["dtype"] for name, facts in self.facts.items()}

    @property
    def columns(self):
        """The values of each column."""
        table = self._file.read()
        return {name: values(table[name], facts) for name, facts in self.facts.items()}


def values(array, column):
    """Return the values of a column, by its form and facts."""
    form, facts = (column["form"], column["facts"]) if column else ("", {})
    if form == "category":
        return values(array, column["words"])
    found = array.to_pylist()
    if form == "interval":
        parts = array.combine_chunks().flatten()
        ends = [values(part, end) for part, end in zip(parts, facts["ends"], strict=True)]
        found = [each and pair for each, *pair in zip(found, *ends, strict=True)]
    zone = _untag(facts["zone"]) if form == "zoned" else None
    read = {
        "json": from_json,
        "uuid": uuid.UUID,
        "complex": lambda parts: complex(parts["real"], parts["imag"]),
        "zoned": lambda instant: instant.astimezone(zone),
    }.get(facts.get("objects") or ("json" if facts.get("json") else form), lambda each: each)
    null = float("nan") if facts.get("missing") == "NaN" else None
    return [null if each is None else read(each) for each in found]


def from_json(text):
    """Return the value of tagged JSON."""
    return json.loads(text, object_hook=_untag)


def _untag(read):
    known = [_TAGS[tag](body) for tag, body in read.items() if tag in _TAGS and len(read) == 1]
    return known[0] if known else read


def _clock(kind):
    return lambda body: kind.fromisoformat(body[0]).replace(fold=body[1], tzinfo=body[2])


_TAGS = {
    **{f"${kind.__name__}": kind for kind in (float, tuple, set, frozenset, dict)},
    "$int": lambda body: int(body, 16),
    "$bytes": base64.b64decode,
    "$bytearray": lambda body: bytearray(base64.b64decode(body)),
    "$surrogates": lambda body: base64.b64decode(body).decode("utf-8", "surrogatepass"),
    "$complex": lambda body: complex(*map(float, body)),
    "$decimal": decimal.Decimal,
    "$uuid": uuid.UUID,
    "$date": dt.date.fromisoformat,
    **{f"${kind.__name__}": _clock(kind) for kind in (dt.datetime, dt.time)},
    "$timedelta": lambda body: dt.timedelta(*body),
    **dict.fromkeys(("$zone", "$pytz"), zoneinfo.ZoneInfo),
    "$offset": lambda body: dt.timezone(dt.timedelta(microseconds=body[0]), *body[1:]),
    "$missing": lambda _: None,
    "$numpy": lambda body: body[1],
}
