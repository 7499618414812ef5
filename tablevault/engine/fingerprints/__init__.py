"""Fingerprints of functions: digests of all code that decides what they return."""
