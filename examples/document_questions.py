"""Questions about documents, put to a model that is busy, has limits, and is paid by the question.

    python examples/document_questions.py [NEW_FOLDER]

The model is a server of its own, and its failures are real: it refuses requests, answers things
that are no JSON, and cannot read a document that is too long. What is asked, and what to do then,
is in one builder, ``document_questions/answers/answer.yaml``. In the end the books of the server
tell that no question was paid twice.

The code is in ``document_questions/code/``, the builders in ``document_questions/answers/`` and
``document_questions/documents/``, the server in ``model_server.py``.
"""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
from model_server import Faults, ModelServer
from stage import heading, new_folder

from tablevault import TableVault
from tablevault.errors import TVBudgetError

FILES = Path(__file__).with_suffix("")  # the folder beside this file
QUESTIONS = [
    "What is this module for?",
    "Which classes does the module define?",
    "How is the module used, is there an example?",
    "What does a function return?",
]


def main() -> None:
    """Ask, with all that goes wrong; then mend a document, ask one question more, judge anew."""
    folder = new_folder("questions")
    with ModelServer(Faults(refuse=0.2, nonsense=0.1, longest=800)) as server:
        os.environ["OPENAI_BASE_URL"] = server.url  # where the client of OpenAI looks for them
        os.environ["OPENAI_API_KEY"] = "any"
        ask(folder, server)


def ask(folder: Path, server: ModelServer) -> None:
    """Make the tables."""
    vault = TableVault(folder, author="Ana <ana@example.org>", create=True)
    vault.create_code_module(copy_dir=FILES / "code")

    heading("Two tables to begin with")
    vault.create_table("documents")
    vault.create_instance("documents")
    vault.create_builder_file("documents", copy_dir=FILES / "documents")
    vault.execute_instance("documents")
    documents, _ = vault.get_dataframe("documents")
    letters = documents["text"].str.len()
    print(f"{len(documents)} documents of {letters.min()} to {letters.max()} letters")
    vault.create_table("questions")
    write_questions(vault, QUESTIONS)

    heading("All questions about all documents")
    vault.create_table("answers")
    vault.create_instance("answers")
    vault.create_builder_file("answers", copy_dir=FILES / "answers")
    run(vault, server)
    show_best(vault)

    heading("What failed: the model cannot read the longest documents")
    failed = vault.get_calls("answers", outcome="error")
    print(failed[["document", "error"]].drop_duplicates("document").to_string(index=False))

    heading("The documents are cut: only these questions are asked again")
    mend(folder / "code" / "rows.py", "MOST_LETTERS = None", "MOST_LETTERS = 3050")
    vault.create_instance("documents", copy=True)
    vault.execute_instance("documents")
    vault.create_instance("answers", copy=True)
    run(vault, server)

    heading("One question more, within a budget: the others are not asked again")
    write_questions(vault, [*QUESTIONS, "Which exceptions are raised?"])
    vault.create_instance("answers", copy=True)
    run(vault, server, max_calls=10)

    heading("The same call goes on")
    run(vault, server)

    heading("The answers are judged in another way: nobody is asked")
    mend(folder / "code" / "judging.py", "SURE = 0.2", "SURE = 0.4")
    vault.create_instance("answers", copy=True)
    run(vault, server)

    show_past(vault)
    show_books(vault, server)
    print(f"\nThe vault is {folder}: a git repository, look around.")


def run(vault: TableVault, server: ModelServer, max_calls: int | None = None) -> None:
    """Execute, and tell how it went. The id is what makes it pause instead of being taken back."""
    paid = server.counts()["answers"]
    name = f"answers-{len(vault.get_table_instances('answers')) + 1}"
    try:
        vault.execute_instance("answers", process_id=name, max_calls=max_calls)
    except TVBudgetError as error:
        print(error)
        process = vault.get_active_processes()[name]
        print(f"{name} is paused, rows that are kept: {process.rows}")
    else:
        print(f"{name} is done")
        for builder, told in vault.get_descriptions(newest(vault))["execution"].items():
            print(f"  {builder}: {told['computed']} rows made, {told['reason']}")
    print(f"answers paid: {server.counts()['answers'] - paid}")


def newest(vault: TableVault) -> str:
    """Return the id of the latest instance of ``answers``."""
    return vault.get_table_instances("answers")[-1]


def show_best(vault: TableVault) -> None:
    """Print the answers that the model is most certain of."""
    answers, _ = vault.get_dataframe("answers")
    best = answers.sort_values(["certainty", "document"], ascending=[False, True]).head(4)
    for row in best.itertuples():
        print(f"\n{row.document}: {row.question} ({row.certainty:.0%})\n  {row.answer}")


def show_past(vault: TableVault) -> None:
    """Print what was done, and what the latest answers were made from."""
    heading("What was done to the table, newest first")
    log = vault.log("answers")
    log["seconds"] = log["duration"].dt.total_seconds().round(1)  # pauses included
    print(log[["operation", "rows", "seconds"]].to_string(index=False))
    heading("What the latest answers were made from")
    print(vault.lineage("answers", newest(vault)))


def show_books(vault: TableVault, server: ModelServer) -> None:
    """Print what the server was paid for."""
    heading("The server's books")
    counts = server.counts()
    rows = len(vault.get_dataframe("answers")[0])
    print(f"{counts['requests']} requests, {counts['answers']} answers, all of them paid;")
    print(f"{counts['nonsense']} were no JSON, the others are the {rows} answers in the table")
    assert counts["answers"] - counts["nonsense"] == rows


def write_questions(vault: TableVault, questions: list[str]) -> None:
    """Make an instance of ``questions`` from outside."""
    vault.create_instance("questions", external_edit=True)
    vault.write_instance(pd.DataFrame({"question": questions}), "questions")


def mend(file: Path, wrong: str, right: str) -> None:
    """Edit a file of the vault, as one would in an editor; the next operation commits it."""
    text = file.read_text(encoding="utf-8")
    assert wrong in text
    file.write_text(text.replace(wrong, right), encoding="utf-8")


if __name__ == "__main__":
    main()
