"""Store URLs: ``file:///directory`` and ``s3://bucket/prefix``. Nothing is opened here."""

from __future__ import annotations

import re
from typing import Literal

from dagferry_shared.errors import DagferryError
from dagferry_shared.store import check_key
from dagferry_shared.values import dataclass

ALLOWED = "allowed are file:///absolute/directory and s3://bucket or s3://bucket/prefix"
_MAX_CHARS = 1024
_BUCKET = re.compile(r"(?!\d+\.\d+\.\d+\.\d+$)[a-z0-9](?:[a-z0-9]|[.-](?=[a-z0-9])|-(?=-)){1,61}[a-z0-9]")
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\x9f]")


class BadStoreUrl(DagferryError):
    """A store URL that is not one; the text says what is allowed and repeats nothing that may be a secret."""

    def __init__(self, why: str) -> None:
        super().__init__(f"bad store URL: {why}; {ALLOWED}")


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """A store URL in parts."""

    scheme: Literal["file", "s3"]
    bucket_or_path: str  # a bucket name, or an absolute path
    prefix: str  # of every key; without slashes at its ends; empty for file

    def __str__(self) -> str:
        """Write it as it is parsed."""
        if self.scheme == "file":
            from urllib.parse import quote  # noqa: PLC0415 - a puller never writes a URL

            return f"file://{quote(self.bucket_or_path)}"
        return f"s3://{self.bucket_or_path}/{self.prefix}".rstrip("/")


def parse_store_url(url: str) -> StoreUrl:
    """Take a store URL apart; BadStoreUrl says what is wrong with it."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise BadStoreUrl("it has no scheme")
    if len(url) > _MAX_CHARS:
        raise BadStoreUrl(f"it has more than {_MAX_CHARS} characters")
    if _UNPRINTABLE.search(url):
        raise BadStoreUrl("it has white space or control characters in it (write a space as %20)")
    if "?" in rest or "#" in rest:
        raise BadStoreUrl("no query and no fragment can be given")
    if "@" in rest.partition("/")[0]:
        raise BadStoreUrl("no user or password can be given (credentials come from the environment)")
    if scheme == "file":
        return StoreUrl("file", _path(rest), "")
    if scheme == "s3":
        bucket, _, prefix = rest.partition("/")
        return StoreUrl("s3", _bucket(bucket), _prefix(prefix))
    raise BadStoreUrl("its scheme is unknown")


def _path(rest: str) -> str:
    if not rest.startswith("/"):
        raise BadStoreUrl("a file URL has three slashes and an absolute path")
    try:
        path = _unquoted(rest).rstrip("/")
    except UnicodeDecodeError:
        raise BadStoreUrl("its path is not UTF-8") from None
    if not path:
        raise BadStoreUrl("the root directory cannot be a store")
    if any(ord(char) < ord(" ") or char == "\x7f" for char in path):
        raise BadStoreUrl("its path has control characters in it")
    if {"", ".", ".."} & set(path.split("/")[1:]):
        raise BadStoreUrl("its path has empty, . or .. components")
    return path


def _unquoted(text: str) -> str:
    if "%" not in text:
        return text
    from urllib.parse import unquote  # noqa: PLC0415 - rarely needed, and 3 ms of a start

    return unquote(text, errors="strict")


def _bucket(bucket: str) -> str:
    if not bucket:
        raise BadStoreUrl("it has no bucket")
    if not _BUCKET.fullmatch(bucket):
        raise BadStoreUrl("a bucket name has 3 to 63 lower-case letters, digits, dots and hyphens, no IP address")
    return bucket


def _prefix(text: str) -> str:
    if not text:
        return ""
    try:
        return check_key(text.removesuffix("/"))
    except ValueError:
        raise BadStoreUrl(
            "a prefix has components of letters, digits, dots, hyphens and underscores, "
            "each starting with a letter or digit"
        ) from None
