"""What to do about each thing that keeps a version from a pod: one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagferry_publisher.fleet.judge import State
from dagferry_shared.errors import Reason, Refused

if TYPE_CHECKING:
    from dagferry_publisher.fleet.judge import Row
    from dagferry_shared.errors import DagferryError

_TRUST = "Its trust file is not the one that this was signed for: compare it with dagctl trust check, and roll it out."
_STORE = "Somebody else writes to the store, or a disk is broken: run dagctl verify --all, and look who may write."
_PUBLISHER = "Publish it again with a publisher of the pods' version, and report it if it stays."
_CLOCK = "Set the clocks right: pod, publisher and store must agree within minutes (NTP)."

_BY_REASON = {
    Reason.CHECK_FAILED: "The pod's --check-command refuses it: cure what it says, or run dagctl rollback.",
    Reason.EXPIRED: "Sign it again with dagctl refresh --expires 7d, and see why the schedule that does so stopped.",
    Reason.NO_EXPIRY: "The trust file sets max_ttl: publish or refresh with --expires.",
    Reason.REVOKED: "Run dagctl rollback to a release that is not revoked, or publish a new commit.",
    Reason.BELOW_FLOOR: "The trust file's floor is above it: publish a new commit, or lower the floor if it is wrong.",
    Reason.ROLLBACK: "The store shows an older pointer than before: was the bucket restored? Run dagctl repair.",
    Reason.EQUIVOCATION: "Two pointers of one sequence are signed: replace the pointer key, and run dagctl repair.",
    Reason.WRONG_EPOCH: "Trust file and pointer are of different epochs: roll the newest trust file out to every pod.",
    Reason.TOO_LARGE: "It is larger than the pod's --max-bytes or --max-files: raise them, or leave files out.",
    Reason.OVERSIZE: _STORE,
    Reason.FUTURE_DATED: _CLOCK,
    Reason.CLOCK_SKEW: _CLOCK,
    Reason.DEV_RELEASE: "It is uncommitted work: this channel takes none unless its trust entry says allow_dev.",
    Reason.UNKNOWN_TYPE: "The pod's puller is too old for it: upgrade the pullers.",
    Reason.BROKEN_CHAIN: "Run dagctl verify, which names the entry that is missing, and then dagctl repair.",
    **dict.fromkeys((Reason.MALFORMED, Reason.WRONG_DIGEST, Reason.BAD_SIGNATURE), _STORE),
    **dict.fromkeys((Reason.BAD_ARCHIVE, Reason.WRONG_TREE, Reason.WRONG_COMMIT), _PUBLISHER),
    **dict.fromkeys((Reason.UNKNOWN_KEY, Reason.RETIRED_KEY, Reason.THRESHOLD, Reason.BAD_KEY), _TRUST),
    **dict.fromkeys((Reason.UNTRUSTED_CHANNEL, Reason.WRONG_BUNDLE, Reason.WRONG_CHANNEL), _TRUST),
    **dict.fromkeys((Reason.WRONG_REPOSITORY, Reason.WRONG_PATH, Reason.WRONG_REF, Reason.WRONG_SELECTION), _TRUST),
}
_BY_OUTCOME = {
    "store-unreachable": "The pod cannot reach the store: look at its network policy, DNS, endpoint and CA bundle.",
    "store-denied": "The pod's credentials are wrong or may not read there: dagctl doctor shows what a puller needs.",
    "not-found": "The store lacks it: run dagctl verify, and publish the commit again.",
    "volume-failed": "Its volume is full, read-only or broken: look with df -h and df -i; a smaller --keep needs less.",
    "backed-off": "It failed before and is left alone for a while: its log says why, and SIGHUP makes it look.",
}
_BY_STATE = {
    State.UNREACHABLE: "Is the pod running, and does its --http listen where others reach it (0.0.0.0:9474)?",
    State.STRANGER: "Something else listens there, or a puller that is too old or too new: look at --targets.",
    State.DIVERGED: "Compare its store, endpoint and trust file with the others': it was shown another pointer.",
    State.REVOKED: "Run dagctl rollback to a release that is not revoked, or publish a new commit.",
    State.DAMAGED: "It repairs itself once the store is there; whoever writes into the volume must stop.",
    State.NOT_READY: "It is starting, or cannot: look at its log.",
    State.AHEAD: "Was the bucket restored from a backup? Run dagctl repair.",
    State.BEHIND: "It has not looked yet: wait for a poll, or make it look with POST /notify.",
    State.FAILING: "Look at the pod's log.",
    State.QUIET: "It hangs: /healthz fails then, and a liveness probe restarts it.",
}


def of_refusal(error: DagferryError) -> str:
    """Return the cure of a refusal, or of another error on the way to a release."""
    return _BY_REASON[error.reason] if isinstance(error, Refused) else _BY_OUTCOME["not-found"]


def of_pod(row: Row) -> str:
    """Return what to do about a pod: by why its last sync failed, else by its state."""
    problem = row.answer.status.problem if row.answer.status else None
    if problem is None or row.state in {State.DIVERGED, State.REVOKED, State.AHEAD}:
        return _BY_STATE[row.state]
    if problem.reason in set(Reason):
        return _BY_REASON[Reason(problem.reason)]
    return _BY_OUTCOME.get(problem.outcome, _BY_STATE[State.FAILING])
