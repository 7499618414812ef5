"""The rows of the tables: documents, and each question about each of them."""

import ast
import sysconfig
from pathlib import Path

import pandas as pd

MOST_LETTERS = None  # of a document


def documents(names: list[str]) -> pd.DataFrame:
    """Read what modules of the standard library say of themselves."""
    library = Path(sysconfig.get_paths()["stdlib"])
    texts = {}
    for name in names:
        for file in (library / f"{name}.py", library / name / "__init__.py"):
            if file.exists():
                texts[name] = ast.get_docstring(ast.parse(file.read_bytes()))[:MOST_LETTERS]
    return pd.DataFrame({"name": list(texts), "text": list(texts.values())})


def answers(documents: pd.DataFrame, questions: pd.DataFrame) -> pd.DataFrame:
    """Pair each document with each question."""
    return documents.merge(questions, how="cross").rename(columns={"name": "document"})
