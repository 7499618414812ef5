"""Builder files: read, checked, ordered, and their fields resolved."""
