"""Calls of functions: what identifies one, what code decides it, and the records of those made."""
