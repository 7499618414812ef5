"""The editable folders of temporary instances, and the edits that people make in them."""

from __future__ import annotations

import shutil

import pytest

from tablevault.errors import TVFileError
from tablevault.history.checkout.temp_folders import TempFolders
from tablevault.history.git.commit_message import Message
from tablevault.history.git.refs import RefMove, move_refs
from tablevault.history.git.trees import Put, Remove
from tablevault.lfs.store import ObjectStore
from tablevault.names import MAIN, TempRef, builder_path

TEMP = TempRef(table="t", version="base")


class Desk:
    """A repository with a temporary instance, and its folder."""

    def __init__(self, repository):
        self.repository = repository
        state = repository.path / ".git/tablevault"
        store = ObjectStore(repository.path / ".git/lfs", state / "tmp")
        self.temp_folders = TempFolders(repository, state, store)
        self.folder = self.temp_folders.folder(TEMP)

    @property
    def tip(self):
        return self.repository.tip(TEMP.ref)

    def commit(self, ref=TEMP.ref, temp=TEMP, **builders):
        """Commit builders, None for a removal, on the branch of an instance."""
        tip = self.repository.tip(ref)
        parent = tip or self.repository.main()
        new = self.repository.write_commit(
            parents=[parent],
            base=parent,
            edits=[
                Remove(path=builder_path(temp.table, temp.version, name))
                if text is None
                else Put(path=builder_path(temp.table, temp.version, name), data=text)
                for name, text in builders.items()
            ],
            message=Message(subject="s"),
            author="Ana",
            at=1_700_000_000.0,
        )
        move_refs(self.repository, [RefMove(ref=ref, old=tip, new=new)], "r")
        return new

    def drop(self, temp=TEMP):
        move_refs(
            self.repository,
            [RefMove(ref=temp.ref, old=self.repository.tip(temp.ref), new=None)],
            "r",
        )

    def write(self, name, text):
        (self.folder / f"builders/{name}.yaml").write_bytes(text)

    def read(self):
        return self.temp_folders.builders(TEMP)

    def edits(self):
        return self.temp_folders.edits(TEMP, self.tip)

    def adopt(self):
        """Take the edits into the branch, as an operation does."""
        tip = self.tip
        new = self.repository.write_commit(
            parents=[tip],
            base=tip,
            edits=self.edits(),
            message=Message(subject="edited by hand"),
            author="Ana",
            at=1_700_000_000.0,
        )
        self.temp_folders.note_adopted(TEMP, new)
        move_refs(self.repository, [RefMove(ref=TEMP.ref, old=tip, new=new)], "r")


@pytest.fixture
def desk(new_repository):
    desk = Desk(new_repository())
    desk.commit(q=b"q: 1\n", r=b"r: 1\n")
    desk.temp_folders.sync()
    return desk


def put(name, text):
    return Put(path=f"tables/t/base/builders/{name}.yaml", data=text)


def test_a_face_holds_the_builders_of_its_branch_and_a_place_for_artifacts(desk):
    assert desk.folder == desk.repository.path / "temp/t/base"
    assert desk.read() == {"q": b"q: 1\n", "r": b"r: 1\n"}
    assert (desk.folder / "artifacts").is_dir()
    assert desk.edits() == []
    assert not desk.temp_folders.are_behind()


def test_a_face_is_not_seen_by_git(desk, git):
    git(desk.repository.path, "reset", "-q", "--hard")
    assert git(desk.repository.path, "status", "--porcelain") == ""


def test_a_face_follows_its_branch(desk):
    desk.commit(q=b"q: 2\n", r=None, s=b"s: 1\n")
    assert desk.temp_folders.are_behind()
    desk.temp_folders.sync()
    assert desk.read() == {"q": b"q: 2\n", "s": b"s: 1\n"}
    assert not desk.temp_folders.are_behind()


def test_a_face_goes_with_its_branch(desk):
    (desk.folder / "artifacts/x").write_text("x")
    desk.drop()
    desk.temp_folders.sync()
    assert not desk.folder.exists()
    assert not (desk.repository.path / "temp/t").exists()
    assert not desk.temp_folders.are_behind()


@pytest.mark.parametrize("version", ["x.tmp", "a b", "é", "v~1", "x.lock"])
def test_a_face_of_any_version_comes_and_goes(desk, version):
    temp = TempRef(table="t", version=version)
    desk.commit(ref=temp.ref, temp=temp, q=b"1")
    desk.temp_folders.sync()
    assert desk.temp_folders.builders(temp) == {"q": b"1"}
    assert not desk.temp_folders.are_behind()
    desk.drop(temp)
    desk.temp_folders.sync()
    assert not desk.temp_folders.folder(temp).exists()
    assert desk.folder.exists()


