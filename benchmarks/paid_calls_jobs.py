"""The same job for each tool, as its documentation recommends; `paid_calls.py` runs them.

A job reads ``rows.csv`` (id, text) and ``settings.json`` (prompt, columns, type), fills each
column by one call for each row, and writes ``result.json``. The user's functions, `MODULE`, stand
where the documentation of the tool puts them: for TableVault in a code module of the vault, for all
others in the script itself, where they notice most changes. Calls are made one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

MODULE = '''\
import os
import signal
import time

from words import stem


def pay(function):
    """Count a call where no kill can undo it. A call takes a while, as calls that cost money do."""
    file = os.open("paid.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(file, f"{function}\\n".encode())
    os.close(file)
    time.sleep(0.005)


def outage():
    """Be slow as the file `outage` says, and fail once so many calls are paid for."""
    if not os.path.exists("outage"):
        return
    with open("outage") as file:
        kind, calls, seconds = file.read().split()
    with open("paid.txt") as file:
        paid = len(file.readlines())
    if paid >= int(calls):
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise ConnectionError("no answer")
    time.sleep(float(seconds))


def tidy(text):
    return text.strip()


def unrelated(text):
    return text.upper()


def ask(text, prompt):
    """Answer a prompt about a text."""
    words = stem(tidy(text))
    outage()
    pay("ask")
    return len(prompt) * 1000 + sum(map(ord, words))


def judge(text, prompt):
    outage()
    pay("judge")
    return len(text) + len(prompt)
'''

WORDS = """\
def stem(text):
    return text.removesuffix("s")
"""

BEGIN = """
import json

import pandas as pd

with open("settings.json") as file:
    settings = json.load(file)
prompt, columns, kind = settings["prompt"], settings["columns"], settings["type"]
FUNCTIONS = {"answer": ask, "judgement": judge}
"""

# For tools that know nothing of tables: pandas says whether the values fit the type.
COLUMNS = """
frame = pd.read_csv("rows.csv")
for column in columns:
    frame[column] = [cached[column](text, prompt) for text in frame["text"]]
frame = frame.astype(dict.fromkeys(columns, {"int": "Int64", "float": "Float64"}[kind]))
frame.to_json("result.json", orient="records")
"""

JOBLIB = """
from joblib import Memory

memory = Memory("cache", verbose=0)
cached = {column: memory.cache(function) for column, function in FUNCTIONS.items()}
"""

DISKCACHE = """
from diskcache import Cache

cache = Cache("cache")
cached = {column: cache.memoize()(function) for column, function in FUNCTIONS.items()}
"""

# What a function calls has to be listed by hand: https://insitro.github.io/redun/tasks.html
REDUN = """
from redun import task

redun_namespace = "answers"
TASKS = {
    "answer": task(hash_includes=[tidy, stem])(ask),
    "judgement": task()(judge),
}


@task()
def write(frame, values):
    frame = frame.assign(**values)
    kinds = dict.fromkeys(values, {"int": "Int64", "float": "Float64"}[kind])
    frame.astype(kinds).to_json("result.json", orient="records")


@task(cache=False)
def main():
    frame = pd.read_csv("rows.csv")
    texts = frame["text"].tolist()
    values = {column: [TASKS[column](text, prompt) for text in texts] for column in columns}
    return write.options(cache=False)(frame, values)
"""

DATASETS = """
from datasets import Value, load_dataset


def answer_row(row, prompt):
    return {"answer": ask(row["text"], prompt)}


def judgement_row(row, prompt):
    return {"judgement": judge(row["text"], prompt)}


ROWS = {"answer": answer_row, "judgement": judgement_row}
dataset = load_dataset("csv", data_files="rows.csv", split="train")
for column in columns:
    features = dataset.features.copy()
    features[column] = Value({"int": "int64", "float": "float64"}[kind])
    dataset = dataset.map(ROWS[column], fn_kwargs={"prompt": prompt}, features=features)
dataset.to_pandas().to_json("result.json", orient="records")
"""

# One dataset for each step. `batch_size` is the number of rows that are written at once. The prompt
# is a column, so that both checkpoints and delta see when it changes.
DATACHAIN = """
import datachain as dc

