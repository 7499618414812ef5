"""Whatever is edited: what is kept from earlier is what computing everything would have given."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tablevault import TableVault

pytestmark = pytest.mark.property

CODE = """\
import pandas as pd


def index(rows, typed):
    frame = pd.DataFrame(rows, columns=["k", "n", "s"])
    return frame.astype({{"n": "Int64"}}) if typed else frame


def row(a, b, mark):
    return f"{{a}}|{{b}}|{{mark}}|{version}"


def some(a):
    return None if a is None or a % 2 else a * {version}


def whole(frame, other):
    return pd.DataFrame({{"w": [str(list(frame.iloc[i])) + str(other) for i in range(len(frame))]}})


def each(frame):
    for values in frame.itertuples(index=False):
        yield str([{version}, *map(str, values)])


def two(a):
    return a, len(str(a)) * {version}
"""


def builders(step: dict[str, object]) -> dict[str, dict[str, object]]:
    """Make the builders of one step."""

    def column(columns: list[str], function: str, kind: str, **arguments: object):
        return {
            "builder_type": "ColumnBuilder",
            "changed_columns": columns,
            "python_function": function,
            "code_module": step["module"][function],
            "is_custom": True,
            "return_type": kind,
            "arguments": arguments,
            "n_threads": step["threads"],
        }

    wired = {
        "x": column(
            ["x"],
            "row",
            "row-wise",
            a="<<self.s[index]>>",
            b=step["b"],
            mark=step["mark"],
        ),
        "y": column(["y"], "some", "row-wise", a="<<self.n[index]>>"),
        "z": column(["z", "zz"], "two", "row-wise", a="<<self.x[index]>>"),
        "w": column(["w"], "whole", "dataframe", frame=step["frame"], other="<<up.word>>"),
        "e": column(["e"], "each", "generator", frame="<<self.{k,x}>>"),
    }
    return {
        "t_index": {
            "builder_type": "IndexBuilder",
            "changed_columns": ["k", "n", "s"],
            "primary_key": step["key"],
            "python_function": "index",
            "code_module": "first",
            "is_custom": True,
            "arguments": {"rows": [list(row) for row in step["rows"]], "typed": step["typed"]},
        }
    } | {name: wired[name] for name in step["built"]}


names = st.sampled_from("abcdef")
rows = st.lists(
    st.tuples(names, st.integers(0, 3), st.sampled_from(["", "ä", "1", None])),
    min_size=1,
    max_size=5,
    unique_by=lambda row: row[0],
)
steps = st.fixed_dictionaries(
    {
        "rows": rows,
        "typed": st.booleans(),
        "key": st.sampled_from([["k"], ["k"], [], ["k", "n"]]),
        "mark": st.sampled_from(["!", "?"]),
        "b": st.sampled_from(
            [
                "<<self.n[index]>>",
                "<<up.word[key::<<self.k[index]>>]>>",
                "<<up.word>>",
                "<<self.n[k::'a']>>",
                "<<self.s[index::0]>>",
            ]
        ),
        "frame": st.sampled_from(["<<self.n>>", "<<self.{n,s}>>"]),
        "built": st.sampled_from(
            [["x", "y", "z", "w", "e"], ["x", "e", "z"], ["y", "w", "x"], ["x"]]
        ),
        "module": st.fixed_dictionaries(
            {
                name: st.sampled_from(["first", "second"])
                for name in ("row", "some", "two", "whole", "each")
            }
        ),
        "version": st.sampled_from([1, 1, 2]),
        "threads": st.sampled_from([1, 1, 3]),
        "words": st.lists(
            st.tuples(names, st.sampled_from(["p", "q"])), min_size=1, max_size=4, unique_by=str
        ),
    }
)


@pytest.fixture(scope="module")
def empty(sealed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a vault with two empty tables, to be copied."""
    path = tmp_path_factory.mktemp("laws") / "v"
    vault = TableVault(path, "Ana", create=True)
    vault.create_table("t")
    vault.create_table("up")
    return path


@pytest.mark.sweep
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(plan=st.lists(steps, min_size=2, max_size=4))
def test_reuse_gives_what_computing_all_gives(plan: list[dict[str, object]], empty: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        vaults = []
        for name in ("kept", "anew"):
            shutil.copytree(empty, Path(folder) / name)
            vaults.append(TableVault(Path(folder) / name, "Ana"))
        for step in plan:
            frames = []
            for vault, force in zip(vaults, (False, True), strict=True):
                act(vault, step, force=force)
                frames.append(vault.get_dataframe("t")[0])
            pd.testing.assert_frame_equal(*frames)


def act(vault: TableVault, step: dict[str, object], *, force: bool) -> None:
    """Edit what the step says and execute."""
    for module, version in (("first", step["version"]), ("second", 1)):
        vault.create_code_module(module, text=CODE.format(version=version))
    vault.create_instance("up", external_edit=True)
    words = dict(step["words"])
    vault.write_instance(pd.DataFrame({"key": list(words), "word": list(words.values())}), "up")
    texts = {name: yaml.safe_dump(each) for name, each in builders(step).items()}
    vault.create_instance("t", builders=texts)
    vault.execute_instance("t", force_execute=force)
