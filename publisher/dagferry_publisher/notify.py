"""Telling pods, or the relay, to look now: HTTP POSTs after the commit point. A hint: what fails is a warning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagferry_publisher import posting
from dagferry_publisher.errors import UsageError
from dagferry_publisher.keyring import read_bounded
from dagferry_publisher.posting import Poster, Told

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from urllib.parse import SplitResult

SECONDS = 2.0  # for one address, all in all
PATH = "/notify"
_MAX_TOKEN = 4096  # bytes
_TOKEN = "DAGFERRY_NOTIFY_TOKEN"  # noqa: S105 - a variable's name

__all__ = ["Notifier", "Told", "read_token"]


def _address(text: str) -> SplitResult:
    url = posting.address(text, "notify")
    if url.username is not None or url.password is not None:
        raise UsageError(f"--notify takes no credentials in the address: put the token into {_TOKEN}, or into a file")
    return url if url.path.strip("/") else url._replace(path=PATH)


def read_token(environ: Mapping[str, str]) -> str | None:
    """Return the token of ``DAGFERRY_NOTIFY_TOKEN``, or of the file that ``DAGFERRY_NOTIFY_TOKEN_FILE`` names."""
    token, file = environ.get(_TOKEN), environ.get(f"{_TOKEN}_FILE")
    if file:
        token = read_bounded(file, "notify", _MAX_TOKEN).decode("latin-1").strip()
    if not token:
        return None
    if not token.isascii() or not token.isprintable():
        raise UsageError(f"{_TOKEN} is not printable ASCII")
    return token


class Notifier(Poster):
    """The addresses of one command; they are told once.

    Args:
        urls: where to post.
        token: sent as a bearer token.

    Raises:
        UsageError: one of them is no address.
    """

    def __init__(self, urls: Sequence[str], token: str | None) -> None:
        found = [_address(text) for text in dict.fromkeys(urls)]
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        super().__init__(found, headers, SECONDS, lambda url: url.geturl(), _hint)


def _hint(status: int) -> str:
    return f": the token is wrong or missing ({_TOKEN})" if status == 401 else ""
