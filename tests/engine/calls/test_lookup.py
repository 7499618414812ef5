"""Calls are paid for once: counted calls after edits, failures, kills and corrections."""

from __future__ import annotations

import ast
import signal
from pathlib import Path

import pytest
import yaml

from tablevault import TableVault
from tablevault.errors import TVBuilderError, TVTableError
from tests.looking import check_clean
from tests.operations.bench import ASK, DOUBLE, EXECUTE, EXPECTED, FAILS_AT_8, INDEX, Bench


@pytest.fixture
def bench(vault: TableVault, vault_path: Path, tmp_path: Path) -> Bench:
    return Bench(vault, vault_path, tmp_path / "paid")


# -- failures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ids", [("", ""), ("p", "p"), ("", "p")], ids=["none", "same", "later"])
@pytest.mark.parametrize("threads", [1, 3])
def test_after_an_exception_only_missing_rows_are_called(bench, ids, threads):
    down = bench.fail_at_8(process_id=ids[0], n_threads=threads)
    down.unlink()
    bench.vault.execute_instance("t", process_id=ids[1])
    assert bench.calls() == 12
    assert bench.x() == EXPECTED
    check_clean(bench.path)


def test_after_a_stop_only_missing_rows_are_called(bench):
    down = bench.fail_at_8(process_id="p")
    bench.vault.stop_process("p")
    down.unlink()
    bench.vault.execute_instance("t")
    assert bench.calls() == 12


def test_after_a_stop_that_was_kept_only_missing_rows_are_called(bench):
    down = bench.fail_at_8(process_id="p")
    bench.vault.stop_process("p", materialize=True)
    down.unlink()
    assert bench.run() == 4
    assert bench.x() == EXPECTED


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_after_a_signal_only_missing_rows_are_called(bench, python, monkeypatch, sent):
    text = f"""
import time

def ask(id):
    time.sleep(0.002)
    if id == 8 and os.environ.get("STOP"):
        os.kill(os.getpid(), {int(sent)})
        time.sleep(60)
    pay(id)
    return 2 * id
"""
    bench.code(text)
    bench.prepare()
    with monkeypatch.context() as patch:
        patch.setenv("STOP", "1")
        assert python(EXECUTE, bench.path, "t").wait() in (-sent, 1)
    assert bench.calls() == 8
    bench.vault.execute_instance("t")
    assert bench.calls() == 12
    assert bench.x() == EXPECTED


def test_a_forced_execution_that_failed_goes_on_with_its_own_rows_only(bench, tmp_path):
    down = tmp_path / "down"
    bench.code(FAILS_AT_8.format(down=str(down)))
    assert bench.run() == 12
    down.touch()
    bench.prepare()
    with pytest.raises(ConnectionError):
        bench.vault.execute_instance("t", force_execute=True, process_id="p")
    down.unlink()
    bench.vault.execute_instance("t", process_id="p")
    assert bench.calls() == 24


# -- values ----------------------------------------------------------------------------------------


BAD = """
def ask(id):
    pay(id)
    return "4/5" if id == 8 else id
"""


@pytest.mark.parametrize("process_id", ["", "p"])
def test_a_value_that_does_not_fit_is_found_at_once_and_costs_no_other_call(bench, process_id):
    bench.code(BAD)
    bench.prepare(dtypes={"x": "Int64"})
    with pytest.raises(TVTableError, match=r"row 8: '4/5' does not fit") as caught:
        bench.vault.execute_instance("t", process_id=process_id)
    assert bench.calls() == 9
    assert (caught.value.builder, caught.value.column, caught.value.row) == ("ask", "x", 8)
    bench.repair(BAD.replace('"4/5" if id == 8 else id', "id"))
    bench.vault.execute_instance("t", process_id=process_id)
    assert bench.calls() == 13
    assert bench.x() == list(range(12))


def test_after_the_dtype_is_corrected_a_rejected_value_is_cast_without_a_call(bench):
    bench.code(BAD)
    bench.prepare(dtypes={"x": "Int64"})
    with pytest.raises(TVTableError):
        bench.vault.execute_instance("t")
    builder = bench.path / "temp/t/base/builders/ask.yaml"
    builder.write_text(builder.read_text().replace("Int64", "string"))
    bench.vault.execute_instance("t")
    assert bench.calls() == 12
    assert bench.x()[7:10] == ["7", "4/5", "9"]


