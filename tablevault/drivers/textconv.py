"""Shows git a dataframe as lines of text, for ``git diff``, ``log -p``, ``show`` and ``blame``.

Git runs it in the top folder of the working tree with the name of a file: the dataframe itself,
or its pointer when the object is not in this vault (gitattributes(5), "Performing text diffs of
binary files"). It runs it for each dataframe anew, so what it loads is what it costs: no pandas,
no numpy, and nothing but hashlib for what it has shown before.
"""
# ruff: noqa: PTH100, PTH112, PTH118, PTH123, PTH202 - pathlib costs 5 ms, a third of what showing something again takes

from __future__ import annotations

import hashlib
import os
import sys

_LONGEST_POINTER = 1024
_PARQUET = b"PAR1"


def show(path: str) -> bytes:
    """Return the text for the file `path`."""
    with open(path, "rb") as file:
        head = file.read(_LONGEST_POINTER)
        if head.startswith(_PARQUET):
            file.seek(0)
            return _dataframe(path, hashlib.file_digest(file, "sha256").hexdigest())
    if len(head) < _LONGEST_POINTER:
        return _pointer(head)
    return _other(path, "is no dataframe")


def _dataframe(path: str, oid: str) -> bytes:
    """Return the text of a dataframe, made anew when it was not kept."""
    from tablevault.lfs.text_cache import keep_text, read_text

    state = f"{_git_dir()}/tablevault"
    text = read_text(state, oid)
    if text is None:
        try:
            text = _made(path, oid)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one file, git goes on
            return _other(path, f"cannot be shown: {type(error).__name__}: {error}")
        if os.path.isdir(state):
            keep_text(state, oid, text)
    return text


def _made(path: str, oid: str) -> bytes:
    """Format a dataframe."""
    # pyarrow can do without numpy since 18, and loads in a third of the time.
    sys.modules.setdefault("numpy", None)  # type: ignore[arg-type]  # it is how Python marks it
    from tablevault.frames.text_lines import frame_lines

    lines, more = frame_lines(path)
    if more:
        size = os.path.getsize(path)
        lines.append(f"# {more} more rows; the file has {size} bytes, sha256 {oid}")
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")


def _pointer(head: bytes) -> bytes:
    """Return the text for a pointer: of the object where it is here, else of the pointer."""
    from pathlib import Path

    from tablevault.errors import TableVaultError
    from tablevault.history.git.git_config import storage_settings
    from tablevault.lfs.pointer import decode_pointer
    from tablevault.lfs.store import ObjectStore

    pointer = decode_pointer(head)
    if pointer is None or not pointer.size:
        return head
    git = Path(_git_dir())
    store = ObjectStore(storage_settings(git).lfs, git / "tablevault" / "tmp")
    try:
        path = str(store.file(pointer))
    except TableVaultError:
        return head + b"# The dataframe is not here. `git lfs fetch --all` brings all of them.\n"
    return _dataframe(path, pointer.oid)


def _other(path: str, why: str) -> bytes:
    """Return what a file is of which no rows can be shown; a difference still shows."""
    with open(path, "rb") as file:
        oid = hashlib.file_digest(file, "sha256").hexdigest()
    text = f"# A file of {os.path.getsize(path)} bytes, sha256 {oid}, that {why}"
    return f"{' '.join(text.split())}\n".encode("utf-8", "replace")


def _git_dir() -> str:
    """Return the git folder that holds the objects: in another working tree it is not ``.git``."""
    git = os.environ.get("GIT_COMMON_DIR") or os.environ.get("GIT_DIR") or ".git"
    try:
        with open(git, encoding="utf-8") as file:
            git = file.read().removeprefix("gitdir: ").strip()
    except OSError:
        pass  # the usual case: it is a folder
    try:
        with open(f"{git}/commondir", encoding="utf-8") as file:
            git = os.path.join(git, file.read().strip())
    except OSError:
        pass
    return os.path.abspath(git)


def main() -> int:
    """Write the text for the file that is named last on the command line."""
    try:
        text = show(sys.argv[-1])
    except OSError as error:
        sys.stderr.write(f'tablevault: "{sys.argv[-1]}" cannot be read: {error.strerror}\n')
        return 1
    try:
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # The pager was left. What Python would flush at its end has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
