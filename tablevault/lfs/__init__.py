"""The side store: files by the sha256 of their bytes, laid out as Git LFS lays them out."""
