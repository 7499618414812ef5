"""Lineage: what instances were made from, through renames, deletions, clones and forgeries."""

from __future__ import annotations

import datetime as dt
import json
import uuid

import pandas as pd
import pytest

from tablevault import TableVault
from tablevault.errors import TVArgumentError
from tablevault.queries.lineage_drawing import without_circles
from tests.looking import git, state_of

FRAME = pd.DataFrame({"x": [1, 2]})


def write(vault, table, *sources, version="base"):
    vault.create_instance(table, version=version, external_edit=True)
    vault.write_instance(FRAME, table, version=version, dependencies=list(sources))
    return vault.get_table_instances(table, version)[-1]


@pytest.fixture
def made(vault):
    """Make raw -> clean -> report, and raw -> report."""
    for table in ("raw", "clean", "report"):
        vault.create_table(table)
    raw = write(vault, "raw")
    clean = write(vault, "clean", ("raw", raw))
    report = write(vault, "report", ("clean", clean), ("raw", raw))
    return vault, raw, clean, report


def ids(lineage):
    return [node.instance_id for node in lineage.nodes]


def edges(lineage):
    return {(each.source_id, each.instance_id) for each in lineage.edges}


def test_up_and_down(made):
    vault, raw, clean, report = made
    lineage = vault.lineage("clean", clean)
    assert ids(lineage) == [raw, clean, report]
    assert edges(lineage) == {(raw, clean), (clean, report), (raw, report)}
    assert lineage.roots == (clean,)
    assert lineage.upstream(report) == (clean, raw)
    assert lineage.downstream(clean) == (report,)


def test_what_is_neither_up_nor_down_is_left_out(made):
    vault, raw, clean, report = made
    other = write(vault, "clean", ("raw", raw))
    assert other not in ids(vault.lineage("report", report))
    assert set(ids(vault.lineage("clean"))) == {raw, clean, report, other}


def test_renamed_tables_have_their_name_of_today(made):
    vault, raw, clean, report = made
    vault.rename_table("tidy", "clean")
    lineage = vault.lineage("tidy", clean)
    assert [node.table_name for node in lineage.nodes] == ["raw", "tidy", "report"]
    assert edges(lineage) == {(raw, clean), (clean, report), (raw, report)}


def test_deleted_instances_keep_their_place(made):
    vault, raw, clean, report = made
    vault.delete_instance(raw, "raw")
    vault.delete_table("clean")
    lineage = vault.lineage("report", report)
    gone = [bool(node.deleted_at) for node in lineage.nodes]
    assert gone == [True, True, False]
    assert "deleted" in str(lineage)
    assert ids(vault.lineage("clean", clean)) == [raw, clean, report]
    assert vault.lineage("raw").roots == ()
    assert str(vault.lineage("raw")) == "no instance"


def test_a_copy_comes_from_its_origin(made):
    vault, raw, *_ = made
    vault.create_instance("raw", version="copy", origin_id=raw, external_edit=True)
    vault.write_instance(FRAME, "raw", version="copy")
    copy = vault.get_table_instances("raw", "copy")[-1]
    kinds = {(each.source_id, each.kind) for each in vault.lineage("raw", copy).edges}
    assert (raw, "origin") in kinds


def test_a_plain_clone_has_the_same_lineage(made, repo_path, tmp_path):
    vault, _, clean, _ = made
    git(tmp_path, "clone", "-q", str(repo_path), "copy")
    copy = TableVault(tmp_path / "copy", "b")
    assert edges(copy.lineage("clean", clean)) == edges(vault.lineage("clean", clean))


