"""Public methods: their arguments are checked, and tracebacks of users' functions shortened."""

from __future__ import annotations

import functools
import inspect
import operator
import os
from collections.abc import Callable, Iterable, Mapping
from typing import ParamSpec, TypeVar

from tablevault.errors import TVArgumentError
from tablevault.tracebacks import user_traceback

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")

_LONGEST_SHOWN = 60
_FREE_TEXTS = frozenset({"description", "text", "author", "process_id", "parent_id"})
"""Parameters that name nothing on disk or in git."""


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Wrap a function so that an argument of a wrong type is one clear error.

    What is checked follows from the annotations. Those that are not in the table below are left
    to the function: what a frame holds, say, is better told by who reads it.

    Raises
    ------
    TVArgumentError
        From the wrapped function: names the argument, its value, and what it has to be.
    BaseException
        What a function of the user raised, with the frame of the wrapper as the only one of ours
        between theirs and the caller's.
    """
    signature = inspect.signature(function)
    known = {
        name: kinds
        for name, parameter in signature.parameters.items()
        if (kinds := _kinds(name, str(parameter.annotation)))
    }

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        # What does not fit the signature at all is a TypeError of Python's, as for any function.
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            if name in known and not any(_CHECKS[kind](value) for kind in known[name]):
                raise _refusal(function.__name__, name, value, known[name])
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            if (theirs := user_traceback(error)) is not None:
                raise error.with_traceback(theirs)  # noqa: B904 - the same, without our frames
            raise

    return call


def checked_class(kind: type[C]) -> type[C]:
    """Wrap the constructor and all public methods of a class, as :func:`checked` does."""
    for name, member in list(vars(kind).items()):
        if inspect.isfunction(member) and (name == "__init__" or not name.startswith("_")):
            setattr(kind, name, checked(member))
    return kind


def _refusal(function: str, name: str, value: object, kinds: tuple[str, ...]) -> TVArgumentError:
    """Return what an argument is and what it has to be."""
    shown = repr(value)
    if len(shown) > _LONGEST_SHOWN:
        shown = shown[:_LONGEST_SHOWN] + "..."
    wanted = " or ".join(_WORDS[kind] for kind in kinds)
    has_nul = "\0" in value if isinstance(value, str) else isinstance(value, os.PathLike)
    if has_nul and {"name", "name of a file"} & set(kinds):
        wanted += " without NUL"
    elif isinstance(value, str) and {"str", "name"} & set(kinds):
        wanted += " without halves of surrogate pairs, which cannot be written as UTF-8"
    place = "" if function == "__init__" else f" of {function}"
    return TVArgumentError(
        f"Argument {name}{place} is {shown} ({type(value).__name__}).",
        f"It has to be {wanted}.",
        argument=name,
    )


def _kinds(name: str, annotation: str) -> tuple[str, ...]:
    """Return the kinds that a parameter allows; none when one of them is unknown here."""
    kinds = tuple(each.split("[")[0] for each in _alternatives(annotation))
    if "os.PathLike" in kinds:
        kinds = tuple("name of a file" if kind == "str" else kind for kind in kinds)
    elif name not in _FREE_TEXTS:
        kinds = tuple("name" if kind == "str" else kind for kind in kinds)
    return kinds if all(kind in _CHECKS for kind in kinds) else ()


def _alternatives(annotation: str) -> list[str]:
    """Split `annotation` at each ``|`` that is not within brackets."""
    found, depth = [""], 0
    for character in annotation:
        depth += (character == "[") - (character == "]")
        if character == "|" and depth == 0:
            found.append("")
        else:
            found[-1] += character
    return [each.strip() for each in found]


def _is_text(value: object) -> bool:
    """Accept text that can be written down: half of a surrogate pair is none."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_path(value: object) -> bool:
    """Accept a path that a file can have."""
    if not isinstance(value, os.PathLike):
        return False
    path = os.fspath(value)
    return (b"\0" if isinstance(path, bytes) else "\0") not in path


def _is_flag(value: object) -> bool:
    """Accept True and False, of NumPy too, and the numbers that equal them."""
    return (
        isinstance(value, bool) or (_is_whole(value) and value in (0, 1)) or _is_numpy_bool(value)
    )


def _is_numpy_bool(value: object) -> bool:
    """Tell a bool of NumPy, which is not imported for it."""
    return type(value).__module__ == "numpy" and type(value).__name__ in {"bool", "bool_"}


def _is_whole(value: object) -> bool:
    """Accept whole numbers, of NumPy too; a bool is none, where a number of rows is asked for."""
    if isinstance(value, bool) or _is_numpy_bool(value):
        return False
    try:
        operator.index(value)  # type: ignore[arg-type]  # that is what is tried
    except TypeError:
        return False
    return True


def _is_list(value: object) -> bool:
    """Accept what has items, but not text, whose items are letters, nor a mapping."""
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)


_CHECKS: Mapping[str, Callable[[object], bool]] = {
    "None": lambda value: value is None,
    "str": _is_text,
    "name": lambda value: _is_text(value) and "\0" not in str(value),
    "name of a file": lambda value: isinstance(value, str) and "\0" not in value,
    "bool": _is_flag,
    "int": _is_whole,
    "float": lambda value: isinstance(value, float) or _is_whole(value),
    "os.PathLike": _is_path,
    "Sequence": _is_list,
    "Mapping": lambda value: isinstance(value, Mapping),
}
_WORDS = {
    "None": "None",
    "str": "text",
    "name": "text",
    "name of a file": "text",
    "bool": "True or False",
    "int": "a whole number",
    "float": "a number",
    "os.PathLike": "a path",
    "Sequence": "a list",
    "Mapping": "a mapping",
}
