"""Vaults that went apart and come together: the same tree, tags and index for everybody."""

from __future__ import annotations

import subprocess

import pandas as pd
import pytest

from tablevault import TableVault, clone_vault
from tablevault.errors import TVFileError, TVRemoteError
from tablevault.history.merge.merge_commits import merge_bases
from tests.looking import check_clean, git

ANA, BO = "Ana Lund <ana@example.org>", "Bo Holm <bo@example.org>"


@pytest.fixture
def ana(tmp_path):
    vault = TableVault(tmp_path / "ana", ANA, create=True)
    vault.create_table("t")
    return vault


@pytest.fixture
def part(ana, tmp_path):
    """Return Bo's clone of Ana's vault; each has the other's as its remote."""

    def make():
        bo = clone_vault(path_of(ana), tmp_path / "bo", BO)
        ana.add_remote("origin", path_of(bo))
        return bo

    return make


def path_of(vault):
    return vault._vault.path


def write(vault, values, table="t", version="base"):
    """Make an instance, and give its id."""
    vault.create_instance(table, version=version, external_edit=True)
    vault.write_instance(pd.DataFrame({"n": values}), table, version)
    return vault.get_dataframe(table, version=version, active_only=False)[1]


def fetch(vault, other):
    """Bring the history of another vault, without taking it over."""
    git(path_of(vault), "fetch", "-q", str(path_of(other)), "main")


def tree(vault):
    return git(path_of(vault), "log", "-1", "--format=%T", "main")


def cross(ana, bo):
    """Let both pull what the other had, so that there are two last commits in common."""
    ours, theirs = (vault._vault.parts.repository.main() for vault in (ana, bo))
    ana.pull()
    before = ana._vault.parts.repository.main()
    # What Ana has merged comes to Bo only later: he merges her first commit himself.
    path = path_of(ana)
    git(path, "update-ref", "refs/heads/main", ours)
    bo.pull()
    git(path, "update-ref", "refs/heads/main", before)
    return ours, theirs


def finish(ana, bo):
    """Pull until there is no news, and check that both have the same."""
    ana.pull(data="all")
    bo.pull(data="all")
    ana.pull(data="all")
    assert tree(ana) == tree(bo)
    assert git(path_of(ana), "rev-parse", "main") == git(path_of(bo), "rev-parse", "main")
    tags = [git(path_of(vault), "for-each-ref", "refs/tags") for vault in (ana, bo)]
    assert tags[0] == tags[1]
    for vault in (ana, bo):
        assert [problem for problem in vault.verify() if problem.severity == "error"] == []
        check_clean(path_of(vault))


def test_an_instance_that_the_other_side_deleted_does_not_come_back(ana, part):
    first, second, third = (write(ana, [number]) for number in (1, 2, 3))
    bo = part()
    ana.delete_instance(second, "t")
    bo.delete_instance(third, "t")  # the second one steps in
    finish(ana, bo)
    for vault in (ana, bo):
        assert vault.get_table_instances("t") == [first]
        assert vault.get_dataframe("t")[0]["n"].tolist() == [1]
        path = path_of(vault)
        assert first in (path / "tables/t/base/instance.yaml").read_text("utf-8")


def test_nothing_is_left_when_both_deleted_what_there_was(ana, part):
    first, second = write(ana, [1]), write(ana, [2])
    bo = part()
    ana.delete_instance(first, "t")
    bo.delete_instance(second, "t")
    finish(ana, bo)
    assert ana.get_table_instances("t") == bo.get_table_instances("t") == []
    assert not (path_of(bo) / "tables/t/base").exists()


def test_of_a_table_with_side_effects_the_latest_instance_alone_is_active(ana, part):
    ana.create_table("mails", has_side_effects=True)
    write(ana, [0], "mails")
    bo = part()
    write(ana, [1], "mails")
    last = write(bo, [2], "mails", "other")
    finish(ana, bo)
    for vault in (ana, bo):
        index = vault._vault.parts.index
        document = vault._vault.snapshot().table("mails")
        active = [item.instance_id for item in index.instances(document.id) if item.active]
        assert active == [last]