rows = pd.read_csv("rows.csv").assign(prompt=prompt).to_dict("records")
dc.read_records(rows, schema={"id": str, "text": str, "prompt": str}).save("rows")
name = "rows"
for column in columns:
    chain = dc.read_dataset(name%s).settings(batch_size=1)
    chain = chain.map(
        FUNCTIONS[column],
        params=["text", "prompt"],
        output={column: {"int": int, "float": float}[kind]},
    )
    name = f"with_{column}"
    made = chain.save(name)
made.to_pandas().to_json("result.json", orient="records")
"""
DELTA = ', delta=True, delta_on="id", delta_compare=["text", "prompt"]'

TABLEVAULT = """
import json
from pathlib import Path

from tablevault import TableVault

settings = json.loads(Path("settings.json").read_text())
builders = {
    "answers_index": {
        "builder_type": "IndexBuilder",
        "changed_columns": ["id", "text"],
        "primary_key": ["id"],
        "python_function": "create_data_table_from_csv",
        "code_module": "table_generation",
        "arguments": {"csv_file_path": "rows.csv"},
    }
}
for column in settings["columns"]:
    builders[column] = {
        "builder_type": "ColumnBuilder",
        "changed_columns": [column],
        "python_function": {"answer": "ask", "judgement": "judge"}[column],
        "code_module": "work",
        "is_custom": True,
        "return_type": "row-wise",
        "arguments": {"text": "<<self.text[index]>>", "prompt": settings["prompt"]},
        "dtypes": {column: {"int": "Int64", "float": "Float64"}[settings["type"]]},
    }
is_new = not Path("vault").exists()
vault = TableVault("vault", author="Ana <ana@example.org>", create=is_new)
for module in ("work", "words"):
    vault.create_code_module(module, text=Path(f"{module}.py").read_text())
if is_new:
    vault.create_table("answers")
texts = {name: json.dumps(builder) for name, builder in builders.items()}
if "TEMP_base" in vault.get_table_instances("answers", include_temp=True):
    for name, text in texts.items():  # the last run failed: correct it, and go on
        vault.create_builder_file("answers", name, text=text)
else:
    vault.create_instance("answers", builders=texts)
vault.execute_instance("answers")
frame, _ = vault.get_dataframe("answers")
frame.to_json("result.json", orient="records")
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool, and how it does the job.

    Attributes
    ----------
    title : str
        Heading of its column; ``{}`` stands for the version.
    package : str
        Its package; tools with the same one share a virtual environment.
    install : tuple of str
        What pip installs.
    job : str
        The script, which follows the user's functions.
    command : tuple of str
        A program of its environment, and what it is given.
    is_apart : bool
        Whether the functions stand in ``work.py`` instead of the script.
    files : tuple of (str, str)
        Further files of the folder: path and content.
    """

    title: str
    package: str
    install: tuple[str, ...]
    job: str
    command: tuple[str, ...] = ("python", "job.py")
    is_apart: bool = False
    files: tuple[tuple[str, str], ...] = ()


TOOLS = {
    "tablevault": Tool(
        title="TableVault {}",
        package="tablevault",
        install=("-e", str(ROOT)),
        job=TABLEVAULT,
        is_apart=True,
    ),
    "datachain": Tool(
        title="DataChain {}, checkpoints",
        package="datachain",
        install=("datachain", "pandas"),
        job=BEGIN + DATACHAIN % "",
    ),
    "datachain-delta": Tool(
        title="DataChain {}, delta",
        package="datachain",
        install=("datachain", "pandas"),
        job=BEGIN + DATACHAIN % DELTA,
    ),
    "datasets": Tool(
        title="HF datasets {}",
        package="datasets",
        install=("datasets", "pandas"),
        job=BEGIN + DATASETS,
    ),
    "redun": Tool(
        title="redun {}",
        package="redun",
        install=("redun", "pandas"),
        job=BEGIN + REDUN,
        command=("redun", "run", "job.py", "main"),
        files=((".redun/redun.ini", "[executors.default]\ntype = local\nmax_workers = 1\n"),),
    ),
    "joblib": Tool(
        title="joblib {}",
        package="joblib",
        install=("joblib", "pandas"),
        job=BEGIN + JOBLIB + COLUMNS,
    ),
    "diskcache": Tool(
        title="diskcache {}",
        package="diskcache",
        install=("diskcache", "pandas"),
        job=BEGIN + DISKCACHE + COLUMNS,
    ),
}
