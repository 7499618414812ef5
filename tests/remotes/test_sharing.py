"""Two people and a repository between them: push, pull, clone, over every way there is."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from tablevault import TableVault, clone_vault
from tablevault.errors import TVArgumentError, TVRemoteError
from tests.clones import ANA, BO, own_state, path_of, read, same, sound, write
from tests.looking import check_clean, state_of
from tests.looking import git as stock
from tests.remotes.lfs.test_server import sshd  # noqa: F401 - a fixture


@pytest.fixture(params=["path", "file", "http with a login", "ssh"])
def hub(request, tmp_path, git, real_server, monkeypatch):
    """Return the address of an empty bare repository."""
    if request.param == "http with a login":
        url, root = real_server("ana:pw")
        path, address = root / "git/ana/hub.git", f"{url.replace('://', '://ana:pw@')}/ana/hub.git"
    else:
        path = tmp_path / "hub.git"
        address = str(path) if request.param == "path" else f"file://{path}"
    if request.param == "ssh":
        host = request.getfixturevalue("sshd")
        monkeypatch.setenv("GIT_SSH_COMMAND", host.command)
        # Objects go another way than history, as they do at hosts that keep them elsewhere.
        monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
        monkeypatch.setenv("GIT_CONFIG_KEY_0", "lfs.url")
        monkeypatch.setenv("GIT_CONFIG_VALUE_0", f"file://{path}")
        address = f"{host.url}{path}"
    path.mkdir(parents=True)
    git(path, "init", "-q", "--bare", "-b", "main")
    return address


def test_a_vault_goes_to_and_fro(ana, hub, tmp_path):
    ana.add_remote("origin", hub)
    report = ana.push()
    assert (report.commits, report.objects.objects) == (5, 1)
    assert str(report).startswith("Pushed 5 commits to origin, with 1 object (")
    assert str(ana.push()) == "origin is up to date."
    bo = clone_vault(hub, tmp_path / "bo", BO)
    same(ana, bo)
    write(bo, [3])
    assert bo.push().objects.objects == 1
    taken = ana.pull()
    assert (taken.commits, taken.merged) == (3, False)
    assert read(ana) == [3]
    same(ana, bo)
    assert str(ana.pull()) == "Nothing new on origin."


def test_both_sides_have_news(shared):
    ana, bo = shared
    ana.create_code_module("m", text="A = 1\n\n\n\n\nB = 1\n")
    ana.push()
    bo.pull()
    write(bo, [3])
    bo.create_table("u")
    bo.create_code_module("m", text="A = 1\n\n\n\n\nB = 2\n")
    write(ana, [4])
    ana.create_code_module("m", text="A = 2\n\n\n\n\nB = 1\n")
    ana.push()
    with pytest.raises(TVRemoteError, match="Pull first"):
        bo.push()
    report = bo.pull()
    assert report.merged
    bo.push()
    ana.pull()
    same(ana, bo)
    assert len(ana.get_table_instances("t")) == 3
    assert read(ana) == [4]
    assert ana.get_code_module_str("m") == "A = 2\n\n\n\n\nB = 2\n"


def test_a_rename_meets_a_new_instance(shared):
    ana, bo = shared
    bo.create_instance("t", external_edit=True)
    ana.rename_table("papers", "t")
    write(ana, [5], table="papers")
    write(bo, [6], version="v")
    bo.create_instance("t", external_edit=True)
    ana.push()
    assert bo.pull().renamed == {"t": "papers"}
    assert bo.get_table_instances("papers", include_temp=True)[-1] == "TEMP_base"
    bo.write_instance(pd.DataFrame({"n": [7]}), "papers")
    bo.push()
    ana.pull()
    same(ana, bo)
    assert read(ana, "papers") == [7]
    assert read(ana, "papers", version="v") == [6]


def test_a_deletion_is_followed(shared):
    ana, bo = shared
    ana.create_table("gone")
    ana.push()
    bo.pull()
    ana.delete_table("gone")
    ana.delete_instance(ana.get_table_instances("t")[0], "t")
    write(bo, [8], version="v")
    ana.push()
    bo.pull()
    bo.push()
    ana.pull()
    same(ana, bo)
    assert ana.get_table_instances() == ["t"]
    assert [read(ana, version="v"), len(ana.get_table_instances("t", ""))] == [[8], 1]


def test_the_same_lines_are_a_conflict(shared):
    ana, bo = shared
    for vault, text in ((ana, "A = 1\n"), (bo, "A = 2\n")):
        vault.create_code_module("m", text=text)
    ana.push()
    before = own_state(bo)
    with pytest.raises(TVRemoteError, match=r"code/m\.py: both .*'code/m\.py': 'ours'"):
        bo.pull()
    assert own_state(bo) == before
    bo.pull(resolve={"code/m.py": "theirs"})
    assert bo.get_code_module_str("m") == "A = 1\n"
    bo.push()
    ana.pull()
    same(ana, bo)


def test_ours_may_be_right(shared):
    ana, bo = shared
    for vault, text in ((ana, "A = 1\n"), (bo, "A = 2\n")):
        vault.create_code_module("m", text=text)
    ana.push()
    bo.pull(resolve={"code/m.py": "ours"})
    bo.push()
    ana.pull()
    same(ana, bo)
    assert ana.get_code_module_str("m") == "A = 2\n"


def test_one_name_for_two_tables_is_a_conflict(shared):
    ana, bo = shared
    for vault in shared:
        vault.create_table("u")
        write(vault, [1], table="u")
    ana.push()
    before = own_state(bo)
    with pytest.raises(TVRemoteError, match=r'two tables are called "u".*rename_table'):
        bo.pull()
    assert own_state(bo) == before
    bo.rename_table("mine", "u")
    bo.pull()
    bo.push()
    ana.pull()
    same(ana, bo)
    assert sorted(ana.get_table_instances()) == ["mine", "t", "u"]


def test_a_deletion_meets_news(shared):
    ana, bo = shared
    ana.delete_table("t")
    write(bo, [9])
    ana.push()
    with pytest.raises(TVRemoteError, match=r"changed here and deleted there.*theirs"):
        bo.pull()
    bo.pull(resolve={"tables/t": "theirs"})
    bo.push()
    ana.pull()
    same(ana, bo)
    assert ana.get_table_instances() == []


def test_code_edited_by_hand_is_merged(shared):
    ana, bo = shared
    ana.create_code_module("m", text="A = 1\n\n\n\n\nB = 1\n")
    ana.push()
    bo.pull()
    ana.create_code_module("m", text="A = 2\n\n\n\n\nB = 1\n")
    ana.push()
    (path_of(bo) / "code/m.py").write_text("A = 1\n\n\n\n\nB = 2\n", encoding="utf-8")
    assert bo.pull().merged
    assert bo.get_code_module_str("m") == "A = 2\n\n\n\n\nB = 2\n"
    assert (path_of(bo) / "code/m.py").read_text(encoding="utf-8") == "A = 2\n\n\n\n\nB = 2\n"
    sound(bo)


def test_code_that_main_and_the_user_have_changed_is_reported(shared, caplog):
    ana, bo = shared
    ana.create_code_module("m", text="A = 1\n")
    ana.push()
    bo.pull()
    ana.create_code_module("m", text="A = 2\n")
    path = path_of(bo)
    (path / "code/m.py").write_text("A = 3\n", "utf-8")
    stock(path, "fetch", "-q", str(path_of(ana)), "main")
    stock(path, "update-ref", "refs/heads/main", "FETCH_HEAD")
    bo.create_table("next")
    assert "code/m.py was edited by hand, and main has changed it, too" in caplog.text
    assert bo.get_code_module_str("m") == "A = 3\n"
    assert stock(path, "show", "main~2:code/m.py") == "A = 2\n"
    check_clean(path)


def test_the_later_owner_has_the_artifacts(shared):
    ana, bo = shared
    for vault, text in ((bo, "from bo"), (ana, "from ana")):
        vault.create_instance("t", external_edit=True)
        (path_of(vault) / "temp/t/base/artifacts/a.txt").write_text(text, encoding="utf-8")
        frame = pd.DataFrame({"n": ["a.txt"]})
        vault.write_instance(frame, "t", dtypes={"n": "artifact_string"})
    ana.push()
    bo.pull()
    bo.push()
    ana.pull(data="all")
    bo.pull(data="all")
    file = "tables/t/artifacts/a.txt"
    assert [(path_of(vault) / file).read_text("utf-8") for vault in shared] == ["from ana"] * 2
    assert {vault.get_dataframe("t")[1] for vault in shared} == {ana.get_table_instances("t")[-1]}
    for vault in shared:
        check_clean(path_of(vault))


def test_another_vault_is_refused(shared, tmp_path, bare):
    other = TableVault(tmp_path / "other", "Cy", create=True)
    other.add_remote("origin", bare)
    with pytest.raises(TVRemoteError, match="another vault"):
        other.push()
    with pytest.raises(TVRemoteError, match="another vault"):
        other.pull()
    check_clean(tmp_path / "other")


@pytest.mark.parametrize(
    "call",
    [
        lambda vault: vault.push("nope"),
        lambda vault: vault.pull("nope"),
        lambda vault: vault.push("/nowhere/hub.git"),
        lambda vault: vault.pull("file:///nowhere/hub.git"),
        lambda vault: vault.pull(data="some"),
        lambda vault: vault.pull(resolve={"code/m.py": "mine"}),
        lambda vault: vault.add_remote("-x", "/tmp"),
        lambda vault: vault.add_remote("a b", "/tmp"),
        lambda vault: vault.add_remote("a", ""),
        lambda vault: vault.add_remote("a", "--upload-pack=touch x"),
    ],
    ids=range(10),
)
def test_bad_calls_change_nothing(ana, call):
    before = state_of(path_of(ana))
    with pytest.raises((TVRemoteError, TVArgumentError)):
        call(ana)
    assert state_of(path_of(ana)) == before


def test_a_name_is_given_once(ana, bare, tmp_path):
    ana.add_remote("origin", bare)
    ana.add_remote("origin", str(bare))
    with pytest.raises(TVArgumentError, match=r"Remote .* exists"):
        ana.add_remote("origin", tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("mode", "name", "told"),
    [
        ("120000", "tables/t/base/link", "symbolic link"),
        ("120000", "code/m.py", "symbolic link"),
        ("160000", "tables/sub", "submodule"),
        ("100644", "tables/t/__x/y", "Version"),
        ("100644", "tables/a b/table.yaml", "name"),
        ("100644", "tables/t/table.yaml", "table.yaml"),
        ("100644", "vault.yaml", "vault.yaml"),
    ],
)
def test_an_invalid_history_is_refused(shared, bare, tmp_path, mode, name, told):
    _, bo = shared
    mallory = tmp_path / "mallory"
    stock(tmp_path, "clone", "-q", str(bare), str(mallory))
    target = (tmp_path / "target") if mode != "160000" else None
    if target is None:
        oid = stock(mallory, "rev-parse", "HEAD").strip()
    else:
        target.write_text("/etc/passwd", encoding="utf-8")
        oid = stock(mallory, "hash-object", "-w", str(target)).strip()
    stock(mallory, "update-index", "--add", "--cacheinfo", f"{mode},{oid},{name}")
    stock(mallory, "commit", "-qm", "innocent")
    stock(mallory, "-c", "core.hooksPath=/dev/null", "push", "-q", "origin", "HEAD:main")
    before = own_state(bo)
    with pytest.raises(TVRemoteError, match=told):
        bo.pull()
    assert own_state(bo) == before
    with pytest.raises(TVRemoteError, match=told):
        clone_vault(bare, tmp_path / "copy", "Cy")
    assert not (tmp_path / "copy").exists()


PULLS = """
import sys
from tablevault import TableVault
TableVault(sys.argv[1], "Bo <bo@example.org>").pull(data="all")
"""


def works_in(path):
    """Return whether the current folder of any program is in a folder."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (folder / "cwd").readlink().is_relative_to(path):
                return True
    return False


