"""vault.yaml, table.yaml and instance.yaml."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tablevault.errors import TVArgumentError, TVFileError, TVFormatError
from tablevault.history.commits.documents import (
    FORMAT_VERSION,
    LARGEST_DOCUMENT,
    InstanceDocument,
    TableDocument,
    VaultDocument,
    decode_instance,
    decode_table,
    decode_vault,
    timestamp,
)
from tablevault.names import InstanceId, TableId

AWKWARD = [
    "",
    "null",
    "~",
    "yes",
    "1",
    "1e3",
    "0x10",
    "2024-01-01",
    "- a",
    "a: b",
    "a #b",
    "&a",
    "*a",
    "!!str",
    "{}",
    "'",
    '"',
    "%",
    "@x",
    "\t",
    " a",
    "a ",
    "a\nb",
    "a\n\n  b\n",
    "\n",
    "\r\n",
    "\x85",
    "\u2028",
    "\ufeff",
    "\x7f",
    "🙂",
    "=",
    "<<",
    "...",
    "---",
]
texts = st.one_of(
    st.sampled_from(AWKWARD), st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
)
flags = st.booleans()
mappings = st.dictionaries(texts, texts, max_size=4)

vaults = st.builds(VaultDocument, id=texts, description=texts, created_by=texts, created_at=texts)
tables = st.builds(
    TableDocument,
    id=texts.map(TableId),
    description=texts,
    multiple_artifacts=flags,
    side_effects=flags,
    created_by=texts,
    created_at=texts,
    artifact_instance=texts,
)
instances = st.builds(
    InstanceDocument,
    description=texts,
    version=texts,
    external_edit=flags,
    origin=st.one_of(st.just(("", "")), st.tuples(texts.filter(bool), texts)),
    id=texts.filter(bool),
    table_id=texts,
    operation=texts,
    success=flags,
    author=texts,
    process=texts,
    started_at=texts,
    materialized_at=texts,
    rows=st.integers(0, 10**12),
    dtypes=mappings,
    primary_key=st.lists(texts, max_size=3).map(tuple),
    digest=texts,
    dependencies=st.lists(st.tuples(texts, texts.map(InstanceId)), max_size=3).map(tuple),
    builders=mappings,
    code=mappings,
)


@given(vaults)
def test_a_vault_document_is_read_as_it_was_written(document):
    assert decode_vault(document.encode(), "vault.yaml") == document


@given(tables)
def test_a_table_document_is_read_as_it_was_written(document):
    assert decode_table(document.encode(), "table.yaml") == document


@given(instances)
def test_an_instance_document_is_read_as_it_was_written(document):
    assert decode_instance(document.encode(), "instance.yaml") == document


@given(instances)
def test_the_order_of_columns_and_builders_is_kept(document):
    found = decode_instance(document.encode(), "instance.yaml")
    assert list(found.dtypes) == list(document.dtypes)
    assert list(found.builders) == list(document.builders)


@given(instances)
def test_a_document_is_plain_yaml_with_one_fact_a_line(document):
    text = document.encode().decode("utf-8")
    assert yaml.safe_load(text)["id"] == document.id
    assert not any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text))


def test_a_text_that_repeats_is_written_out_each_time():
    document = InstanceDocument(
        id="i",
        description="",
        version="base",
        external_edit=False,
        dtypes={"a": "int64", "b": "int64"},
        dependencies=(("t", InstanceId("x")), ("t", InstanceId("x"))),
    )
    text = document.encode().decode()
    assert "&" not in text
    assert text.count("int64") == 2


def test_a_temporary_instance_has_four_facts_only():
    document = InstanceDocument(description="d", version="base", external_edit=True)
    assert list(yaml.safe_load(document.encode())) == [
        "description",
        "version",
        "external_edit",
        "origin",
    ]
    assert decode_instance(document.encode(), "instance.yaml") == document


def test_a_long_text_is_not_wrapped():
    document = VaultDocument(
        id="v", description="word " * 100 + "end", created_by="", created_at=""
    )
    assert len(document.encode().splitlines()) == 5


def test_a_newer_format_is_refused():
    newer = VaultDocument(
        id="v", description="", created_by="", created_at="", format=FORMAT_VERSION + 1
    )
    with pytest.raises(TVFormatError, match=f"{FORMAT_VERSION + 1}"):
        decode_vault(newer.encode(), "vault.yaml")


def test_unknown_keys_are_passed_over():
    extra = b"later: [1, 2]\nmore:\n  a: b\n"
    vault = VaultDocument(id="v", description="d", created_by="a", created_at="t")
    assert decode_vault(vault.encode() + extra, "vault.yaml") == vault
    instance = InstanceDocument(description="d", version="base", external_edit=False)
    assert decode_instance(instance.encode() + extra, "instance.yaml") == instance


def test_missing_keys_have_plain_defaults():
    assert decode_table(b"id: t\n", "x") == TableDocument(
        id=TableId("t"),
        description="",
        multiple_artifacts=False,
        side_effects=False,
        created_by="",
        created_at="",
    )
    assert decode_instance(b"{}", "x") == InstanceDocument(
        description="", version="", external_edit=False
    )


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"- a list",
        b"text",
        b"a: [",
        b"\xff\xfe\xff",
        b"a: \x00",
        b"created_at: 2024-99-99\nformat: 1",
        b"created_at: 2024-01-01T99:00:00Z\nformat: 1",
        b"format: !!int x",
        b"format: !!int ''",
        b"format: !!timestamp x",
        b"format: !!bool x",
        b"format: !!python/object/apply:os.system [true]",
        b"{[1]: 2}",
        b"? {a: b}\n: c",
        b"format: yes",
        b"format: '1'",
        b"format:",
        b"[" * 20_000,
        b"format: 1\nx: " + b"[" * 200_000,
        b"format: 1\nx:\n" + b"- " * 200_000,
        b"? " * 200_000,
        b"format: 0x" + b"f" * 6000,
        b"format: 1\nx: &x [*x]",
        b"a: &a {x: 1}\n" + b"b: &a\n  <<: [" + b"*a," * 9 + b"*a]\n" * 12,
        b"id: v",
    ],
)
def test_what_is_no_vault_document_is_an_error_that_names_the_file(blob):
    with pytest.raises(TVFileError, match=r"^vault\.yaml ") as caught:
        decode_vault(blob, "vault.yaml")
    assert "git log" in caught.value.hint


@pytest.mark.parametrize(
    ("blob", "fault"),
    [
        (b"format: [1, 2\n", "did not find expected ',' or ']', line 2, column 1"),
        (
            b"format: 1\nid: b: c\n",
            "mapping values are not allowed in this context, line 2, column 6",
        ),
        (
            "format: 1\né: \x01\n".encode(),
            "unacceptable character #x0001: control characters are not allowed, line 2, column 4",
        ),
        (b"format: 1\nid: !!bool x\n", "a value does not fit its tag"),
    ],
)
def test_a_fault_of_yaml_takes_one_line_that_names_file_line_and_column(blob, fault):
    with pytest.raises(TVFileError) as caught:
        decode_table(blob, "tables/t/table.yaml")
    text = f"tables/t/table.yaml is no readable YAML: {fault}. {caught.value.hint}"
    assert str(caught.value) == text


def test_what_looks_like_an_alias_is_text_in_quotes():
    description = "2 * 3, *bold*, &c [" + "[]{}- " * 100
    fields = {"id": "v", "created_by": "", "created_at": ""}
    document = VaultDocument(description=description, **fields)
    assert decode_vault(document.encode(), "vault.yaml") == document


@pytest.mark.parametrize(
    "text",
    ["1e-5", "0o17", "010", "1_000", "NO", "on", "null", "~", "12:30", "2023-01-05", "=", ".5"],
)
def test_text_that_any_yaml_reads_as_something_else_is_quoted(text):
    fields = {"id": "v", "created_by": text, "created_at": ""}
    document = VaultDocument(description=text, **fields)
    assert f"description: '{text}'\n".encode() in document.encode()
    assert decode_vault(document.encode(), "vault.yaml") == document


def test_a_number_that_cannot_be_spelled_is_no_text():
    blob = b"description: 0x" + b"f" * 6000 + b"\n? 0x" + b"f" * 6000 + b"\n: 1\n"
    assert decode_table(blob, "table.yaml").description == ""


@given(st.binary(max_size=200))
def test_no_bytes_break_the_readers(blob):
    for read in (decode_vault, decode_table, decode_instance):
        try:
            read(blob, "x")
        except (TVFileError, TVFormatError):
            continue


def test_nothing_in_a_document_grows_without_bounds():
    bomb = b"a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for name, before in zip(b"bcdefghi", b"abcdefgh", strict=True):
        inner = ", ".join(f"*{chr(before)}" for _ in range(10))
        bomb += f"{chr(name)}: &{chr(name)} [{inner}]\n".encode()
    with pytest.raises(TVFileError, match="holds an alias"):
        decode_table(bomb + b"id: t\ndescription: *i\n", "x")


def test_a_timestamp_orders_as_text_and_keeps_microseconds():
    times = [0, 1.5, 1_700_000_000.000001, 1_700_000_000.000002, 4_000_000_000]
    spelled = [timestamp(at) for at in times]
    assert spelled == sorted(spelled)
    assert len(set(spelled)) == len(spelled)
    assert datetime.fromisoformat(spelled[1]) == datetime(1970, 1, 1, 0, 0, 1, 500000, UTC)


def test_a_document_that_no_vault_would_pull_is_not_written():
    document = VaultDocument(
        id="v", description="x" * LARGEST_DOCUMENT, created_by="Ana", created_at=""
    )
    with pytest.raises(TVArgumentError, match="Shorten the description"):
        document.encode()
