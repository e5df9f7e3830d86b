"""How a finding is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "failure", "not checked"]


@dataclass(frozen=True, slots=True)
class Result:
    """What one check saw, and in one line what to do about it."""

    check: str
    state: State
    seen: str
    cure: str = ""


def unchecked(check: str, why: str) -> Result:
    """Return the result of a check that could not be made."""
    return Result(check, "not checked", why)
