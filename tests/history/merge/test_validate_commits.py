"""History that somebody with ill intent has pushed: what git accepts, and a vault does not."""

from __future__ import annotations

import subprocess

import pandas as pd
import pytest

from tablevault import TableVault, clone_vault
from tablevault.errors import TableVaultError, TVRemoteError
from tablevault.history.git.commit_message import Message
from tablevault.history.git.trees import Put
from tablevault.history.merge import validate_commits
from tests.looking import git as stock

BO = "Bo <bo@example.org>"
UUID = "d049944b-0000-4000-8000-000000000000"


class Mallory:
    """Somebody who writes git objects by hand into the repository that others pull from."""

    def __init__(self, bare):
        self.bare = bare
        self._good = stock(bare, "rev-parse", "main").strip()

    def write(self, kind, data):
        """Write an object as it is; git checks nothing."""
        done = subprocess.run(
            ["git", "hash-object", "-w", "--literally", "-t", kind, "--stdin"],
            input=data,
            capture_output=True,
            cwd=self.bare,
            check=True,
        )
        return done.stdout.decode().strip()

    def put(self, tree, path, entry):
        """Return a tree with another entry, mode and object id, at a path of bytes."""
        name, *inner = path
        found = {}
        for line in stock(self.bare, "ls-tree", "-z", tree).split("\0")[:-1] if tree else ():
            facts, _, known = line.partition("\t")
            mode, _, oid = facts.split()
            found[known.encode()] = (mode.lstrip("0").encode(), oid)
        if inner:
            entry = (b"40000", self.put(found.get(name, (b"", ""))[1], inner, entry))
        found[name] = entry
        ends = {each: each + b"/" * (mode == b"40000") for each, (mode, _) in found.items()}
        return self.write(
            "tree",
            b"".join(
                b"%s %s\0%s" % (found[each][0], each, bytes.fromhex(found[each][1]))
                for each in sorted(found, key=ends.__getitem__)
            ),
        )

    def file(self, path, data, mode=b"100644"):
        """Commit one file more."""
        parts = path if isinstance(path, list) else path.encode().split(b"/")
        entry = (mode, self.write("blob", data))
        self.push(self.put(self._tip_tree(), parts, entry))

    def push(self, tree=None, message="innocent", more=b"", author=b"M <m@x>", at=1_700_000_000):
        """Commit a tree on top of what is there."""
        tip = stock(self.bare, "rev-parse", "main").strip()
        text = message if isinstance(message, bytes) else message.encode()
        signed = b"%s %d +0000" % (author, at)
        known = (tree or self._tip_tree()).encode(), tip.encode(), signed, signed, more, text
        commit = b"tree %s\nparent %s\nauthor %s\ncommitter %s\n%s\n%s" % known
        stock(self.bare, "update-ref", "refs/heads/main", self.write("commit", commit))

    def repent(self):
        """Take everything back."""
        stock(self.bare, "update-ref", "refs/heads/main", self._good)

    def _tip_tree(self):
        return stock(self.bare, "rev-parse", "main^{tree}").strip()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A vault, the repository that it is pushed to, and a clone of it."""
    path = tmp_path_factory.mktemp("world")
    stock(path, "init", "-q", "--bare", "-b", "main", "hub.git")
    ana = TableVault(path / "ana", "Ana Lund <ana@example.org>", create=True)
    ana.create_table("t", allow_multiple_artifacts=True)
    for text in "ab":
        ana.create_instance("t", external_edit=True)
        folder = ana.get_artifact_folder("t")
        (path / folder / "a.txt").write_text(text, "utf-8")
        frame = pd.DataFrame({"file": ["a.txt"]})
        ana.write_instance(frame, "t", dtypes={"file": "artifact_string"})
    ana.add_remote("origin", path / "hub.git")
    ana.push()
    clone_vault(path / "hub.git", path / "bo", BO)
    return path


@pytest.fixture
def mallory(world):
    one = Mallory(world / "hub.git")
    yield one
    one.repent()


def refused(world, told):
    """Check that neither pull nor clone take it over, and that nothing is left of it."""
    bo = TableVault(world / "bo", BO)
    before = stock(world / "bo", "rev-parse", "main"), working_files(world)
    with pytest.raises(TVRemoteError, match=told):
        bo.pull()
    with pytest.raises(TVRemoteError, match=told):
        clone_vault(world / "hub.git", world / "clone", BO)
    assert (stock(world / "bo", "rev-parse", "main"), working_files(world)) == before


def working_files(world):
    """List all that is not git's own."""
    found = {path.relative_to(world) for path in world.rglob("*")}
    return {path for path in found if not {".git", "hub.git"} & set(path.parts)}


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        ("../x", b"100644"),
        ("tables/../x", b"100644"),
        ("tables/t/base/artifacts/../../../../x", b"100644"),
        ("./x", b"100644"),
        (".git/hooks/post-checkout", b"100755"),
        (".GIT/hooks/post-checkout", b"100755"),
        ("code/.git/config", b"100644"),
        ("git~1/config", b"100644"),
        (".g\u200cit/config", b"100644"),
        (".git::$INDEX_ALLOCATION/x", b"100644"),
        ("code\\x", b"100644"),
        ([b"code/../../x"], b"100644"),
        ("code/a\nb.py", b"100644"),
        ("code/a\x1b[31mb.py", b"100644"),
        ([b"code", b"\xff.py"], b"100644"),
        ("code/m.py", b"120000"),
        ("tables/t/base/builders", b"120000"),
        (".gitattributes", b"120000"),
        ("vault.yaml", b"120000"),
        ("tables/a b/table.yaml", b"100644"),
        ("tables/t/a_b/x", b"100644"),
    ],
    ids=repr,
)
def test_a_tree_that_no_vault_has_is_refused(world, mallory, path, mode):
    mallory.file(path, b"/etc/passwd", mode)
    refused(world, r"Nothing was pulled|contains|holds")


