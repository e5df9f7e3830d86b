"""Where an Airflow's API is."""

from __future__ import annotations

import re

from dagferry_shared.values import dataclass

_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*/?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Address:
    """The base of an API.

    Attributes:
        host: name or address.
        port: TCP port.
        path: prefix of all requests: empty, or as in ``/airflow``.
        tls: whether it is https.
    """

    host: str
    port: int
    path: str
    tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{self.path}"


def parse(text: str) -> Address:
    """Read ``http[s]://HOST[:PORT][/PATH]``.

    Raises:
        ValueError: it is something else; the text never repeats what may be a password.
    """
    from urllib.parse import urlsplit  # noqa: PLC0415 - most pullers are not told of an Airflow

    try:
        url = urlsplit(text)
        good = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        good = False
    if not good or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("is not http[s]://HOST[:PORT][/PATH]")
    if "@" in url.netloc:
        raise ValueError("takes no credentials in the address: set the variables, or use a file")
    if url.query or url.fragment or not _PATH.fullmatch(url.path):
        raise ValueError("is the address that Airflow's pages begin with, without query or fragment")
    tls = url.scheme == "https"
    return Address(url.hostname or "", url.port or (443 if tls else 80), url.path.rstrip("/"), tls)
