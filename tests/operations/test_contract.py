"""What executions promise beyond one builder: kinds of instances, copies, names, dtypes."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tablevault import TableVault
from tablevault.errors import TableReferenceError, TVBuilderError, TVTableError
from tests.looking import check_clean, git

CODE = """\

import pandas as pd


def rows(values, **_):
    return pd.DataFrame({"n": values})


def same(x, **_):
    return x


def frame(x):
    return x


def count(x):
    return pd.DataFrame({"n": [len(x)]})


def fail(x):
    if x == 2:
        raise RuntimeError("two")
    return x


def again(old):
    return old + 1


def kept(values):
    return pd.DataFrame({"m": pd.Series(values, dtype=object)})
"""


def builder(kind: str, columns: object, function: str, arguments: object, **more: object) -> str:
    """Format a builder."""
    fields = {
        "builder_type": f"{kind}Builder",
        "changed_columns": columns,
        "python_function": function,
        "code_module": "m",
        "is_custom": True,
        "arguments": arguments,
    }
    return yaml.safe_dump(fields | more, sort_keys=False)


def index(values: object = (1, 2, 3), **more: object) -> str:
    """Format an index builder that makes the column n."""
    return builder("Index", ["n"], "rows", {"values": list(values)}, **more)


def each(reference: str, column: str = "o", function: str = "same", **more: object) -> str:
    """Format a row-wise column builder with one argument."""
    return builder(
        "Column", [column], function, {"x": reference}, **{"return_type": "row-wise", **more}
    )


def put(vault: TableVault, table: str, version: str = "base", **columns: object) -> str:
    """Write an instance; give its id."""
    vault.create_instance(table, version, external_edit=True)
    vault.write_instance(pd.DataFrame(columns), table, version)
    return vault.get_table_instances(table, version)[-1]


def run(vault: TableVault, table: str, version: str = "base", **builders: str) -> pd.DataFrame:
    """Execute; the builder called `index` is the index builder."""
    texts = {f"{table}_index" if name == "index" else name: t for name, t in builders.items()}
    vault.create_instance(table, version, builders=texts)
    vault.execute_instance(table, version)
    return vault.get_dataframe(table, version=version)[0]


@pytest.fixture
def made(vault: TableVault) -> TableVault:
    """Make two tables, and the functions."""
    vault.create_code_module("m", text=CODE)
    vault.create_table("t")
    vault.create_table("s")
    return vault


# -- which instance is meant ----------------------------------------------------------------------


def partial(vault: TableVault, table: str) -> str:
    """Make an instance of which the last row was never computed."""
    texts = {f"{table}_index": index(), "o": each("<<self.n[index]>>", function="fail")}
    vault.create_instance(table, builders=texts)
    with pytest.raises(RuntimeError):
        vault.execute_instance(table, process_id=f"pause {len(vault.log())}", force_execute=True)
    (process,) = vault.get_active_processes()
    vault.stop_process(process, materialize=True)
    return vault.get_table_instances(table)[-1]


def test_a_read_sees_partial_instances_and_a_reference_prefers_whole_ones(
    made: TableVault,
) -> None:
    half = partial(made, "s")
    assert made.get_dataframe("s")[1] == half
    with pytest.raises(TVTableError):
        made.get_dataframe("s", successful_only=True)
    assert run(made, "t", index=builder("Index", ["n"], "count", {"x": "<<s.n>>"}))["n"][0] == 3
    assert depends(made, "t") == [["s", half]]
    whole = put(made, "s", n=[1])
    half = partial(made, "s")
    assert made.get_dataframe("s")[1] == half
    assert made.get_dataframe("s", successful_only=True)[1] == whole
    run(made, "t", index=builder("Index", ["n"], "count", {"x": "<<s.n>>"}))
    assert depends(made, "t") == [["s", whole]]
    made.create_instance("s", copy=True)
    assert made.get_descriptions("TEMP_base", "s")["origin"] == [whole, "s"]


def test_a_whole_run_after_a_partial_one_is_recorded_as_whole(vault: TableVault) -> None:
    vault.create_code_module("m", text=CODE)
    vault.create_table("t", has_side_effects=True)
    half = partial(vault, "t")
    run(vault, "t", index=index(), o=each("<<self.n[index]>>"))
    now = vault.get_dataframe("t", successful_only=True)[1]
    told = [
        (vault.get_descriptions(name)["success"], vault.get_descriptions(name)["active"])
        for name in (half, now)
    ]
    assert told == [(False, False), (True, True)]


def depends(vault: TableVault, table: str) -> object:
    """Return what the latest instance of a table says that it was made from."""
    return vault.get_descriptions(vault.get_table_instances(table)[-1])["dependencies"]


def test_an_inactive_instance_is_read_by_its_id_and_by_no_other_name(vault: TableVault) -> None:
    vault.create_code_module("m", text=CODE)
    vault.create_table("s", has_side_effects=True)
    vault.create_table("t")
    first = put(vault, "s", n=[1])
    put(vault, "s", n=[2])
    assert vault.get_descriptions(first)["active"] is False
    for _ in range(3):
        frame = run(vault, "t", index=index([0]), o=each(f"<<s({first}).n[index]>>"))
        assert frame["o"].tolist() == [1]
    assert run(vault, "t", index=index([0]), o=each("<<s.n[index]>>"))["o"].tolist() == [2]
    # The own table by its name is what was there before, active or not.
    assert run(vault, "s", index=index([0]), o=each("<<s.n[index]>>"))["o"].tolist() == [2]


def test_a_temporary_instance_whose_origin_is_gone_runs_from_nothing(
    made: TableVault, vault_path: Path
) -> None:
    run(made, "t", index=index(), o=each("<<self.n[index]>>"))
    (first,) = made.get_table_instances("t")
    made.create_instance("t", copy=True)
    made.delete_instance(first, "t")
    made.execute_instance("t")
    assert made.get_dataframe("t")[0]["o"].tolist() == [1, 2, 3]
    check_clean(vault_path)


# -- tables made of tables ------------------------------------------------------------------------


def test_a_table_is_copied_by_naming_it(made: TableVault) -> None:
    put(made, "s", id=[1, 2], name=["a", None], when=pd.to_datetime(["2024-01-01", None]))
    frame = run(made, "t", index=builder("Index", ["id", "name", "when"], "frame", {"x": "<<s>>"}))
    pd.testing.assert_frame_equal(frame, made.get_dataframe("s")[0])


def test_every_column_of_a_rewritten_copy_can_be_referred_to(made: TableVault) -> None:
    put(made, "s", a=[1, 2], b=["x", "y"])
    made.create_instance("s", copy=True, external_edit=True)
    made.write_instance(pd.DataFrame({"a": [1, 2], "b": ["x", "z"]}), "s")
    frame = run(
        made, "t", index=index([0, 1]), a=each("<<s.a[index]>>", "a"), b=each("<<s.b[index]>>", "b")
    )
    assert (frame["a"].tolist(), frame["b"].tolist()) == ([1, 2], ["x", "z"])


def test_row_wise_index_builders_go_on_from_the_rows_before(made: TableVault) -> None:
    run(made, "t", index=index([1, 2, 3]))
    made.create_instance(
        "t",
        copy=True,
        builders={
            "t_index": builder(
                "Index", ["n"], "again", {"old": "<<t.n[index]>>"}, return_type="row-wise"
            )
        },
    )
    made.execute_instance("t")
    assert made.get_dataframe("t")[0]["n"].tolist() == [2, 3, 4]


def test_a_copy_after_a_rename_executes_and_names_what_it_comes_from(made: TableVault) -> None:
    run(made, "t", index=index())
    put(made, "s", n=[5])
    run(made, "t", index=index(), o=each("<<s.n[index::0]>>"))
    first = made.get_table_instances("t")[-1]
    made.rename_table("u", "t")
    made.rename_table("r", "s")
    (source,) = made.get_table_instances("r")
    assert made.get_descriptions(first)["dependencies"] == [["r", source]]
    made.create_instance("u", copy=True)
    assert made.get_builders_list("u") == ["o", "u_index"]
    assert made.get_descriptions("TEMP_base", "u")["origin"] == [first, "u"]
    with pytest.raises(TableReferenceError, match=r'"s".*"r"'):
        made.execute_instance("u")
    made.create_builder_file("u", "o", text=each("<<r.n[index::0]>>"))
    made.execute_instance("u")
    assert made.get_dataframe("u")[0]["o"].tolist() == [5, 5, 5]
    assert depends(made, "u") == [["r", source]]


# -- dependencies ---------------------------------------------------------------------------------


def test_a_dependency_is_recorded_once_however_often_it_is_named(
    made: TableVault, vault_path: Path
) -> None:
    source = put(made, "s", a=[1, 2, 3], b=[4, 5, 6])
    run(
        made,
        "t",
        index=index(),
        o=each("<<s.a[index]>>"),
        p=each("<<s(base).b[b::<<s.b[index]>>]>>", "p"),
        q=each(f"<<s({source}).a[a::1]>>", "q", dependencies=["s", "s.a", "s.{a,b}"]),
    )
    assert depends(made, "t") == [["s", source]]
    trailers = git(vault_path, "log", "-1", "--format=%(trailers:key=Vault-Depends-On,valueonly)")
    assert trailers.split() == [f"s/{source}"]
    document = yaml.safe_load((vault_path / "tables/t/base/instance.yaml").read_text())
    assert str(document["dependencies"]).count(source) == 1


def test_a_dependency_that_no_reference_shows_is_recorded(made: TableVault) -> None:
    source = put(made, "s", a=[1], b=[2])
    run(made, "t", index=index(dependencies=["s.*"]))
    assert depends(made, "t") == [["s", source]]


# -- fields ---------------------------------------------------------------------------------------


def test_lists_of_names_may_hold_references(made: TableVault) -> None:
    put(made, "s", key=["column", "dtype"], value=["n", "Float64"])
    name, dtype = "<<s.value[key::column]>>", "<<s.value[key::dtype]>>"
    text = builder(
        "Index",
        [name],
        "rows",
        {"values": [3, 1], name: 1},
        primary_key=[name],
        dtypes={name: dtype},
    )
    frame = run(made, "t", index=text)
    assert frame["n"].tolist() == [3.0, 1.0]
    assert str(frame["n"].dtype) == "Float64"
    with pytest.raises(TVTableError, match=r'"n"'):
        run(made, "t", index=text.replace("- 3\n", "- 1\n"))


def test_a_field_that_is_misspelt_by_hand_is_an_error_when_it_is_executed(
    made: TableVault, vault_path: Path
) -> None:
    made.create_instance("t", builders={"t_index": index()})
    edited = vault_path / "temp/t/base/builders/t_index.yaml"
    edited.write_text(edited.read_text() + "n_thread: 3\n")
    with pytest.raises(TVBuilderError, match=r'"n_thread"\. Did you mean "n_threads"'):
        made.execute_instance("t")


# -- dtypes ---------------------------------------------------------------------------------------

DAY = dt.datetime(2024, 5, 17, 12, 30)  # noqa: DTZ001 - what dtypes without a zone hold
VALUES = {
    **{f"{sign}Int{bits}": [1, None, 100] for sign in ("", "U") for bits in (8, 16, 32, 64)},
    **{name: [0.5, None, 2.0] for name in ("Float32", "Float64")},
    "boolean": [True, None, False],
    "string": ["", None, "NA"],
    "object": [[1], None, {"a": "b"}],
    "category": ["x", None, "x"],
    "datetime64[ns]": [pd.Timestamp(DAY), None, pd.Timestamp(DAY)],
    "datetime64[s]": [pd.Timestamp(DAY), None, pd.Timestamp(DAY)],
    "datetime64[us, Europe/Rome]": [pd.Timestamp(DAY, tz="Europe/Rome"), None] * 2,
    "timedelta64[ns]": [pd.Timedelta("1 day"), None, pd.Timedelta("3s")],
    "period[M]": [pd.Period("2024-01", "M"), None, pd.Period("1999-12", "M")],
    "interval": [pd.Interval(1, 2), None, pd.Interval(3, 5)],
}


@pytest.mark.parametrize("how", ["dataframe", "row-wise", "generator"])
def test_each_dtype_is_kept_by_each_kind_of_builder(
    made: TableVault, monkeypatch: pytest.MonkeyPatch, how: str, vault_path: Path
) -> None:
    code = {
        "dataframe": "pd.DataFrame({name: pd.Series(VALUES[name], dtype=object)})",
        "row-wise": "VALUES[name][row]",
        "generator": "iter(VALUES[name])",
    }[how]
    text = f"import pandas as pd\nimport datetime as dt\nfrom numpy import nan\n\nDAY = {DAY!r}\n"
    text = text.replace("datetime.datetime", "dt.datetime")
    source = Path(__file__).read_text().split("VALUES = {\n", 1)[1].split("\n}\n", 1)[0]
    text += f"VALUES = {{\n{source}\n}}\n\n\ndef give(name, row=0):\n    return {code}\n"
    made.create_code_module("given", text=text)
    row = {"row": "<<self.index>>"} if how == "row-wise" else {}
    length = {name: len(values) for name, values in VALUES.items()}
    for rows in sorted(set(length.values())):
        names = [name for name in VALUES if length[name] == rows]
        texts = {
            f"c{n}": builder(
                "Column",
                [name],
                "give",
                {"name": name, **row},
                return_type=how,
                dtypes={name: name},
            ).replace("code_module: m", "code_module: given")
            for n, name in enumerate(names)
        }
        frame = run(made, "t", index=index(range(rows)), **texts)
        for name in names:
            kept = frame[name]
            if name not in {"interval", "category"}:
                assert str(kept.dtype) == name
            for got, want in zip(kept, VALUES[name], strict=True):
                assert (got is None or pd.isna(got)) if want is None else got == want, name
    check_clean(vault_path)


def test_what_no_builder_promises_is_no_instance(made: TableVault, vault_path: Path) -> None:
    run(made, "t", index=index())
    before = git(vault_path, "for-each-ref")
    for text in (
        index(return_type="rowwise"),
        builder("Index", ["n", "m"], "rows", {"values": [1]}),
        builder("Index", ["n"], "same", {"x": [1, 2]}),
        builder("Column", ["n"], "rows", {"values": [1]}),
    ):
        made.create_instance("t", builders={"t_index": text})
        with pytest.raises(TVBuilderError):
            made.execute_instance("t")
        made.delete_instance("TEMP_base", "t")
    assert git(vault_path, "for-each-ref", "refs/tags") == "".join(
        line + "\n" for line in before.splitlines() if "refs/tags" in line
    )
    assert made.get_dataframe("t")[0]["n"].tolist() == [1, 2, 3]
    check_clean(vault_path)