@pytest.mark.parametrize("value", ["[8, 9]", "{'a': 8}", "(8, 9)"])
@pytest.mark.parametrize("declared", [{"x": "Int64"}, {"x": "string"}])
@pytest.mark.parametrize("fields", [{}, {"batch_size": 3}], ids=["one", "batch"])
def test_a_collection_is_kept_until_its_column_holds_objects(bench, value, declared, fields):
    text = f"def ask(id):\n    pay(id)\n    return {value} if id == 8 else id\n"
    if fields:
        each = f"[{value} if n == 8 else n for n in id]"
        text = f"def ask(id):\n    [pay(n) for n in id]\n    return {each}\n"
    bench.code(text)
    bench.prepare(dtypes=declared, **fields)
    with pytest.raises(TVBuilderError, match=r'for column "x" in row 8'):
        bench.vault.execute_instance("t")
    assert bench.calls() == 9
    builder = bench.path / "temp/t/base/builders/ask.yaml"
    builder.write_text(builder.read_text().replace(declared["x"], "object"))
    bench.vault.execute_instance("t")
    assert bench.calls() == 12
    values = list(range(12))
    values[8] = ast.literal_eval(value)
    assert bench.x() == values


def test_a_tuple_is_kept_until_its_column_is_declared(bench):
    bench.code("def ask(id):\n    pay(id)\n    return id, 1\n")
    bench.prepare()
    with pytest.raises(TVBuilderError, match=r"declare dtypes: \{x: object\}"):
        bench.vault.execute_instance("t")
    builder = bench.path / "temp/t/base/builders/ask.yaml"
    builder.write_text(builder.read_text() + "\ndtypes: {x: object}\n")
    bench.vault.execute_instance("t")
    assert bench.calls() == 12
    assert bench.x() == [(n, 1) for n in range(12)]


def test_another_dtype_makes_no_call(bench):
    bench.code(DOUBLE)
    assert bench.run() == 12
    for dtype in ("Float64", "string", "object", "Int64"):
        assert bench.run(dtypes={"x": dtype}) == 0
    assert bench.x() == EXPECTED


def test_inferred_dtypes_do_not_depend_on_history(bench):
    for values, dtype in (
        ([1, 2], "Int64"),
        ([1, 2, 2.5], "Float64"),
        ([1, 2, 2.5, "n/a"], "string"),
        ([1, 2], "Int64"),
    ):
        columns = {"id": list(range(len(values))), "v": values}
        bench.code(f"def ask(id):\n    pay(id)\n    return {values!r}[id]\n")
        bench.run(columns, code_version="1")
        assert bench.vault.get_dataframe("t")[0]["x"].dtype == dtype
    assert bench.x() == [1, 2]


@pytest.mark.parametrize(
    ("values", "whole", "part"),
    [
        ([1, [2]], "object", "Int64"),
        (["a", {"b": 1}], "object", "string"),
        ([1, 2**70], "object", "Int64"),
        ([1.5, b"b"], "object", "Float64"),
        ([1, 2**63], "UInt64", "Int64"),
        ([None, 2], "Int64", "string"),
    ],
)
def test_a_part_of_the_rows_has_the_dtype_of_its_values(bench, values, whole, part):
    bench.code(f"def ask(id):\n    pay(id)\n    return {values!r}[id]\n")
    for rows, dtype, calls in ((2, whole, 2), (1, part, 0), (2, whole, 0)):
        columns = {"id": list(range(rows)), "v": values[:rows]}
        assert bench.run(columns, retry_null=False) == calls
        column = bench.vault.get_dataframe("t")[0]["x"]
        assert column.dtype == dtype
        assert column.astype(object).where(column.notna(), None).tolist() == values[:rows]


def test_rows_that_hold_arrays_cost_nothing_when_they_come_back(bench):
    values = ["[1, 2]", "[[1, 2], [3, 4]]", "[]", "[float('nan')]"]
    arrays = ", ".join(f"np.array({value})" for value in values)
    bench.code(f"import numpy as np\n\ndef ask(id):\n    pay(id)\n    return [{arrays}][id]\n")
    assert [bench.run({"id": list(range(rows))}) for rows in (4, 1, 4)] == [4, 0, 0]
    assert list(map(str, bench.x())) == ["[1 2]", "[[1 2]\n [3 4]]", "[]", "[nan]"]


