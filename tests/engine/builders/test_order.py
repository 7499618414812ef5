"""Which builder, and which place in it, names a table that cannot be read."""

from __future__ import annotations

import pytest

from tablevault.engine.builders.builder import parse_builder
from tablevault.engine.builders.order import make_plan, with_location
from tablevault.engine.builders.reads import Dependency
from tablevault.errors import TableReferenceError, TVArgumentError, TVBuilderError


def builder(name, columns, *, x="1", more=""):
    kind = "IndexBuilder" if name == "t_index" else "ColumnBuilder"
    text = f"""
builder_type: {kind}
changed_columns: {columns}
python_function: f
code_module: m
arguments: {{x: "{x}"}}
{more}
"""
    return parse_builder(name, text, table="t")


def index(columns="[k]", **more):
    return builder("t_index", columns, **more)


def names(plan):
    return [each.name for each in plan.order]


def test_the_index_builder_runs_first_and_ties_are_alphabetical():
    plan = make_plan([builder("b", "[b]"), builder("a", "[a]"), index()], table="t")
    assert names(plan) == ["t_index", "a", "b"]
    assert plan.columns == ("k", "a", "b")
    assert plan.index.name == "t_index"


def test_a_builder_runs_after_those_whose_columns_it_reads():
    plan = make_plan(
        [index(), builder("a", "[a]", x="<<self.c[index]>>"), builder("c", "[c]")], table="t"
    )
    assert names(plan) == ["t_index", "c", "a"]
    assert plan.reads == {"t_index": (), "a": ("c", "t_index"), "c": ("t_index",)}


def test_references_nested_in_conditions_count():
    plan = make_plan(
        [
            index(),
            builder("a", "[a]", x="<<people.name[id::<<self.c[index]>>]>>"),
            builder("c", "[c]"),
        ],
        table="t",
    )
    assert names(plan) == ["t_index", "c", "a"]
    assert plan.external == (Dependency(table="people", columns=("id", "name")),)


def test_keys_of_conditions_count():
    plan = make_plan(
        [index(), builder("a", "[a]", x="<<self.k[c::1]>>"), builder("c", "[c]")], table="t"
    )
    assert names(plan) == ["t_index", "c", "a"]


def test_the_whole_table_is_read_after_all_builders_before_in_the_alphabet():
    plan = make_plan(
        [
            index(),
            builder("a", "[a]", x="<<self.c[index]>>"),
            builder("b", "[b]", x="<<self>>"),
            builder("c", "[c]"),
        ],
        table="t",
    )
    assert names(plan) == ["t_index", "c", "a", "b"]


def test_the_whole_table_is_read_before_builders_that_need_the_result():
    plan = make_plan(
        [
            index(),
            builder("a", "[a]", x="<<self.b[index]>>"),
            builder("b", "[b]", x="<<self>>"),
        ],
        table="t",
    )
    assert names(plan) == ["t_index", "b", "a"]


def test_a_circle_is_printed():
    with pytest.raises(TVBuilderError, match=r'"[ab]" reads "[ab]" reads "[ab]"') as caught:
        make_plan(
            [
                index(),
                builder("a", "[a]", x="<<self.b[index]>>"),
                builder("b", "[b]", x="<<self.a[index]>>"),
            ],
            table="t",
        )
    assert "circle" in str(caught.value)


def test_an_index_builder_cannot_read_columns_of_others():
    with pytest.raises(TVBuilderError, match="runs first"):
        make_plan([index(x="<<self.a>>"), builder("a", "[a]")], table="t")


@pytest.mark.parametrize("name", ["t_index", "k"])
def test_a_builder_may_read_its_own_columns(name):
    own = index("[own]", x="<<self.own[index]>>")
    if name == "k":
        plan = make_plan([index(), builder("k", "[own]", x="<<self.own[index]>>")], table="t")
    else:
        plan = make_plan([own], table="t")
    assert plan.order[-1].name == name


def test_an_index_builder_is_needed():
    with pytest.raises(TVBuilderError, match=r'no index builder.*"t_index"'):
        make_plan([builder("a", "[a]")], table="t")


