"""Files on a local disk: written whole, synced, shared, locked; caches in SQLite."""
