"""One attempt at a sync: whatever happens in it ends as a value, an outcome and perhaps a problem."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from dagferry_puller.backoff import BackedOff
from dagferry_puller.exits import line_for
from dagferry_puller.logs import log
from dagferry_puller.status import Outcome, Problem
from dagferry_shared import times
from dagferry_shared.errors import BlobMissing, Refused, StoreDenied, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagferry_puller.logs import Complaints
    from dagferry_puller.recorder import Recorder

_OUTCOMES: tuple[tuple[type[Exception], Outcome], ...] = (
    (Refused, Outcome.REFUSED),
    (BackedOff, Outcome.BACKED_OFF),
    (BlobMissing, Outcome.NOT_FOUND),
    (StoreDenied, Outcome.DENIED),
    (StoreError, Outcome.UNREACHABLE),
    (OSError, Outcome.VOLUME),
)


Result = TypeVar("Result")


def attempt(work: Callable[[], Result]) -> Result | Exception:
    """Do something; return its result, or the error that it ended with."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001
        # The only broad one: a sidecar that dies of a bug takes the next delivery and its own alarm with it.
        # What is not one of ours is logged with its traceback by ``record``, counted, and the next turn comes.
        return error


def outcome_of(error: Exception) -> Outcome:
    """Return the outcome that an error is counted as."""
    return next((outcome for kind, outcome in _OUTCOMES if isinstance(error, kind)), Outcome.UNEXPECTED)


def record(result: Outcome | Exception, recorder: Recorder, complaints: Complaints) -> Outcome:
    """Count and log the end of an attempt."""
    if isinstance(result, Outcome):
        complaints.well()
        log.debug("sync: %s", result)
        recorder.ended(result, None)
        return result
    outcome = outcome_of(result)
    if isinstance(result, Refused):
        recorder.refused(result.reason)
    if outcome is Outcome.UNEXPECTED:
        log.error("a bug in dagferry: %s", line_for(result), exc_info=result)
    complaints.failed(result)
    recorder.ended(outcome, _problem(result, outcome, recorder.snapshot().problem))
    return outcome


def _problem(error: Exception, outcome: Outcome, before: Problem | None) -> Problem:
    cause = error.refusal if isinstance(error, BackedOff) else error
    reason = cause.reason if isinstance(cause, Refused) else None
    same = before is not None and before.reason == reason and (outcome == before.outcome or outcome == "backed-off")
    return Problem(
        outcome=outcome,
        reason=reason,
        detail=line_for(error)[:1000],
        since=before.since if before and same else times.show(times.now()),
        times=before.times + 1 if before and same else 1,
    )
