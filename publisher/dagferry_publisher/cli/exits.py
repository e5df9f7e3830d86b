"""The one place that maps an error to an exit code. The codes are part of the interface; README lists them."""

from __future__ import annotations

from enum import IntEnum

from dagferry_publisher import errors
from dagferry_shared.airflowapi.errors import AirflowError, Trouble
from dagferry_shared.errors import BlobMissing, DagferryError, Refused, StoreConflict, StoreDenied, StoreUnreachable
from dagferry_shared.store.url import BadStoreUrl


class Exit(IntEnum):
    """Exit codes of ``dagctl``."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    REFUSED = 3
    CONFLICT = 4
    HELD = 5
    ANCESTRY_UNKNOWN = 6
    STORE_UNREACHABLE = 7
    NOT_FOUND = 8
    STORE_DENIED = 9
    UNSAFE_STORE = 10
    TIMEOUT = 11
    IMPORT_ERRORS = 12
    PART_OF_FLEET = 13


MEANING = {
    Exit.OK: "done, or nothing had to be done",
    Exit.UNEXPECTED: "unexpected: a bug, or this machine's fault",
    Exit.USAGE: "usage: a setting is missing or wrong",
    Exit.REFUSED: "refused: signatures, trust rules, archive rules, clock; or verify found something",
    Exit.CONFLICT: "conflict: not a descendant, a lost race, or a pointer that needs repair",
    Exit.HELD: "held: the channel is held, the release is uploaded, nothing was moved",
    Exit.ANCESTRY_UNKNOWN: "ancestry unknown: the clone is too shallow (GIT_DEPTH: 0)",
    Exit.STORE_UNREACHABLE: "store (or Airflow) unreachable: try again",
    Exit.NOT_FOUND: "not found: commit, path, release, channel or bucket",
    Exit.STORE_DENIED: "store (or Airflow) denied: wrong credentials, or no permission",
    Exit.UNSAFE_STORE: "unsafe store: it ignores conditional writes",
    Exit.TIMEOUT: "wait: --timeout passed",
    Exit.IMPORT_ERRORS: "wait: Airflow has new import errors",
    Exit.PART_OF_FLEET: "part of the fleet: some pods or stages are not live, or not well",
}

_CODES: tuple[tuple[type[DagferryError], Exit], ...] = (
    (errors.UsageError, Exit.USAGE),
    (BadStoreUrl, Exit.USAGE),
    (Refused, Exit.REFUSED),
    (errors.FoundProblems, Exit.REFUSED),
    (errors.Conflict, Exit.CONFLICT),
    (StoreConflict, Exit.CONFLICT),
    (errors.ChannelHeld, Exit.HELD),
    (errors.AncestryUnknown, Exit.ANCESTRY_UNKNOWN),
    (StoreUnreachable, Exit.STORE_UNREACHABLE),
    (errors.NotFound, Exit.NOT_FOUND),
    (BlobMissing, Exit.NOT_FOUND),
    (StoreDenied, Exit.STORE_DENIED),
    (errors.UnsafeStore, Exit.UNSAFE_STORE),
    (errors.TimedOut, Exit.TIMEOUT),
    (errors.PartOfFleet, Exit.PART_OF_FLEET),
    (errors.StageFailed, Exit.PART_OF_FLEET),
    (errors.ImportErrors, Exit.IMPORT_ERRORS),
)


_AIRFLOW = {
    Trouble.DENIED: Exit.STORE_DENIED,
    Trouble.NOT_FOUND: Exit.NOT_FOUND,
    Trouble.BAD_ANSWER: Exit.REFUSED,
}


def exit_code(error: DagferryError) -> Exit:
    """Return the exit code of an error."""
    if isinstance(error, AirflowError):
        return _AIRFLOW.get(error.trouble, Exit.STORE_UNREACHABLE)
    return next((code for kind, code in _CODES if isinstance(error, kind)), Exit.UNEXPECTED)


def describe(error: DagferryError) -> dict[str, dict[str, object]]:
    """Return an error as ``--json`` prints it on stderr."""
    code = exit_code(error)
    reason = str(error.reason) if isinstance(error, Refused) else code.name.lower().replace("_", "-")
    if isinstance(error, AirflowError):
        reason = f"airflow-{error.trouble}"
    message = error.detail if isinstance(error, Refused) else str(error)
    return {"error": {"reason": reason, "message": message, "exit_code": int(code)}}


def epilog() -> str:
    """Return the table of exit codes for ``--help``."""
    return "\b\nExit codes:\n" + "\n".join(f"  {int(code):>2}  {words}" for code, words in MEANING.items())
