"""What a worker says to a task that it cannot make."""

from __future__ import annotations

from tablevault.engine.execution.parcels import Parcel, packed
from tablevault.engine.execution.worker import Answer, FunctionRef, WorkerTask, release, run_task


def task(**fields):
    ref = FunctionRef(module="random_string", name="random_row_string", key="", sources="")
    given = {
        "calls": Parcel([{}]),
        "constants": "",
        "timeout_s": None,
        "is_async": False,
        "function": ref,
    }
    return WorkerTask(owner="nobody", builder="b", **(given | fields))


def test_another_release_is_told_in_plain_values():
    worker, theirs = run_task(("0.0", "3.0"), Parcel(task()))
    assert theirs == release()
    assert ":" in worker


def test_what_is_missing_is_asked_for_once():
    wanted = task(constants="digest-of-constants", calls=Parcel([]))
    assert run_task(release(), Parcel(wanted)).missing == ["digest-of-constants"]
    supplied = task(
        constants="digest-of-constants",
        calls=Parcel([]),
        supplies={"digest-of-constants": packed(Parcel({}))},
    )
    assert run_task(release(), Parcel(supplied)).missing == ()
    assert run_task(release(), Parcel(wanted)).missing == ()


def test_a_function_that_cannot_be_loaded_is_a_problem_of_the_worker():
    ref = FunctionRef(module="random_string", name="no_such", key="", sources="")
    answer = run_task(release(), Parcel(task(function=ref)))
    assert isinstance(answer, Answer)
    assert 'Function "no_such"' in answer.problem
