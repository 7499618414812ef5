"""The checks of verify: a module for each part of a vault."""
