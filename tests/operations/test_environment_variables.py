"""Environment variables in builders: passed to functions, counted by name, kept nowhere."""

from __future__ import annotations

import logging
import subprocess
import sys

import pandas as pd
import pytest

from tablevault import TableVault, secrets
from tablevault.engine.execution import caller as passed_arguments
from tablevault.errors import TVBuilderError, TVTableError
from tests.operations.building import row_builders
from tests.operations.keeping import kept

VALUE = "correct horse 4711 battery"
CODE = """
import pandas as pd
from tablevault import cached

CALLS = {calls!r}

def rows(n):
    return pd.DataFrame({{"id": range(n)}})

def f(id, key="", **more):
    with open(CALLS, "a") as file:
        file.write(f"{{key}}|{{more}}\\n")
    return id

def fail(id, key):
    raise ValueError(f"{{key}} is not accepted")

def deeply(id, key):
    try:
        fail(id, key)
    except ValueError as error:
        error.add_note(f"note {{key}}")
        raise RuntimeError("login failed", key) from error

def quote(id, key):
    raise ValueError(f"{{[key]}}")

@cached
def ask(key, question):
    with open(CALLS, "a") as file:
        file.write(f"{{key}}|{{question}}\\n")
    return question * 2

def through(id, key):
    return ask(key, id)

@cached
def refuse(key):
    raise ValueError(f"{{key}} is wrong")

def refused(id, key):
    try:
        refuse(key)
    except ValueError:
        return id
"""
ROW = {"id": "<<self.id[index]>>"}


class Bench:
    """A vault with one table, whose function notes what it was called with."""

    def __init__(self, vault: TableVault, path, calls) -> None:
        self.vault, self.path, self._calls = vault, path, calls
        vault.create_table("t")
        vault.create_code_module("work", text=CODE.format(calls=str(calls)))

    def prepare(self, function="f", n=2, **arguments):
        fields = {"python_function": function, "arguments": ROW | arguments}
        self.vault.create_instance("t", builders=row_builders(n, **fields))

    def run(self, function="f", n=2, **arguments):
        """Execute, and return what the function was called with."""
        before = len(self.calls())
        self.prepare(function, n, **arguments)
        self.vault.execute_instance("t")
        return self.calls()[before:]

    def calls(self):
        return self._calls.read_text().splitlines() if self._calls.exists() else []

    def hides(self, value=VALUE):
        return value.encode() not in kept(self.path)


@pytest.fixture
def bench(vault, vault_path, tmp_path, monkeypatch):
    monkeypatch.setattr(secrets, "_values", {})
    monkeypatch.setattr(secrets, "_secrets", {})
    monkeypatch.setattr(passed_arguments, "_written", {})
    return Bench(vault, vault_path, tmp_path / "calls")


def test_a_function_gets_the_value(bench, monkeypatch):
    monkeypatch.setenv("LOGIN", VALUE)
    assert bench.run(key="~ENV:LOGIN~") == [f"{VALUE}|{{}}"] * 2


def test_the_value_may_be_a_part_of_a_text_deep_in_an_argument(bench, monkeypatch):
    monkeypatch.setenv("LOGIN", VALUE)
    more = {"headers": [{"auth": "Bearer ~ENV:LOGIN~ <<self.id[index]>>"}]}
    calls = bench.run(more=more)
    assert calls[1] == f"|{{'more': {{'headers': [{{'auth': 'Bearer {VALUE} 1'}}]}}}}"


def test_a_value_that_names_a_variable_is_not_filled_in_again(bench, monkeypatch):
    monkeypatch.setenv("LOGIN", VALUE)
    monkeypatch.setenv("OTHER", "~ENV:LOGIN~")
    assert bench.run(key="~ENV:OTHER~", n=1) == ["~ENV:LOGIN~|{}"]


def test_what_a_reference_brings_is_data_and_stays(bench, monkeypatch):
    monkeypatch.setenv("LOGIN", VALUE)
    bench.vault.create_table("texts")
    bench.vault.create_instance("texts", external_edit=True)
    bench.vault.write_instance(pd.DataFrame({"v": ["~ENV:LOGIN~"]}), "texts")
    assert bench.run(key="<<texts.v[index::0]>>", n=1) == ["~ENV:LOGIN~|{}"]


def test_calls_are_found_by_the_name_whatever_the_value_is(bench, monkeypatch):
    monkeypatch.setenv("LOGIN", VALUE)
    assert len(bench.run(key="~ENV:LOGIN~")) == 2
    monkeypatch.setenv("LOGIN", "another value")
    assert bench.run(key="~ENV:LOGIN~") == []
    assert bench.run(key="~ENV:LOGIN~", n=3) == ["another value|{}"]


def test_another_name_is_another_argument(bench, monkeypatch):
    monkeypatch.setenv("LOGIN", VALUE)
    monkeypatch.setenv("OTHER", VALUE)
    bench.run(key="~ENV:LOGIN~")
    assert len(bench.run(key="~ENV:OTHER~")) == 2


