"""Two histories of a vault become one; incoming commits are validated."""
