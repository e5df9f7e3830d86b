"""The canonical archive: one ustar dialect inside one zstd frame, described byte by byte in ``shared/FORMAT.md``."""
