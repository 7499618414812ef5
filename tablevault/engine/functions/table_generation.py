"""Rows from folders, frames, CSV files and lists: ready-made functions for index builders."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from tablevault.errors import TVFileError
from tablevault.frames import csv


def create_paper_table_from_folder(
    folder_dir: str, copies: int, artifact_folder: str, extension: str = ".pdf"
) -> pd.DataFrame:
    """Copy the files of a folder into the artifact folder, and make a row for each copy.

    Parameters
    ----------
    folder_dir : str
        Folder to take files from, not those in its folders.
    copies : int
        Copies of each file, at least 1. With more than one, ``_0``, ``_1`` ... follow the name.
    artifact_folder : str
        Where the copies go; write ``~ARTIFACT_FOLDER~``.
    extension : str, default ".pdf"
        End of the names of the files that are taken.

    Returns
    -------
    DataFrame
        Columns file_name (without ending), artifact_name (for dtype ``artifact_string``) and
        original_path, sorted by file name.

    Raises
    ------
    TVFileError
        The path of a file is no UTF-8, as a name from an archive in Latin-1.
    """
    rows = []
    files = sorted(Path(folder_dir).iterdir(), key=lambda path: path.name)
    for file in (path for path in files if path.is_file() and path.name.endswith(extension)):
        _check_utf8(file)
        for number in range(copies):
            name = file.name if copies == 1 else f"{file.stem}_{number}{file.suffix}"
            shutil.copyfile(file, Path(artifact_folder) / name)
            rows.append((Path(name).stem, name, str(file)))
    return pd.DataFrame(rows, columns=["file_name", "artifact_name", "original_path"])


def create_data_table_from_table(
    df: pd.DataFrame,
    nrows: int | None = None,
    random_sample: bool = False,
    seed: int | None = None,
) -> pd.DataFrame:
    """Copy a frame, its first rows, or a sample of them.

    Parameters
    ----------
    df : DataFrame
        What is copied.
    nrows : int, optional
        Rows to take, all when None or when there are fewer.
    random_sample : bool, default False
        Take any `nrows` rows, none twice, instead of the first ones.
    seed : int, optional
        The same seed takes the same rows.
    """
    if nrows is None:
        return df.copy()
    if random_sample:
        return df.sample(min(nrows, len(df)), random_state=seed).reset_index(drop=True)
    return df.head(nrows).copy()


def create_data_table_from_csv(
    csv_file_path: str,
    *,
    changed_columns: Sequence[str] = (),
    dtypes: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Read a CSV file with a header, separated by commas, in UTF-8.

    Parameters
    ----------
    csv_file_path : str
        The file.
    changed_columns : sequence of str, optional
        The field of the builder: other names for the columns, in the order of the file.
    dtypes : mapping of str to str, optional
        The field of the builder: declared dtypes.

    Returns
    -------
    DataFrame
        Columns with a declared dtype are text as it stands in the file, so that the cast loses
        nothing; the others have the dtype of their values.

    Raises
    ------
    TVTableError
        The file is empty, is not UTF-8, ends inside quotes, or has a row longer than the header.
    """
    return csv.read_csv(csv_file_path, dtypes or {}, changed_columns)


def create_data_table_from_list(vals: Sequence[object]) -> pd.DataFrame:
    """Make one column of a list; it gets the name that the builder declares."""
    return pd.DataFrame({"temp_name": list(vals)})


def _check_utf8(file: Path) -> None:
    """Refuse a file whose path cannot be written as text."""
    try:
        str(file).encode()
    except UnicodeEncodeError as error:
        raise TVFileError(
            f"The path {str(file)!r} is no UTF-8, so it can be no value of a table.",
            "Rename the file, or the folder that it is in.",
        ) from error
