"""Arguments of public methods: defaults, and checks by the types of the parameters."""

from __future__ import annotations

import errno
import functools
import inspect
import operator
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, ParamSpec, SupportsIndex, TypeVar, cast, get_args, get_origin

from tablevault.errors import TVArgumentError, user_traceback

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")

LOCK_TIMEOUT_S = 10.0
"""How long to wait for what another process holds."""
GC_GRACE_DAYS = 14
"""Minimum age of what `gc` removes for good."""
CALLS_KEPT_DAYS = 30
"""Minimum age of results of calls that no instance holds, before `gc` removes them."""

_LONGEST_SHOWN = 60
_FREE_TEXTS = frozenset({"description", "text", "author", "process_id", "parent_id"})
"""Parameters that name nothing on disk or in git: a NUL is a character like any other there."""


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Wrap a function so that an argument of a wrong type is one clear error.

    Text and numbers of subclasses, such as those of NumPy and members of enumerations, are passed
    on as plain ones: YAML cannot write them, and an f-string shows ``Name.MEMBER`` of some.

    Parameters of types that are not in the table below are left to the function.

    Raises
    ------
    TVArgumentError
        From the wrapped function: names the argument, its value, and what it has to be.
    BaseException
        What a function of the user raised, with the frame of the wrapper as the only one of ours
        between theirs and the caller's.
    """
    signature = inspect.signature(function)
    types = {name: _types(each.annotation) for name, each in signature.parameters.items()}

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        # What does not fit the signature at all is a TypeError of Python's, as for any function.
        bound = signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            if wanted := _wanted(name, value, types[name]):
                raise _refusal(function.__name__, name, value, wanted)
            if types[name]:
                bound.arguments[name] = _plain(value, types[name])
        try:
            return function(*bound.args, **bound.kwargs)
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


def _types(annotation: Any) -> tuple[type, ...]:  # noqa: ANN401 - any annotation
    """Return the types that an annotation allows; none if one of them is not checked."""
    alternatives = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    types = tuple(get_origin(each) or each for each in alternatives)
    return types if all(each in _CHECKS for each in types) else ()


def _wanted(name: str, value: object, types: tuple[type, ...]) -> str:
    """Return what an argument has to be; "" if it is that, or is not checked."""
    words = " or ".join(_CHECKS[each][1] for each in types)
    if types and not any(_CHECKS[each][0](value) for each in types):
        return words
    text = os.fsdecode(value) if types and isinstance(value, str | os.PathLike) else ""
    if "\0" in text and name not in _FREE_TEXTS:
        return f"{words} without NUL"
    if os.PathLike in types and "://" not in text and _is_too_long(text):
        return f"{words} that the file system allows; this one is too long"
    # Python spells bytes of a path that are not UTF-8 as halves of surrogate pairs.
    if str in types and os.PathLike not in types and isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return f"{words} without halves of surrogate pairs, which cannot be written as UTF-8"
    return ""


def _is_too_long(path: str) -> bool:
    """Return whether no file can have a path: it, or a name in it, has too many bytes."""
    try:
        os.lstat(path)
    except OSError as error:
        return error.errno == errno.ENAMETOOLONG
    return False


def _plain(value: object, types: tuple[type, ...] = ()) -> object:
    """Return a value made of plain text, numbers, lists, tuples and dicts."""
    if isinstance(value, Mapping):
        return {_plain(key): _plain(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return tuple(_plain(each) for each in value)
    if isinstance(value, list) or (Sequence in types and _is_list(value)):
        return [_plain(each) for each in cast("Iterable[object]", value)]
    if _is_numpy_bool(value) or (bool in types and value is not None):
        return bool(value)
    return _plain_scalar(value)


def _plain_scalar(value: object) -> object:
    """Return text or a number as one of the class of Python; anything else as it is."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, float):
        return float(value)
    return operator.index(cast("SupportsIndex", value)) if _is_whole(value) else value


def _refusal(function: str, name: str, value: object, wanted: str) -> TVArgumentError:
    """Return the error of an argument."""
    shown = repr(value)
    if len(shown) > _LONGEST_SHOWN:
        shown = shown[:_LONGEST_SHOWN] + "..."
    place = "" if function == "__init__" else f" of {function}"
    return TVArgumentError(
        f"Argument {name}{place} is {shown} ({type(value).__name__}).",
        f"It has to be {wanted}.",
        argument=name,
    )


def _is_flag(value: object) -> bool:
    """Return whether a value is True or False, of NumPy too, or a number that equals one."""
    return (
        isinstance(value, bool) or _is_numpy_bool(value) or (_is_whole(value) and value in (0, 1))
    )


def _is_numpy_bool(value: object) -> bool:
    """Return whether a value is a bool of NumPy, which is not imported for it."""
    return type(value).__module__ == "numpy" and type(value).__name__ in {"bool", "bool_"}


def _is_whole(value: object) -> bool:
    """Return whether a value is a whole number, of NumPy too; a bool is not one."""
    if isinstance(value, bool) or _is_numpy_bool(value):
        return False
    try:
        operator.index(value)  # type: ignore[arg-type]  # that is what is tried
    except TypeError:
        return False
    return True


def _is_list(value: object) -> bool:
    """Return whether a value has items, but is neither text nor a mapping."""
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)


_CHECKS: Mapping[type, tuple[Callable[[object], bool], str]] = {
    NoneType: (lambda value: value is None, "None"),
    str: (lambda value: isinstance(value, str), "text"),
    bool: (_is_flag, "True or False"),
    int: (_is_whole, "a whole number"),
    float: (lambda value: isinstance(value, float) or _is_whole(value), "a number"),
    os.PathLike: (lambda value: isinstance(value, os.PathLike), "a path"),
    Sequence: (_is_list, "a list"),
    Mapping: (lambda value: isinstance(value, Mapping), "a mapping"),
}
"""What a value of a type is, and how an error calls it."""
