"""What changes a vault: a file for each family of operations."""
