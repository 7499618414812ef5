"""Whatever is edited: a dry run counts the calls of the refresh after it, which leaves nothing."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tablevault import TableVault
from tests.operations.staleness import Chain, builders

pytestmark = pytest.mark.property

IDS = st.lists(st.integers(1, 7), min_size=1, max_size=5, unique=True)
STEPS = st.fixed_dictionaries(
    {
        "ids": st.none() | IDS,
        "write": st.sampled_from(["text", "texts"]),
        "rate": st.integers(0, 2),
        "sum_up": st.integers(0, 1),
        "tables": st.sampled_from([None, "moods", "labels"]),
    }
)


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """Make a vault with the tables of `Chain`, and labels, which read the ids of texts alone."""
    folder = tmp_path_factory.mktemp("laws")
    chain = Chain(TableVault(folder / "v", "Ana", create=True), folder / "v", folder / "paid")
    index = yaml.safe_load(builders("moods")["moods_index"]) | {"changed_columns": ["id"]}
    index["arguments"] = {"df": "<<texts.{id}>>"}
    label = yaml.safe_load(builders("sums")["sum_up"])
    label["arguments"] = {"score": "<<self.id[index]>>"}
    files = {"labels_index": yaml.safe_dump(index), "label": yaml.safe_dump(label)}
    chain.vault.create_table("labels")
    chain.vault.create_instance("labels", builders=files)
    chain.vault.execute_instance("labels")
    chain.paid_for()
    return chain


def edit(chain, step):
    """Change code, and the rows of the first table."""
    file = chain.path / "code/work.py"
    text = re.sub(r'f"texts? \{id\}"', f'f"{step["write"]} {{id}}"', file.read_text())
    text = re.sub(r"return len\(text\).*", f"return len(text) + {step['rate']}", text)
    file.write_text(re.sub(r"return score \+ .*", f"return score + {step['sum_up']}", text))
    if step["ids"] is None:
        return
    if "TEMP_base" not in chain.vault.get_table_instances("texts", include_temp=True):
        chain.vault.create_instance("texts", copy=True)
    index = builders("texts", step["ids"])["texts_index"]
    chain.vault.create_builder_file("texts", "texts_index", text=index)


@pytest.mark.sweep
@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(STEPS, min_size=1, max_size=4))
def test_a_dry_run_counts_the_calls_of_the_refresh_after_it(empty, steps):
    with tempfile.TemporaryDirectory(dir=empty.path.parent) as folder:
        shutil.copytree(empty.path, Path(folder) / "v", symlinks=True)
        chain = Chain.opened(Path(folder) / "v", empty.paid)
        for step in steps:
            edit(chain, step)
            plan = chain.vault.refresh(step["tables"], dry_run=True)
            assert chain.paid_for() == {}
            report = chain.vault.refresh(step["tables"])
            paid = sum(chain.paid_for().values())
            assert report.calls == paid
            assert paid == plan.calls if plan.is_exact else paid <= plan.calls
            exact = {each.place: each.calls for each in plan.tables if each.is_exact}
            made = {each.place: each.calls for each in report.tables}
            assert {place: exact[place] for place in made if place in exact}.items() <= made.items()
            assert made.keys() <= {each.place for each in plan.tables}
            assert chain.vault.refresh(step["tables"]).tables == ()