def test_an_instance_that_is_not_here_is_a_named_leaf(made, repo_path):
    vault, raw, *_ = made
    tree = git(repo_path, "rev-parse", "HEAD^{tree}").strip()
    table = git(repo_path, "show", "HEAD:tables/raw/table.yaml").split()[1]
    message = (
        f"forged\n\nVault-Operation: write_instance\nVault-Table: raw\nVault-Table-Id: {table}\n"
        "Vault-Version: base\nVault-Instance: base_2_x\nVault-Time: 2030-01-01T00:00:00.000000Z\n"
        f"Vault-Depends-On: far/base_9_y\nVault-Depends-On: raw/{raw}\n"
    )
    commit = git(repo_path, "commit-tree", tree, "-p", "HEAD", "-m", message).strip()
    git(repo_path, "update-ref", "refs/heads/main", commit)
    lineage = vault.lineage("raw", "base_2_x")
    assert (lineage.nodes[0].table_name, lineage.nodes[0].materialized_at) == ("far", "")
    assert "not in this history" in str(lineage)
    assert [event["eventType"] for event in lineage.to_openlineage()].count("COMPLETE") >= 1


def test_a_forged_circle_ends(made, repo_path):
    vault, raw, _, report = made
    tree = git(repo_path, "rev-parse", "HEAD^{tree}").strip()
    table = git(repo_path, "show", "HEAD:tables/raw/table.yaml").split()[1]
    message = (
        f"forged\n\nVault-Operation: write_instance\nVault-Table: raw\nVault-Table-Id: {table}\n"
        f"Vault-Version: base\nVault-Instance: {raw}\nVault-Time: 2020-01-01T00:00:00.000000Z\n"
        f"Vault-Depends-On: report/{report}\n"
    )
    commit = git(repo_path, "commit-tree", tree, "-p", "HEAD", "-m", message).strip()
    git(repo_path, "update-ref", "refs/heads/main", commit)
    lineage = vault.lineage("report", report)
    found = edges(lineage)
    assert without_circles((a, b, "") for a, b in found)
    order = {}
    while len(order) < len(lineage.nodes):
        free = [
            node
            for node in ids(lineage)
            if node not in order and all(a in order for a, b in found if b == node)
        ]
        assert free, "a circle"
        order.update(dict.fromkeys(free))
    assert str(lineage)
    assert lineage._repr_html_()


@pytest.mark.parametrize("case", [("raw", "base_1_x"), ("nowhere", ""), ("raw", "TEMP_base")])
def test_what_never_was_is_refused(made, case):
    vault, *_ = made
    with pytest.raises(TVArgumentError):
        vault.lineage(*case)


def test_edges_as_a_frame(made):
    vault, raw, clean, report = made
    frame = vault.lineage("report", report).to_frame()
    assert {str(dtype) for dtype in frame.dtypes} == {"string"}
    assert frame.columns.tolist() == [
        "source_table",
        "source_id",
        "table_name",
        "instance_id",
        "kind",
    ]
    assert len(frame) == 3
    assert vault.lineage("raw", raw).to_frame().shape == (3, 5)
    assert str(write(vault, "raw")) not in str(frame["source_id"].tolist())
    assert clean in frame["source_id"].tolist()


def check_facet(facet):
    assert facet["_producer"].startswith("https://")
    assert facet["_schemaURL"].startswith("https://openlineage.io/spec/")


def check_dataset(dataset):
    assert isinstance(dataset["namespace"], str)
    assert isinstance(dataset["name"], str)
    for facet in dataset.get("facets", {}).values():
        check_facet(facet)


def test_events_have_the_form_of_openlineage(made):
    vault, raw, clean, report = made
    vault.create_instance("report", description="what is read", external_edit=True)
    vault.write_instance(FRAME, "report", dependencies=[("clean", clean)], process_id="not a uuid")
    events = json.loads(json.dumps(vault.lineage("clean", clean).to_openlineage()))
    assert [event["eventType"] for event in events] == ["START", "COMPLETE"] * 4
    for event in events:
        assert {"eventTime", "producer", "schemaURL", "run", "job"} <= event.keys()
        assert dt.datetime.fromisoformat(event["eventTime"]).tzinfo is not None
        uuid.UUID(event["run"]["runId"])
        assert event["job"]["name"]
        assert event["job"]["namespace"]
        for facet in event["job"].get("facets", {}).values():
            check_facet(facet)
        for dataset in (*event["inputs"], *event["outputs"]):
            check_dataset(dataset)
        for output in event["outputs"]:
            check_facet(output["outputFacets"]["outputStatistics"])
            assert output["outputFacets"]["outputStatistics"]["rowCount"] == 2
    final = events[5]
    versions = [each["facets"]["version"]["datasetVersion"] for each in final["inputs"]]
    assert versions == [clean, raw]
    assert final["outputs"][0]["facets"]["version"]["datasetVersion"] == report
    fields = final["outputs"][0]["facets"]["schema"]["fields"]
    assert fields == [{"name": "x", "type": "Int64"}]


