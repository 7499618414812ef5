"""Artifacts as files: odd names, odd kinds, many of them, and who may read and write them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest

from tablevault import TableVault
from tablevault.errors import TVTableError
from tests.looking import check_clean, git, state_of

MANY = 250
CODE = """\
from pathlib import Path
import pandas as pd


def make(folder, texts):
    assert Path(folder).is_absolute() and Path(folder).is_dir()
    for name, text in texts.items():
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return pd.DataFrame({"file": [*texts, None], "folder": folder})


def read(path):
    return Path(path).read_text() if path else "none"
"""
INDEX = """\
builder_type: IndexBuilder
changed_columns: [file, folder]
python_function: make
code_module: files
is_custom: true
arguments: {folder: ~ARTIFACT_FOLDER~, texts: {a.txt: one, sub/b.txt: two}}
dtypes: {file: artifact_string}
"""
READ = """\
builder_type: IndexBuilder
changed_columns: [text]
python_function: gather
code_module: gather
is_custom: true
arguments: {frame: <<papers.file>>, one: "<<papers.file[index::1]>>"}
"""
GATHER = """\
from pathlib import Path
import pandas as pd


def gather(frame, one):
    texts = [Path(path).read_text() if path else "none" for path in frame["file"]]
    return pd.DataFrame({"text": [*texts, Path(one).read_text()]})
