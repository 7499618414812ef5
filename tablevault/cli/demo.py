"""A small vault that shows what TableVault does: two tables, made twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tablevault.cli.context import Place

if TYPE_CHECKING:
    from tablevault.vault import Vault

_CODE = '''"""Functions of the demonstration: reviews, and a judge that stands for a slow model."""

REVIEWS = [
    ("r1", "The tent kept dry for a week."),
    ("r2", "Poor zip, it broke at once."),
    ("r3", "A good lamp, and a bright one."),
    ("r4", "It arrived."),
]
WORDS = {"dry": 1, "good": 1, "bright": 1, "poor": -1, "broke": -1}


def reviews():
    """Return the reviews: a real vault would read a file or ask a service."""
    import pandas as pd

    return pd.DataFrame(REVIEWS, columns=["id", "text"])


def judge(text, threshold):
    """Judge one review: a real vault would ask a language model here."""
    words = [word.strip(".,").lower() for word in text.split()]
    score = sum(WORDS.get(word, 0) for word in words)
    return "good" if score >= threshold else "bad" if score <= -threshold else "neutral"


def count(moods):
    """Count the reviews of each mood."""
    import pandas as pd

    counted = moods["mood"].value_counts(sort=False).sort_index()
    return pd.DataFrame({"mood": counted.index, "reviews": counted.to_numpy()})
'''
_BUILDERS = {
    "reviews": {
        "reviews_index": """builder_type: IndexBuilder
changed_columns: [id, text]
primary_key: [id]
python_function: reviews
code_module: demo
is_custom: true
return_type: dataframe
arguments: {}
""",
        "mood": """builder_type: ColumnBuilder
changed_columns: [mood]
python_function: judge
code_module: demo
is_custom: true
return_type: row-wise
arguments:
  text: <<self.text[index]>>
  threshold: 1
""",
    },
    "moods": {
        "moods_index": """builder_type: IndexBuilder
changed_columns: [mood, reviews]
primary_key: [mood]
python_function: count
code_module: demo
is_custom: true
return_type: dataframe
arguments:
  moods: <<reviews.mood>>
""",
    },
}
_AFTER = """Made the vault {path} with two tables, each of two instances. Look around:

  cd {path}
  tablevault get-table-instances           the tables
  tablevault log                           what happened
  tablevault diff reviews                  what the second run changed
  tablevault lineage moods                 what was made from what
  git log --first-parent --oneline         the same by plain git
  git log -p -- tables/reviews/base        how each instance came to be
"""


def make(place: Place, path: str) -> str:
    """Make the vault, run everything, change one argument, run it again."""
    from tablevault.operations.files import CreateCodeModule
    from tablevault.operations.tables import CreateTable

    vault = place.create(path, "A demonstration")
    CreateCodeModule(module_name="demo", text=_CODE).run(vault)
    for table, builders in _BUILDERS.items():
        CreateTable(table_name=table).run(vault)
        _execute(vault, table, builders)
    changed = _BUILDERS["reviews"] | {
        "mood": _BUILDERS["reviews"]["mood"].replace("threshold: 1", "threshold: 2")
    }
    _execute(vault, "reviews", changed)
    _execute(vault, "moods", _BUILDERS["moods"])
    return _AFTER.format(path=path)


def _execute(vault: Vault, table: str, builders: dict[str, str]) -> None:
    """Make one instance of a table."""
    from tablevault.operations.execute import ExecuteInstance
    from tablevault.operations.instances import CreateInstance

    CreateInstance(table_name=table, version="base", copy=True, builders=builders).run(vault)
    ExecuteInstance(table_name=table, version="base").run(vault)
