"""The file of an instance as an Arrow dataset: scanned in place, never copied into pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tablevault.errors import TVTableError
from tablevault.queries.dataframe import FrameQuery, find_query_instance
from tablevault.queries.read import frame_file
from tablevault.vault import Vault
from tablevault.wording import Operation, Wording

if TYPE_CHECKING:
    import pyarrow.dataset


def get_dataset(vault: Vault, query: FrameQuery) -> pyarrow.dataset.Dataset:
    """Open the Parquet file of an instance; its artifacts are the relative names.

    Raises
    ------
    TVTableError
        It is no Parquet, or has two columns of one name.
    """
    import pyarrow.dataset

    path = frame_file(vault, find_query_instance(vault, query))
    try:
        return pyarrow.dataset.dataset(path, format="parquet")
    except UnicodeEncodeError as error:
        raise TVTableError(
            f'"{path}" cannot be opened as a dataset: pyarrow takes no path that is not UTF-8.',
            Wording(
                "Use ",
                Operation("get_dataframe"),
                ", or give the folder of the vault another name.",
            ),
            path=str(path),
        ) from error
    except (pyarrow.ArrowException, OSError) as error:
        raise TVTableError(
            f'"{path}" cannot be opened as a dataset: {error}',
            Wording(
                "It is damaged or not Parquet: ", Operation("get_dataframe"), " may tell more."
            ),
            path=str(path),
        ) from error
