"""Arguments of a wrong type are told at the door, and what looks like the right type passes."""

from __future__ import annotations

import enum
import inspect
import pickle
import warnings
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from tablevault import TableVault, core
from tablevault.argument_types import checked
from tablevault.errors import TVArgumentError
from tests.looking import check_clean, git, state_of

METHODS = {
    name: member
    for name, member in vars(TableVault).items()
    if inspect.isfunction(member) and not name.startswith("_")
}
FUNCTIONS = [core.clone_vault, core.compress_vault, core.decompress_vault, core.delete_vault]
ARGUMENTS = [
    (name, argument)
    for name, member in METHODS.items()
    for argument in inspect.signature(member).parameters
    if (name, argument) != ("write_instance", "table_df") and argument != "self"
]


@pytest.fixture
def table(vault: TableVault) -> TableVault:
    """A vault with one table of two rows."""
    vault.create_table("t")
    vault.create_instance("t", external_edit=True)
    vault.write_instance(pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}), "t")
    return vault


def test_no_argument_of_a_public_method_takes_anything(table: TableVault, vault_path: Path) -> None:
    before = state_of(vault_path)
    for name, argument in ARGUMENTS:
        method = getattr(table, name)
        given = {
            other: "t"
            for other, parameter in inspect.signature(method).parameters.items()
            if parameter.default is inspect.Parameter.empty
        }
        with pytest.raises(TVArgumentError, match=rf"^Argument {argument} of {name} is <obj"):
            method(**{**given, argument: object()})
    assert state_of(vault_path) == before
    check_clean(vault_path)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_argument_of_a_public_function_takes_anything(function: object) -> None:
    assert callable(function)
    parameters = inspect.signature(function).parameters
    for argument in parameters:
        given = {
            other: "t"
            for other, parameter in parameters.items()
            if parameter.default is inspect.Parameter.empty
        }
        with pytest.raises(TVArgumentError, match=f"^Argument {argument} of"):
            function(**{**given, argument: object()})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"rows": 1.5},
            r"rows of get_dataframe is 1\.5 \(float\)\. It has to be a whole number or",
        ),
        ({"rows": "2"}, r"rows of get_dataframe is '2' \(str\)"),
        ({"rows": True}, r"rows of get_dataframe is True \(bool\)"),
        ({"rows": np.True_}, r"rows of get_dataframe is np\.True_ \(bool\)"),
        ({"columns": "ab"}, r"columns of get_dataframe is 'ab' \(str\)\. It has to be a list or"),
        ({"columns": b"ab"}, r"columns of get_dataframe is b'ab'"),
        ({"columns": 5}, r"columns of get_dataframe is 5 \(int\)"),
        ({"columns": {"a": "Int64"}}, r"columns of get_dataframe is \{'a': 'Int64'\} \(dict\)"),
        ({"version": None}, r"version of get_dataframe is None \(NoneType\)\. It has to be text"),
        ({"instance_id": 5}, r"instance_id of get_dataframe is 5 \(int\)"),
        ({"active_only": "no"}, r"active_only of get_dataframe is 'no'.*True or False"),
        ({"active_only": 2}, r"active_only of get_dataframe is 2"),
        ({"version": ["x" * 1000]}, r"version of get_dataframe is \['x{58}\.\.\. \(list\)"),
    ],
)
def test_an_argument_is_named_with_its_value(
    table: TableVault, given: dict[str, object], said: str
) -> None:
    with pytest.raises(TVArgumentError, match=f"^Argument {said}") as caught:
        table.get_dataframe("t", **given)  # type: ignore[arg-type]  # wrong on purpose
    assert caught.value.argument == next(iter(given))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        {"rows": np.int64(1)},
        {"rows": 1, "columns": ("a", "b")},
        {"rows": 1, "columns": pd.Index(["a", "b"])},
        {"rows": 1, "columns": np.array(["a", "b"])},
        {"rows": 1, "columns": {"a": 0, "b": 0}.keys()},
        {"rows": 1, "active_only": 1, "successful_only": np.False_},
        {"rows": 1, "version": np.str_("base")},
    ],
)
def test_what_counts_as_the_type_passes(table: TableVault, given: dict[str, object]) -> None:
    frame, _ = table.get_dataframe("t", **given)  # type: ignore[arg-type]  # that is what is asked
    assert frame.to_numpy().tolist() == [[1, "x"]]


class Name(str, enum.Enum):  # noqa: UP042 - an f-string of its members shows Name.PEOPLE
    """Names, as people write them down once."""

    PEOPLE = "people"
    NOTE = "two words"


@pytest.mark.parametrize(
    ("name", "note"),
    [(Name.PEOPLE, Name.NOTE), (np.str_("people"), np.str_("two words"))],
    ids=["enumeration", "numpy"],
)
def test_text_of_subclasses_is_plain_text(vault, vault_path, name, note):
    vault.create_table(name, description=note, process_id=note)
    vault.create_instance(name, name, external_edit=True, description=note)
    frame = pd.DataFrame({"a": ["1"]})
    vault.write_instance(frame, name, name, np.array([]), {"a": np.str_("Int64")}, process_id=name)
    read, instance_id = vault.get_dataframe("people", version="people", columns=["a"])
    assert read["a"].tolist() == [1]
    assert vault.get_descriptions(table_name="people")["summary"] == "two words"
    assert vault.get_descriptions(instance_id, "people")["summary"] == "two words"
    assert list(vault.log(limit=3)["process_id"])[::2] == ["people", "two words"]
    check_clean(vault_path)