def test_results_that_are_there_need_no_value(bench, monkeypatch):
    monkeypatch.setenv("LOGIN", VALUE)
    bench.run(key="~ENV:LOGIN~")
    monkeypatch.delenv("LOGIN")
    assert bench.run(key="~ENV:LOGIN~") == []


def test_a_plan_needs_no_value(bench, caplog):
    bench.prepare(key="~ENV:LOGIN~")
    assert bench.vault.plan("t", run_index=True).calls == 3
    assert "LOGIN" in caplog.text


def test_without_the_variable_nothing_is_called_nor_recorded_for_the_builder(bench, caplog):
    bench.prepare(key="~ENV:LOGIN~")
    with caplog.at_level(logging.WARNING, "tablevault"), pytest.raises(TVBuilderError) as caught:
        bench.vault.execute_instance("t")
    assert str(caught.value) == (
        'Builder "f" needs the environment variable "LOGIN", which is not set. Set it, and run '
        "this again; its value is passed to the function and kept nowhere."
    )
    assert caught.value.facts == {"builder": "f", "field": "arguments", "variable": "LOGIN"}
    assert bench.calls() == []
    assert "f" not in set(bench.vault.get_calls("t", "TEMP_base")["builder"])
    (told,) = caplog.messages
    assert told == (
        'Builder "f" needs the environment variable "LOGIN" as soon as it calls its function; it '
        "is not set."
    )


def test_an_execution_that_lacked_a_variable_goes_on_once_it_is_set(bench, monkeypatch):
    bench.prepare(key="~ENV:LOGIN~")
    with pytest.raises(TVBuilderError):
        bench.vault.execute_instance("t", process_id="p")
    monkeypatch.setenv("LOGIN", VALUE)
    bench.vault.execute_instance("t", process_id="p")
    assert len(bench.calls()) == 2


@pytest.mark.parametrize("kind", ["dataframe", "generator"])
def test_builders_of_whole_columns_get_it_too(bench, monkeypatch, kind):
    monkeypatch.setenv("LOGIN", VALUE)
    text = CODE.format(calls="x") + (
        "\ndef whole(id, key):\n    return pd.DataFrame({'x': [key[:3]] * 2})\n"
        "\ndef each(id, key):\n    yield from [key[:3]] * 2\n"
    )
    bench.vault.create_code_module("work", text=text)
    fields = {
        "python_function": "whole" if kind == "dataframe" else "each",
        "return_type": kind,
        "arguments": {"id": 1, "key": "~ENV:LOGIN~"},
    }
    bench.vault.create_instance("t", builders=row_builders(2, **fields))
    bench.vault.execute_instance("t")
    assert bench.vault.get_dataframe("t")[0]["x"].tolist() == ["cor", "cor"]


def test_the_value_is_kept_nowhere(bench, monkeypatch):
    monkeypatch.setenv("LOGIN", VALUE)
    bench.run(key="~ENV:LOGIN~", more=["Bearer ~ENV:LOGIN~"])
    assert bench.hides()
    assert b"~ENV:LOGIN~" in kept(bench.path)


def test_the_key_of_a_cached_call_has_the_name_of_a_secret(bench, monkeypatch):
    monkeypatch.setenv("SERVICE_KEY", VALUE)
    assert len(bench.run("through", key="Bearer ~ENV:SERVICE_KEY~")) == 2
    monkeypatch.setenv("SERVICE_KEY", "another value")
    assert bench.run("through", n=2, key="Bearer  ~ENV:SERVICE_KEY~") == [
        "Bearer  another value|0",
        "Bearer  another value|1",
    ]
    again = bench.run("through", n=3, key="Bearer ~ENV:SERVICE_KEY~")
    assert again == ["Bearer another value|2"]


@pytest.mark.parametrize("process_id", ["", "p"])
@pytest.mark.parametrize("function", ["fail", "deeply", "quote"])
def test_an_exception_passes_unchanged_and_is_recorded_without_the_value(
    bench, monkeypatch, function, process_id, caplog
):
    monkeypatch.setenv("LOGIN", VALUE)
    bench.prepare(function, key="~ENV:LOGIN~")
    caplog.set_level(logging.INFO, "tablevault.operations")
    with pytest.raises((ValueError, RuntimeError)) as caught:
        bench.vault.execute_instance("t", process_id=process_id)
    assert VALUE in str(caught.value)
    assert VALUE not in caplog.text
    assert bench.hides()
    (error,) = bench.vault.get_calls("t", "TEMP_base")["error"].dropna()
    assert "~ENV:LOGIN~" in error
    assert VALUE not in error
    if process_id:
        shown = bench.vault.get_active_processes()["p"].error
    else:
        shown = [bench.vault.log("t").iloc[0]["error"]]
    assert "~ENV:LOGIN~" in shown[-1]