def test_what_both_have_merged_is_settled(ana, part):
    ana.create_code_module("m", text="A = 0\n\n\n\nB = 0\n")
    bo = part()
    ana.create_code_module("m", text="A = 1\n\n\n\nB = 0\n")
    bo.create_code_module("m", text="A = 0\n\n\n\nB = 1\n")
    ana.create_table("mine")
    bo.create_table("yours")
    ours, theirs = cross(ana, bo)
    assert tree(ana) == tree(bo)
    repository = ana._vault.parts.repository
    fetch(ana, bo)
    other = bo._vault.parts.repository.main()
    assert merge_bases(repository, repository.main(), other) == sorted([ours, theirs])
    # Against the one base this line is new on both sides, against the other one the line above.
    ana.create_code_module("m", text="A = 1\n\n\n\nB = 2\n")
    bo.create_code_module("m", text="A = 2\n\n\n\nB = 1\n")
    ana.delete_table("yours")
    bo.delete_table("mine")
    finish(ana, bo)
    assert ana.get_code_module_str("m") == "A = 2\n\n\n\nB = 2\n"
    assert ana.get_table_instances() == ["t"]


def test_a_file_of_the_users_own_is_merged_by_lines(ana, part):
    def keep(vault, data):
        (path_of(vault) / "notes.txt").write_bytes(data)
        git(path_of(vault), "add", "notes.txt")
        git(path_of(vault), "commit", "-qm", "notes")

    keep(ana, b"\xe9 a\n\n\n\n\nb\n")  # no UTF-8
    bo = part()
    keep(ana, b"\xe9 A\n\n\n\n\nb\n")
    keep(bo, b"\xe9 a\n\n\n\n\nB\n")
    finish(ana, bo)
    assert (path_of(bo) / "notes.txt").read_bytes() == b"\xe9 A\n\n\n\n\nB\n"
    keep(ana, b"\0\1")
    keep(bo, b"\0\2")
    with pytest.raises(TVRemoteError, match=r"notes.txt: both sides changed the same lines"):
        bo.pull()
    bo.pull(resolve={"notes.txt": "theirs"})
    finish(ana, bo)
    assert (path_of(bo) / "notes.txt").read_bytes() == b"\0\1"