def test_flags_and_numbers_of_numpy_are_plain(table):
    builder = """
        {builder_type: IndexBuilder, changed_columns: [a], arguments: {vals: [1]},
         python_function: create_data_table_from_list, code_module: table_generation}
    """
    table.create_table("made")
    table.create_instance("made", builders={np.str_("made_index"): np.str_(builder)})
    table.execute_instance(
        "made",
        force_execute=np.True_,
        process_id="p",
        max_calls=np.int64(3),
        max_cost=np.float64(2),
    )
    assert table.get_dataframe("made")[0]["a"].tolist() == [1]
    table.set_config("prices.m", {np.str_("input"): np.float64(1.5), "output": np.int64(2)})
    assert table.get_config("prices.m") == {"input": 1.5, "output": 2}


def test_the_constructor_is_checked_too(tmp_path: Path) -> None:
    with pytest.raises(TVArgumentError, match=r"^Argument db_dir is 5 \(int\)\. .*text or a path"):
        TableVault(5, "Ana")  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(TVArgumentError, match=r"^Argument author is 5"):
        TableVault(tmp_path / "v", 5, create=True)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(TVArgumentError, match=r"^Argument lock_timeout is 'long'"):
        TableVault(tmp_path / "v", "Ana", lock_timeout="long")  # type: ignore[arg-type]  # so
    assert list(tmp_path.iterdir()) == []
    assert TableVault(tmp_path / "v", None, create=True).get_table_instances() == []


def test_what_does_not_fit_the_signature_stays_a_type_error(table: TableVault) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'row'"):
        table.get_dataframe("t", row=1)  # type: ignore[call-arg]  # wrong on purpose
    with pytest.raises(TypeError, match="missing a required argument: 'table_name'"):
        table.get_dataframe()  # type: ignore[call-arg]  # wrong on purpose


def test_signature_and_documentation_stay() -> None:
    parameter = inspect.signature(TableVault.get_dataframe).parameters["rows"]
    assert (parameter.default, parameter.annotation) == (None, int | None)
    assert (TableVault.get_dataframe.__doc__ or "").startswith("Read")


def test_types_that_are_not_known_are_not_checked() -> None:
    def call(a, b, c):  # type: ignore[no-untyped-def]
        return f"{a}{b}{c}"

    call.__annotations__ = {"a": frozenset[int] | None, "c": str}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert checked(call)(object, object, "c").endswith("c")
    with pytest.raises(TVArgumentError):
        checked(call)(None, None, 1)


@pytest.mark.parametrize(
    "act",
    [
        lambda vault, text: vault.create_table("u", description=text),
        lambda vault, text: vault.create_instance("t", description=text),
        lambda vault, text: vault.create_code_module("m", text=text),
    ],
    ids=["table", "instance", "code"],
)
def test_text_that_cannot_be_written_is_refused(table, vault_path, act):
    before = state_of(vault_path)
    with pytest.raises(TVArgumentError, match=r"'half \\ud800' \(str\).*halves of surrogate pairs"):
        act(table, "half \ud800")
    assert state_of(vault_path) == before
    assert table.get_active_processes() == {}


def test_names_of_files_are_what_the_system_has(tmp_path):
    """Python spells bytes that are no UTF-8 as halves of surrogate pairs."""
    folder = tmp_path / "caf\udce9"
    vault = TableVault(str(folder), "A", create=True)
    vault.create_table("t")
    assert TableVault(str(folder), "A").get_table_instances() == ["t"]


def arguments_of(table):
    """Yield each argument of the API: the call, name, annotation, and values of required ones."""
    calls = [(getattr(table, name), member) for name, member in METHODS.items()]
    calls += [(function, function) for function in [*FUNCTIONS, TableVault]]
    for call, member in calls:
        parameters = inspect.signature(member).parameters
        given = {
            name: "t"
            for name, each in parameters.items()
            if each.default is inspect.Parameter.empty and name != "self"
        }
        for name, each in parameters.items():
            yield call, name, each.annotation, given


FREE_TEXTS = {"description", "text", "author", "process_id", "parent_id"}


@pytest.mark.parametrize("make", [str, Path], ids=["text", "path"])
def test_no_name_and_no_path_holds_a_nul(table, vault_path, make):
    before = state_of(vault_path)
    tried = 0
    for call, argument, annotation, given in arguments_of(table):
        types = get_args(annotation) or [annotation]
        takes = "PathLike" in str(types) or (make is str and str in types)
        if argument in FREE_TEXTS or not takes:
            continue
        with pytest.raises(TVArgumentError, match=f"^Argument {argument}.* without NUL"):
            call(**given | {argument: make("t\0x")})
        tried += 1
    assert tried > (40 if make is str else 5)
    assert state_of(vault_path) == before


@pytest.mark.parametrize("text", ["x" * 300, "builder_type: ColumnBuilder\n" * 300])
def test_no_path_is_longer_than_the_file_system_allows(table, vault_path, text):
    before = state_of(vault_path)
    tried = 0
    for call, argument, annotation, given in arguments_of(table):
        if "PathLike" not in str(annotation):
            continue
        with pytest.raises(TVArgumentError, match=f"^Argument {argument}.* is too long"):
            call(**given | {argument: text})
        tried += 1
    assert tried > 5
    assert state_of(vault_path) == before


def test_an_address_may_be_longer_than_a_path(table, vault_path):
    url = f"https://example.org/{'x' * 300}"
    table.add_remote("origin", url)
    assert git(vault_path, "remote", "get-url", "origin").strip() == url


@pytest.mark.parametrize("side", ["mine", {"x": 1}, None])
def test_a_conflict_is_resolved_by_a_side(table, side):
    with pytest.raises(TVArgumentError, match=r'^resolve\["tables/t"\] is .*"ours" or "theirs"'):
        table.pull(resolve={"tables/t": side})
