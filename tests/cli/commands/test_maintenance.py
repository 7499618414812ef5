"""Commands that check and mend a vault, and set its limits and prices."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tablevault import TableVault
from tablevault.errors import TVFileError
from tests.cli.commands.conftest import CODE, ids
from tests.looking import check_clean, git


def test_a_paused_process_and_what_is_elsewhere_are_notes(made, run, tmp_path, monkeypatch):
    Path("code/m.py").write_text(CODE.replace("2 * n", "1 // n"), encoding="utf-8")
    run("create-instance", "t", "--copy")
    code, _, err = run("execute-instance", "t", "--process-id", "p 1")
    assert (code, run("verify")[0]) == (1, 0)
    again, stop = err.splitlines()[-2:]
    assert again.endswith("execute-instance t --process-id 'p 1'`")
    assert stop.endswith("`tablevault stop-process 'p 1'`")
    run("stop-process", "p 1")
    git(tmp_path, "init", "-q", "--bare", "-b", "main", "hub.git")
    run("remote", "origin", "../hub.git")
    assert run("push")[0] == 0
    monkeypatch.chdir(tmp_path)
    assert run("clone", "hub.git", "lazy")[0] == 0
    monkeypatch.chdir("lazy")
    code, out, err = run("verify")
    assert (code, out.count("\n")) == (0, 1), err
    assert out.startswith("note\t\t")
    assert json.loads(run("verify", "--json")[1])[0]["severity"] == "note"


def test_a_damaged_vault_is_told_and_mended(made, run):
    assert run("verify")[:2] == (0, "")
    git(Path.cwd(), "tag", "-d", git(Path.cwd(), "tag").split()[0])
    code, out, _ = run("verify", "--json")
    assert (code, len(json.loads(out))) == (1, 1)
    assert run("verify", "--repair")[0] == 0
    assert run("verify", "--no-data")[:2] == (0, "")
    code, out, err = run("gc", "--dry-run", "--json")
    assert code == 0, err
    assert json.loads(out)
    assert run("gc", "--grace-days", "0")[0] == 0
    assert run("gc", "--grace-days", "-1")[0] == 2
    check_clean(Path.cwd())


@pytest.mark.parametrize("spoiled", ["config", "refs/heads/main", "HEAD", "index"])
def test_a_vault_that_git_cannot_open_is_told_and_mended(made, run, spoiled):
    (Path.cwd() / ".git" / spoiled).write_bytes(b"[spoiled")
    if spoiled in ("config", "refs/heads/main"):
        with pytest.raises(TVFileError, match="verify --repair"):
            TableVault(Path.cwd(), "Ana")
    code, out, _ = run("verify", "--json")
    assert code == 1
    assert any(spoiled in problem["where"] for problem in json.loads(out))
    code, out, err = run("verify", "--repair")
    assert code == 0, out + err
    assert run("verify")[:2] == (0, "")
    assert TableVault(Path.cwd(), "Ana").get_table_instances("t") == ids(made)
    check_clean(Path.cwd())


def test_a_git_object_that_is_cut_off_is_told_without_waiting_for_ever(made, apart):
    tip = git(Path.cwd(), "rev-parse", "main").strip()
    path = Path(".git/objects", tip[:2], tip[2:])
    whole = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(whole[: len(whole) // 2])
    done = apart("verify", "--json", timeout=100)
    assert done.returncode == 1
    assert "its end is missing" in done.stdout


def test_limits_and_prices_are_set_and_shown(vault, run):
    assert run("config")[:2] == (0, "limits: {}\nprices: {}\n")
    for words in (
        ("config", "limits.calls_per_minute", "500"),
        ("config", "prices.gpt-4.1.input", "2", "prices.gpt-4.1.output", "8"),
        ("config", "prices.meta/llama-3.1.input", "0", "prices.meta/llama-3.1.output", "1e-3"),
        ("config", "prices.gpt-4.1.output", "0.6", "--process-id", "mine"),
    ):
        assert run(*words)[0] == 0
    assert run("config")[1] == (
        "limits:\n  calls_per_minute: 500\n"
        "prices:\n  gpt-4.1:\n    input: 2\n    output: 0.6\n"
        "  meta/llama-3.1:\n    input: 0\n    output: 0.001\n"
    )
    assert run("config", "limits.calls_per_minute")[1] == "500\n"
    assert run("config", "prices.gpt-4.1")[1] == "input: 2\noutput: 0.6\n"
    assert run("config", "limits.calls")[:2] == (0, "")
    assert json.loads(run("config", "--json")[1]) == vault.get_config()
    assert vault.get_process_completion("mine")
    subject = git(Path.cwd(), "log", "-1", "--format=%s", "HEAD~1").strip()
    assert subject == (
        "config: set prices.meta/llama-3.1.input to 0, set prices.meta/llama-3.1.output to 0.001"
    )
    assert run("config", "limits.calls_per_minute", "null")[0] == 0
    assert vault.get_config("limits") == {}
    check_clean(Path.cwd())


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("limits.call", "5"), 1, 'Did you mean "limits.calls"?'),
        (("limits.calls", "-5"), 1, "limits.calls is '-5'; it has to be a whole number"),
        (("limits", "5"), 1, "limits is '5'; it has to be a mapping"),
        (("prices.m.input", "1"), 1, "`tablevault config prices.m.input INPUT prices.m.output OUT"),
        (("prices.m", "1", "prices.m.input", "1"), 1, "prices.m is '1'; it has to be a mapping"),
        (("prices.m", "null"), 1, 'no price of the model "m". Models with a price: none.'),
        (("limits.calls", "5", "limits.cost"), 2, "there is no value for limits.cost"),
        (("limits.calls", "5", "limits.calls", "6"), 2, "a key is given twice"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(vault, run, words, code, said):
    found, _, err = run("config", *words)
    assert (found, said in err) == (code, True), err
    assert vault.get_config() == {"limits": {}, "prices": {}}
