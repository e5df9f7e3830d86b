"""What boto3 raises, as the store errors that it means; which of them pass by themselves."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from boto3.exceptions import Boto3Error
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigParseError,
    ConnectionError,  # noqa: A004 - botocore's
    CredentialRetrievalError,
    HTTPClientError,
    InvalidConfigError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSLError,
)
from urllib3.exceptions import HTTPError

from dagferry_publisher.patience import StoreAway
from dagferry_shared.errors import BlobMissing, StoreDenied, StoreError, StoreUnreachable
from dagferry_shared.store.s3common import error_for

if TYPE_CHECKING:
    from collections.abc import Iterator

_WRONG_SETTINGS = (ConfigParseError, CredentialRetrievalError, InvalidConfigError, PartialCredentialsError)
_FROM_THE_NETWORK = (ConnectionError, HTTPClientError, HTTPError)
_PASSING = frozenset({429, 500, 502, 503, 504})
_UNKNOWN_HOST = "Failed to resolve"
_TRY_LATER = "Temporary failure"


class NotModified(StoreUnreachable):
    """304; an error only where it was not asked for."""


class NoSuchKey(BlobMissing):
    """The object is missing, in a bucket that is not."""


@contextmanager
def translated(what: str, *, conditional: bool = False) -> Iterator[None]:
    """Turn whatever boto3 raises into the store error that it means.

    Args:
        what: what is tried, for the text: "read s3://bucket/key".
        conditional: whether the request has a condition that can fail.
    """
    try:
        yield
    except ClientError as error:
        raise _answered(error, what, conditional=conditional) from error
    except NoCredentialsError as error:
        raise StoreDenied(
            f"cannot {what}: no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        ) from error
    except (ProfileNotFound, *_WRONG_SETTINGS) as error:
        raise StoreDenied(f"cannot {what}: the AWS settings cannot be used: {first_line(error)}") from error
    except (BotoCoreError, Boto3Error, HTTPError, OSError) as error:
        kind = StoreAway if _passes(error) else StoreUnreachable
        raise kind(f"cannot {what}: {first_line(error)}") from error


def _answered(error: ClientError, what: str, *, conditional: bool) -> StoreError:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = error.response.get("Error", {}).get("Code") or ""  # None for an empty element
    if code == "304":
        return NotModified(f"cannot {what}: 304 without being asked for")
    meant = error_for(status, code, what, conditional=conditional)
    if type(meant) is StoreUnreachable and status in _PASSING:
        return StoreAway(*meant.args)
    return NoSuchKey(*meant.args) if code == "NoSuchKey" else meant


def _passes(error: Exception) -> bool:
    """Tell an outage from a wrong setting: a certificate, a protocol or a host name that no waiting makes right."""
    text = str(error)
    if isinstance(error, SSLError):
        return "EOF occurred" in text or "reset by peer" in text  # in mid-handshake
    if not isinstance(error, _FROM_THE_NETWORK):
        return False
    cause = str(getattr(error, "kwargs", {}).get("error", text))
    return _UNKNOWN_HOST not in cause or _TRY_LATER in cause


def first_line(error: Exception) -> str:
    """Return what of an error's text is for people."""
    line = str(error).partition("\n")[0][:300]
    unknown = "local issuer" in line or "self-signed" in line or "self signed" in line
    return f"{line}: set AWS_CA_BUNDLE" if isinstance(error, SSLError) and unknown else line
