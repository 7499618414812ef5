"""The side store: files by the sha256 of their bytes, at the paths that Git LFS uses."""
