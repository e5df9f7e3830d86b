"""``dagctl``: one file per command; what they share is in ``command``, ``session``, ``output`` and ``exits``."""
