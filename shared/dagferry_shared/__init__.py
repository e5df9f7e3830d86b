"""What publisher and puller agree on: formats, trust rules, the canonical archive and the store protocols.

Nothing here opens a socket or knows an S3 library; it needs ``cryptography`` and ``zstandard`` alone.
The byte-level truth is in ``shared/FORMAT.md``.
"""

__version__ = "0.1.0"