def test_rows_of_an_object_column_that_become_numbers_remain_what_was_returned(bench):
    values = [1, 2.5, [3]]
    bench.code(f"def ask(id):\n    pay(id)\n    return {values!r}[id]\n")
    for rows in (3, 2, 3):
        bench.run({"id": list(range(rows))})
    assert list(map(repr, bench.x())) == list(map(repr, values))
    assert bench.calls() == 3


@pytest.mark.parametrize("origin", ["other", "base"])
def test_answers_to_the_prompt_of_an_earlier_attempt_are_not_taken_for_those_of_another(
    bench, tmp_path, origin
):
    """Resumed with a prompt whose answers exist, then read from the instance alone."""
    down = tmp_path / "down"
    bench.code(
        f"def ask(id, prompt):\n    if id == 8 and os.path.exists({str(down)!r}):\n"
        "        raise ConnectionError\n    pay(id)\n    return f'{prompt} {id}'\n"
    )

    def fields(prompt):
        return {"arguments": {"id": "<<self.id[index]>>", "prompt": prompt}}

    bench.run(version=origin, **fields("A"))
    down.touch()
    bench.prepare(**fields("B"))
    with pytest.raises(ConnectionError):
        bench.vault.execute_instance("t", process_id="p")
    down.unlink()
    builder = bench.path / "temp/t/base/builders/ask.yaml"
    builder.write_text(builder.read_text().replace("prompt: B", "prompt: A"))
    bench.vault.execute_instance("t", process_id="p")
    assert bench.x() == [f"A {n}" for n in range(12)]
    calls = bench.vault.get_calls("t")
    made = calls[(calls["builder"] == "ask") & (calls["outcome"] == "ok")]
    assert made["row"].tolist() == list(range(12))
    for file in (bench.path / ".git/tablevault").glob("calls.sqlite*"):
        file.unlink()
    bench.vault = TableVault(bench.path, "Ana")
    assert bench.run(**fields("B")) == 12
    assert bench.x() == [f"B {n}" for n in range(12)]
    assert bench.run(**fields("A")) == 0


def test_rows_that_are_made_anew_are_found_where_other_executions_made_them(bench, tmp_path):
    down = tmp_path / "down"
    text = (
        f"def ask(id):\n    if id == 8 and os.path.exists({str(down)!r}):\n"
        "        raise ConnectionError\n    pay(id)\n    return 2 * id\n"
    )
    bench.code(text)
    assert bench.run(version="other") == 12
    down.touch()
    bench.code(text.replace("2 *", "3 *"))
    bench.prepare()
    with pytest.raises(ConnectionError):
        bench.vault.execute_instance("t", process_id="p")
    assert bench.calls() == 20
    down.unlink()
    bench.repair(text)
    bench.vault.execute_instance("t", process_id="p", accept_code=False)
    assert bench.calls() == 20
    assert bench.x() == EXPECTED


def test_a_null_is_asked_for_again_only_if_all_columns_are_null(bench):
    bench.code("def ask(id):\n    pay(id)\n    return (None, 'no') if id == 3 else (id, None)\n")
    pair = {"changed_columns": ["x", "error"]}
    assert [bench.run(**pair), bench.run(**pair)] == [12, 0]
    bench.code("def ask(id):\n    pay(id)\n    return (None, None) if id == 3 else (id, None)\n")
    calls = [bench.run(**pair), bench.run(**pair), bench.run(retry_null=False, **pair)]
    assert calls == [12, 1, 0]


def test_values_of_any_kind_come_back_from_a_record_as_they_were(bench, tmp_path):
    down = tmp_path / "down"
    down.touch()
    bench.code(f"""
import datetime, decimal, enum

class Colour(enum.StrEnum):
    RED = "red"

VALUES = [None, 2**70, b"x", {{"a": [1, (2,)]}}, datetime.date(2026, 1, 5), decimal.Decimal("1.10"),
          Colour.RED, float("inf"), {{1, 2}}]

def ask(id):
    if id == 9 and os.path.exists({str(down)!r}):
        raise ConnectionError
    pay(id)
    return VALUES[id % 9]
""")
    bench.prepare(dtypes={"x": "object"})
    with pytest.raises(ConnectionError):
        bench.vault.execute_instance("t")
    down.unlink()
    bench.vault.execute_instance("t")
    assert bench.calls() == 12
    first, again = bench.x()[:3], bench.x()[9:]
    assert first == again == [None, 2**70, b"x"]
    assert type(bench.x()[6]) is str


