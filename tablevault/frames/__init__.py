"""Dataframes as files: exact storage, dtypes, comparison, hashes of values."""
