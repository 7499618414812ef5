"""Settings by their keys, and the line of one that cannot be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault.history.commits.documents import VaultDocument, decode_vault, encode_fields
from tablevault.history.commits.vault_config import (
    UnknownSettingError,
    VaultConfig,
    known_settings,
    setting_path,
)
from tablevault.limits_and_prices import Limits, Price, UnfitValueError

HEAD = "format: 1\nid: v\ndescription: d\ncreated_by: a\ncreated_at: t\n"
amounts = st.one_of(st.integers(0, 10**12), st.floats(0, 10**12)).map(float)
names = st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable()).map(str.strip)
configs = st.builds(
    VaultConfig,
    limits=st.builds(
        Limits,
        name=st.one_of(st.just(""), names),
        calls_per_minute=st.one_of(st.none(), amounts.filter(bool)),
        calls=st.one_of(st.none(), st.integers(0, 10**12)),
        cost=st.one_of(st.none(), amounts),
    ),
    prices=st.dictionaries(
        names.filter(bool), st.builds(Price, input=amounts, output=amounts), max_size=4
    ),
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text())
anything = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner))
)


def document(config: VaultConfig) -> VaultDocument:
    return VaultDocument(
        id="v", description="d", created_by="a", created_at="t", config_or_fault=config
    )


@given(configs)
def test_a_configuration_is_read_as_it_was_written(config):
    found = decode_vault(document(config).encode(), "vault.yaml")
    assert (found.config.limits, dict(found.config.prices)) == (config.limits, dict(config.prices))


def test_what_is_not_set_is_not_written():
    assert document(VaultConfig()).encode().decode() == HEAD
    assert decode_vault(f"{HEAD}limits:\nprices: {{}}\n".encode(), "x").config == VaultConfig()


def test_whole_numbers_are_written_as_such_and_models_in_order():
    config = VaultConfig(
        limits=Limits(calls_per_minute=500.0, cost=2.5),
        prices={"b": Price(input=1.0, output=0.0), "a/1.0": Price(input=0.15, output=0.6)},
    )
    assert document(config).encode().decode().removeprefix(HEAD) == (
        "limits:\n  calls_per_minute: 500\n  cost: 2.5\n"
        "prices:\n  a/1.0:\n    input: 0.15\n    output: 0.6\n  b:\n    input: 1\n    output: 0\n"
    )


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("limits", ("limits",)),
        ("limits.calls", ("limits", "calls")),
        ("prices", ("prices",)),
        ("prices.gpt-4.1", ("prices", "gpt-4.1")),
        ("prices.gpt-4.1.input", ("prices", "gpt-4.1", "input")),
        ("prices.meta/llama-3.1.output", ("prices", "meta/llama-3.1", "output")),
        ("prices.input", ("prices", "input")),
        ("prices.a.input.output", ("prices", "a.input", "output")),
    ],
)
def test_a_key_leads_to_a_setting_whatever_the_model_is_called(key, path):
    assert setting_path(key) == path


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("limits.call_per_minute", "limits.calls_per_minute"),
        ("limit.calls", "limits.calls"),
        ("calls", "limits.calls"),
        ("cost", "limits.cost"),
        ("price.gpt-4.1.input", "prices.gpt-4.1.input"),
        ("limits.", "limits"),
        ("prices.", "prices"),
        ("", ""),
        ("description", ""),
    ],
)
def test_an_unknown_key_is_told_from_one_that_is_spelt_like_it(key, near):
    with pytest.raises(UnknownSettingError) as caught:
        setting_path(key)
    assert caught.value.near == near


def test_every_known_setting_is_one():
    for key in known_settings():
        assert setting_path(key)[-1] == key.rpartition(".")[2]


def test_a_change_sets_and_removes_by_key():
    config = VaultConfig().changed(
        {"limits.calls": 5, "prices.a.b.input": 1, "prices.a.b.output": "2"}
    )
    assert config.value_at("prices") == {"a.b": {"input": 1, "output": 2}}
    assert config.value_at("prices.a.b.output") == 2
    assert config.value_at("limits.cost") is config.value_at("prices.c.input") is None
    assert config.changed({"limits.calls": None, "limits.cost": None, "prices": None}) == (
        VaultConfig()
    )
    with pytest.raises(UnfitValueError, match=r"^prices\.a is 5; it has to be a mapping"):
        config.changed({"prices.a": 5, "prices.a.input": 5})


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("limits: 5\n", r"line 6: limits is 5; it has to be a mapping"),
        ("limits:\n  cost: 1\n  calls: -1\n", r"line 8: limits\.calls is -1; it has to be a whole"),
        ("limits:\n  cost: .nan\n", r"line 7: limits\.cost is nan"),
        ("limits: {cost: 1, call: 2}\n", r'line 6: limits\.call is 2; .*did you mean "calls"'),
        ("limits:\n  calls: 5\n  calls: 9\n", r"line 8: limits\.calls stands twice"),
        ("limits: {}\nprices: {}\nlimits: {}\n", r"line 8: limits stands twice"),
        ("prices:\n  a:\n    input: 1\n", r"line 7: prices\.a is \{'input': 1\}"),
        (
            "prices:\n  a.b:\n    input: 1\n    output: x\n  a:\n    input: 1\n    output: 1\n",
            r"line 9: prices\.a\.b\.output is 'x'; it has to be a number from 0",
        ),
        ("prices:\n  4.1: {input: 1, output: 1}\n", r"line 7: prices\.4\.1 is"),
        ("prices: [a]\n", r"line 6: prices is \['a'\]; it has to be a mapping of models"),
    ],
)
def test_a_value_that_cannot_be_is_named_with_its_line_by_who_reads_it(written, said):
    found = decode_vault(f"{HEAD}{written}".encode(), "vault.yaml")
    assert found.description == "d"
    for read in (lambda: found.config, found.encode):
        with pytest.raises(Exception, match=rf"^vault\.yaml, {said}") as caught:
            read()
        assert type(caught.value).__name__ == "TVFileError"
        assert "git commit vault.yaml" in str(caught.value)


@given(anything)
def test_nothing_in_the_configuration_keeps_the_rest_from_being_read(value):
    data = encode_fields({"format": 1, "id": "v", "limits": value, "prices": value})
    assert decode_vault(data, "vault.yaml").id == "v"