# -- arguments, rows, builders ---------------------------------------------------------------------


def test_an_earlier_prompt_costs_nothing(bench):
    bench.code("def ask(id, prompt):\n    pay(id)\n    return f'{prompt} {id}'\n")
    prompts = [{"id": "<<self.id[index]>>", "prompt": text} for text in ("A", "B", "A")]
    assert [bench.run(arguments=arguments) for arguments in prompts] == [12, 12, 0]
    assert bench.x()[3] == "A 3"
    assert bench.told()["reason"] == "argument `prompt` changed; made before"


def test_a_prompt_edited_while_paused_makes_all_rows_anew(bench, tmp_path):
    down = tmp_path / "down"
    down.touch()
    text = FAILS_AT_8.format(down=str(down)).replace("ask(id)", "ask(id, prompt)")
    bench.code(text.replace("2 * id", "prompt"))
    bench.prepare(arguments={"id": "<<self.id[index]>>", "prompt": "first"})
    with pytest.raises(ConnectionError):
        bench.vault.execute_instance("t", process_id="p")
    down.unlink()
    builder = bench.path / "temp/t/base/builders/ask.yaml"
    builder.write_text(builder.read_text().replace("first", "second"))
    bench.vault.execute_instance("t", process_id="p")
    assert bench.x() == ["second"] * 12
    assert bench.calls() == 20


def test_rows_that_went_and_came_back_cost_nothing(bench):
    bench.code(DOUBLE)
    assert bench.run() == 12
    assert bench.run({"id": [1, 2]}) == 0
    assert bench.run() == 0
    assert bench.run({"id": [5, 99]}) == 1


def test_calls_are_shared_between_versions_and_tables(bench):
    bench.code(DOUBLE)
    bench.vault.create_table("u")
    assert bench.run() == 12
    assert bench.run(version="large") == 0
    assert bench.run(table="u") == 0


def test_without_a_primary_key_equal_arguments_are_numbered(bench):
    bench.code("def ask(q):\n    pay(q)\n    return q.upper()\n")
    asked = {"arguments": {"q": "<<self.q[index]>>"}, "primary_key": []}
    assert bench.run({"q": ["a", "b", "a"]}, **asked) == 3
    assert bench.run({"q": ["a", "a", "a", "b"]}, **asked) == 1


def test_equal_arguments_are_asked_once_where_the_builder_says_so(bench):
    bench.code("def ask(q):\n    pay(q)\n    return q.upper()\n")
    asked = {"arguments": {"q": "<<self.q[index]>>"}}
    columns = {"id": list(range(6)), "q": ["a", "b", "a", "b", "c", "a"]}
    assert bench.run(columns, deduplicate=True, n_threads=3, **asked) == 3
    assert bench.x() == ["A", "B", "A", "B", "C", "A"]
    assert bench.run({"id": [9], "q": ["c"]}, deduplicate=True, **asked) == 0
    assert bench.run({"id": [10, 11, 12], "q": ["c", "c", "d"]}, **asked) == 1
    assert bench.run({"id": [13], "q": ["d"]}, deduplicate=True, **asked) == 0


def test_arguments_of_a_table_without_rows_are_asked_not_at_all(bench):
    bench.code("def ask(q):\n    pay(q)\n    return q.upper()\n")
    asked = {"arguments": {"q": "<<self.q[index]>>"}, "deduplicate": True}
    assert bench.run({"id": [], "q": []}, **asked) == 0
    assert bench.run({"id": [1, 2], "q": ["a", "a"]}, **asked) == 1


def test_a_file_beside_the_module_counts(bench):
    bench.code("""
from pathlib import Path

def ask(id):
    pay(id)
    return (Path(__file__).parent / "prompt.txt").read_text()
""")
    prompt = bench.path / "code/prompt.txt"
    counts = []
    for text in ("old", "new", "old"):
        prompt.write_text(text)
        counts.append(bench.run())
        assert bench.x() == [text] * 12
    assert counts == [12, 12, 0]


