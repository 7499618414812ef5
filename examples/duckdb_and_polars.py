"""DuckDB, Polars and pandas over the same files: the Parquet files of the vault, in place.

    python examples/duckdb_and_polars.py [NEW_FOLDER]

Needs ``pip install duckdb polars``. The tables are the characters of Unicode and their categories,
as Python knows them. Nothing is exported: what the latest instance holds lies at a path that stays
the same, an earlier instance is found through ``get_dataset``.
"""

from __future__ import annotations

import sys
import unicodedata

import pandas as pd
from stage import heading, new_folder

from tablevault import TableVault

try:
    import duckdb
    import polars as pl
except ModuleNotFoundError as error:
    sys.exit(f"{error}. This example needs: pip install duckdb polars")

BLOCKS = {"L": "letter", "M": "mark", "N": "number", "P": "punctuation", "S": "symbol"}


def main() -> None:
    """Make two tables, and ask three programs the same."""
    folder = new_folder("unicode")
    vault = TableVault(folder, author="Ana <ana@example.org>", create=True)

    heading("Two tables; of the first there are two instances")
    for table in ("characters", "kinds"):
        vault.create_table(table)
    earlier = write(vault, "characters", characters(0x250))
    newest = write(vault, "characters", characters(sys.maxunicode))
    write(vault, "kinds", pd.DataFrame({"kind": list(BLOCKS), "means": list(BLOCKS.values())}))
    for instance_id in (earlier, newest):
        rows = vault.get_dataset("characters", instance_id).count_rows()
        print(f"characters {instance_id}: {rows:,} rows")
    file = folder / "tables" / "characters" / "base" / "dataframe.parquet"
    kinds = folder / "tables" / "kinds" / "base" / "dataframe.parquet"
    print(f"{file.relative_to(folder)}, {file.stat().st_size:,} bytes, is read by all")

    heading("DuckDB: SQL over the files")
    by_duckdb = duckdb.sql(
        """
        select means, count(*) as characters, max(length(name)) as longest_name
        from read_parquet($characters) c join read_parquet($kinds) k using (kind)
        group by means order by characters desc
        """,
        params={"characters": str(file), "kinds": str(kinds)},
    )
    print(by_duckdb)

    heading("Polars: a lazy query over the files, which reads two columns")
    by_polars = (
        pl.scan_parquet(file)
        .join(pl.scan_parquet(kinds), on="kind")
        .group_by("means")
        .agg(
            pl.len().alias("characters"),
            pl.col("name").str.len_chars().max().alias("longest_name"),
        )
        .sort("characters", descending=True)
        .collect()
    )
    print(by_polars)

    heading("pandas: the frame as the vault gives it")
    frame, _ = vault.get_dataframe("characters", columns=["name", "kind"])
    joined = frame.merge(vault.get_dataframe("kinds")[0], on="kind")
    by_pandas = (
        joined.assign(length=joined["name"].str.len())
        .groupby("means")
        .agg(characters=("name", "size"), longest_name=("length", "max"))
        .sort_values("characters", ascending=False)
        .reset_index()
    )
    print(by_pandas)

    counts = [tuple(row) for row in by_pandas.itertuples(index=False)]
    assert by_duckdb.fetchall() == counts
    assert by_polars.rows() == counts

    heading("What the newer instance has and the earlier one has not, by DuckDB")
    old_file, new_file = (path_of(vault, "characters", each) for each in (earlier, newest))
    added = duckdb.sql(
        """
        select kind, count(*) as added, min_by(name, code) as first
        from read_parquet($new)
        where code not in (select code from read_parquet($old))
        group by kind order by added desc, kind limit 5
        """,
        params={"new": new_file, "old": old_file},
    )
    print(added)
    print(f"The vault is {folder}: open its files with whatever reads Parquet.")


def characters(end: int) -> pd.DataFrame:
    """List the characters that have a name, below a code."""
    named = [(code, unicodedata.name(chr(code), "")) for code in range(end)]
    rows = [(code, name, unicodedata.category(chr(code))[0]) for code, name in named if name]
    return pd.DataFrame(rows, columns=["code", "name", "kind"])


def write(vault: TableVault, table: str, frame: pd.DataFrame) -> str:
    """Make an instance from outside; give its id."""
    vault.create_instance(table, external_edit=True)
    vault.write_instance(frame, table)
    return vault.get_table_instances(table)[-1]


def path_of(vault: TableVault, table: str, instance_id: str) -> str:
    """Find the file of any instance, of an earlier one in the object store."""
    return vault.get_dataset(table, instance_id).files[0]


if __name__ == "__main__":
    main()
