"""Questions about documents, put to a model that is slow, has limits, and is paid by the question.

    python examples/document_questions.py [NEW_FOLDER]

The model is simulated, its failures are not: a prompt is too long for it, then a rate limit is
reached. Each time the execution is paused, the cause is mended, and the same call goes on. In the
end the provider's own books tell that no question was answered twice.

The code is in ``document_questions/code/``, the builders in ``document_questions/answers/`` and
``document_questions/documents/``, the provider in ``simulated_model.py``.
"""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import simulated_model
from stage import heading, new_folder

from tablevault import TableVault

FILES = Path(__file__).with_suffix("")  # the folder beside this file
QUESTIONS = [
    "What is this module for?",
    "Which classes does the module define?",
    "How is the module used, is there an example?",
    "What does a function return?",
]
LIMIT = 50  # questions an hour


def main() -> None:
    """Ask, fail, mend, go on; then ask one question more, and read the replies anew."""
    folder = new_folder("questions")
    account = folder.with_name(f"{folder.name}-account.jsonl")
    os.environ[simulated_model.ACCOUNT] = str(account)
    simulated_model.pay(LIMIT)
    vault = TableVault(folder, author="Ana <ana@example.org>", create=True)
    vault.create_code_module(copy_dir=FILES / "code")

    heading("Two tables to begin with")
    vault.create_table("documents")
    vault.create_instance("documents")
    vault.create_builder_file("documents", copy_dir=FILES / "documents")
    vault.execute_instance("documents")
    documents, _ = vault.get_dataframe("documents")
    words = documents["text"].str.split().str.len()
    print(f"{len(documents)} documents of {words.min()} to {words.max()} words")
    vault.create_table("questions")
    write_questions(vault, QUESTIONS)

    heading("All questions about all documents, first try")
    vault.create_table("answers")
    vault.create_instance("answers")
    vault.create_builder_file("answers", copy_dir=FILES / "answers")
    run(vault)

    heading("The code is mended, and the same call goes on")
    mend(
        folder / "code" / "asking.py",
        "ask(question, document)",
        'ask(question, " ".join(document.split()[:400]))',
    )
    run(vault)

    heading("An hour later, the same call goes on")
    simulated_model.pay(2 * LIMIT)
    run(vault)
    show_best(vault)

    heading("One question more: the others are not asked again")
    write_questions(vault, [*QUESTIONS, "Which exceptions are raised?"])
    vault.create_instance("answers", copy=True)
    run(vault)

    heading("The replies are read in another way: nobody is asked")
    mend(folder / "code" / "reading.py", "int(found[2])", "int(found[2]) / 100")
    vault.create_instance("answers", copy=True)
    run(vault)

    show_past(vault)
    heading("The provider's books")
    rows = len(vault.get_dataframe("answers")[0])
    print(f"{rows} answers in the table, {simulated_model.answered()} paid")
    print(f"{simulated_model.answered_twice()} questions were answered twice")
    assert simulated_model.answered() == rows
    assert simulated_model.answered_twice() == 0
    print(f"\nThe vault is {folder}: a git repository, look around.")


def run(vault: TableVault) -> None:
    """Execute, and tell how it went. The id is what makes it pause instead of being taken back."""
    paid = simulated_model.answered()
    name = f"answers-{len(vault.get_table_instances('answers')) + 1}"
    try:
        vault.execute_instance("answers", process_id=name)
    except (simulated_model.RateLimitError, simulated_model.PromptTooLongError) as error:
        print(f"{type(error).__name__}: {error}")
        process = vault.get_active_processes()[name]
        print(f"{name} is paused, rows that are kept: {process.rows}")
    else:
        print(f"{name} is done")
        for builder, told in vault.get_descriptions(newest(vault))["execution"].items():
            print(f"  {builder}: {told['computed']} rows made, {told['reason']}")
    print(f"questions paid: {simulated_model.answered() - paid}")


def newest(vault: TableVault) -> str:
    """Give the id of the latest instance of ``answers``."""
    return vault.get_table_instances("answers")[-1]


def show_best(vault: TableVault) -> None:
    """Print the answers that the model is most certain of."""
    answers, _ = vault.get_dataframe("answers")
    best = answers.sort_values(["certainty", "document"], ascending=[False, True]).head(4)
    for row in best.itertuples():
        print(f"\n{row.document}: {row.question} ({row.certainty:.0f} %)\n  {row.answer}")


def show_past(vault: TableVault) -> None:
    """Print what was done, and what the latest answers were made from."""
    heading("What was done to the table, newest first")
    log = vault.log("answers")
    log["seconds"] = log["duration"].dt.total_seconds().round(1)  # pauses included
    print(log[["operation", "rows", "seconds"]].to_string(index=False))
    heading("What the latest answers were made from")
    print(vault.lineage("answers", newest(vault)))


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