def test_tables_with_side_effects_take_nothing_from_elsewhere(vault, vault_path, tmp_path):
    bench = Bench(vault, vault_path, tmp_path / "paid")
    vault.create_table("mail", has_side_effects=True)
    bench.code("def ask(id, text):\n    pay(id)\n    return text\n")
    arguments = [{"id": "<<self.id[index]>>", "text": text} for text in ("A", "A", "B", "A")]
    calls = [bench.run(table="mail", arguments=given) for given in arguments]
    assert calls == [12, 0, 12, 12]


def test_a_deleted_file_of_records_costs_unclaimed_results_only(bench):
    bench.code("def ask(id, prompt):\n    pay(id)\n    return prompt\n")
    arguments = [{"id": "<<self.id[index]>>", "prompt": text} for text in "AB"]
    assert [bench.run(arguments=given) for given in arguments] == [12, 12]
    for file in (bench.path / ".git/tablevault").glob("calls.sqlite*"):
        file.unlink()
    bench.vault = TableVault(bench.path, "B")
    assert [bench.run(arguments=given) for given in (*arguments[::-1], arguments[1])] == [0, 0, 0]


def test_a_damaged_file_of_records_is_told_and_moved_aside(bench):
    bench.code(DOUBLE)
    assert bench.run() == 12
    bench.vault = TableVault(bench.path, "B")
    records = bench.path / ".git/tablevault/calls.sqlite"
    for file in records.parent.glob("calls.sqlite-*"):
        file.unlink()
    records.write_bytes(b"no database" * 1000)
    (problem,) = bench.vault.verify()
    assert (problem.where, problem.severity) == (".git/tablevault/calls.sqlite", "warning")
    assert [each.repaired for each in bench.vault.verify(repair=True)] == [True]
    assert bench.vault.verify() == []
    assert bench.run() == 0


# -- code ------------------------------------------------------------------------------------------


def test_an_edit_that_changes_nothing_makes_no_call(bench):
    bench.code(DOUBLE)
    assert bench.run() == 12
    edited = DOUBLE.replace("    return 2 * id", "    # a comment\n    return (2 * id)")
    edited = edited.replace("def ask(id):\n", 'def ask(id):\n    """Ask."""\n')
    bench.code(f"{edited}\n\nOTHER = 1\n\n\ndef unrelated():\n    return OTHER\n")
    assert bench.run() == 0
    assert bench.told()["reason"] == "unchanged"


def test_a_helper_that_changes_makes_every_row_anew_and_is_named(bench):
    text = "def twice(n):\n    return 2 * n\n\n\ndef ask(id):\n    pay(id)\n    return twice(id)\n"
    bench.code(text)
    assert bench.run() == 12
    bench.code(text.replace("2 * n", "n + n"))
    assert bench.run() == 12
    assert bench.told()["reason"] == "`ask` calls `twice`, which changed"


def test_a_helper_outside_the_vault_counts_and_is_named_in_a_warning(
    bench, tmp_path, monkeypatch, caplog
):
    folder = tmp_path / "script"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    helper = folder / "outside_helper.py"
    helper.write_text("def twice(n):\n    return 2 * n\n")
    bench.code(
        "def ask(id):\n    import importlib, outside_helper\n"
        "    importlib.reload(outside_helper)\n    pay(id)\n    return outside_helper.twice(id)\n"
    )
    assert [bench.run(), bench.run()] == [12, 0]
    assert 'Module "outside_helper" is used from' in caplog.text
    helper.write_text("def twice(n):\n    return 2 * n + 100\n")
    assert bench.run() == 12
    assert bench.x()[0] == 100


def test_a_version_stands_for_the_code(bench):
    bench.code(DOUBLE)
    assert bench.run(code_version="1") == 12
    bench.code(DOUBLE.replace("2 * id", "3 * id"))
    assert bench.run(code_version="1") == 0
    assert bench.run(code_version="2") == 12
    assert bench.x()[1] == 3


def test_accepted_code_makes_no_call_and_is_accepted_from_then_on(bench):
    bench.code(DOUBLE)
    assert bench.run() == 12
    bench.code(DOUBLE.replace("2 * id", "id + id"))
    assert bench.run(options={"accept_code": True}) == 0
    assert bench.run() == 0
    assert bench.run({"id": list(range(14))}) == 2


