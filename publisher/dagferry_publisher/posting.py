"""HTTP POSTs to a few addresses at once: each in a thread of its own, all within one deadline, failures as values.

Redirects and proxies are not followed, so that what is sent goes to the address that was given and nowhere else.
"""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dagferry_publisher.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from http.client import HTTPConnection
    from urllib.parse import SplitResult

    from dagferry_shared.strictjson import Json


@dataclass(frozen=True, slots=True)
class Told:
    """How telling one address ended.

    Attributes:
        url: the address, as it may be shown.
        ok: whether it took what was sent.
        detail: why not, or its answer.
    """

    url: str
    ok: bool
    detail: str

    def as_json(self) -> dict[str, Json]:
        """Return it as ``--json`` prints it."""
        return asdict(self)


def address(text: str, option: str) -> SplitResult:
    """Read an http or https address; UsageError, which does not repeat it, for anything else."""
    try:
        url = urlsplit(text)
        good = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0 and text.isprintable()
    except ValueError:
        good = False
    if not good or " " in text or not text.isascii():
        raise UsageError(f"--{option} is not an address: http[s]://HOST[:PORT][/PATH]")
    return url


class Poster:
    """Posts once to each address.

    Args:
        urls: where to.
        headers: of each request.
        seconds: for all of it.
        shown: what of an address may be shown.
        hint: what to add to a status that is no success.
    """

    def __init__(
        self,
        urls: Sequence[SplitResult],
        headers: Mapping[str, str],
        seconds: float,
        shown: Callable[[SplitResult], str],
        hint: Callable[[int], str] = lambda _: "",
    ) -> None:
        self._urls = list(dict.fromkeys(urls))
        self._headers = {"User-Agent": "dagctl", **headers}
        self._seconds = seconds
        self._shown = shown
        self._hint = hint
        self._told: dict[SplitResult, Told] = {}
        self._threads: list[threading.Thread] = []
        self._end = 0.0

    def start(self, body: bytes = b"") -> None:
        """Begin to post, once; returns at once."""
        if self._threads:
            return
        self._end = time.monotonic() + self._seconds
        self._threads = [threading.Thread(target=self._tell, args=(url, body), daemon=True) for url in self._urls]
        for thread in self._threads:
            thread.start()

    def results(self) -> list[Told]:
        """Wait until all are told, or the time is over; returns how it went, nothing if it never began."""
        for thread in self._threads:
            thread.join(max(0.0, self._end - time.monotonic()))
        late = f"no answer within {self._seconds:g} s"
        urls = self._urls if self._threads else []
        return [self._told.get(url) or Told(self._shown(url), ok=False, detail=late) for url in urls]

    def _tell(self, url: SplitResult, body: bytes) -> None:
        from http.client import HTTPException  # noqa: PLC0415 - 20 ms that only this needs

        where = self._shown(url)
        try:
            status = self._post(url, body)
            good = 200 <= status < 300
            self._told[url] = Told(where, good, f"answered {status}" + ("" if good else self._why(status)))
        except TimeoutError:
            return
        except (OSError, HTTPException, UnicodeError) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            self._told[url] = Told(where, ok=False, detail=" ".join(str(why).split())[:200])

    def _why(self, status: int) -> str:
        return ": redirects are not followed" if 300 <= status < 400 else self._hint(status)

    def _post(self, url: SplitResult, body: bytes) -> int:
        connection = _connection(url, self._seconds)
        try:
            target = (url.path or "/") + (f"?{url.query}" if url.query else "")
            connection.request("POST", target, body, dict(self._headers))
            return connection.getresponse().status
        finally:
            connection.close()


def _connection(url: SplitResult, seconds: float) -> HTTPConnection:
    from http.client import HTTPConnection, HTTPSConnection  # noqa: PLC0415 - as above

    kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
    return kind(url.hostname or "", url.port, timeout=seconds)
