"""Waiting for something that another process does: a condition with a deadline, never a plain sleep."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Value = TypeVar("Value")
DEADLINE_SECONDS = 30.0  # generous: only a broken program waits so long


def wait_for(condition: Callable[[], Value], what: str, *, seconds: float = DEADLINE_SECONDS) -> Value:
    """Return the condition's first true value; AssertionError names what did not happen in time."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"did not happen within {seconds:.0f} s: {what} (last: {value!r})")
        time.sleep(0.02)
