"""What is known of a hook: a part of the status."""

from __future__ import annotations

from enum import StrEnum

from dagferry_shared.values import dataclass


class HookState(StrEnum):
    """How far a hook is with the live version."""

    WAITING = "waiting"  # for a first version
    RUNNING = "running"
    DONE = "done"
    FAILING = "failing"  # tried again


@dataclass(frozen=True, slots=True)
class HookInfo:
    """A hook, as it went last.

    Attributes:
        state: of the live version.
        version: that it is about, None before one is live.
        attempts: for that version.
        last_success: when it last ended well, since the start.
        problem: why the last attempt failed.
        successes: since the start.
        failures: attempts that failed since the start.
        seconds: of the last attempt.
    """

    state: HookState = HookState.WAITING
    version: str | None = None
    attempts: int = 0
    last_success: str | None = None
    problem: str | None = None
    successes: int = 0
    failures: int = 0
    seconds: float | None = None
