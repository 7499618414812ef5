"""The dtype of artifacts is registered when pandas is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

IMPORTS = {
    "ours last": "import pandas, tablevault",
    "ours first": "import tablevault, pandas",
    "the class": "from tablevault import TableVault; import pandas",
    "core": "import tablevault.core, pandas",
    "itself": "import tablevault.frames.artifact_string, pandas",
    "asked for": "import tablevault, importlib.util as u; u.find_spec('pandas'); import pandas",
    "part": "import tablevault; from pandas.api import types; import pandas",
}


@pytest.mark.parametrize("code", IMPORTS.values(), ids=IMPORTS)
def test_pandas_knows_the_dtype_once_both_are_imported(code: str) -> None:
    check(f"{code}; assert str(pandas.Series(['a'], dtype='artifact_string').dtype)[0] == 'a'")


def test_the_finder_of_pandas_leaves_no_trace() -> None:
    check(
        "import sys, tablevault, importlib.resources, pandas;"
        "assert not any('tablevault' in type(each).__module__ for each in sys.meta_path);"
        "assert 'exec_module' not in vars(pandas.__loader__);"
        "assert importlib.resources.files('pandas').joinpath('__init__.py').is_file()"
    )


def test_tablevault_does_not_import_pandas() -> None:
    check("import sys; from tablevault import TableVault; assert 'pandas' not in sys.modules")


def check(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)