def test_a_branch_with_a_hostile_name_has_no_face(desk, git):
    before = sorted(desk.repository.path.parent.iterdir())
    for name in ("%2E%2E%2F%2E%2E%2F%2E%2E%2Fevil", "%2E%2E", "%2Ftmp%2Fevil"):
        git(desk.repository.path, "update-ref", f"refs/heads/temp/t/{name}", desk.tip)
    desk.temp_folders.sync()
    assert sorted(desk.repository.path.parent.iterdir()) == before
    assert [path.name for path in (desk.repository.path / "temp/t").iterdir()] == ["base"]


@pytest.mark.parametrize("name", ["..@..", "t@..", "@base", "t@", ".git@hooks", "t@a_b"])
def test_a_note_with_a_hostile_name_has_no_face(desk, name):
    above = sorted(desk.repository.path.parent.iterdir())
    git_dir = sorted(desk.repository.git_dir.iterdir())
    (desk.repository.git_dir / "tablevault/temp-folders" / name).touch()
    desk.temp_folders.sync()
    assert sorted(desk.repository.path.parent.iterdir()) == above
    assert sorted(desk.repository.git_dir.iterdir()) == git_dir
    assert (desk.folder / "builders").is_dir()
    assert not desk.temp_folders.are_behind()


# -- edits ----------------------------------------------------------------------------------------


def test_edits_in_the_face_are_found(desk):
    desk.write("q", b"q: mine\n")
    desk.write("new", b"new: 1\n")
    (desk.folder / "builders/r.yaml").unlink()
    assert desk.edits() == [
        put("new", b"new: 1\n"),
        put("q", b"q: mine\n"),
        Remove(path="tables/t/base/builders/r.yaml"),
    ]


def test_an_edit_taken_back_is_none(desk):
    desk.write("q", b"q: mine\n")
    desk.write("q", b"q: 1\n")
    assert desk.edits() == []


def test_what_is_no_builder_file_is_no_edit(desk):
    (desk.folder / "builders/notes.txt").write_text("x")
    (desk.folder / "builders/folder.yaml").mkdir()
    (desk.folder / "builders/link.yaml").symlink_to("/etc/passwd")
    assert desk.edits() == []


def test_edits_that_were_adopted_are_edits_no_more(desk):
    desk.write("q", b"q: mine\n")
    desk.adopt()
    assert desk.edits() == []
    desk.commit(q=b"q: later\n")
    desk.temp_folders.sync()
    assert desk.read()["q"] == b"q: later\n"


def test_edits_stay_as_long_as_their_adoption_is_not_published(desk, git):
    desk.write("q", b"q: mine\n")
    tip = desk.tip
    desk.adopt()
    git(desk.repository.path, "update-ref", TEMP.ref, tip)
    assert desk.edits() == [put("q", b"q: mine\n")]
    desk.temp_folders.sync()
    assert desk.read()["q"] == b"q: mine\n"


def test_more_edits_after_an_adoption_are_found(desk):
    desk.write("q", b"q: mine\n")
    desk.adopt()
    desk.temp_folders.sync()
    desk.write("q", b"q: more\n")
    assert desk.edits() == [put("q", b"q: more\n")]


def test_face_and_branch_that_both_moved_are_an_error_that_names_the_files(desk):
    desk.write("q", b"q: mine\n")
    desk.write("new", b"new: 1\n")
    desk.commit(q=b"q: theirs\n")
    with pytest.raises(TVFileError) as caught:
        desk.edits()
    error = caught.value
    assert "temp/t/base/builders/new.yaml, temp/t/base/builders/q.yaml was edited" in error.message
    assert "git show temp/t/base:tables/t/base/builders/new.yaml" in error.hint
    assert (error.table, error.version) == ("t", "base")
    desk.temp_folders.sync()
    assert desk.read()["q"] == b"q: mine\n", "nothing of the user's is overwritten"


def test_the_remedy_that_the_error_names_works(desk):
    desk.write("q", b"q: mine\n")
    desk.commit(q=b"q: theirs\n")
    (desk.folder / "builders/q.yaml").unlink()
    desk.write("q", b"q: 1\n")
    desk.temp_folders.sync()
    assert desk.read()["q"] == b"q: theirs\n"


def test_face_and_branch_that_moved_alike_are_no_conflict(desk):
    desk.write("q", b"q: same\n")
    desk.commit(q=b"q: same\n", r=b"r: theirs\n")
    assert desk.edits() == []
    desk.temp_folders.sync()
    assert desk.read() == {"q": b"q: same\n", "r": b"r: theirs\n"}


def test_a_face_with_edits_stays_when_its_branch_is_gone(desk):
    desk.write("q", b"q: mine\n")
    desk.drop()
    desk.temp_folders.sync()
    assert desk.read()["q"] == b"q: mine\n"
    assert not desk.temp_folders.are_behind()


