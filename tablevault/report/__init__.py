"""A page about a vault for a browser: one HTML file that needs nothing else."""