def test_a_key_that_no_builder_has_read_is_taken_out_of_exceptions_too(bench):
    key = "sk-proj-" + "Az09" * 12
    code = (
        f"import pandas as pd\nA = {key[:9]!r}\n"
        f"def rows(n): return pd.DataFrame({{'id': range(n)}})\n"
        f"def f(id): raise ValueError(f'Incorrect API key provided: {{A}}' + {key[9:]!r})\n"
    )
    bench.vault.create_code_module("work", text=code)
    bench.vault.create_instance("t", builders=row_builders(1))
    with pytest.raises(ValueError, match=key):
        bench.vault.execute_instance("t")
    assert bench.hides(key)
    (error,) = bench.vault.get_calls("t", "TEMP_base")["error"].dropna()
    assert error == "ValueError: Incorrect API key provided: [OpenAI key removed]"


@pytest.mark.parametrize("process_id", ["", "p"])
@pytest.mark.parametrize("kind", ["row-wise", "generator", "dataframe"])
def test_what_a_function_returns_is_refused_where_it_holds_a_secret(
    bench, monkeypatch, kind, process_id
):
    monkeypatch.setenv("SERVICE_KEY", VALUE)
    text = CODE.format(calls="x") + (
        "\ndef frame(id, key): return pd.DataFrame({'x': ['ok', {'error': f'no {key}'}]})\n"
        "\ndef each(id, key): yield from ['ok', {'error': f'no {key}'}]\n"
        "\ndef one(id, key): return {'error': f'no {key}'} if id else 'ok'\n"
    )
    bench.vault.create_code_module("work", text=text)
    functions = {"row-wise": "one", "generator": "each", "dataframe": "frame"}
    fields = {
        "python_function": functions[kind],
        "return_type": kind,
        "arguments": {"id": ROW["id"] if kind == "row-wise" else 1, "key": "~ENV:SERVICE_KEY~"},
        "dtypes": {"x": "object"},
    }
    bench.vault.create_instance("t", builders=row_builders(2, **fields))
    with pytest.raises(TVTableError) as caught:
        bench.vault.execute_instance("t", process_id=process_id)
    where = " in column x, row 1" if kind == "dataframe" else " for row 1"
    assert str(caught.value) == (
        f'Builder "f": what function "{functions[kind]}" returned{where} holds the value of the '
        'environment variable "SERVICE_KEY", which would be kept for ever. Leave it out, for '
        "instance where the text of an exception is returned."
    )
    assert (caught.value.variable, caught.value.row) == ("SERVICE_KEY", 1)
    assert bench.hides()
    (bench.path / "code/work.py").write_text(text.replace("no {key}", "no"))
    bench.vault.execute_instance("t", process_id=process_id)
    assert bench.vault.get_dataframe("t")[0]["x"].tolist() == ["ok", {"error": "no"}]


def test_what_is_no_secret_may_be_returned(bench, monkeypatch):
    monkeypatch.setenv("SERVICE_MODEL", VALUE)
    text = CODE.format(calls="x") + "\ndef model(id, key): return key\n"
    bench.vault.create_code_module("work", text=text)
    bench.run("model", n=1, key="~ENV:SERVICE_MODEL~")
    assert bench.vault.get_dataframe("t")[0]["x"].tolist() == [VALUE]


def test_a_cached_call_that_returns_a_secret_is_not_recorded(bench, monkeypatch, caplog):
    monkeypatch.setenv("SERVICE_KEY", VALUE)
    text = CODE.format(calls="x") + (
        "\n@cached\ndef head(key): return {'auth': key}\n"
        "\ndef uses(id, key): return len(head(key))\n"
    )
    bench.vault.create_code_module("work", text=text)
    bench.run("uses", n=1, key="~ENV:SERVICE_KEY~")
    assert bench.hides()
    assert 'Calls of "work.head" are not recorded: what it returns holds a secret.' in caplog.text


@pytest.mark.parametrize(
    ("returned", "error", "shown"),
    [
        ("[key, print], 1", TVBuilderError, "returned"),  # cannot be stored
        ("[key, key], 1", TVTableError, "SERVICE_KEY"),  # would be kept, for another dtype
    ],
)
def test_an_error_that_shows_a_value_shows_no_part_of_a_secret(
    bench, monkeypatch, returned, error, shown
):
    monkeypatch.setenv("SERVICE_KEY", VALUE * 4)
    text = CODE.format(calls="x") + f"\ndef wrong(id, key): return {returned}\n"
    bench.vault.create_code_module("work", text=text)
    with pytest.raises(error, match=shown) as caught:
        bench.run("wrong", n=1, key="~ENV:SERVICE_KEY~")
    assert VALUE not in str(caught.value)
    assert bench.hides()


def test_errors_of_cached_calls_are_recorded_without_the_value(bench, monkeypatch):
    monkeypatch.setenv("LOGIN", VALUE)
    bench.run("refused", key="~ENV:LOGIN~")
    assert bench.hides()


def test_the_command_line_shows_errors_without_keys(bench, monkeypatch, vault_path):
    monkeypatch.setenv("LOGIN", VALUE)
    bench.prepare("fail", key="~ENV:LOGIN~")
    done = subprocess.run(
        [sys.executable, "-m", "tablevault", "--db-dir", str(vault_path), "execute-instance", "t"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode
    assert "ValueError: ~ENV:LOGIN~ is not accepted" in done.stderr
    assert VALUE not in done.stderr
