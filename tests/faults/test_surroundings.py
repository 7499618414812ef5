"""Functions that misbehave, and file systems that refuse."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tablevault import TableVault
from tests.faults.scenarios import AUTHOR
from tests.looking import check_clean, git, state_of
from tests.scripts import Script

pytestmark = pytest.mark.faults
CODE = """\
import os
import sys

import pandas as pd


def good(values):
    return pd.DataFrame({"n": values})


def raises(values):
    raise LookupError("on purpose")


def exits(values):
    sys.exit(3)


def interrupted(values):
    raise KeyboardInterrupt


def dies(values):
    os._exit(9)


def mutates(values):
    values.clear()
    values.extend("changed")
    return pd.DataFrame({"n": [1]})


def changes_the_folder(values):
    os.chdir("/")
    return pd.DataFrame({"n": values})


def counts(values):
    return pd.DataFrame({"n": [len(values)]})


def empties(frame):
    del frame["n"]
    return pd.DataFrame({"n": [0]})
"""


def index(function: str, values: str = "[1, 2]") -> str:
    return (
        "builder_type: IndexBuilder\nchanged_columns: [n]\n"
        f"python_function: {function}\ncode_module: words\nis_custom: true\n"
        f"arguments: {{{'frame' if function == 'empties' else 'values'}: {values}}}\n"
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vault"


@pytest.fixture
def vault(path: Path) -> TableVault:
    made = TableVault(path, AUTHOR, create=True)
    made.create_code_module("words", text=CODE)
    made.create_table("words")
    return made


def executed(vault: TableVault, builder: str) -> list[object]:
    vault.create_instance("words", builders={"words_index": builder})
    vault.execute_instance("words")
    return vault.get_dataframe("words")[0]["n"].tolist()


@pytest.mark.parametrize(
    ("function", "error"),
    [("raises", LookupError), ("exits", SystemExit), ("interrupted", KeyboardInterrupt)],
)
def test_a_function_that_does_not_return_leaves_nothing(
    vault: TableVault, path: Path, function: str, error: type[BaseException]
) -> None:
    vault.create_instance("words", builders={"words_index": index(function)})
    before = {name: what for name, what in state_of(path).items() if "processes" not in name}
    with pytest.raises(error):
        vault.execute_instance("words")
    after = {name: what for name, what in state_of(path).items() if "processes" not in name}
    assert after == before
    assert executed(vault, index("good")) == [1, 2]
    check_clean(path)


def test_a_function_that_ends_the_process_leaves_nothing(
    vault: TableVault, path: Path, python: Callable[..., Script]
) -> None:
    vault.create_instance("words", builders={"words_index": index("dies")})
    refs = git(path, "for-each-ref")
    script = (
        "import sys\n"
        "from tablevault import TableVault\n"
        "TableVault(sys.argv[1], 'bob').execute_instance('words')\n"
    )
    assert python(script, path).wait() == 9
    assert git(path, "for-each-ref") == refs
    assert executed(TableVault(path, AUTHOR), index("good")) == [1, 2]
    check_clean(path)


def test_a_function_that_changes_its_arguments_changes_nothing_else(
    vault: TableVault, path: Path
) -> None:
    assert executed(vault, index("mutates")) == [1]
    assert executed(vault, index("good")) == [1, 2]
    vault.create_table("other")
    builder = index("empties", '"<<words.n>>"')
    vault.create_instance("other", builders={"other_index": builder})
    vault.execute_instance("other")
    assert vault.get_dataframe("words")[0]["n"].tolist() == [1, 2]
    check_clean(path)


def test_a_function_that_changes_the_working_folder_disturbs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    vault = TableVault("vault", AUTHOR, create=True)
    vault.create_code_module("words", text=CODE)
    vault.create_table("words")
    assert executed(vault, index("changes_the_folder")) == [1, 2]
    assert executed(vault, index("good")) == [1, 2]
    check_clean(tmp_path / "vault")


def test_an_object_store_that_cannot_be_written_leaves_nothing(
    vault: TableVault, path: Path
) -> None:
    vault.create_instance("words", external_edit=True)
    objects = path / ".git/lfs/objects"
    objects.parent.mkdir(exist_ok=True)
    # Permissions do not hold back root; a file in the place of the folder does.
    objects.write_bytes(b"")
    before = state_of(path)
    with pytest.raises(OSError, match="objects"):
        vault.write_instance(pd.DataFrame({"n": [1]}), "words")
    assert state_of(path) == before
    objects.unlink()
    vault.write_instance(pd.DataFrame({"n": [1]}), "words")
    check_clean(path)


REFUSED = """\
import sys
import pandas as pd
from tablevault import TableVault
try:
    TableVault(sys.argv[1], "bob").write_instance(pd.DataFrame({"n": [1]}), "words")
except PermissionError:
    sys.exit(27)
"""
# Root may write anywhere, unless it gave up the right to.
UNPRIVILEGED = (
    ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
)


def test_a_read_only_object_store_leaves_nothing(vault: TableVault, path: Path) -> None:
    vault.create_instance("words", external_edit=True)
    objects = path / ".git/lfs/objects"
    objects.mkdir(parents=True, exist_ok=True)
    objects.chmod(0o555)
    before = state_of(path)
    done = subprocess.run([*UNPRIVILEGED, sys.executable, "-c", REFUSED, path], check=False)
    assert done.returncode == 27
    assert state_of(path) == before
    objects.chmod(0o755)
    vault.write_instance(pd.DataFrame({"n": [1]}), "words")
    check_clean(path)


LIMITED = """\
import resource
import sys
import pandas as pd
from tablevault import TableVault
vault = TableVault(sys.argv[1], "bob")
frame = pd.DataFrame({"n": [(n * 2654435761) % 2**32 for n in range(200_000)]})
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
try:
    vault.write_instance(frame, "words")
except OSError:
    sys.exit(27)
"""


def test_a_limit_on_the_size_of_files_leaves_nothing(
    vault: TableVault, path: Path, python: Callable[..., Script]
) -> None:
    vault.create_instance("words", external_edit=True)
    before = state_of(path)
    assert python(LIMITED, path).wait() == 27
    assert state_of(path) == before
    vault.write_instance(pd.DataFrame({"n": [1]}), "words")
    check_clean(path)
