"""Builder texts from what a caller hands in: names, files, folders, texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tablevault.errors import TVArgumentError, TVFileError
from tablevault.filenames import is_hidden
from tablevault.history.commits.snapshot import decode_text
from tablevault.names import builder_of_path, check_builder_name, index_builder
from tablevault.wording import Parameter, Wording

_ENDING = ".yaml"


def by_file(texts: Mapping[str, str], copy_dir: str, ending: str) -> dict[str, str]:
    """Return texts by the file that each comes from; that to be, where it comes from none."""
    if copy_dir.endswith(ending):
        return dict.fromkeys([copy_dir], "".join(texts.values()))
    return {str(Path(copy_dir, f"{name}{ending}")): text for name, text in texts.items()}


def gather_builders(
    table: str, builders: Sequence[str] | Mapping[str, str] | None
) -> dict[str, str]:
    """Return the text of each builder that ``create_instance`` is asked for.

    A list holds names, which get templates, and paths of ``.yaml`` files; a mapping gives for
    each name a text or a path that ends in ``.yaml``.
    """
    if builders is None:
        return {}
    if isinstance(builders, str):
        raise TVArgumentError(
            f"builders is the text {builders!r}.", "Pass a list of names, or a dict name -> text."
        )
    found: dict[str, str] = {}
    if isinstance(builders, Mapping):
        for name, value in builders.items():
            found[_own_name(name, table)] = _text_or_file(name, value)
        return found
    for entry in builders:
        if str(entry).endswith(_ENDING):
            path = Path(entry)
            name = check_builder_name(builder_of_path(path.name))
            found[name] = _checked(name, read_text(path))
        else:
            name = _own_name(entry, table)
            found[name] = template(table, name)
    return found


def builder_texts(table: str, builder: str, copy_dir: str, text: str) -> dict[str, str]:
    """Return the builders that ``create_builder_file`` is asked for, by name."""
    if not copy_dir:
        name = _own_name(builder or index_builder(table), table)
        return {name: _checked(name, text) if text else template(table, name)}
    source = Path(copy_dir)
    if source.is_dir():
        files = sorted(path for path in source.iterdir() if _is_source(path))
        if not files:
            raise TVFileError(
                f'The folder "{source}" holds no {_ENDING} file.', "Name a folder with builders."
            )
        names = {check_builder_name(builder_of_path(path.name)): path for path in files}
        return {name: _checked(name, read_text(path)) for name, path in names.items()}
    if not source.exists():
        raise TVFileError(f'There is no file or folder "{source}".', "Check the path.")
    if source.suffix != _ENDING:
        raise TVFileError(
            f'"{source}" is neither a folder nor a {_ENDING} file.',
            Wording(
                "Name one of these as ",
                Parameter("create_builder_file", "copy_dir"),
                ", or pass the builder itself as ",
                Parameter("create_builder_file", "text"),
                ".",
            ),
        )
    name = check_builder_name(builder or builder_of_path(source.name))
    return {name: _checked(name, read_text(source))}


def _is_source(path: Path) -> bool:
    """Return whether a file in a folder that is copied is a builder."""
    return path.suffix == _ENDING and not is_hidden(path.name)


def template(table: str, name: str) -> str:
    """Return the template of a builder."""
    from tablevault.engine.builders.document import column_template, index_template

    return index_template(table) if name == index_builder(table) else column_template(name)


def read_text(path: Path) -> str:
    """Read a file that the user named.

    Raises
    ------
    TVFileError
        The file is missing, cannot be read, or is no UTF-8.
    """
    try:
        return decode_text(path.read_bytes(), str(path))
    except OSError as error:
        raise TVFileError(
            f'The file "{path}" cannot be read: {error.strerror}.', "Check the path."
        ) from error


def _text_or_file(name: str, value: str) -> str:
    """Read a builder that is given by text or by path."""
    if not isinstance(value, str):
        raise TVArgumentError(
            f'Builder "{name}" is given as {type(value).__name__}.',
            "Give its YAML text, or the path of a .yaml file.",
        )
    is_path = value.endswith(_ENDING) and "\n" not in value
    return _checked(name, read_text(Path(value)) if is_path else value)


def _own_name(name: str, table: str) -> str:
    """Check the name of a builder; only that of the index builder ends in ``_index``."""
    check_builder_name(name)
    if name.endswith("_index") and name != index_builder(table):
        raise TVFileError(
            f'Builder "{name}" cannot be made: the index builder of table "{table}" is '
            f'"{index_builder(table)}".',
            "Give a column builder a name that does not end in _index.",
            builder=name,
            table=table,
        )
    return name


def _checked(name: str, text: str) -> str:
    """Refuse a text that cannot become a builder."""
    from tablevault.engine.builders.document import check_builder_text

    check_builder_text(name, text)
    return text