def test_a_pull_that_is_killed_is_done_by_the_next_one(shared, python):
    ana, bo = shared
    for number in range(3):
        write(ana, list(range(number * 1000, number * 1000 + 50_000)))
        write(bo, [number], version=f"v{number}")
    ana.push()
    source = random.Random(0)
    for _ in range(3):
        process = python(PULLS, path_of(bo))
        time.sleep(source.uniform(0.1, 0.5))
        process.kill()
        process.wait()
        while works_in(path_of(bo)):  # git, which outlives who has started it
            time.sleep(0.01)
    bo = TableVault(path_of(bo), BO)
    bo.pull(data="all")
    bo.push()
    ana.pull(data="all")
    same(ana, bo)
    assert read(ana) == list(range(2000, 52_000))


def act(source, number, step, vault):
    """Do one thing."""
    own = [t for t in vault.get_table_instances() if t.startswith(f"t{number}")]
    match source.randrange(5):
        case 0:
            vault.create_table(f"t{number}{step}")
        case 1:
            vault.create_code_module(f"m{source.randrange(9)}{number}", text=f"A = {step}\n")
        case 2:
            tables = vault.get_table_instances()
            write(vault, [step], table=source.choice(tables), version=f"v{step % 2}")
        case 3 if own:
            vault.rename_table(f"t{number}{step}", source.choice(own))
        case _:
            vault.pull()
            vault.push()


