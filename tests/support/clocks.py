"""A pod's clock that is wrong, or time that goes by."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from dagferry_shared import times

if TYPE_CHECKING:
    import pytest

DAY = 86400.0  # seconds


def shift(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Move the clock that documents are judged by; ``monkeypatch.undo`` sets it right."""
    real = times.now
    monkeypatch.setattr(times, "now", lambda: real() + timedelta(seconds=seconds))