"""


def papers_of(vault: TableVault, *, multiple: bool) -> TableVault:
    vault.create_table("papers", allow_multiple_artifacts=multiple)
    vault.create_instance("papers", external_edit=True)
    return vault


@pytest.fixture
def papers(vault: TableVault) -> TableVault:
    """A table with a temporary instance to write, whose instances share a folder."""
    return papers_of(vault, multiple=False)


@pytest.fixture(params=[False, True], ids=["shared", "multiple"])
def both(request: pytest.FixtureRequest, vault: TableVault) -> TableVault:
    """A table of either kind."""
    return papers_of(vault, multiple=request.param)


def folder_of(vault: TableVault) -> Path:
    return Path(vault.get_artifact_folder("papers"))


def write(vault: TableVault, names: list[str | None]) -> str:
    frame = pd.DataFrame({"file": names})
    vault.write_instance(frame, "papers", dtypes={"file": "artifact_string"})
    return vault.get_table_instances("papers")[-1]


def texts(vault: TableVault, instance: str = "") -> list[str]:
    frame, _ = vault.get_dataframe("papers", instance)
    return [Path(path).read_text() for path in frame["file"]]


@pytest.mark.sweep
@pytest.mark.parametrize(
    "name",
    [
        "line\nbreak.txt",
        "tab\tand 'quotes\".txt",
        "größe-東京-🐟.txt",
        "e\u0301 decomposed",
        " leading and trailing ",
        "-rf",
        "*?[]<>|:$",
        "x" * 255,
        "/".join("d" * 100 for _ in range(9)),
        ".hidden",
        ".folder/inside",
        "Thumbs.db",
        "dataframe.parquet",
        "instance.yaml",
        "artifacts/artifacts",
        "CON",
    ],
)
def test_a_name_that_the_file_system_takes_is_kept(
    both: TableVault, vault_path: Path, name: str
) -> None:
    path = folder_of(both) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("content")
    first = write(both, [name])
    assert texts(both) == ["content"]
    assert both.get_dataframe("papers", full_artifact_path=False)[0]["file"].tolist() == [name]
    check_clean(vault_path)
    both.create_instance("papers", external_edit=True)
    other = folder_of(both) / "other"
    other.write_text("x")
    write(both, ["other"])
    assert texts(both, first) == ["content"]
    check_clean(vault_path)


@pytest.mark.parametrize(
    "name",
    [
        "/etc/hostname",
        "../outside",
        "a/../../b",
        "a\\b",
        "./a",
        "a//b",
        "a/",
        "x" * 256,
        "ä" * 128,
        "a/" * 600 + "b",
        "nul\0byte",
        ".git/hooks/pre-push",
        "sub/.GIT/config",
        ".gitattributes",
        "sub/.gitmodules",
        ".g\u200cit/x",
        "GIT~1/x",
        "GITMOD~1",
    ],
)
def test_a_name_that_could_do_harm_is_refused(
    papers: TableVault, vault_path: Path, name: str
) -> None:
    before = state_of(vault_path)
    with pytest.raises(TVTableError, match="cannot be used") as caught:
        write(papers, [name])
    assert len(str(caught.value)) < 500
    assert state_of(vault_path) == before


def test_a_name_that_is_no_text_of_a_file_system_is_refused(
    papers: TableVault, vault_path: Path
) -> None:
    (folder_of(papers) / "caf\udce9.txt").write_text("latin-1")
    before = state_of(vault_path)
    with pytest.raises(TVTableError, match=r"caf\\udce9"):
        write(papers, [None])
    assert state_of(vault_path) == before


def test_names_that_differ_in_case_are_different_files(
    papers: TableVault, vault_path: Path
) -> None:
    names = ["Paper.txt", "paper.txt", "PAPER.TXT"]
    for name in names:
        (folder_of(papers) / name).write_text(name)
    write(papers, names)
    assert texts(papers) == names
    check_clean(vault_path)


def test_a_value_has_to_spell_the_name_as_it_is(papers: TableVault, vault_path: Path) -> None:
    (folder_of(papers) / "Paper.txt").write_text("x")
    before = state_of(vault_path)
    with pytest.raises(TVTableError, match=r'"Paper\.txt"'):
        write(papers, ["paper.txt"])
    assert state_of(vault_path) == before


@pytest.mark.parametrize("kind", ["named pipe", "socket", "symbolic link", "device"])
@pytest.mark.parametrize("named", [True, False])
def test_what_is_no_file_is_refused_without_waiting(
    papers: TableVault, vault_path: Path, kind: str, named: bool
) -> None:
    path = folder_of(papers) / "odd"
    with socket.socket(socket.AF_UNIX) as listener:
        match kind:
            case "named pipe":
                os.mkfifo(path)
            case "socket":
                os.chdir(path.parent)  # the address of a socket is short
                listener.bind("odd")
                os.chdir("/")
            case "symbolic link":
                path.symlink_to("/etc/hostname")
            case "device":
                try:
                    os.mknod(path, 0o20666, os.makedev(1, 5))  # /dev/zero never ends
                except PermissionError:
                    pytest.skip("only root may make a device")
        with pytest.raises(TVTableError, match=f'"odd" is a {kind}'):
            write(papers, ["odd"] if named else [None])
    path.unlink()
    write(papers, [None])
    check_clean(vault_path)


def test_a_hidden_name_that_is_no_file_is_refused(papers: TableVault) -> None:
    (folder_of(papers) / ".link").symlink_to("/etc")
    with pytest.raises(TVTableError, match=r'"\.link" is a symbolic link'):
        write(papers, [".link/hostname"])
    (folder_of(papers) / ".folder").mkdir()
    with pytest.raises(TVTableError, match=r'"\.folder" is a folder'):
        write(papers, [".folder"])


def test_a_folder_is_no_artifact(papers: TableVault, vault_path: Path) -> None:
    (folder_of(papers) / "sub").mkdir()
    before = state_of(vault_path)
    with pytest.raises(TVTableError, match='"sub" is a folder'):
        write(papers, ["sub"])
    assert state_of(vault_path) == before
    write(papers, [None])
    check_clean(vault_path)


def test_a_file_that_was_a_folder_before(both: TableVault, vault_path: Path) -> None:
    (folder_of(both) / "a").mkdir()
    (folder_of(both) / "a/b").write_text("inside")
    first = write(both, ["a/b"])
    both.create_instance("papers", external_edit=True)
    (folder_of(both) / "a").write_text("file")
    with pytest.raises(TVTableError, match="also the folder"):
        write(both, ["a", "a/b"])
    write(both, ["a"])
    assert texts(both) == ["file"]
    assert texts(both, first) == ["inside"]
    check_clean(vault_path)


def test_equal_files_are_one_object(both: TableVault, vault_path: Path) -> None:
    for name in ("a", "b", "c"):
        (folder_of(both) / name).write_text("the same" * 1000)
    (folder_of(both) / "empty").touch()
    (folder_of(both) / "nothing").touch()
    write(both, ["a", "b", "c", "empty", "nothing"])
    assert texts(both) == ["the same" * 1000] * 3 + ["", ""]
    objects = [path for path in (vault_path / ".git/lfs/objects").rglob("*") if path.is_file()]
    assert len(objects) == 2  # the dataframe is the other one
    check_clean(vault_path)


def test_an_artifact_that_equals_a_dataframe_survives_it(
    papers: TableVault, vault_path: Path
) -> None:
    papers.create_table("plain")
    papers.create_instance("plain", external_edit=True)
    papers.write_instance(pd.DataFrame({"n": [1]}), "plain")
    frame = (vault_path / "tables/plain/base/dataframe.parquet").read_bytes()
    (folder_of(papers) / "copy.parquet").write_bytes(frame)
    write(papers, ["copy.parquet"])
    papers.delete_table("plain")
    path = papers.get_dataframe("papers")[0]["file"][0]
    assert pd.read_parquet(path)["n"].tolist() == [1]
    check_clean(vault_path)


def test_a_shared_empty_file_that_somebody_wrote_into_harms_no_other(both: TableVault) -> None:
    first = ""
    for n in range(3):
        (folder_of(both) / "empty").touch()
        instance = write(both, ["empty"])
        both.create_instance("papers", external_edit=True)
        if n == 0:
            first = instance
    checked_out = Path(both.get_dataframe("papers", first)[0]["file"][0])
    checked_out.chmod(0o644)
    checked_out.write_text("by hand")
    second = both.get_table_instances("papers")[1]
    assert texts(both, second) == [""]


def test_a_file_that_grows_while_it_is_stored_is_an_error(
    papers: TableVault, vault_path: Path
) -> None:
    path = folder_of(papers) / "log"
    path.write_text("begin\n")
    os.truncate(path, 32 << 20)  # long enough to read that the other thread has its turn meanwhile
    stop = threading.Event()

    def grow() -> None:
        with path.open("a", buffering=1) as file:
            while not stop.is_set():
                file.write("more\n")

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        with pytest.raises(TVTableError, match='"log" cannot be stored: it changes'):
            write(papers, ["log"])
    finally:
        stop.set()
        writer.join()
    write(papers, ["log"])
    assert texts(papers)[0].startswith("begin\n")
    assert texts(papers)[0].endswith("\nmore\n")
    check_clean(vault_path)


def test_many_files_in_folders(both: TableVault, vault_path: Path) -> None:
    names = [f"{n % 7}/{n}.txt" for n in range(MANY)]
    for name in names:
        (folder_of(both) / name).parent.mkdir(exist_ok=True)
        (folder_of(both) / name).write_text(name)
    first = write(both, names)
    assert texts(both) == names
    packs = (vault_path / ".git/objects/pack").glob("*.pack")
    assert len(list(packs)) == 1
    check_clean(vault_path)
    both.create_instance("papers", external_edit=True)
    (folder_of(both) / "0").mkdir()
    (folder_of(both) / "0/0.txt").write_text("changed")
    if both.get_descriptions(table_name="papers")["multiple_artifacts"]:
        write(both, ["0/0.txt"])
        assert texts(both) == ["changed"]
    else:
        write(both, names)
        assert texts(both) == ["changed", *names[1:]]
    assert texts(both, first) == names
    check_clean(vault_path)
    clone = vault_path.parent / "clone"
    git(vault_path.parent, "clone", "-q", str(vault_path), str(clone))
    git(clone, "fsck", "--strict", "--no-dangling")


# -- who may read and write -----------------------------------------------------------------------


# Root may do anything, unless it gave up the right to.
UNPRIVILEGED = (
    ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
)
BEGIN = """\
import sys
from pathlib import Path
import pandas as pd
from tablevault import TableVault
vault = TableVault(sys.argv[1], "Bo", create=True)
vault.create_table("papers")
def write(*names):
    frame = pd.DataFrame({"file": names})
    vault.write_instance(frame, "papers", dtypes={"file": "artifact_string"})
