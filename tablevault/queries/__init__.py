"""What reads a vault: a view in, a value out; takes no lock and writes no record."""
