"""The short form of a suite, which CI runs, and the long one: `make test-attacks LONG=1`, `make test-faults LONG=1`."""

from __future__ import annotations

import os

LONG = os.environ.get("LONG", "") not in ("", "0")


def scale(short: int, long: int) -> int:
    """Return the first value in the short form, the second in the long one."""
    return long if LONG else short