@pytest.mark.parametrize(
    "said",
    [
        {"Instance": f"../../../../evil_1748113624_{UUID}"},
        {"Instance": f"/tmp/evil_1748113624_{UUID}"},
        {"Instance": "base_../../heads/main"},
        {"Instance": "x"},
        {"Instance": f"base\x1b[2J_1748113624_{UUID}"},
        {"Version": "../.."},
        {"Table": "../.."},
    ],
    ids=str,
)
def test_an_instance_that_leads_out_of_the_vault_is_refused(world, mallory, said):
    said = {"Table": "t", "Version": "base", "Instance": f"base_1748113624_{UUID}"} | said
    mallory.push(message="m\n\n" + "".join(f"Vault-{key}: {said[key]}\n" for key in said))
    refused(world, "which says that it made")


def test_a_plain_clone_of_such_a_vault_writes_nothing_outside(world, mallory, tmp_path):
    table = stock(world / "hub.git", "show", "main:tables/t/table.yaml").split()[1]
    said = {
        "Instance": f"../../../../evil_1748113624_{UUID}",
        "Operation": "write_instance",
        "Table": "t",
        "Table-Id": table,
        "Time": "2020-01-01T00:00:00.000000Z",
        "Version": "base",
    }
    mallory.push(message="m\n\n" + "".join(f"Vault-{key}: {said[key]}\n" for key in said))
    stock(tmp_path, "clone", "-q", str(world / "hub.git"), "clone")
    vault = TableVault(tmp_path / "clone", BO)
    for instance_id in [*vault.get_table_instances("t"), said["Instance"]]:
        for read in (vault.get_dataframe, vault.get_artifact_folder):
            try:
                read("t", instance_id=instance_id)
            except TableVaultError:
                assert instance_id == said["Instance"]
    vault.pull()
    assert [path.name for path in tmp_path.iterdir()] == ["clone"]


