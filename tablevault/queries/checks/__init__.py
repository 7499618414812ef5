"""What verify looks at: a file for each part of a vault."""
