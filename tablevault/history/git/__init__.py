"""The git repository itself: commits, trees, refs, packs, its index file; the only pygit2."""
