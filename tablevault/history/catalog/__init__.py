"""The derived index of history, in SQLite."""
