"""What is wrong with packs and refs, in the words of git."""

from __future__ import annotations

import os

import pytest

from tablevault.history.git import object_files
from tablevault.history.git.object_files import check_packs, read_refs


@pytest.fixture
def repository(new_repository, git):
    """A repository with a branch, a tag, and a pack."""
    made = new_repository()
    git(made.path, "branch", "other")
    git(made.path, "tag", "v1")
    git(made.path, "repack", "-adq")
    return made


def pack(repository, ending):
    (file,) = (repository.git_dir / "objects/pack").glob(f"pack-*.{ending}")
    file.chmod(0o644)
    return file


def flip(file, at):
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(bytes(data))


def test_sound_packs_and_refs_have_no_problems(repository, git):
    refs = read_refs(repository.git_dir)
    tip = git(repository.path, "rev-parse", "HEAD").strip()
    assert refs.problems == []
    assert refs.targets == dict.fromkeys(
        ("refs/heads/main", "refs/heads/other", "refs/tags/v1"), tip
    )
    assert list(check_packs(repository.git_dir)) == []


DAMAGE = {
    "a flipped byte": lambda file: flip(file, 30),
    "a flipped checksum": lambda file: flip(file, -1),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-30]),
    "empty": lambda file: file.write_bytes(b""),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("ending", ["pack", "idx"])
def test_a_damaged_pack_is_named_with_what_git_says(repository, ending, damage):
    DAMAGE[damage](pack(repository, ending))
    (problem,) = check_packs(repository.git_dir)
    assert problem.where == f".git/objects/pack/{pack(repository, 'pack').name}"
    assert problem.severity == "error"
    assert len(problem.text) > len("The pack is damaged: .")
    assert "fatal" not in problem.text


def test_a_pack_without_an_index_is_named_when_nobody_is_writing_it(repository):
    pack(repository, "idx").unlink()
    assert list(check_packs(repository.git_dir)) == []
    os.utime(pack(repository, "pack"), (0, 0))
    (problem,) = check_packs(repository.git_dir)
    assert "git index-pack" in problem.text


def test_a_pack_that_goes_while_it_is_looked_at_is_no_damage(repository, monkeypatch):
    """Git removes the index first; whoever looks in between sees a pack without one."""
    old, real = pack(repository, "pack"), object_files.time.sleep
    os.utime(old, (0, 0))
    pack(repository, "idx").unlink()

    def remove(_):
        old.unlink()
        monkeypatch.setattr(object_files.time, "sleep", real)

    monkeypatch.setattr(object_files.time, "sleep", remove)
    assert list(check_packs(repository.git_dir)) == []


@pytest.mark.parametrize("text", ["", "garbage\n", "12345\n"])
def test_a_damaged_ref_is_named_and_the_others_are_read(repository, text):
    (repository.git_dir / "refs/heads/other").write_text(text)
    refs = read_refs(repository.git_dir)
    assert [problem.where for problem in refs.problems] == ["refs/heads/other"]
    assert refs.targets.keys() == {"refs/heads/main", "refs/tags/v1"}


def test_a_ref_that_names_nothing_is_read(repository):
    (repository.git_dir / "refs/tags/v1").write_text("1" * 40 + "\n")
    assert read_refs(repository.git_dir).targets["refs/tags/v1"] == "1" * 40


@pytest.mark.parametrize("damage", [b"garbage\n", b"1234"])
def test_a_line_of_packed_refs_that_is_none_is_told_in_any_language(
    repository, git, monkeypatch, damage
):
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("LANGUAGE", "de")
    git(repository.path, "pack-refs", "--all")
    with (repository.git_dir / "packed-refs").open("ab") as file:
        file.write(damage)
    refs = read_refs(repository.git_dir)
    (problem,) = refs.problems
    assert (problem.where, problem.repairable) == (".git/packed-refs", True)
    assert "packed-refs" in problem.text
    assert refs.targets == {}


def test_the_refs_of_a_repository_further_up_are_not_read(repository):
    inner = repository.path / "inner/.git"
    inner.mkdir(parents=True)
    refs = read_refs(inner)
    assert refs.targets == {}
    assert "not a git repository" in refs.problems[0].text


def test_a_ref_that_is_removed_while_git_lists_refs_is_no_damage(repository, monkeypatch):
    (repository.git_dir / "refs/tags/empty").write_text("")
    real, calls = object_files.call_git, []

    def gone_at_first(*arguments, **options):
        done = real(*arguments, **options)
        calls.append(done)
        if len(calls) == 1:
            done.stderr += b"warning: ignoring broken ref refs/tags/gone\n"
        return done

    monkeypatch.setattr(object_files, "call_git", gone_at_first)
    problems = read_refs(repository.git_dir).problems
    assert [problem.where for problem in problems] == ["refs/tags/empty"]