"""
FILL = """\
for text in ("one", "two"):
    vault.create_instance("papers", external_edit=True)
    folder = Path(vault.get_artifact_folder("papers"))
    (folder / "sub").mkdir()
    (folder / "sub/a.txt").write_text(text)
    write("sub/a.txt")
    print(Path(vault.get_dataframe("papers")[0]["file"][0]).read_text())
"""
UNREADABLE = """\
vault.create_instance("papers", external_edit=True)
folder = Path(vault.get_artifact_folder("papers"))
(folder / "secret").write_text("x")
(folder / "sub").mkdir()
(folder / "sub/a").write_text("y")
def attempt():
    try:
        write("secret", "sub/a")
        print("written")
    except Exception as error:
        print(type(error).__name__, str(error).split(":")[0])
for path, mode in ((folder / "secret", 0o600), (folder / "sub", 0o700)):
    path.chmod(0)
    attempt()
    path.chmod(mode)
attempt()
"""


def unprivileged(script: str, path: Path) -> list[str]:
    """Run a script as one to whom permissions apply, and give the lines that it printed."""
    done = subprocess.run(
        [*UNPRIVILEGED, sys.executable, "-c", BEGIN + script, path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_an_ordinary_user_may_fill_the_folder_of_an_external_edit(vault_path: Path) -> None:
    assert unprivileged(FILL, vault_path) == ["one", "two"]
    check_clean(vault_path)


def test_what_cannot_be_read_is_named(vault_path: Path) -> None:
    first, second, third = unprivileged(UNREADABLE, vault_path)
    assert first == 'TVTableError Artifact "secret" cannot be stored'
    assert second.startswith("TVTableError The artifact folder ")
    assert third == "written"
    check_clean(vault_path)


# -- paths that functions and readers get ---------------------------------------------------------


@pytest.mark.parametrize("multiple", [False, True])
def test_paths_are_absolute_whatever_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, multiple: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    vault = TableVault("v", "Ana", create=True)
    monkeypatch.chdir("/")
    vault.create_code_module("files", text=CODE)
    vault.create_code_module("gather", text=GATHER)
    vault.create_table("papers", allow_multiple_artifacts=multiple)
    vault.create_instance("papers", builders={"papers_index": INDEX})
    vault.execute_instance("papers")
    frame, instance = vault.get_dataframe("papers")
    assert [Path(path).read_text() for path in frame["file"][:2]] == ["one", "two"]
    assert all(Path(path).is_absolute() for path in frame["file"][:2])
    assert frame["file"][2] == ""
    assert frame["folder"][0] == str(tmp_path / "v/temp/papers/base/artifacts")
    plain, _ = vault.get_dataframe("papers", instance, full_artifact_path=False)
    assert plain["file"].tolist() == ["a.txt", "sub/b.txt", pd.NA]
    assert str(plain["file"].dtype) == "artifact_string"
    vault.create_table("texts")
    vault.create_instance("texts", builders={"texts_index": READ})
    vault.execute_instance("texts")
    assert vault.get_dataframe("texts")[0]["text"].tolist() == ["one", "two", "none", "two"]
    shared = tmp_path / "v/tables/papers" / ("base/artifacts" if multiple else "artifacts")
    assert vault.get_artifact_folder("papers", is_temp=False) == str(shared)
    check_clean(tmp_path / "v")


@pytest.mark.parametrize(("value", "file"), [("\u00e9", "e\u0301"), ("e\u0301", "\u00e9")])
def test_a_file_is_found_in_another_normal_form(papers, vault_path, value, file):
    (folder_of(papers) / "caf").mkdir()
    (folder_of(papers) / f"caf/{file}.txt").write_text("x")
    write(papers, [f"caf/{value}.txt"])
    assert texts(papers) == ["x"]
    frame, _ = papers.get_dataframe("papers", full_artifact_path=False)
    assert frame["file"].tolist() == [f"caf/{value}.txt"]
    check_clean(vault_path)


def test_files_in_both_normal_forms_are_two(papers):
    names = ["\u00e9.txt", "e\u0301.txt"]
    for name in names:
        (folder_of(papers) / name).write_text(ascii(name))
    write(papers, names)
    assert texts(papers) == [ascii(name) for name in names]