def test_a_face_whose_edits_reached_main_goes_with_its_branch(desk):
    desk.write("q", b"q: mine\n")
    desk.adopt()
    main = desk.repository.main()
    move_refs(desk.repository, [RefMove(ref=MAIN, old=main, new=desk.tip)], "r")
    desk.drop()
    desk.temp_folders.sync()
    assert not desk.folder.exists()


# -- loss -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["temp", "temp/t/base", "temp/t/base/builders"])
def test_a_face_that_was_deleted_is_no_edit_and_comes_back(desk, part):
    shutil.rmtree(desk.repository.path / part)
    assert desk.edits() == []
    assert desk.temp_folders.are_behind()
    desk.temp_folders.sync()
    assert desk.read() == {"q": b"q: 1\n", "r": b"r: 1\n"}
    assert not desk.temp_folders.are_behind()


@pytest.mark.parametrize("text", ["", "x\n", "ab" * 20 + "\n", "\xff"])
def test_without_its_note_a_face_keeps_edits_and_counts_nothing_missing(desk, text):
    note = desk.repository.path / ".git/tablevault/temp-folders/t@base"
    note.write_text(text, "latin-1")
    assert desk.edits() == []
    desk.write("q", b"q: mine\n")
    (desk.folder / "builders/r.yaml").unlink()
    assert desk.edits() == [put("q", b"q: mine\n")]


def test_a_note_is_written_over_longer_and_shorter_ones(desk):
    note = desk.repository.path / ".git/tablevault/temp-folders/t@base"
    note.write_text(f"{desk.tip}\n\n", "ascii")
    assert not desk.temp_folders.are_behind()
    for text in (b"q: 2\n", b"q: 3\n"):
        desk.write("q", text)
        desk.adopt()
        assert desk.edits() == []
        desk.commit(r=text)
        desk.temp_folders.sync()
        assert note.read_text("ascii").split() == [desk.tip]
        assert not desk.temp_folders.are_behind()


def test_a_fresh_clone_lays_its_faces_out(desk):
    shutil.rmtree(desk.repository.path / ".git/tablevault/temp-folders")
    shutil.rmtree(desk.repository.path / "temp")
    assert desk.edits() == []
    desk.temp_folders.sync()
    assert desk.read() == {"q": b"q: 1\n", "r": b"r: 1\n"}


# -- rename ---------------------------------------------------------------------------------------


def test_a_renamed_face_keeps_its_artifacts(desk):
    (desk.folder / "artifacts/x").write_text("x")
    new = TempRef(table="t2", version="base")
    desk.commit(ref=new.ref, temp=new, q=b"q: renamed\n")
    desk.drop()
    for _ in range(2):
        desk.temp_folders.rename(TEMP, new)
    assert desk.temp_folders.builders(new) == {"q": b"q: renamed\n"}
    assert (desk.temp_folders.artifacts(new) / "x").read_text() == "x"
    assert not desk.folder.exists()
    assert not desk.temp_folders.are_behind()


def test_nothing_is_left_beside(desk):
    desk.commit(q=b"q: 2\n")
    desk.temp_folders.sync()
    desk.drop()
    desk.temp_folders.sync()
    state = desk.repository.path / ".git/tablevault/temp-folders"
    assert not [path for path in state.rglob("*") if path.is_file()]
    assert not list(desk.repository.path.rglob("*.tmp"))


@pytest.mark.parametrize("name", ["._x", ".x", "~$x"])
def test_what_programs_leave_behind_is_no_builder(desk, name):
    desk.commit(x=b"1")
    desk.temp_folders.sync()
    file = desk.folder / f"builders/{name}.yaml"
    file.write_bytes(b"\0\5\26\7")
    assert desk.temp_folders.edits(TEMP, desk.tip) == []
    assert name not in desk.temp_folders.builders(TEMP)
    desk.commit(x=b"2")
    desk.temp_folders.sync()
    assert file.exists()


def test_a_hidden_builder_that_was_committed_before_is_removed(desk):
    desk.commit(**{"x": b"1", "._x": b"\0"})
    desk.temp_folders.sync()
    (edit,) = desk.temp_folders.edits(TEMP, desk.tip)
    assert edit == Remove(path=builder_path("t", "base", "._x"))


@pytest.mark.parametrize(
    ("name", "said"), [("a\nb", "U\\+000A"), ("\udce9", "no UTF-8"), ("a\u202eb", r"U\+202E")]
)
def test_a_builder_that_no_other_vault_would_pull_is_no_edit(desk, name, said):
    desk.commit(x=b"1")
    desk.temp_folders.sync()
    desk.write(name, b"1")
    with pytest.raises(TVFileError, match=f"cannot be used: .*{said}"):
        desk.temp_folders.edits(TEMP, desk.tip)
