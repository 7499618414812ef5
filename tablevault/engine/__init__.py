"""From builders to a frame: parsing, ordering, and calling functions; knows nothing of git."""
