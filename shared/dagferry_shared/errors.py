"""The two error families that cross module borders: a refusal, and a store that does not serve.

A refusal is final for those bytes: looking again at the same input gives the same answer. A store error may
pass: the caller backs off and tries again. Nothing else escapes a parser or a store adapter.
"""

from __future__ import annotations

from enum import StrEnum


class DagferryError(Exception):
    """Base of every error that dagferry raises on purpose."""


class Reason(StrEnum):
    """Machine-readable reason of a refusal; it is also the value of the ``reason`` label in metrics."""

    MALFORMED = "malformed"
    OVERSIZE = "oversize"
    UNKNOWN_TYPE = "unknown-type"
    BAD_SIGNATURE = "bad-signature"
    UNKNOWN_KEY = "unknown-key"
    RETIRED_KEY = "retired-key"
    THRESHOLD = "threshold"
    BAD_KEY = "bad-key"
    UNTRUSTED_CHANNEL = "untrusted-channel"
    WRONG_BUNDLE = "wrong-bundle"
    WRONG_CHANNEL = "wrong-channel"
    WRONG_EPOCH = "wrong-epoch"
    ROLLBACK = "rollback"
    EQUIVOCATION = "equivocation"
    BELOW_FLOOR = "below-floor"
    FUTURE_DATED = "future-dated"
    NO_EXPIRY = "no-expiry"
    EXPIRED = "expired"
    WRONG_DIGEST = "wrong-digest"
    WRONG_COMMIT = "wrong-commit"
    WRONG_REPOSITORY = "wrong-repository"
    WRONG_PATH = "wrong-path"
    WRONG_REF = "wrong-ref"
    WRONG_SELECTION = "wrong-selection"
    DEV_RELEASE = "dev-release"
    REVOKED = "revoked"
    BAD_ARCHIVE = "bad-archive"
    TOO_LARGE = "too-large"
    WRONG_TREE = "wrong-tree"
    CHECK_FAILED = "check-failed"
    CLOCK_SKEW = "clock-skew"
    BROKEN_CHAIN = "broken-chain"


class Refused(DagferryError):
    """Input that is not accepted, with a machine-readable reason.

    Attributes:
        reason: why, from a closed set.
        detail: one line for a person; never holds secrets.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[Refused], tuple[Reason, str]]:
        return type(self), (self.reason, self.detail)


class StoreError(DagferryError):
    """The store did not do what was asked; the text says what to do."""


class StoreUnreachable(StoreError):
    """No answer, a broken answer, a time-out, or a server error: worth another try later."""


class StoreDenied(StoreError):
    """The store answered that these credentials may not do this, or that they are wrong."""


class BlobMissing(StoreError):
    """No object of that key (where listing is not allowed, S3 cannot tell missing from denied)."""


class StoreConflict(StoreError):
    """A conditional write was refused because the object is not as the caller believed."""
