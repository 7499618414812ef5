"""The working tree and the folders of temporary instances."""
