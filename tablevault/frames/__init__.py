"""A dataframe as a file: written, read back as it was, and hashed by its values."""
