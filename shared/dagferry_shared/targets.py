"""Which pods there are: names, and the addresses that they have at this moment."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from dagferry_shared.values import dataclass

DEFAULT_PORT = 9474  # of a puller

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Target:
    """A name of pods.

    Attributes:
        host: name or address.
        port: where they serve HTTP.
        every: all addresses of the name are meant, else the first one.
    """

    host: str
    port: int
    every: bool

    def __str__(self) -> str:
        return f"{'dns' if self.every else 'http'}://{show((self.host, self.port))}"

    def addresses(self) -> list[Address]:
        """Ask the resolver, which may take its time.

        Raises:
            OSError: the name has no address, or nobody can say.
        """
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        unique = list(dict.fromkeys((str(address[0]), self.port) for *_, address in found))
        return unique if self.every else unique[:1]


def parse(text: str, path: str = "/notify") -> Target:
    """Read ``dns://NAME:PORT`` or ``http://HOST:PORT``; ValueError says what is wrong.

    Args:
        text: the target.
        path: what it may end with, as people copy it: it is what the pods are asked for anyway.
    """
    url = urlsplit(text)
    port = url.port  # ValueError if it is none
    if url.scheme not in {"dns", "http"} or not url.hostname or port == 0 or "@" in url.netloc:
        raise ValueError(f"{text[:80]!r} is not dns://NAME:PORT or http://HOST:PORT")
    if url.path.rstrip("/") not in {"", path} or url.query or url.fragment:
        raise ValueError(f"{text[:80]!r} has a path, and pods are asked for {path} alone")
    return Target(url.hostname, port or DEFAULT_PORT, every=url.scheme == "dns")


def show(address: Address) -> str:
    """Write an address as in a URL."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
