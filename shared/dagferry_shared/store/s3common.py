"""What both S3 adapters say of an answer: its error code in the project's own words, and its ETag.

No S3 library is known here. The server's own messages are never shown: they are hostile, long, or (RGW) empty.
"""

from __future__ import annotations

import re

from dagferry_shared.errors import BlobMissing, StoreConflict, StoreDenied, StoreError, StoreUnreachable

_ETAG = re.compile(r"[\x21\x23-\x7e]{1,256}")
_CODE = re.compile(r"[A-Za-z0-9.]{1,64}")

_DENIED = {
    "InvalidAccessKeyId": "wrong credentials: the store does not know this access key "
    "(check AWS_ACCESS_KEY_ID and the endpoint)",
    "SignatureDoesNotMatch": "wrong credentials: the secret key does not fit the access key "
    "(check AWS_SECRET_ACCESS_KEY)",
    "ExpiredToken": "wrong credentials: the session token has expired",
    "InvalidToken": "wrong credentials: the session token is not valid (check AWS_SESSION_TOKEN)",
    "RequestTimeTooSkewed": "the clock of this machine is wrong: it differs too much from the store's clock",
    "UserSuspended": "the store has suspended this user: its administrator can enable it (radosgw-admin user enable)",
    "QuotaExceeded": "the quota of the bucket or its owner is used up: remove old objects, or let the store's "
    "administrator raise it (radosgw-admin quota set)",
}
_NO_PERMISSION = (
    "no permission: these credentials may not do this, or the object does not exist "
    "(without permission to list, S3 cannot say which)"
)
_NO_BUCKET = "the bucket does not exist: create it, or check the store URL and the endpoint"
_CONFLICTS = {"PreconditionFailed", "ConditionalRequestConflict"}
_HTTP_UNAUTHORIZED, _HTTP_FORBIDDEN, _HTTP_NOT_FOUND = 401, 403, 404
_HTTP_CONFLICT, _HTTP_PRECONDITION_FAILED = 409, 412
_HTTP_REDIRECTS, _HTTP_SERVER_ERRORS = range(300, 400), range(500, 600)


def error_for(status: int, code: str, what: str, *, conditional: bool) -> StoreError:
    """Return the error that an S3 answer means.

    Args:
        status: HTTP status.
        code: S3 error code, empty if the answer had none (HEAD); untrusted.
        what: what was tried, for the text: "read s3://bucket/key".
        conditional: whether the request had a condition that can fail.
    """
    shown = code if _CODE.fullmatch(code) and not code.isdigit() else ""
    tail = f" ({status} {shown})" if shown else f" ({status})"
    if code in _DENIED:
        return StoreDenied(f"cannot {what}: {_DENIED[code]}{tail}")
    if code == "NoSuchBucket":
        return BlobMissing(f"cannot {what}: {_NO_BUCKET}{tail}")
    if conditional and (code in _CONFLICTS or status in (_HTTP_CONFLICT, _HTTP_PRECONDITION_FAILED)):
        return StoreConflict(f"cannot {what}: the object is not as expected; it was changed meanwhile{tail}")
    if status in (_HTTP_UNAUTHORIZED, _HTTP_FORBIDDEN):
        return StoreDenied(f"cannot {what}: {_NO_PERMISSION}{tail}")
    if status == _HTTP_NOT_FOUND:
        return BlobMissing(f"cannot {what}: it does not exist{tail}")
    return StoreUnreachable(f"cannot {what}: {_failure(status)}{tail}")


def _failure(status: int) -> str:
    if status in _HTTP_SERVER_ERRORS:
        return "the store has an error of its own or is overloaded"
    if status in _HTTP_REDIRECTS:
        return "the store answered with a redirect: check the region and the endpoint"
    return "the store did not accept the request"


def bare_etag(header: str | None, what: str) -> str:
    """Return an ETag without quotes; StoreUnreachable if the answer had none that can be compared with."""
    etag = (header or "").removeprefix('"').removesuffix('"')
    if not _ETAG.fullmatch(etag):
        raise StoreUnreachable(f"cannot {what}: the store answered without a usable ETag")
    return etag