PROMPT = """
PROMPT = "Say something nice about {{}}"

def ask(id):
    if id == 8 and os.path.exists({down!r}):
        raise ConnectionError("no answer")
    pay(id)
    return PROMPT.format(id)
"""


@pytest.mark.parametrize(("accept", "calls"), [(True, 12), (False, 20)])
def test_a_prompt_in_code_that_changed_while_paused_has_to_be_decided(
    bench, tmp_path, accept, calls
):
    down = tmp_path / "down"
    down.touch()
    text = PROMPT.format(down=str(down))
    bench.code(text)
    bench.prepare()
    with pytest.raises(ConnectionError):
        bench.vault.execute_instance("t", process_id="p")
    down.unlink()
    bench.repair(text.replace("nice", "rude"))
    with pytest.raises(TVBuilderError, match=r"Say something nice.*changed after 8 rows") as caught:
        bench.vault.execute_instance("t", process_id="p")
    assert "accept_code=True" in str(caught.value)
    assert bench.calls() == 8
    assert list(bench.vault.get_active_processes()) == ["p"]
    bench.vault.execute_instance("t", process_id="p", accept_code=accept)
    assert bench.calls() == calls
    nice = [text for text in bench.x() if "nice" in text]
    assert len(nice) == (8 if accept else 0)


# -- whole tables ----------------------------------------------------------------------------------


FRAME = """
def ask(frame, factor):
    pay("frame")
    return pd.DataFrame({"x": frame["id"] * factor})
"""
ITEMS = """
def ask(frame, factor):
    for n in frame["id"]:
        pay(n)
        yield int(n) * factor
"""


@pytest.mark.parametrize(
    ("text", "kind", "price"), [(FRAME, "dataframe", 1), (ITEMS, "generator", 12)]
)
def test_builders_of_a_whole_table_are_called_when_their_key_is_new(bench, text, kind, price):
    bench.code(text)
    told = [
        bench.run(return_type=kind, arguments={"frame": "<<self.id>>", "factor": factor})
        for factor in (2, 2, 3, 2)
    ]
    assert told == [price, 0, price, 0]
    assert bench.x() == EXPECTED
    shorter = {"id": [1, 2]}
    given = {"return_type": kind, "arguments": {"frame": "<<self.id>>", "factor": 2}}
    assert bench.run(shorter, **given) == min(price, 2)


def test_an_index_builder_that_has_finished_is_not_called_again_by_its_process(bench, tmp_path):
    down = tmp_path / "down"
    down.touch()
    bench.code(
        FAILS_AT_8.format(down=str(down))
        + "\n\ndef made(n):\n    pay('index')\n    return pd.DataFrame({'id': range(n)})\n"
    )
    index = {**INDEX, "python_function": "made", "changed_columns": ["id"], "arguments": {"n": 12}}
    texts = {"t_index": yaml.safe_dump(index), "ask": yaml.safe_dump(ASK)}
    bench.vault.create_instance("t", builders=texts)
    with pytest.raises(ConnectionError):
        bench.vault.execute_instance("t", process_id="p")
    down.unlink()
    bench.vault.execute_instance("t", process_id="p")
    assert bench.paid.read_text().splitlines().count("index") == 1


SOURCE = """
def source(path):
    pay("index")
    return pd.read_csv(path)

def ask(id):
    if os.path.exists({down!r}):
        raise ConnectionError("no answer")
    return id
"""


@pytest.mark.parametrize("first", ["id\n1\n2\n", "id\n1\n1\n"], ids=["right", "twice"])
@pytest.mark.parametrize("ids", [("", ""), ("p", "p")], ids=["none", "same"])
def test_what_an_index_builder_reads_is_read_again_unless_its_process_has_it(
    bench, tmp_path, first, ids
):
    down, source = tmp_path / "down", tmp_path / "source.csv"
    down.touch()
    source.write_text(first)
    bench.code(SOURCE.format(down=str(down)))
    index = {**INDEX, "python_function": "source", "changed_columns": ["id"], "primary_key": ["id"]}
    index["arguments"] = {"path": str(source)}
    texts = {"t_index": yaml.safe_dump(index), "ask": yaml.safe_dump(ASK)}
    bench.vault.create_instance("t", builders=texts)
    with pytest.raises((ConnectionError, TVTableError)):
        bench.vault.execute_instance("t", process_id=ids[0])
    down.unlink()
    source.write_text("id\n7\n8\n")
    bench.vault.execute_instance("t", process_id=ids[1])
    has_it = ids[1] and "2" in first
    assert bench.x() == ([1, 2] if has_it else [7, 8])
    assert bench.paid.read_text().splitlines().count("index") == (1 if has_it else 2)