@pytest.mark.sweep
def test_any_order_of_pushes_and_pulls_ends_the_same(shared, bare, tmp_path):
    vaults = [*shared, clone_vault(bare, tmp_path / "cy", "Cy <cy@example.org>")]
    source = random.Random(1)
    for step in range(30):
        number = source.randrange(3)
        act(source, number, step, vaults[number])
    for vault in (*vaults, *vaults):
        vault.pull()
        vault.push()
    same(*vaults)


class TestPlainGit:
    """Stock git and git-lfs do what push, pull and clone do."""

    @pytest.fixture(autouse=True)
    def programs(self, program):
        program("git-lfs")

    def test_a_plain_clone_is_a_vault(self, shared, bare, tmp_path):
        ana, _ = shared
        plain = tmp_path / "plain"
        stock(tmp_path, "clone", "-q", str(bare), str(plain))
        vault = TableVault(plain, "Cy <cy@example.org>")
        same(ana, vault)
        write(vault, [11])
        vault.push()
        ana.pull()
        same(ana, vault)

    def test_a_plain_pull_and_push(self, shared, bare):
        ana, bo = shared
        write(bo, [12])
        stock(path_of(bo), "push", "-q", "origin", "main")
        ana.pull()
        assert read(ana) == [12]
        write(ana, [13])
        ana.push()
        stock(path_of(bo), "pull", "-q", "--ff-only", "origin", "main")
        bo = TableVault(path_of(bo), BO)
        assert read(bo) == [13]
        ana.pull()
        same(ana, bo)

    def test_git_fetches_what_is_pushed_by_plain_git_without_git_lfs(self, shared, bare):
        _, bo = shared
        stock(path_of(bo), "config", "--unset-all", "filter.lfs.process")
        write(bo, [14])
        stock(path_of(bo), "push", "-q", "origin", "main")
        pointer = stock(bare, "show", "main:tables/t/base/dataframe.parquet")
        oid = pointer.split("sha256:")[1].split()[0]
        assert (bare / "lfs/objects" / oid[:2] / oid[2:4] / oid).is_file()

    def test_what_would_break_the_vault_is_not_committed(self, shared):
        ana, _ = shared
        path = path_of(ana)
        frame = path / "tables/t/base/dataframe.parquet"
        frame.unlink()
        frame.write_bytes(b"mine")
        (path / "code/m.py").write_text("def f(:\n", encoding="utf-8")
        (path / "vault.yaml").write_text("[]\n", encoding="utf-8")
        stock(path, "add", "-A")
        done = subprocess.run(
            ["git", "commit", "-m", "x"], cwd=path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        for said in ("dataframe.parquet: it belongs", "code/m.py: line 1", "vault.yaml"):
            assert said in done.stderr
        stock(path, "reset", "-q", "--hard")
        (path / "code").mkdir(exist_ok=True)
        (path / "code/m.py").write_text("A = 1\n", encoding="utf-8")
        stock(path, "add", "code/m.py")
        stock(path, "commit", "-qm", "a module")
        assert ana.get_code_modules_list() == ["m"]
        check_clean(path)

    def test_a_hook_of_ones_own_stays(self, shared):
        ana, _ = shared
        hook = path_of(ana) / ".git/hooks/pre-push"
        hook.write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
        TableVault(path_of(ana), ANA)
        assert hook.read_text(encoding="utf-8") == "#!/bin/sh\nexit 0\n"

    @pytest.mark.parametrize(("name", "code"), [("pre-push", 1), ("post-merge", 0)])
    def test_an_interpreter_that_is_gone_is_reported(self, shared, name, code):
        ana, _ = shared
        hook = path_of(ana) / ".git/hooks" / name
        text = hook.read_text(encoding="utf-8").replace(f"python={sys.executable}", "python=/gone")
        hook.write_text(text, encoding="utf-8")
        done = subprocess.run([str(hook), "x"], capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert "there is no /gone any more" in done.stderr

    def test_hooks_start_without_pandas(self):
        program = (
            "import sys, tablevault.drivers.hooks, tablevault.remotes.push, "
            "tablevault.remotes.pull, tablevault.operations.vaults\n"
            "print({'pandas', 'pyarrow', 'numpy', 'rich'} & set(sys.modules))"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        assert done.stdout == "set()\n"
