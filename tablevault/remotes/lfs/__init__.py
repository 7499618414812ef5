"""Git LFS: where the objects of a remote are, and how they are transferred."""
