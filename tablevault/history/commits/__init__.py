"""What commits of a vault hold: documents, snapshots, changes."""
