"""Files beside modules that count for a function."""

# ruff: noqa: E501 - a piece of code in one line reads best in a table

from __future__ import annotations

import pytest

FILES = {
    "prompts/a.txt": b"Rate this text.",
    "prompts/b.txt": b"Rate that text.",
    "words.txt": b"a",
    "other/deep/c.json": b"{}",
}
PROMPTS = {"prompts/a.txt", "prompts/b.txt"}
ALL = set(FILES)

OPENED = {
    "nothing": ("def f(): return open('words.txt')", set()),
    "a path of parts": (
        "from pathlib import Path\ndef f(): return Path(__file__).parent / 'prompts' / 'a.txt'",
        {"prompts/a.txt"},
    ),
    "a path in one text": (
        "from pathlib import Path\ndef f(): return Path(__file__).parent / 'prompts/a.txt'",
        {"prompts/a.txt"},
    ),
    "resolve": (
        "from pathlib import Path\ndef f(): return (Path(__file__).resolve().parent / 'words.txt').read_text()",
        {"words.txt"},
    ),
    "parents": (
        "from pathlib import Path\ndef f(): return Path(__file__).parents[0] / 'words.txt'",
        {"words.txt"},
    ),
    "with_name": (
        "from pathlib import Path\ndef f(): return Path(__file__).with_name('words.txt').open()",
        {"words.txt"},
    ),
    "with_suffix": (
        "from pathlib import Path\ndef f(): return (Path(__file__).parent / 'words.py').with_suffix('.txt')",
        {"words.txt"},
    ),
    "joinpath": (
        "from pathlib import Path\ndef f(): return Path(__file__).parent.joinpath('prompts', 'b.txt')",
        {"prompts/b.txt"},
    ),
    "os.path": (
        "import os\ndef f(): return open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'words.txt'))",
        {"words.txt"},
    ),
    "a function of os.path by its name": (
        "from os.path import dirname, join\ndef f(): return join(dirname(__file__), 'words.txt')",
        {"words.txt"},
    ),
    "added texts": (
        "import os\ndef f(): return os.path.dirname(__file__) + '/words.txt'",
        {"words.txt"},
    ),
    "an f-string": (
        "import os\nHERE = os.path.dirname(__file__)\ndef f(): return f'{HERE}/words.txt'",
        {"words.txt"},
    ),
    "a constant": (
        "from pathlib import Path\nHERE = Path(__file__).parent\nA = HERE / 'prompts' / 'a.txt'\ndef f(): return A.read_text()\ndef g(): return HERE / 'words.txt'",
        {"prompts/a.txt"},
    ),
    "an annotated constant": (
        "from pathlib import Path\nHERE: Path = Path(__file__).parent\ndef f(): return (HERE / 'words.txt').read_text()",
        {"words.txt"},
    ),
    "a name of a file": (
        "from pathlib import Path\nNAME = 'words.txt'\ndef f(): return Path(__file__).parent / NAME",
        {"words.txt"},
    ),
    "a text that is read at import": (
        "from pathlib import Path\nHERE = Path(__file__).parent\nA = (HERE / 'prompts/a.txt').read_text()\nB = (HERE / 'prompts/b.txt').read_text()\ndef f(): return A",
        {"prompts/a.txt"},
    ),
    "a variable": (
        "from pathlib import Path\ndef f():\n    here = Path(__file__).parent\n    return here / 'words.txt'",
        {"words.txt"},
    ),
    "a variable with two values": (
        "from pathlib import Path\ndef f(x):\n    here = Path(__file__).parent\n    here = here / x\n    return here / 'words.txt'",
        ALL,
    ),
    "an argument of another function": (
        "from pathlib import Path\ndef load(p): return p.read_text()\ndef f(): return load(Path(__file__).parent / 'words.txt')",
        {"words.txt"},
    ),
    "resources of a package": (
        "from importlib.resources import files\ndef f(): return files('prompts').joinpath('a.txt').read_text()",
        {"prompts/a.txt"},
    ),
    "resources of its own package": (
        "import importlib.resources\ndef f(): return importlib.resources.files(__package__) / 'words.txt'",
        {"words.txt"},
    ),
    "resources that are imported within": (
        "def f():\n    from importlib import resources\n    return resources.files('prompts') / 'a.txt'",
        {"prompts/a.txt"},
    ),
    "resources in another way": (
        "from importlib import resources\ndef f(): return resources.read_text('prompts', 'a.txt')",
        ALL,
    ),
    "get_data": ("import pkgutil\ndef f(): return pkgutil.get_data('prompts', 'a.txt')", ALL),
    "a computed name in a folder": (
        "from pathlib import Path\ndef f(n): return Path(__file__).parent / 'prompts' / f'{n}.txt'",
        PROMPTS,
    ),
    "a pattern in a folder": (
        "from pathlib import Path\ndef f(): return (Path(__file__).parent / 'prompts').glob('*.txt')",
        PROMPTS,
    ),
    "a computed name": (
        "from pathlib import Path\ndef f(n): return Path(__file__).parent / n",
        ALL,
    ),
    "the path of the module itself": ("def f(): return load(__file__)", ALL),
    "the path as an attribute": (
        "from pathlib import Path\nclass A:\n    here = Path(__file__).parent\ndef f(n): return A.here / n",
        ALL,
    ),
    "a file that is not there": (
        "from pathlib import Path\ndef f(): return Path(__file__).parent / 'none.txt'",
        set(),
    ),
    "a file outside of code": (
        "from pathlib import Path\ndef f(): return Path(__file__).parent.parent / 'words.txt'",
        set(),
    ),
    "the folder above": (
        "from pathlib import Path\ndef f(n): return Path(__file__).parent.parent / n",
        ALL,
    ),
    "another function": (
        "from pathlib import Path\ndef g(n): return Path(__file__).parent / n\ndef f(n): return n",
        set(),
    ),
    "a module as text": (
        "from pathlib import Path\ndef f(): return Path(__file__).with_name('m.py').read_text()",
        ALL,
    ),
    "a constant of another module": (
        {
            "m.py": "from n import HERE\nimport n\ndef f(): return HERE / 'words.txt', n.HERE / 'prompts/b.txt'",
            "n.py": "from pathlib import Path\nHERE = Path(__file__).parent",
        },
        {"words.txt", "prompts/b.txt"},
    ),
    "a module in a package": (
        {
            "m.py": "from other.n import g as f",
            "other/n.py": "from pathlib import Path\ndef g(): return Path(__file__).parent / 'deep' / 'c.json'",
        },
        {"other/deep/c.json"},
    ),
}


