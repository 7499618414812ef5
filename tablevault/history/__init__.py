"""Git: commits, refs, trees, the working tree and its index; the only room with pygit2."""
