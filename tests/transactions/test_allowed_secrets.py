"""Texts that look like keys are refused before anything is written, or allowed and named."""

from __future__ import annotations

import pytest
import yaml

from tablevault import TableVault
from tablevault.cli.main import main
from tablevault.errors import TVSecretError
from tests.looking import check_clean, git, state_of
from tests.operations.building import row_builders
from tests.operations.keeping import kept

KEY = "sk-proj-" + "Az09" * 12
CODE = """
import pandas as pd

def rows(n):
    return pd.DataFrame({"id": range(n)})

def f(id, key=""):
    return id
"""
WITH_KEY = f"{CODE}\nKEY = {KEY!r}\n"
BUILDERS = row_builders(2)
BUILDER = yaml.safe_dump(yaml.safe_load(BUILDERS["f"]) | {"arguments": {"id": 1, "key": KEY}})
LINE = next(number for number, line in enumerate(BUILDER.split("\n"), 1) if KEY in line)
IN_BUILDER = "Write ~ENV:NAME~ in its place, and set the environment variable NAME."
IN_CODE = 'Read it from the environment instead: os.environ["NAME"].'
ALLOW = "If it is none, pass allow_secret=True."


@pytest.fixture
def prepared(vault):
    """Return a vault with a table, a module and a temporary instance."""
    vault.create_table("t")
    vault.create_code_module("work", text=CODE)
    vault.create_instance("t", builders=BUILDERS)
    return vault


def text_of(place, hint):
    return (
        f"What looks like a key would be kept for ever: {place} (OpenAI key). Nothing was "
        f"written. {hint}"
    )


def files(folder):
    (folder / "more").mkdir()
    for name, text in (("work.py", WITH_KEY), ("f.yaml", BUILDER)):
        (folder / "more" / name).write_text(text)
    return folder / "more"


GIVEN = {
    "description of a table": (
        lambda vault, _, **more: vault.create_table("u", description=f"a\n{KEY}", **more),
        lambda _: text_of("description, line 2", f"Leave it out. {ALLOW}"),
    ),
    "description of an instance": (
        lambda vault, _, **more: vault.create_instance("t", "two", description=KEY, **more),
        lambda _: text_of("description, line 1", f"Leave it out. {ALLOW}"),
    ),
    "builder of a new instance": (
        lambda vault, _, **more: vault.create_instance("t", builders={"f": BUILDER}, **more),
        lambda _: text_of(f"f.yaml, line {LINE}", f"{IN_BUILDER} {ALLOW}"),
    ),
    "text of a builder": (
        lambda vault, _, **more: vault.create_builder_file("t", "f", text=BUILDER, **more),
        lambda _: text_of(f"f.yaml, line {LINE}", f"{IN_BUILDER} {ALLOW}"),
    ),
    "file of a builder": (
        lambda vault, more, **allow: vault.create_builder_file(
            "t", "f", copy_dir=more / "f.yaml", **allow
        ),
        lambda more: text_of(f"{more}/f.yaml, line {LINE}", f"{IN_BUILDER} {ALLOW}"),
    ),
    "folder of builders": (
        lambda vault, more, **allow: vault.create_builder_file("t", copy_dir=more, **allow),
        lambda more: text_of(f"{more}/f.yaml, line {LINE}", f"{IN_BUILDER} {ALLOW}"),
    ),
    "text of a module": (
        lambda vault, _, **more: vault.create_code_module("work", text=WITH_KEY, **more),
        lambda _: text_of("work.py, line 10", f"{IN_CODE} {ALLOW}"),
    ),
    "folder of modules": (
        lambda vault, more, **allow: vault.create_code_module(copy_dir=more, **allow),
        lambda more: text_of(f"{more}/work.py, line 10", f"{IN_CODE} {ALLOW}"),
    ),
}
every_text = pytest.mark.parametrize(("act", "told"), GIVEN.values(), ids=GIVEN)


@every_text
def test_a_text_with_a_key_is_refused_and_nothing_is_written(
    prepared, vault_path, tmp_path, act, told
):
    more, before = files(tmp_path), state_of(vault_path)
    with pytest.raises(TVSecretError) as caught:
        act(prepared, more, process_id="p")
    assert str(caught.value) == told(more)
    assert state_of(vault_path) == before
    assert KEY.encode() not in kept(vault_path)
    assert prepared.get_process_completion("p")