class TestPlainGit:
    """``git merge`` and ``git pull`` come to what ``pull`` comes to."""

    @pytest.fixture(autouse=True)
    def programs(self, program):
        program("git-lfs")

    @pytest.fixture
    def trio(self, ana, part, tmp_path):
        """Return Ana's and Bo's vaults, and one that will join both as a vault does."""

        def make():
            bo = part()
            cy = clone_vault(path_of(ana), tmp_path / "cy", "Cy <cy@example.org>")
            return bo, cy

        return make

    def pull_both(self, ana, bo, cy):
        """Pull with git at Bo's, with the vault at Cy's; the result has to be the same."""
        cy.add_remote("bo", path_of(bo))
        cy.pull("bo")
        cy.pull("origin")
        git(path_of(bo), "pull", "-q", "--no-edit", "origin", "main")
        bo = TableVault(path_of(bo), BO)
        assert tree(bo) == tree(cy)
        assert standing(bo) == standing(cy)
        tags = [git(path_of(vault), "for-each-ref", "refs/tags") for vault in (bo, cy)]
        assert tags[0] == tags[1]
        git(path_of(bo), "fsck", "--strict", "--no-dangling")
        assert git(path_of(bo), "status", "--porcelain") == ""
        return bo

    def test_both_have_an_instance_of_one_version(self, ana, trio):
        builders = [
            {"one": "n_threads: 1\n", "two": "n_threads: 2\n"},
            {"one": "n_threads: 9\n", "three": "n_threads: 3\n"},
        ]
        write(ana, [0])
        bo, cy = trio()
        last = ""
        for vault, texts in zip((bo, ana), builders, strict=True):
            vault.create_instance("t", external_edit=True)
            vault.write_instance(pd.DataFrame({"n": [len(texts)]}), "t")
            last = vault.get_dataframe("t")[1]
        bo = self.pull_both(ana, bo, cy)
        assert bo.get_dataframe("t")[1] == last

    def test_a_file_that_the_earlier_side_alone_changed(self, ana, trio):
        path = "tables/t/base/notes.txt"
        write(ana, [0])
        bo, cy = trio()
        write(bo, [1])
        file = path_of(bo) / path
        file.write_text("of the earlier one\n", "utf-8")
        git(path_of(bo), "add", path)
        git(path_of(bo), "commit", "-qm", "notes")
        write(ana, [2])
        bo = self.pull_both(ana, bo, cy)
        assert not (path_of(bo) / path).exists()
        assert bo.get_dataframe("t")[0]["n"].tolist() == [2]
        assert git(path_of(bo), "log", "-1", "--format=%s").startswith("merge: instances")

    def test_a_rename_meets_new_versions(self, ana, trio):
        write(ana, [0])
        bo, cy = trio()
        bo.create_instance("t", version="draft", external_edit=True)
        write(bo, [1], version="new")
        ana.rename_table("u", "t")
        bo = self.pull_both(ana, bo, cy)
        assert bo.get_table_instances() == ["u"]
        bo.write_instance(pd.DataFrame({"n": [5]}), "u", "draft")
        check_clean(path_of(bo))

    def test_settings_and_code(self, ana, trio):
        ana.create_code_module("m", text="A = 0\n\n\n\nB = 0\n")
        bo, cy = trio()
        ana.create_code_module("m", text="A = 1\n\n\n\nB = 0\n")
        bo.create_code_module("m", text="A = 0\n\n\n\nB = 1\n")
        ana.create_table("mails", has_side_effects=True)
        bo = self.pull_both(ana, bo, cy)
        assert bo.get_code_module_str("m") == "A = 1\n\n\n\nB = 1\n"

    def test_side_effects(self, ana, trio):
        ana.create_table("mails", has_side_effects=True)
        bo, cy = trio()
        write(bo, [1], "mails")
        write(ana, [2], "mails", "other")
        self.pull_both(ana, bo, cy)

    def test_one_name_for_two_tables_stops_git(self, ana, trio):
        bo, _ = trio()
        for vault in (ana, bo):
            vault.create_table("twice")
        before = tree(bo)
        done = subprocess.run(
            ["git", "pull", "-q", "--no-edit", "origin", "main"],
            cwd=path_of(bo),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert 'two tables are called "twice"' in done.stderr
        git(path_of(bo), "merge", "--abort")
        assert tree(bo) == before
        check_clean(path_of(bo))

    def test_a_deletion_meets_a_new_version(self, ana, trio):
        """Git sees no conflict: what is added and what is removed are different files."""
        bo, _ = trio()
        write(ana, [0])
        bo.pull()
        bo.delete_table("t")
        write(ana, [1], version="new")
        done = subprocess.run(
            ["git", "pull", "-q", "--no-edit", "origin", "main"],
            cwd=path_of(bo),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "tables/t: it was deleted here and changed there" in done.stderr
        git(path_of(bo), "merge", "--abort")
        check_clean(path_of(bo))

    def test_a_merge_that_was_settled_by_hand_is_finished(self, ana, trio):
        ana.create_code_module("m", text="A = 0\n")
        write(ana, [0])
        bo, _ = trio()
        write(bo, [1])
        ana.create_code_module("m", text="A = 1\n")
        bo.create_code_module("m", text="A = 2\n")
        (path_of(bo) / "tables/t/base/notes.txt").write_text("mine\n", "utf-8")
        git(path_of(bo), "add", "tables/t/base/notes.txt")
        git(path_of(bo), "commit", "-qm", "notes")
        write(ana, [2])
        path = path_of(bo)
        pulled = ["git", "pull", "-q", "--no-edit", "origin", "main"]
        assert subprocess.run(pulled, cwd=path, capture_output=True, check=False).returncode == 1
        (path / "code/m.py").write_text("A = 3\n", "utf-8")
        git(path, "commit", "-qam", "settled")
        bo = TableVault(path, BO)
        assert bo.get_dataframe("t")[0]["n"].tolist() == [2]
        assert bo.get_code_module_str("m") == "A = 3\n"
        assert not (path / "tables/t/base/notes.txt").exists()
        check_clean(path)

    def test_operations_are_not_rebased(self, ana, trio):
        bo, _ = trio()
        write(bo, [1])
        write(ana, [2])
        before = tree(bo)
        done = subprocess.run(
            ["git", "pull", "-q", "--rebase", "origin", "main"],
            cwd=path_of(bo),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode != 0
        assert "cannot be rebased" in done.stderr
        assert tree(bo) == before


def standing(vault):
    """Return the instances that stand, and whether they are active."""
    return [(item.instance_id, item.active) for item in vault._vault.parts.index.standing()]


PRICE = {"input": 1, "output": 2}


def commit_config(vault, text, *options):
    """Commit text at the end of ``vault.yaml`` by plain git."""
    with (path_of(vault) / "vault.yaml").open("a", encoding="utf-8") as file:
        file.write(text)
    git(path_of(vault), "commit", "-q", *options, "-am", "by hand")


def test_limits_merge_by_field_and_prices_by_model(ana, part):
    ana.set_config("limits", {"calls": 1, "cost": 1})
    ana.set_config("prices", {"both": PRICE, "gone": PRICE})
    bo = part()
    ana.set_config("limits.calls", 2)
    ana.set_config("prices.ana-1.0", PRICE)
    ana.set_config("prices.both.input", 3)
    bo.set_config("limits.cost", None)
    bo.set_config("prices.bo/1.0", PRICE)
    bo.set_config("prices.gone", None)
    finish(ana, bo)
    assert ana.get_config() == bo.get_config()
    assert ana.get_config() == {
        "limits": {"calls": 2},
        "prices": {"ana-1.0": PRICE, "bo/1.0": PRICE, "both": {"input": 3, "output": 2}},
    }


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_a_limit_that_both_have_set_is_a_conflict_that_is_resolved(ana, part, side):
    ana.set_config("limits.calls", 1)
    bo = part()
    ana.set_config("limits", {"calls": 2, "cost": 5})
    bo.set_config("limits.calls", None)
    bo.set_config("prices.m", PRICE)
    with pytest.raises(
        TVRemoteError, match=r"vault\.yaml: its limits\.calls is 2 here and not set there"
    ):
        ana.pull()
    ana.pull(resolve={"vault.yaml": side})
    left = {"calls": 2, "cost": 5} if side == "ours" else {"cost": 5}
    assert ana.get_config() == {"limits": left, "prices": {"m": PRICE}}
    finish(ana, bo)


def test_a_price_that_both_have_set_is_a_conflict_of_that_model(ana, part):
    bo = part()
    ana.set_config("prices.m", PRICE)
    bo.set_config("prices.m", {"input": 9, "output": 9})
    with pytest.raises(TVRemoteError, match=r"its prices\.m is \{'input': 1, 'output': 2\} here"):
        ana.pull()


def test_what_one_side_alone_has_written_is_taken_as_it_is(ana, part):
    bo = part()
    commit_config(bo, "# until March\nlimits: {calls: 5}\nlater: 1\n")
    ana.create_table("mine")
    finish(ana, bo)
    assert ana.get_config("limits.calls") == 5
    assert "# until March\n" in (path_of(ana) / "vault.yaml").read_text("utf-8")


def test_a_limit_that_cannot_be_is_pulled_and_corrected(ana, part):
    bo = part()
    commit_config(bo, "limits: {calls: -5}\n", "--no-verify")
    ana.create_table("mine")
    ana.pull()
    ana.create_table("more")
    with pytest.raises(TVFileError, match=r"vault\.yaml, line 6: limits\.calls is -5"):
        ana.get_config()
    text = (path_of(ana) / "vault.yaml").read_text("utf-8")
    (path_of(ana) / "vault.yaml").write_text(text.replace("calls: -5", "calls: 5"), "utf-8")
    git(path_of(ana), "commit", "-qam", "corrected")
    finish(ana, bo)
    assert bo.get_config("limits.calls") == 5


def test_a_limit_that_cannot_be_is_a_conflict_where_both_have_set_some(ana, part):
    bo = part()
    commit_config(bo, "limits: {calls: -5}\n", "--no-verify")
    ana.set_config("limits.calls", 5)
    for vault in (ana, bo):
        before = git(path_of(vault), "rev-parse", "main")
        with pytest.raises(TVRemoteError, match=r"vault\.yaml, line 6: limits\.calls is -5"):
            vault.pull()
        assert git(path_of(vault), "rev-parse", "main") == before


def test_git_merges_limits_and_prices_as_pull_does(ana, part):
    bo = part()
    ana.set_config("limits.calls", 2)
    bo.set_config("prices.m", PRICE)
    bo.set_config("limits.cost", 3)
    git(path_of(ana), "fetch", "-q", "origin")
    git(path_of(ana), "merge", "-q", "--no-edit", "origin/main")
    assert ana.get_config() == {"limits": {"calls": 2, "cost": 3}, "prices": {"m": PRICE}}
    check_clean(path_of(ana))