def test_a_tree_is_looked_through_again_where_it_counts(world, mallory):
    bad = mallory.write("blob", b"id: [\n")
    table = mallory.put("", [b"table.yaml"], (b"100644", bad))
    tree = stock(world / "hub.git", "rev-parse", "main^{tree}").strip()
    tree = mallory.put(tree, [b"aside", b"new"], (b"40000", table))
    mallory.push(mallory.put(tree, [b"tables", b"new"], (b"40000", table)))
    refused(world, "tables/new/table.yaml")


def test_a_folder_that_was_looked_at_is_not_read_again(new_repository, monkeypatch):
    repository = new_repository()
    names = [f"t{number}" for number in range(20)]
    first = repository.main()
    documents = [Put(path=f"tables/{name}/x", data=b"1") for name in names]
    second = write_commit(repository, first, documents)
    third = write_commit(repository, second, [Put(path="tables/t3/x", data=b"2")])
    read = []

    def note(handle, entry, path):
        read.append(f"{path}{entry.name}")
        return folder(handle, entry, path)

    folder = validate_commits._folder
    monkeypatch.setattr(validate_commits, "_folder", note)
    assert [*validate_commits.invalid_files(repository, [third], [first])] == []
    folders = [path for path in read if path.startswith("tables/") and path.count("/") == 1]
    assert sorted(folders) == sorted([*(f"tables/{name}" for name in names), "tables/t3"])


def write_commit(repository, base, edits):
    """Write a commit; no ref moves."""
    message = Message(subject="s")
    return repository.write_commit(
        parents=[base], base=base, edits=edits, message=message, author="Ana", at=1_700_000_000.0
    )


def claim(world, mallory, **more):
    """Commit that an instance was made, and give its table and version the frame of nobody."""
    table = stock(world / "hub.git", "show", "main:tables/t/table.yaml").split()[1]
    said = {
        "Operation": "write_instance",
        "Process": "p",
        "Time": "2020-01-01T00:00:00.000000Z",
        "Table": "t",
        "Table-Id": table,
        "Version": "base",
        "Instance": f"base_1577836800_{UUID}",
    } | more
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 5\n" % (b"0" * 64)
    entry = (b"100644", mallory.write("blob", pointer))
    tree = stock(world / "hub.git", "rev-parse", "main^{tree}").strip()
    tree = mallory.put(tree, [b"tables", b"t", b"base", b"dataframe.parquet"], entry)
    mallory.push(tree, "m\n\n" + "".join(f"Vault-{key}: {said[key]}\n" for key in said))


def test_an_instance_that_is_there_is_not_made_again_of_something_else(world, mallory):
    first = TableVault(world / "bo", BO).get_table_instances("t")[0]
    claim(world, mallory, Instance=first)
    refused(world, f"made instance '{first}' and commit [0-9a-f]+ made it of something else")


def test_an_instance_is_not_made_at_the_end_of_time(world, mallory):
    claim(world, mallory, Time="9999-12-31T23:59:59.999999Z")
    refused(world, "no time to come")


def test_what_nobody_can_write_down_keeps_no_vault_closed(world, mallory, tmp_path):
    told = 'Vault-Process: "\\ud800"\nVault-Started: inf\nVault-Rows: ' + "9" * 30
    mallory.push(message=f"m\n\nVault-Operation: x\n{told}\n")
    mallory.push(message="Gr\xfc\xdfe\n\nVault-Version: \xfc".encode("latin-1"))
    mallory.push(more=b"encoding evil\n", message="\xfc".encode("latin-1"))
    mallory.push(more=b"encoding zlib\n", author="M\xe9 <m@x>".encode("latin-1"), message="x")
    mallory.push(at=10**17)
    stock(tmp_path, "clone", "-q", str(world / "hub.git"), "plain")
    for vault in (
        clone_vault(world / "hub.git", tmp_path / "clone", BO),
        TableVault(tmp_path / "plain", BO),
    ):
        vault.create_table("more")
        assert len(vault.log()) == len(TableVault(world / "bo", BO).log()) + 5 + 1
        assert vault.log()["time"].max().year < 2200
