"""Telling pods, or the relay, to look now: HTTP POSTs after the commit point. A hint: what fails is a warning.

Each address has two seconds for everything, in a thread of its own; redirects and proxies are not followed, so that
the token goes to the address that was given and nowhere else.
"""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dagferry_publisher.errors import UsageError
from dagferry_publisher.keyring import read_bounded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from http.client import HTTPConnection
    from urllib.parse import SplitResult

    from dagferry_shared.strictjson import Json

SECONDS = 2.0  # for one address, all in all
PATH = "/notify"
_MAX_TOKEN = 4096  # bytes
_TOKEN = "DAGFERRY_NOTIFY_TOKEN"  # noqa: S105 - a variable's name


@dataclass(frozen=True, slots=True)
class Told:
    """How telling one address ended.

    Attributes:
        url: the address.
        ok: whether it took the notification.
        detail: why not, or its answer.
    """

    url: str
    ok: bool
    detail: str

    def as_json(self) -> dict[str, Json]:
        """Return it as ``--json`` prints it."""
        return asdict(self)


def _address(text: str) -> SplitResult:
    try:
        url = urlsplit(text)
        good = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0 and text.isprintable()
    except ValueError:
        good = False
    if not good or " " in text or not text.isascii():
        raise UsageError("--notify is not an address: http[s]://HOST[:PORT][/PATH]")
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


class Notifier:
    """The addresses of one command; they are told once.

    Args:
        urls: where to post.
        token: sent as a bearer token.

    Raises:
        UsageError: one of them is no address.
    """

    def __init__(self, urls: Sequence[str], token: str | None) -> None:
        self._urls = [_address(text) for text in dict.fromkeys(urls)]
        self._headers = {"User-Agent": "dagctl", **({"Authorization": f"Bearer {token}"} if token else {})}
        self._told: dict[str, Told] = {}
        self._threads: list[threading.Thread] = []
        self._end = 0.0

    def start(self) -> None:
        """Begin to tell all of them, once; returns at once."""
        if self._threads:
            return
        self._end = time.monotonic() + SECONDS
        self._threads = [threading.Thread(target=self._tell, args=(url,), daemon=True) for url in self._urls]
        for thread in self._threads:
            thread.start()

    def results(self) -> list[Told]:
        """Wait until all are told, or the time is over; returns how it went, nothing if it never began."""
        for thread in self._threads:
            thread.join(max(0.0, self._end - time.monotonic()))
        late = f"no answer within {SECONDS:g} s"
        urls = [url.geturl() for url in self._urls] if self._threads else []
        return [self._told.get(url) or Told(url, ok=False, detail=late) for url in urls]

    def _tell(self, url: SplitResult) -> None:
        from http.client import HTTPException  # noqa: PLC0415 - 20 ms that only this needs

        where = url.geturl()
        try:
            status = self._post(url)
            said = f"answered {status}"
            self._told[where] = Told(where, 200 <= status < 300, said + _hint(status))
        except TimeoutError:
            return
        except (OSError, HTTPException, UnicodeError) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            self._told[where] = Told(where, ok=False, detail=" ".join(str(why).split())[:200])

    def _post(self, url: SplitResult) -> int:
        connection = _connection(url)
        try:
            target = url.path + (f"?{url.query}" if url.query else "")
            connection.request("POST", target, b"", self._headers)
            return connection.getresponse().status
        finally:
            connection.close()


def _connection(url: SplitResult) -> HTTPConnection:
    from http.client import HTTPConnection, HTTPSConnection  # noqa: PLC0415 - as above

    kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
    return kind(url.hostname or "", url.port, timeout=SECONDS)


def _hint(status: int) -> str:
    if status == 401:
        return f": the token is wrong or missing ({_TOKEN})"
    return ": redirects are not followed" if 300 <= status < 400 else ""