def test_other_inputs_of_what_was_made_are_told_too(made):
    vault, raw, clean, _ = made
    vault.create_table("side")
    side = write(vault, "side")
    late = write(vault, "report", ("clean", clean), ("side", side))
    lineage = vault.lineage("clean", clean)
    assert side not in ids(lineage)
    event = next(
        each
        for each in lineage.to_openlineage()
        if each["outputs"] and late in json.dumps(each["outputs"])
    )
    assert side in json.dumps(event["inputs"])
    assert raw in ids(lineage)


def test_a_lineage_changes_nothing(made, repo_path):
    vault, _, clean, _ = made
    before = state_of(repo_path)
    str(vault.lineage("clean", clean))
    vault.lineage("clean").to_openlineage()
    assert state_of(repo_path) == before


CODE = "import pandas as pd\n\n\ndef rows(**_):\n    return pd.DataFrame({'k': [1, 2]})\n"
CODE += "\n\ndef cell(**_):\n    return 1\n"


def builder(kind, columns, function, arguments, more=""):
    return (
        f"builder_type: {kind}\nchanged_columns: {columns}\npython_function: {function}\n"
        f"code_module: m\nis_custom: true\narguments: {arguments}\n{more}"
    )


def test_columns_tell_what_they_were_made_from(vault):
    vault.create_code_module("m", text=CODE)
    for table in ("raw", "side"):
        vault.create_table(table)
        vault.create_instance(table, external_edit=True)
        vault.write_instance(pd.DataFrame({"x": [1, 2], "y": [3, 4]}), table)
    vault.create_table("t")
    row_wise = "return_type: row-wise\n"
    texts = {
        "t_index": builder("IndexBuilder", "[k]", "rows", '{a: "<<raw.x>>"}'),
        "a": builder("ColumnBuilder", "[a]", "cell", '{v: "of <<self.k[index]>>"}', row_wise),
        "b": builder(
            "ColumnBuilder", "[b]", "cell", '{v: "<<raw.y[x::<<self.k[index]>>]>>"}', row_wise
        ),
        "c": builder("ColumnBuilder", "[c]", "cell", "{}", row_wise + "dependencies: [side.*]\n"),
        "d": builder("ColumnBuilder", "[d]", "cell", "{}", row_wise),
    }
    vault.create_instance("t", builders=texts)
    vault.execute_instance("t")
    vault.rename_table("source", "raw")
    *_, event = vault.lineage("t", vault.get_table_instances("t")[-1]).to_openlineage()
    (output,) = event["outputs"]
    facet = output["facets"]["columnLineage"]
    check_facet(facet)
    read = {
        column: [(each["name"], each["field"]) for each in fields["inputFields"]]
        for column, fields in facet["fields"].items()
    }
    assert read == {
        "k": [("source/base", "x")],
        "a": [("source/base", "x")],
        "b": [("source/base", "x"), ("source/base", "y")],
        "c": [("side/base", "x"), ("side/base", "y")],
    }
    namespaces = {
        each["namespace"] for fields in facet["fields"].values() for each in fields["inputFields"]
    }
    assert namespaces == {output["namespace"]}


def test_what_was_written_from_outside_tells_of_no_columns(made):
    vault, _, clean, _ = made
    assert "columnLineage" not in json.dumps(vault.lineage("clean", clean).to_openlineage())