@every_text
def test_a_text_that_is_allowed_is_kept_and_named_in_the_commit(
    prepared, vault_path, tmp_path, act, told
):
    more = files(tmp_path)
    place = told(more).split("ever: ")[1].split(" (")[0].replace(", line ", ":").rpartition("/")[2]
    act(prepared, more, allow_secret=True)
    message = git(vault_path, "log", "--all", "--format=%B")
    assert f"Vault-Allowed-Secret: {place} OpenAI key\n" in message
    assert KEY.encode() in kept(vault_path)
    check_clean(vault_path)


def test_where_nothing_looks_like_a_key_nothing_is_named(prepared, vault_path):
    prepared.create_table("u", description="sk-...", allow_secret=True)
    assert "Secret" not in git(vault_path, "log", "-1", "--format=%B")


def test_the_description_of_a_vault_is_refused_before_there_is_one(tmp_path):
    with pytest.raises(TVSecretError) as caught:
        TableVault(tmp_path / "v", "a", description=KEY, create=True)
    assert str(caught.value) == text_of("description, line 1", f"Leave it out. {ALLOW}")
    assert not (tmp_path / "v").exists()
    TableVault(tmp_path / "v", "a", description=KEY, create=True, allow_secret=True)
    message = git(tmp_path / "v", "log", "-1", "--format=%B")
    assert "Vault-Allowed-Secret: description:1 OpenAI key" in message


# -- files that are edited by hand --------------------------------------------------------------


def test_code_edited_by_hand_is_refused_by_every_operation(prepared, vault_path):
    (vault_path / "code/work.py").write_text(WITH_KEY)
    before = state_of(vault_path)
    file = vault_path / "code/work.py"
    for act in (
        lambda: prepared.create_table("u"),
        lambda: prepared.execute_instance("t"),
        lambda: prepared.execute_instance("t", process_id="p"),
        lambda: prepared.delete_table("t"),
    ):
        with pytest.raises(TVSecretError) as caught:
            act()
        allow = f"create_code_module('work', copy_dir='{file}', allow_secret=True)"
        hint = f"{IN_CODE} If it is none: {allow}."
        assert str(caught.value) == text_of("code/work.py, line 10", hint)
        assert state_of(vault_path) == before
        assert KEY.encode() not in kept(vault_path).replace(WITH_KEY.encode(), b"")


def test_a_builder_edited_by_hand_is_refused(prepared, vault_path):
    file = vault_path / "temp/t/base/builders/f.yaml"
    file.write_text(BUILDER)
    before = state_of(vault_path)
    for act in (
        lambda: prepared.execute_instance("t"),
        lambda: prepared.create_instance("t", builders=BUILDERS),
        lambda: prepared.create_builder_file("t", "g"),
    ):
        with pytest.raises(TVSecretError) as caught:
            act()
        allow = (
            f"create_builder_file('t', builder_name='f', version='base', copy_dir='{file}', "
            "allow_secret=True)"
        )
        place = f"temp/t/base/builders/f.yaml, line {LINE}"
        assert str(caught.value) == text_of(place, f"{IN_BUILDER} If it is none: {allow}.")
        assert state_of(vault_path) == before
        assert KEY.encode() not in kept(vault_path).replace(BUILDER.encode(), b"")


def test_what_the_error_names_takes_each_file_in(prepared, vault_path):
    (vault_path / "code/work.py").write_text(WITH_KEY.replace(KEY, KEY[:-1] + "b"))
    (vault_path / "temp/t/base/builders/f.yaml").write_text(BUILDER)
    todo = ["execute_instance('t')"]
    done = []
    while todo and len(todo) < 5:
        try:
            eval(f"prepared.{todo[-1]}", {"prepared": prepared})
        except TVSecretError as error:
            todo.append(str(error).split("If it is none: ")[1].rstrip("."))
        else:
            done.append(todo.pop().split("(")[0])
    assert done == ["create_code_module", "create_builder_file", "execute_instance"]
    assert prepared.get_dataframe("t")[0]["x"].tolist() == [1, 1]
    messages = git(vault_path, "log", "--all", "--format=%B")
    assert "Vault-Allowed-Secret: work.py:10 OpenAI key\n" in messages
    assert f"Vault-Allowed-Secret: f.yaml:{LINE} OpenAI key\n" in messages
    check_clean(vault_path)


def test_an_execution_may_allow_what_was_edited_by_hand(prepared, vault_path):
    (vault_path / "code/work.py").write_text(WITH_KEY)
    (vault_path / "temp/t/base/builders/f.yaml").write_text(BUILDER)
    prepared.execute_instance("t", allow_secret=True)
    message = git(vault_path, "log", "-1", "--format=%B")
    assert "Vault-Allowed-Secret: code/work.py:10 OpenAI key\n" in message
    assert f"Vault-Allowed-Secret: temp/t/base/builders/f.yaml:{LINE} OpenAI key\n" in message
    check_clean(vault_path)