@pytest.mark.parametrize(("code", "opened"), OPENED.values(), ids=OPENED)
def test_a_file_counts_where_its_path_can_be_seen(fingerprint, code, opened):
    parts = fingerprint(code, FILES).parts
    assert {part.name for part in parts if part.kind == "file"} == opened


def test_the_content_of_a_file_counts(fingerprint):
    code, _ = OPENED["a path of parts"]
    edited = {**FILES, "prompts/a.txt": b"Rate this text, please."}
    assert fingerprint(code, FILES).digest != fingerprint(code, edited).digest
    assert fingerprint(code, FILES).digest == fingerprint(code, {**FILES, "words.txt": b""}).digest


def test_a_file_that_comes_counts(fingerprint):
    code, _ = OPENED["a pattern in a folder"]
    more = {**FILES, "prompts/c.txt": b""}
    assert fingerprint(code, FILES).digest != fingerprint(code, more).digest


def test_a_file_of_three_words_is_a_text(fingerprint):
    code, _ = OPENED["a path of parts"]
    assert [text.value for text in fingerprint(code, FILES).texts] == ["Rate this text."]


def test_another_module_that_is_read_as_text_counts_with_its_comments(fingerprint):
    code = "from pathlib import Path\ndef f(): return Path(__file__).with_name('n.py').read_text()"
    first, second = ({"m.py": code, "n.py": f"# {comment}"} for comment in "ab")
    assert fingerprint(first).digest != fingerprint(second).digest
