"""Processes as transactions: records, locks, publishing, and what a crash left behind."""