@pytest.mark.parametrize("other", [index("[a]"), builder("c", "[a]")])
def test_a_column_has_one_builder(other):
    builders = [builder("a", "[a]"), other]
    if other.name != "t_index":
        builders.append(index())
    with pytest.raises(TVBuilderError, match=r'both make the column "a"'):
        make_plan(builders, table="t")


def test_external_tables_are_named_once_for_each_selector():
    plan = make_plan(
        [
            index(x="<<people.name>>"),
            builder("a", "[a]", x="<<people.age[id::1]>> <<vers(base).v>>"),
            builder("b", "[b]", x="<<vers>> <<vers.v[index::0]>>", more="dependencies: [t, one.v]"),
            builder("c", "[c]", x="<<ev.<<cfg.value[key::col]>>[amt::1]>>"),
        ],
        table="t",
    )
    assert plan.external == (
        Dependency(table="cfg", columns=("key", "value")),
        Dependency(table="ev"),
        Dependency(table="one", columns=("v",)),
        Dependency(table="people", columns=("age", "id", "name")),
        Dependency(table="t"),
        Dependency(table="vers"),
        Dependency(table="vers", selector="base", columns=("v",)),
    )


def test_references_in_any_field_count():
    text = "dtypes: {'<<cfg.value[key::col]>>': '<<one.v[v::1]>>'}"
    plan = make_plan([index(more=text)], table="t")
    assert [each.table for each in plan.external] == ["cfg", "one"]


def test_an_explicit_dependency_on_self_orders_builders():
    plan = make_plan(
        [index(), builder("a", "[a]", more="dependencies: [self.c]"), builder("c", "[c]")],
        table="t",
    )
    assert names(plan) == ["t_index", "c", "a"]
    assert plan.external == ()


def test_a_primary_key_names_columns_of_the_index_builder():
    with pytest.raises(TVArgumentError, match=r'primary_key names "z"'):
        make_plan([index(more="primary_key: [z]")], table="t")


def test_an_artifact_column_cannot_be_a_key():
    text = "primary_key: [k]\ndtypes: {k: artifact_string}"
    with pytest.raises(TVBuilderError, match="artifact"):
        make_plan([index(more=text)], table="t")


def test_the_order_does_not_depend_on_the_order_given():
    builders = [index(), *(builder(name, f"[{name}]") for name in "dbca")]
    assert names(make_plan(builders, table="t")) == names(make_plan(builders[::-1], table="t"))


TEXT = """
builder_type: ColumnBuilder
changed_columns: [{name}]
python_function: f
code_module: m
arguments: {arguments}
dependencies: {dependencies}
"""


def located(name, arguments="{}", dependencies="[]"):
    text = TEXT.format(name=name, arguments=arguments, dependencies=dependencies)
    return parse_builder(name, text, table="t")


BUILDERS = [
    located("a", "{x: [1, 'plain', '<<books.title>>']}", "[books.title]"),
    located("b", "{y: {z: 'of <<books.title>> and <<papers.title>>'}}"),
    located("c", dependencies="[books.author, people.name]"),
    located("d", "{x: 'in <<maps.city[key::<<cities.<<names.one>>>>]>>'}"),
]
ERROR = TableReferenceError("There is none.", "Make one.", table="x")


@pytest.mark.parametrize(
    ("table", "selector", "builder", "field", "marked"),
    [
        ("books", "", "a", "arguments.x[2]", "<<books.title>>"),
        ("papers", "", "b", "arguments.y.z", "<<papers.title>>"),
        ("people", "", "c", "dependencies", None),
        ("cities", "", "d", "arguments.x", "<<cities.<<names.one>>>>"),
        ("names", "", "d", "arguments.x", "<<names.one>>"),
        ("papers", "base", None, None, None),
        ("nobody", "", None, None, None),
    ],
)
def test_the_first_place_that_names_a_table_is_told(table, selector, builder, field, marked):
    error = with_location(ERROR, BUILDERS, Dependency(table=table, selector=selector))
    assert (error.message, error.hint, error.facts["table"]) == ("There is none.", "Make one.", "x")
    assert error.facts.get("builder") == builder
    assert error.facts.get("field") == field
    if marked is None:
        assert "start" not in error.facts
    else:
        facts = error.facts
        assert facts["text"][facts["start"] : facts["end"]] == marked