def test_rows_of_an_earlier_attempt_are_seen_where_they_are_now(bench, tmp_path):
    down, source = tmp_path / "down", tmp_path / "source.csv"
    down.touch()
    source.write_text("id\n1\n2\n3\n")
    text = SOURCE.format(down=str(down)).replace("if os", "if id == 3 and os")
    bench.code(text)
    index = {**INDEX, "python_function": "source", "changed_columns": ["id"], "primary_key": ["id"]}
    index["arguments"] = {"path": str(source)}
    texts = {"t_index": yaml.safe_dump(index), "ask": yaml.safe_dump(ASK)}
    bench.vault.create_instance("t", builders=texts)
    with pytest.raises(ConnectionError):
        bench.vault.execute_instance("t")
    source.write_text("id\n7\n1\n3\n2\n")
    with pytest.raises(ConnectionError):
        bench.vault.execute_instance("t", process_id="p")
    frame, _ = bench.vault.get_dataframe("t", "TEMP_base")
    assert frame["id"].tolist() == [7, 1, 3, 2]
    assert frame["x"].fillna(0).tolist() == [7, 1, 0, 2]
    bench.vault.stop_process("p", materialize=True)
    assert bench.vault.get_dataframe("t")[0]["x"].fillna(0).tolist() == [7, 1, 0, 2]


@pytest.mark.parametrize("process_id", ["", "p"])
def test_a_dataframe_that_does_not_fit_is_asked_for_again_after_a_repair(bench, process_id):
    text = "def ask(frame):\n    pay('frame')\n    return pd.DataFrame({'x': ['a'] * len(frame)})\n"
    bench.code(text)
    given = {"return_type": "dataframe", "arguments": {"frame": "<<self.id>>"}}
    bench.prepare(dtypes={"x": "Int64"}, **given)
    with pytest.raises(TVTableError, match="does not fit"):
        bench.vault.execute_instance("t", process_id=process_id)
    bench.repair(text.replace("'a'", "5"))
    bench.vault.execute_instance("t", process_id=process_id)
    assert bench.x() == [5] * 12
    assert bench.calls() == 2


# -- upkeep ----------------------------------------------------------------------------------------


def test_gc_forgets_old_results_that_no_instance_holds(bench):
    down = bench.fail_at_8()
    assert bench.vault.gc(calls_older_than_days=0).calls == 0
    bench.vault.delete_instance("TEMP_base", "t")
    assert bench.vault.gc().calls == 0
    assert bench.vault.gc(calls_older_than_days=0, dry_run=True).calls >= 8
    assert bench.vault.gc(calls_older_than_days=0).calls >= 8
    down.unlink()
    assert bench.run() == 12
    assert bench.vault.gc(calls_older_than_days=0).calls == 0
    assert bench.run({"id": [0]}) == 0


def test_an_archive_takes_results_along(bench, vault_path):
    from tablevault import compress_vault, decompress_vault, delete_vault

    down = bench.fail_at_8()
    compress_vault(vault_path, preset=0)
    delete_vault(vault_path)
    decompress_vault(vault_path)
    down.unlink()
    bench.vault = TableVault(vault_path, "B")
    bench.vault.execute_instance("t")
    assert bench.calls() == 12


def test_two_executions_that_make_the_same_calls_lose_nothing(bench, python):
    bench.code(
        "import time\n\ndef ask(id):\n    time.sleep(0.001)\n    pay(id)\n    return 2 * id\n"
    )
    bench.vault.create_table("u")
    bench.prepare()
    bench.prepare(table="u")
    both = [python(EXECUTE, bench.path, table) for table in ("t", "u")]
    assert [process.wait() for process in both] == [0, 0]
    assert 12 <= bench.calls() <= 24
    assert bench.x() == bench.x("u") == EXPECTED
    assert bench.run(version="again") == 0