def test_a_paused_execution_keeps_what_it_was_allowed(prepared, vault_path):
    code = WITH_KEY.replace("return id", "return id if NAME else id").replace("NAME", "wrong")
    (vault_path / "code/work.py").write_text(code)
    with pytest.raises(NameError):
        prepared.execute_instance("t", process_id="p", allow_secret=True)
    (vault_path / "code/work.py").write_text(WITH_KEY)
    prepared.execute_instance("t", process_id="p")
    assert "Vault-Allowed-Secret: code/work.py:10" in git(vault_path, "log", "-1", "--format=%B")


def test_a_paused_execution_can_be_stopped_with_its_rows(prepared, vault_path):
    (vault_path / "temp/t/base/builders/f.yaml").write_text(BUILDER)
    (vault_path / "code/work.py").write_text(CODE.replace("return id", "return wrong"))
    with pytest.raises(NameError):
        prepared.execute_instance("t", process_id="p", allow_secret=True)
    prepared.stop_process("p", materialize=True)
    assert len(prepared.get_dataframe("t")[0]) == 2
    check_clean(vault_path)


def test_a_key_that_is_kept_already_does_not_stop_later_edits(prepared, vault_path):
    prepared.create_code_module("work", text=WITH_KEY, allow_secret=True)
    prepared.create_builder_file("t", "f", text=BUILDER, allow_secret=True)
    for file in ("code/work.py", "temp/t/base/builders/f.yaml"):
        path = vault_path / file
        path.write_text(f"# more\n{path.read_text()}")
    prepared.execute_instance("t")
    (vault_path / "code/work.py").write_text(f"{WITH_KEY}\nOTHER = {KEY[::-1]!r}\n")
    prepared.create_table("u")
    (vault_path / "code/work.py").write_text(f"{WITH_KEY}\nOTHER = {KEY[:-1]}b\n")
    with pytest.raises(TVSecretError, match=r"code/work\.py, line 12"):
        prepared.create_table("v")


def test_an_instance_copies_builders_with_keys_that_were_allowed(prepared):
    prepared.create_builder_file("t", "f", text=BUILDER, allow_secret=True)
    prepared.execute_instance("t")
    prepared.create_instance("t", copy=True)
    prepared.execute_instance("t", force_execute=True)


def test_an_operation_with_an_allowed_text_is_undone_like_any_other(prepared, vault_path):
    done = prepared.create_code_module("work", text=WITH_KEY, allow_secret=True)
    prepared.undo(done)
    assert prepared.get_code_module_str("work") == CODE
    check_clean(vault_path)


# -- at a prompt ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["create-table", "u", "--description", KEY],
        ["create-instance", "t", "--description", KEY],
        ["create-code-module", "--module-name", "more", "--text", f"A = '{KEY}'"],
        ["create-builder-file", "t", "--builder-name", "f", "--text", BUILDER],
    ],
    ids=lambda words: words[0],
)
def test_commands_refuse_and_allow(prepared, vault_path, capsys, words):
    command = ["--quiet", "--db-dir", str(vault_path), *words]
    assert main(command) == 1
    told = capsys.readouterr().err
    assert "(OpenAI key). Nothing was written." in told
    assert told.rstrip().endswith("If it is none, pass --allow-secret.")
    assert KEY not in told
    assert main([*command, "--allow-secret"]) == 0
    assert "Vault-Allowed-Secret: " in git(vault_path, "log", "--all", "--format=%B")


def test_the_command_for_a_vault_refuses_and_allows(tmp_path, capsys):
    words = ["--quiet", "create-vault", str(tmp_path / "v"), "--description", KEY]
    assert main(words) == 1
    assert "description, line 1 (OpenAI key)" in capsys.readouterr().err
    assert main([*words, "--allow-secret"]) == 0


def test_a_command_names_the_command_that_takes_an_edited_file_in(prepared, vault_path, capsys):
    (vault_path / "code/work.py").write_text(WITH_KEY)
    assert main(["--quiet", "--db-dir", str(vault_path), "execute-instance", "t"]) == 1
    told = capsys.readouterr().err
    assert f"--copy-dir {vault_path}/code/work.py --allow-secret`" in told
    words = told.split("If it is none: `tablevault ")[1].split("`")[0].split()
    assert main(["--quiet", *words]) == 0
    assert main(["--quiet", "--db-dir", str(vault_path), "execute-instance", "t"]) == 0
